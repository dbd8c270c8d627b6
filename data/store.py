"""An HDF5 file of rows that are filled in place, one row a clip, and never half read.

Conventions: a dataset `filename` names the rows; every other dataset is a contiguous column of the same length;
`done` is 1 for the rows that are complete. A new file is laid out under a temporary name and renamed; after that
HDF5's own structures never change again: rows are written straight to their place in the file, data first and `done`
last. A process that is killed leaves whole rows and unfinished ones, nothing in between, and the next one goes on.
"""

import math
import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from data.errors import UserError, in_short, listed
from data.files import cannot_write, replacing
from data.layout import DONE, NAMES, Column, DamageError, Kind, read_layout

HEADERS = 65_536  # bytes: at most what HDF5 needs besides

Columns = Mapping[str, tuple[np.dtype | type, tuple[int, ...]]]  # name -> type, and shape of one row
Rows = Sequence[int] | np.ndarray

SOME = 65_536  # names that are read at once


def create(path: Path, filenames: Sequence[str], columns: Columns, attributes: Mapping[str, object]) -> None:
    """Lay out an empty store.

    Raises:
        UserError: the folder cannot be written, or has no room for the file.
    """
    rows = len(filenames)
    wanted = {**columns, DONE: (np.uint8, ())}
    names = np.char.encode(np.asarray(filenames), "utf-8")
    size = names.nbytes + sum(len(str(value)) for value in attributes.values()) + HEADERS
    size += sum(rows * np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in wanted.values())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            # A full disk is found before HDF5 meets it, which may crash, and before the work, not in the middle of it.
            with open(temporary, "wb") as file:
                _reserve(file, size)
            with h5py.File(temporary, "w", libver="latest", locking=False) as store:  # it has no other user
                store.attrs.update(attributes)
                store.create_dataset(NAMES, data=names)
                for name, (dtype, shape) in wanted.items():
                    _allocate(store, name, np.dtype(dtype), (rows, *shape))
            with open(temporary, "r+b") as file:
                _reserve(file, temporary.stat().st_size)
                os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def _reserve(file: BinaryIO, size: int) -> None:
    """Give a file its blocks on the disk, or fail.

    Raises:
        OSError: there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


def _allocate(file: h5py.File, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """A contiguous dataset whose bytes have their final place in the file at once (h5py's default allocates late)."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_obj_track_times(False)  # equal content makes equal files
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_ALLOC if name == DONE else h5py.h5d.FILL_TIME_NEVER)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype), h5py.h5s.create_simple(shape), plan)


class DamagedStoreError(UserError):
    """A file that is there and is no whole store of the kind that is expected.

    Attributes:
        reason: what is wrong with it.
    """

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(f"{path} is damaged, or another kind of file: {reason}; {remedy}")
        self.reason = reason


class Store:
    """An open store. Columns are read as memory maps: `store["wave"][rows]`.

    Attributes:
        path, kind: the file, and what it must hold.
        filenames: the rows' names.
        attributes: what the writer said of the file; texts and numbers.
    """

    def __init__(self, path: Path, kind: Kind) -> None:
        """Open an existing store.

        Raises:
            DamagedStoreError: the file is no such store, or not whole.
            UserError: it is missing, or may not be read.
        """
        self.path, self.kind = Path(path), kind
        try:
            layout = read_layout(self.path, kind)
            self.attributes = layout.attributes
            self.filenames = _names(self._map(layout.filenames))
            self._offsets = {name: column.offset for name, column in layout.columns.items()}
            self._columns = {name: self._map(column) for name, column in layout.columns.items()}
            if (self[DONE] > 1).any():
                raise DamageError(f"{DONE} holds other values than 0 and 1")
        except FileNotFoundError:
            raise UserError(f"{self.path} does not exist") from None
        except (DamageError, ValueError) as error:  # ValueError: it became shorter after its size was checked
            raise self.damaged(str(error)) from error
        except OSError as error:
            raise UserError(f"{self.path} cannot be read ({error.strerror}): check its permissions") from error

    def damaged(self, reason: str) -> DamagedStoreError:
        """The error that says what is wrong with the file."""
        return DamagedStoreError(self.path, reason, self.kind.remedy)

    def _map(self, column: Column) -> np.ndarray:
        return np.memmap(self.path, column.dtype, mode="r", offset=column.offset, shape=column.shape)

    def __getitem__(self, column: str) -> np.ndarray:
        return self._columns[column]

    def __len__(self) -> int:
        return len(self.filenames)

    @property
    def columns(self) -> set[str]:
        """Names of the columns."""
        return set(self._columns)

    @property
    def missing(self) -> np.ndarray:
        """Rows that are not done yet, int64."""
        return np.flatnonzero(self[DONE] == 0)

    def require_done(self) -> None:
        """Check that every row is done.

        Raises:
            UserError: rows are unfinished.
        """
        if len(missing := self.missing):
            names = listed([self.filenames[i] for i in missing])
            raise UserError(
                f"{self.path} is unfinished, {len(missing)} of {len(self)} rows are missing:\n{names}\n"
                "write it again: what is there is kept"
            )

    def reset(self, rows: Rows) -> None:
        """Mark rows as not done."""
        if len(rows):
            self._mark(rows, 0)

    def put(self, rows: Rows, **values: np.ndarray) -> None:
        """Write rows to their places, one array a column; they count only once they are committed.

        Several threads may put different rows at the same time.
        """
        order = np.argsort(rows)
        in_order = bool((order == np.arange(len(order))).all())  # which spares a copy
        runs = _runs(np.asarray(rows)[order])
        with open(self.path, "r+b") as file:
            for name, array in values.items():
                array = np.ascontiguousarray(array, self[name].dtype)
                array = array if in_order else array[order]
                for start, row, count in runs:
                    place = self._offsets[name] + row * array[:1].nbytes
                    _write(file.fileno(), array[start : start + count].data, place)

    def commit(self, rows: Rows) -> None:
        """Mark rows done, once what was put is on the disk.

        Raises:
            OSError: the disk failed; no row is marked done.
        """
        with open(self.path, "r+b") as file:
            os.fsync(file.fileno())
        self._mark(rows, 1)

    def fill(self, rows: Rows, **values: np.ndarray) -> None:
        """Put rows and commit them.

        Raises:
            UserError: the disk failed; no row is marked done.
        """
        try:
            self.put(rows, **values)
            self.commit(rows)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _mark(self, rows: Rows, done: int) -> None:
        with open(self.path, "r+b") as file:
            for _, row, count in _runs(np.sort(rows)):
                _write(file.fileno(), bytes([done]) * count, self._offsets[DONE] + row)


def _names(column: np.ndarray) -> list[str]:
    """The rows' names.

    Raises:
        DamageError: one is not UTF-8, or there twice.
    """
    names: dict[str, None] = {}
    parts = (column[start : start + SOME].tolist() for start in range(0, len(column), SOME))
    for row, name in enumerate(chain.from_iterable(parts)):
        try:
            text = name.decode("utf-8")
        except UnicodeDecodeError:
            raise DamageError(f"{NAMES} of row {row} is not UTF-8: {in_short(name)}") from None
        if text in names or "\0" in text:
            raise DamageError(f"{NAMES} of row {row}, {in_short(text)}, is there twice or holds a zero byte")
        names[text] = None
    return list(names)


def _runs(rows: np.ndarray) -> list[list[int]]:
    """Sorted rows as runs of neighbours: [position of its first in `rows`, its first row, its length]."""
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    lengths = np.diff(starts, append=len(rows))
    return np.stack([starts, rows[starts], lengths], axis=1).tolist()


def _write(descriptor: int, data: bytes | memoryview, place: int) -> None:
    """All of the data: on a disk that is filling up, a call may write a part of them before it fails."""
    rest = memoryview(data).cast("B")
    while rest:
        written = _write_at(descriptor, rest, place)
        rest, place = rest[written:], place + written


def _write_at(descriptor: int, data: memoryview, place: int) -> int:
    """os.pwrite, which not every system has. Each caller has opened the file for itself, so nobody moves its place."""
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, place)
    os.lseek(descriptor, place, os.SEEK_SET)
    return os.write(descriptor, data)
