"""The arrays of an HDF5 file that another program wrote, such as Keras' weights, by their paths in the file.

Conventions: of the file's datasets those are read that hold floats of 16, 32 or 64 bits, contiguous and unfiltered, as
h5py writes them unless it is told otherwise; all others are left out. HDF5 itself only says where they lie, in a
process of its own: a damaged file cannot crash this one.
"""

from pathlib import Path

import h5py
import numpy as np
from h5py import h5d

from data.errors import UserError, in_short
from data.isolation import CrashError, isolated
from data.layout import SIGNATURE

MOST_DATASETS, MOST_AXES = 5_000, 8

Place = tuple[str, str, tuple[int, ...], int]  # path, type, shape, offset in bytes


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 files do."""
    with open(path, "rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def read_arrays(path: Path, remedy: str) -> dict[str, np.ndarray]:
    """All arrays of floats, mapped from the file, by path, such as "conv1/conv1/kernel:0".

    Args:
        path: of the file.
        remedy: the end of the message about a file that is damaged.

    Raises:
        UserError: the file is damaged, or is no HDF5 file.
    """
    try:
        places, wrong = isolated(lambda: _places(path))
    except CrashError as error:
        places, wrong = [], str(error)
    size = path.stat().st_size
    for name, dtype, shape, offset in places:
        end = offset + int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
        wrong = wrong or (f"{in_short(name)} ends at byte {end} of {size}" if end > size else "")
    if wrong:
        raise UserError(f"{path} is damaged or no HDF5 file ({wrong}): {remedy}")
    return {name: np.memmap(path, np.dtype(dtype), "r", offset, tuple(shape)) for name, dtype, shape, offset in places}


def _places(path: Path) -> tuple[list[Place], str]:
    """Where the arrays lie, and what is wrong, or an empty text."""
    found: list[Place] = []

    def note(name: str, item: object) -> str | None:
        if not isinstance(item, h5py.Dataset):
            return None
        if len(found) == MOST_DATASETS:
            return f"more than {MOST_DATASETS:,} datasets"
        plan, offset = item.id.get_create_plist(), item.id.get_offset()
        plain = plan.get_layout() == h5d.CONTIGUOUS and not plan.get_nfilters() and not plan.get_external_count()
        if plain and offset is not None and item.dtype.kind == "f" and item.dtype.itemsize <= 8:
            if not item.shape or len(item.shape) > MOST_AXES or 0 in item.shape:
                return None
            found.append((name, item.dtype.str, item.shape, offset))
        return None

    try:
        with h5py.File(path, "r", locking=False) as file:
            wrong = file.visititems(note)  # follows no links to other files
    except Exception as error:  # h5py raises whatever comes to it of a damaged structure
        return [], in_short(str(error))
    return found, wrong or ""
