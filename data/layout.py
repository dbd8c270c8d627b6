"""Where the columns of a store lie in its HDF5 file, and what the file says of itself: all of it checked before use.

Conventions: a store's file has, in its root group, a dataset `filename` of byte strings of one length, `done` (uint8)
and the columns of its kind: each contiguous, unfiltered, within the file, one row a name. Only these are opened, and
only the places of their values are asked for: HDF5 reads no value itself. Attributes are single strings or numbers.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
from h5py import h5a, h5d, h5f, h5l, h5o, h5p, h5s, h5t

from data.errors import in_short
from data.files import at_once
from data.isolation import CrashError, isolated

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MOST_ATTRIBUTES, LONGEST_ATTRIBUTE = 64, 1 << 20  # characters
LONGEST_NAME, MOST_ROWS = 4096, 5_000_000  # bytes of a filename
NAMES, DONE = "filename", "done"

Place = tuple[str, tuple[int, ...], int]  # of a column: type, shape, offset in bytes
# What is wrong, or an empty text; the attributes; the columns, the names among them.
Said = tuple[str, dict[str, str | int | float], dict[str, Place]]


class DamageError(Exception):
    """What is wrong with a file, for a message that names it."""


@dataclass(frozen=True, eq=False)
class Kind:
    """What a store holds.

    Attributes:
        format: value of the attribute `format`.
        columns: name -> type, and shape of one row, where None is any length from 1 on.
        remedy: what to do about a file that is not like this.
        optional: those of the columns that a file may lack.
    """

    format: str
    columns: Mapping[str, tuple[type, tuple[int | None, ...]]]
    remedy: str
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Column:
    """Where a column's values lie, in C order from the byte `offset` of the file on."""

    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def end(self) -> int:
        """The byte behind the last value."""
        return self.offset + self.dtype.itemsize * int(np.prod(self.shape, dtype=object))


@dataclass(frozen=True)
class Layout:
    """What a file says: its attributes, its columns, and where its rows' names lie."""

    attributes: dict[str, str | int | float]
    filenames: Column
    columns: dict[str, Column]


def read_layout(path: Path, kind: Kind) -> Layout:
    """Read and check the structure of a store's file.

    Raises:
        DamageError: the file is no such store, or not whole; the message says what is wrong.
        OSError: the file is missing or may not be read.
    """
    status = _require_signature(path)
    size = status.st_size
    wrong, attributes, columns = _read_once(path, kind, (status.st_dev, status.st_ino, size, status.st_mtime_ns))
    if wrong:
        raise DamageError(wrong)
    layout = {name: Column(np.dtype(dtype), tuple(shape), offset) for name, (dtype, shape, offset) in columns.items()}
    for name, column in layout.items():
        if column.end > size:
            raise DamageError(f"{name} ends at byte {column.end} of {size}: the file is cut short")
    return Layout(dict(attributes), layout.pop(NAMES), layout)


@lru_cache(maxsize=16)
def _read_once(path: Path, kind: Kind, state: tuple[int, ...]) -> Said:
    """What `_read` finds, in a process of its own: a command opens the same file several times.

    Args:
        path, kind: see read_layout.
        state: device, number, size and time of modification of the file; when one of them changes it is read again.
    """
    try:
        return isolated(lambda: _read(path, kind))
    except CrashError as error:
        return f"HDF5 cannot read it: {error}", {}, {}


def _read(path: Path, kind: Kind) -> Said:
    try:
        # No lock of HDF5's: not every file system has them, and stores have their own.
        with h5py.File(path, "r", locking=False) as file:
            attributes = _attributes(file.id)
            if (found := attributes.get("format")) != kind.format:
                raise DamageError(f"its format is {in_short(found)}, not {kind.format!r}")
            columns = {NAMES: _names(file.id)}
            rows = columns[NAMES][1][0]
            for name, (dtype, row) in {**kind.columns, DONE: (np.uint8, ())}.items():
                if name not in kind.optional or name.encode() in file.id:
                    columns[name] = _column(file.id, name, np.dtype(dtype), (rows, *row))
        return "", attributes, columns
    except DamageError as error:
        return str(error), {}, {}
    except Exception as error:  # h5py raises whatever comes to it of a damaged structure, AttributeError among others
        return f"HDF5 cannot read it: {in_short(str(error))}", {}, {}


def _require_signature(path: Path) -> os.stat_result:
    """The state of a regular file that begins as HDF5 files of ours do."""
    with open(path, "rb", opener=at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or file.read(len(SIGNATURE)) != SIGNATURE:
            raise DamageError("it is no HDF5 file")
    return status


def _attributes(file: h5f.FileID) -> dict[str, str | int | float]:
    root = h5o.open(file, b"/")
    if (count := h5a.get_num_attrs(root)) > MOST_ATTRIBUTES:
        raise DamageError(f"it has {count} attributes, more than {MOST_ATTRIBUTES}")
    return dict(_attribute(h5a.open(root, index=index)) for index in range(count))


def _attribute(attribute: h5a.AttrID) -> tuple[str, str | int | float]:
    """Name and value of an attribute."""
    name, kind, space = attribute.name.decode(), attribute.get_type(), attribute.get_space()
    if space.get_simple_extent_type() != h5s.SCALAR or attribute.get_storage_size() > LONGEST_ATTRIBUTE:
        raise DamageError(f"its attribute {in_short(name)} is no single value")
    match kind.get_class():
        case h5t.STRING:
            dtype = h5t.py_create(h5py.string_dtype()) if kind.is_variable_str() else kind
            value = np.empty((), object if kind.is_variable_str() else f"S{kind.get_size()}")
            attribute.read(value, mtype=dtype)
            text = value[()]
            text = text.decode() if isinstance(text, bytes) else text
            if not isinstance(text, str) or len(text) > LONGEST_ATTRIBUTE:
                raise DamageError(
                    f"its attribute {in_short(name)} is no text of at most {LONGEST_ATTRIBUTE} characters"
                )
            return name, text
        case h5t.INTEGER | h5t.FLOAT if kind.get_size() <= 8:
            number = np.empty((), kind.dtype)
            attribute.read(number)
            return name, number.item()
    raise DamageError(f"its attribute {in_short(name)} is neither text nor a number")


def _names(file: h5f.FileID) -> Place:
    data = _dataset(file, NAMES)
    kind, space = data.get_type(), data.get_space()
    if kind.get_class() != h5t.STRING or kind.is_variable_str() or not 1 <= kind.get_size() <= LONGEST_NAME:
        raise DamageError(f"filename holds no byte strings of one length from 1 to {LONGEST_NAME}")
    shape = space.get_simple_extent_dims()
    if space.get_simple_extent_type() != h5s.SIMPLE or len(shape) != 1 or not 1 <= shape[0] <= MOST_ROWS:
        raise DamageError(f"filename has the shape {in_short(shape)}, not (clips,), from 1 to {MOST_ROWS:,}")
    return f"S{kind.get_size()}", shape, data.get_offset()


def _column(file: h5f.FileID, name: str, dtype: np.dtype, expected: tuple[int | None, ...]) -> Place:
    """A column of this type and shape, where None is any length from 1 on."""
    data = _dataset(file, name)
    if not data.get_type().equal(h5t.py_create(dtype)):
        raise DamageError(f"{name} is not of the type {dtype}")
    space = data.get_space()
    shape = space.get_simple_extent_dims() if space.get_simple_extent_type() == h5s.SIMPLE else ()
    if len(shape) != len(expected) or not all(
        n == m or (m is None and n) for n, m in zip(shape, expected, strict=True)
    ):
        wanted = tuple("any" if m is None else m for m in expected)
        raise DamageError(f"{name} has the shape {shape}, not {wanted}")
    return dtype.str, shape, data.get_offset()


def _dataset(file: h5f.FileID, name: str) -> h5d.DatasetID:
    """A dataset whose values lie in this file, contiguous and as they are."""
    key = name.encode()
    if key not in file:
        raise DamageError(f"it has no {name}")
    if file.links.get_info(key).type != h5l.TYPE_HARD or h5o.get_info(file, key).type != h5o.TYPE_DATASET:
        raise DamageError(f"{name} is no dataset of this file")
    data = h5d.open(file, key)
    plan: h5p.PropDCID = data.get_create_plist()
    if plan.get_layout() != h5d.CONTIGUOUS or plan.get_nfilters() or plan.get_external_count():
        raise DamageError(f"{name} is not contiguous in this file (chunked, compressed, compact, virtual or external)")
    if data.get_offset() is None:
        raise DamageError(f"{name} has no place in the file")
    return data
