"""The file that is filled in place: whole rows or none."""

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
import pytest

from data.errors import UserError
from data.layout import Kind
from data.store import Store, create

COLUMNS = {"value": (np.float32, (3,)), "weight": (np.int16, ())}
KIND = Kind("test", COLUMNS, "delete it and make it again")


def make(path: Path, rows: int = 4) -> Store:
    create(path, [f"clip {i}" for i in range(rows)], COLUMNS, {"format": "test"})
    return Store(path, KIND)


def test_rows_written_in_place_are_what_hdf5_reads(tmp_path: Path) -> None:
    """Oracle: h5py's own reading of the file."""
    store = make(tmp_path / "s.h5")
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    store.fill([3, 1], value=values, weight=np.array([7, 8]))
    with h5py.File(tmp_path / "s.h5") as file:
        np.testing.assert_array_equal(file["value"][[1, 3]], values[::-1])
        assert list(file["weight"][[1, 3]]) == [8, 7]
        assert list(file["done"][:]) == [0, 1, 0, 1]
        assert file["value"].chunks is None
    assert list(Store(tmp_path / "s.h5", KIND).missing) == [0, 2]


def test_an_unfinished_store_names_the_missing_rows(tmp_path: Path) -> None:
    """Oracle: the rows left out by hand."""
    store = make(tmp_path / "s.h5")
    store.fill([0, 1, 2], value=np.zeros((3, 3)), weight=np.zeros(3))
    with pytest.raises(UserError, match=r"1 of 4 rows are missing:\n  clip 3"):
        store.require_done()
    with pytest.raises(UserError, match="no wave"):
        Store(store.path, Kind("test", {"wave": (np.int16, ())}, ""))


@pytest.mark.parametrize("damage", ["cut", "garbage", "other"])
def test_a_damaged_file_is_a_message(tmp_path: Path, damage: str) -> None:
    """Oracle: files spoilt by hand."""
    path = tmp_path / "s.h5"
    make(path)
    data = path.read_bytes()
    if damage == "other":
        with h5py.File(path, "w") as file:
            file["x"] = 1
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"no hdf5 at all")
    with pytest.raises(UserError, match="delete it and make it again"):
        Store(path, KIND)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_folder_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    """Oracle: a file where a folder is needed."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        create(tmp_path / "file" / "s.h5", ["a"], COLUMNS, {})


def test_a_store_is_filled_by_threads_without_pwrite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the same rows put by os.pwrite, byte for byte."""
    rows = np.random.default_rng(0).permutation(400).reshape(100, 4)

    def fill(path: Path) -> bytes:
        store = make(path, 400)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda some: store.put(some, value=np.repeat(some, 3).reshape(4, 3), weight=some), rows))
        store.commit(range(400))
        return path.read_bytes()

    expected = fill(tmp_path / "s.h5")
    monkeypatch.delattr(os, "pwrite")
    monkeypatch.delattr(os, "posix_fallocate")
    assert fill(tmp_path / "t.h5") == expected


def test_rows_that_are_reset_are_missing_again(tmp_path: Path) -> None:
    """Oracle: by hand; the values stay until others are put."""
    store = make(tmp_path / "s.h5")
    store.fill(range(4), value=np.ones((4, 3)), weight=np.arange(4))
    store.reset([2, 0])
    store.reset([])
    assert Store(store.path, KIND).missing.tolist() == [0, 2]
    assert store["weight"].tolist() == [0, 1, 2, 3]


def test_a_write_that_is_done_in_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the values, where the system takes five bytes a call at most, as POSIX allows it to."""
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, place: whole(file, bytes(data)[:5], place))
    store, values = make(tmp_path / "s.h5"), np.arange(12.0).reshape(4, 3)
    store.fill([3, 0, 1, 2], value=values, weight=np.array([1000, 2000, 3000, 4000]))
    assert store["value"].tolist() == values[[1, 2, 3, 0]].tolist()
    assert store["weight"].tolist() == [2000, 3000, 4000, 1000]


def test_room_is_reserved_before_hdf5_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the size of the finished file: what is reserved first is as much or at most 64 KiB more, for few rows and
    many, and for long attributes; the folders are made."""
    reserved = []
    monkeypatch.setattr(os, "posix_fallocate", lambda file, start, size: reserved.append(size))
    for rows, text in ((1, ""), (1000, ""), (1, "x" * 60_000), (10_000, "y")):
        path = tmp_path / str(rows) / str(len(text)) / "s.h5"
        create(path, [f"clip {i}" for i in range(rows)], COLUMNS, {"format": "test", "text": text})
        size = path.stat().st_size
        first, last = reserved[-2:]
        assert size <= first <= size + (64 << 10)
        assert last == size


@pytest.mark.parametrize("names", [["a", "b", "a"], ["a", "b\0c", "d"]])
def test_names_that_tell_no_row_are_refused(names: list[str], tmp_path: Path) -> None:
    """Oracle: the message, for a name that is there twice and for one with a zero byte."""
    create(tmp_path / "s.h5", names, COLUMNS, {"format": "test"})
    with pytest.raises(UserError, match="twice or holds a zero byte"):
        Store(tmp_path / "s.h5", KIND)


def test_a_store_is_laid_out_where_files_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a file that another handle has locked all along, which HDF5 refuses to open if it is to lock it."""
    held: list[int] = []

    def reserve(file: BinaryIO, _: int) -> None:
        if not held:
            held.append(os.open(file.name, os.O_RDONLY))
            fcntl.flock(held[0], fcntl.LOCK_EX)

    monkeypatch.setattr("data.store._reserve", reserve)
    assert len(make(tmp_path / "s.h5")) == 4
    os.close(held[0])


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [3, 1, 0, 2], [2], [0, 2, 3], []])
def test_rows_are_put_in_any_order(tmp_path: Path, rows: list[int]) -> None:
    """Oracle: NumPy's assignment by row numbers."""
    store, values = make(tmp_path / "s.h5"), np.arange(len(rows) * 3, dtype=np.float32).reshape(-1, 3)
    expected = np.zeros((4, 3), np.float32)
    expected[rows] = values
    store.fill(rows, value=values, weight=10 * np.arange(len(rows)))
    np.testing.assert_array_equal(store["value"][rows], expected[rows])
    assert store["weight"][rows].tolist() == [10 * number for number in range(len(rows))]
    assert store.missing.tolist() == [row for row in range(4) if row not in rows]


def test_a_row_is_done_or_not(tmp_path: Path) -> None:
    """Oracle: the message for the least value beside 0 and 1, as a flipped bit makes it."""
    make(tmp_path / "s.h5").fill([1], value=np.ones((1, 3)), weight=np.ones(1))
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["done"][2] = 2
    with pytest.raises(UserError, match="done holds other values than 0 and 1"):
        Store(tmp_path / "s.h5", KIND)
