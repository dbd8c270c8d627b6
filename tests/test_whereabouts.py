"""Folders of data sets that are named a little wrong."""

from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.folder import read_folder
from data.readers.tau22 import fetch_tau22, read_tau22
from data.whereabouts import DEEP, meant_root, tables_below


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_nearest_folder_that_has_the_file_is_named(tmp_path: Path) -> None:
    """Oracle: three folders made by hand, one hidden, one too deep; and the folder around."""
    deep = tmp_path.joinpath("set", *"abcd"[: DEEP + 1])
    put(tmp_path / "set/b/meta.csv", tmp_path / "set/a/x/meta.csv", tmp_path / "set/.h/meta.csv", deep / "meta.csv")
    near = tmp_path / "set/b"
    assert (
        meant_root(tmp_path / "set", "meta.csv")
        == f"; {near} has meta.csv; so has 1 other folder: say data.root={near}"
    )
    assert meant_root(near / "audio", "meta.csv") == f"; {near} has meta.csv: say data.root={near}"
    assert meant_root(tmp_path / "set", "other.csv") == ""
    assert meant_root(tmp_path / "nowhere/at/all", "meta.csv") == ""


def test_tau22_says_which_folder_has_the_lists(tmp_path: Path) -> None:
    """Oracle: the lists one folder deeper, as the published archives unpack; reading and fetching say the same, and
    nothing is fetched."""
    inside = tmp_path / "set/TAU-urban-acoustic-scenes-2022-mobile-development"
    put(inside / "meta.csv")
    put(inside / "audio/x.wav")
    for root in (inside.parent, inside / "audio"):
        with pytest.raises(UserError, match=f"has no meta.csv.*{inside} has meta.csv: say data.root={inside}$"):
            read_tau22(root)
        for download in (False, True):
            with pytest.raises(UserError, match=f"{inside} has meta.csv: say data.root={inside}$"):
                fetch_tau22(root, tmp_path / "cache", {}, download)


def test_a_folder_without_its_table_names_the_tables_that_there_are(tmp_path: Path) -> None:
    """Oracle: tables by hand; clips.csv itself is the folder's, any other is named."""
    (tmp_path / "a/audio").mkdir(parents=True)
    with pytest.raises(UserError, match=r"name it by data.csv=FILE$"):
        read_folder(tmp_path / "a")
    put(tmp_path / "a/meta/esc50.csv")
    with pytest.raises(UserError, match=r"data.csv=FILE; there are .*a/meta/esc50.csv$"):
        read_folder(tmp_path / "a")
    put(tmp_path / "a/b/clips.csv")
    with pytest.raises(UserError, match=r"a/b has clips.csv: say data.root=.*a/b$"):
        read_folder(tmp_path / "a")
    put(*(tmp_path / f"many/{n}.tsv" for n in range(5)))
    assert tables_below(tmp_path / "many").endswith("2.tsv and 2 more")
