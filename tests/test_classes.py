"""A folder with a folder of sounds for each class."""

from collections import Counter
from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.classes import read_classes


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def sounds(*classes: str, count: int = 10) -> list[str]:
    return [f"{name}/{n}.wav" for name in classes for n in range(count)]


def test_folders_are_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: 30 files by hand, some deeper, and what is no sound; about a fifth of each class for the test and 30 % of
    the rest for validation, as of a table; a folder without sounds is named and is no class."""
    root = touch(tmp_path, *sounds("owl", "cat"), *(f"été/may/{n}.FLAC" for n in range(10)), "LICENSE", "docs/a.pdf")
    clips = read_classes(root)
    assert clips.scenes == ("cat", "owl", "été")
    assert set(clips.filenames) == {*sounds("owl", "cat"), *(f"été/may/{n}.FLAC" for n in range(10))}
    assert all(clip.filename.split("/")[0] == clip.scene for clip in clips.clips)
    counts = Counter((clip.scene, clip.split) for clip in clips.clips)
    assert {counts[scene, "test"] for scene in clips.scenes} == {2}
    assert sum(counts[scene, "validation"] for scene in clips.scenes) == 7
    assert "1 folders hold no sounds and are no classes:\n  docs" in caplog.text
    assert {root / "owl", root / "été/may"} <= set(clips.sources)


def test_folders_of_splits_have_the_classes_in_them(tmp_path: Path) -> None:
    """Oracle: the folders, by hand."""
    names = {"train": "train", "Val": "validation", "test": "test"}
    root = touch(tmp_path, *(f"{split}/{name}" for split in names for name in sounds("owl", "cat", count=2)))
    clips = read_classes(root)
    assert clips.scenes == ("cat", "owl")
    assert all(clip.split == names[clip.filename.split("/")[0]] for clip in clips.clips)
    assert Counter(clip.split for clip in clips.clips) == dict.fromkeys(names.values(), 4)


WRONG = {
    "no sounds": (["owl/1.txt"], "holds no sound files, also not in folders below it"),
    "sounds in no class": ([*sounds("owl", "cat"), "3.wav"], r"1 sounds in no folder of a class:\n  3.wav\nmove each"),
    "sounds in a split": (
        [*sounds("train/owl", "train/cat"), "train/3.wav"],
        r"1 sounds in no folder .*\n  train/3.wav",
    ),
    "one class": (sounds("owl"), "has one class, owl: there must be two, each a folder of sounds$"),
    "nested": (
        sounds("set/owl", "set/cat"),
        r"one class, set: .*if its folders are the classes, say data.root=.*/set$",
    ),
    "untaught": ([*sounds("train/owl", "train/cat"), "test/bat/1.wav"], r"1 classes without train clips:\n  bat"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_folder_of_classes_is_a_message(tmp_path: Path, name: str) -> None:
    """Oracle: the message."""
    files, message = WRONG[name]
    with pytest.raises(UserError, match=message):
        read_classes(touch(tmp_path, *files))


def test_names_that_are_no_utf_8_are_a_message(tmp_path: Path) -> None:
    """Oracle: a name of Latin-1, which no table of answers could hold."""
    root = touch(tmp_path, *sounds("owl", "cat"))
    try:
        (root / "owl/caf\udce9.wav").touch()
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    with pytest.raises(UserError, match=r"1 names below .* are no UTF-8:\n  owl/caf"):
        read_classes(root)
