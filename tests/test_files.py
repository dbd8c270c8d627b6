"""A file is there whole, or as it was before."""

import hashlib
import os
import threading
from pathlib import Path

import pytest

from data.errors import UserError
from data.files import file_sha256, replacing, write_whole


def test_a_file_is_replaced_at_the_end_and_not_before(tmp_path: Path) -> None:
    """Oracle: the old content while the new one is being written, then the new one, and nothing besides."""
    path = write_whole(tmp_path / "x", "alt \u00e4")
    assert path.read_bytes() == "alt \u00e4".encode()
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == "alt \u00e4".encode()
        assert temporary.parent == path.parent
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("there", [True, False])
def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path, there: bool) -> None:
    """Oracle: the folder as it was."""
    if there:
        (tmp_path / "x").write_bytes(b"old")

    def write_a_half() -> None:
        with replacing(tmp_path / "x") as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_a_half()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == ({"x": b"old"} if there else {})


def test_only_files_are_replaced(tmp_path: Path) -> None:
    """Oracle: a pipe, a link to one and a folder, which are still what they were."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "link", "folder"):
        with pytest.raises(UserError, match=f"{name} is (no regular file|a folder)"):
            write_whole(tmp_path / name, b"x")
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["folder", "link", "pipe"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    """Oracle: open(), which writes to where a link points."""
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "x")
    for content in (b"1", b"2"):
        write_whole(tmp_path / "link", content)
        assert (tmp_path / "there" / "x").read_bytes() == content
    assert (tmp_path / "link").is_symlink()


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    """Oracle: two whole contents, read again and again while they replace each other."""
    contents, path = {b"a" * 2_000_000, b"b" * 2_000_000}, tmp_path / "x"
    write_whole(path, min(contents))
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                write_whole(path, content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert {path.read_bytes() for _ in range(200)} <= contents
    finally:
        stop.set()
        writer.join()


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    """Oracle: the example of FIPS 180-2, appendix B.1; hashlib on the bytes at once."""
    assert file_sha256(write_whole(tmp_path / "x", b"abc")).startswith("ba7816bf8f01cfea")
    long = bytes(range(256)) * 20_000
    assert file_sha256(write_whole(tmp_path / "y", long)) == hashlib.sha256(long).hexdigest()
