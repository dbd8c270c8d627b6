"""The arrays of an HDF5 file that another program wrote, such as Keras' weights, by their paths in the file.

Conventions: of the file's datasets those are read that hold floats of 16, 32 or 64 bits, contiguous and unfiltered, as
h5py writes them unless it is told otherwise; all others are left out. HDF5 itself only says where they lie, in a
process of its own: a damaged file cannot crash this one. A file may be compressed by gzip as a whole.
"""

import gzip
import tempfile
import zlib
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d

from data.errors import UserError, in_short
from data.isolation import CrashError, isolated
from data.layout import SIGNATURE

MOST_DATASETS, MOST_AXES = 5_000, 8
GZIP = b"\x1f\x8b"
MOST_UNPACKED = 1 << 30  # bytes of a compressed file's content

Place = tuple[str, str, tuple[int, ...], int]  # path, type, shape, offset in bytes


def is_hdf5(path: Path) -> bool:
    """Whether a file, or what is compressed in it, begins as HDF5 files do."""
    with open(path, "rb") as file:
        begins = file.read(len(SIGNATURE))
    if begins.startswith(GZIP):
        try:
            with gzip.open(path) as file:
                begins = file.read(len(SIGNATURE))
        except (OSError, EOFError, zlib.error):
            return False
    return begins == SIGNATURE


def read_arrays(path: Path, remedy: str) -> dict[str, np.ndarray]:
    """All arrays of floats by path, such as "conv1/conv1/kernel:0"; mapped from the file, unless it is compressed.

    Args:
        path: of the file.
        remedy: the end of the message about a file that is damaged.

    Raises:
        UserError: the file is damaged, or is no HDF5 file.
    """
    with open(path, "rb") as file:
        is_compressed = file.read(len(GZIP)) == GZIP
    if not is_compressed:
        return _mapped(path, path, remedy)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.h5"
        _unpack(path, plain, remedy)
        return {name: np.array(array) for name, array in _mapped(plain, path, remedy).items()}


def _unpack(path: Path, plain: Path, remedy: str) -> None:
    """Write the content of a compressed file to another.

    Raises:
        UserError: it is damaged, or too large.
    """
    try:
        with gzip.open(path) as packed, open(plain, "wb") as file:
            while part := packed.read(1 << 20):
                if file.tell() + len(part) > MOST_UNPACKED:
                    raise ValueError(f"it holds more than {MOST_UNPACKED >> 20} MiB")
                file.write(part)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{path} is damaged ({in_short(str(error))[1:-1]}): {remedy}") from error


def _mapped(path: Path, shown: Path, remedy: str) -> dict[str, np.ndarray]:
    """The arrays of an HDF5 file, which messages call by another path."""
    try:
        places, wrong = isolated(lambda: _places(path))
    except CrashError as error:
        places, wrong = [], str(error)
    size = path.stat().st_size
    for name, dtype, shape, offset in places:
        end = offset + int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
        wrong = wrong or (f"{in_short(name)} ends at byte {end} of {size}" if end > size else "")
    if wrong:
        raise UserError(f"{shown} is damaged or no HDF5 file ({wrong}): {remedy}")
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
