"""Data sets by name, what each knows, and how one is added."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import ROOT

import data.readers
from data import registry
from data.errors import UserError
from data.readers import COMMON, fetch, impulse_folder, own_settings, read, reader_of, readers, root_of
from data.readers.synthetic import IMPULSE_FOLDER

THROW_AWAY = '''
"""A throw-away data set: three files whose names are their classes."""

from data.readers import Reader
from data.scenes import Clip, ClipSet


def read_three(root, *, language="finnish", splits=("train", "validation", "test"), cache=None):
    (cache / "three.txt").write_text(language)
    clips = [Clip(f"{split}.wav", language, "", split, split, 0, "a", split) for split in splits]
    return ClipSet("three", root, clips, scenes=(language, "english"))


THREE = Reader(
    title="Three files",
    licence="free",
    citation="nobody",
    read=read_three,
    default_root=lambda cache, settings: cache / settings["language"],
)
'''


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more module in the package, and nothing else."""
    (tmp_path / "readers").mkdir()
    (tmp_path / "readers" / "three.py").write_text(THROW_AWAY)
    monkeypatch.setattr(data.readers, "__path__", [*data.readers.__path__, str(tmp_path / "readers")])
    registry.discover.cache_clear()
    yield
    registry.discover.cache_clear()
    sys.modules.pop("data.readers.three", None)


@pytest.mark.usefixtures("three")
def test_a_new_data_set_is_one_module(tmp_path: Path) -> None:
    """Oracle: a module written into the package by the test: its settings are its own arguments, its clips its own, its
    cache and its folder those that it was given."""
    files = {path.stem for path in (ROOT / "data/readers").glob("[a-z]*.py")}
    assert set(readers()) == {"three", *files}
    assert {"folder", "tau22"} < files
    clips = read("three", None, {"language": "swedish", "root": None, "sample_rate": 32_000}, cache=tmp_path)
    assert (clips.root, clips.scenes) == (tmp_path / "swedish", ("swedish", "english"))
    assert (tmp_path / "three.txt").read_text() == "swedish"
    assert read("three", "here", {}, cache=tmp_path).scenes == ("finnish", "english")
    fetch("three", None, {"language": "swedish"}, cache=tmp_path, download=False)
    with pytest.raises(UserError, match=r"data.subset=50 means nothing to data=three"):
        read("three", "here", {"subset": 50}, cache=tmp_path)
    with pytest.raises(UserError, match=r"data.language=swedish means nothing to data=tau22"):
        read("tau22", "here", {"language": "swedish"}, cache=tmp_path)
    with pytest.raises(
        UserError,
        match=r"unknown data.kind 'four'; choose one of: audioset, audioset_strong, classes, cochlscene, dcase2013,",
    ):
        read("four", "here", {}, cache=tmp_path)


HELD_OUT = {"validation_fraction", "folds", "fold", "seed"}


def test_a_reader_s_settings_are_its_arguments() -> None:
    """Oracle: the settings that the documented yaml files of the data sets have."""
    known = {kind: set(reader.settings) for kind, reader in readers().items()}
    assert known == {
        "audioset": {"unbalanced", "cut", *HELD_OUT},
        "audioset_strong": {"cut", *HELD_OUT},
        "classes": {"test_fraction", "cut", *HELD_OUT},
        "cochlscene": set(),
        "dcase2013": {"test_fraction", *HELD_OUT},
        "esc50": {"test_fold", "validation_fold", *HELD_OUT},
        "folder": {
            *(
                "csv",
                "columns",
                "label_separator",
                "test_fold",
                "validation_fold",
                "test_fraction",
                "reference_device",
                "cut",
            ),
            *HELD_OUT,
        },
        "fsd50k": {"cut"},
        "synthetic": {"subset", *HELD_OUT},
        "tau22": {"part", "subset", "subset_lists", *HELD_OUT},
        "unlabelled": HELD_OUT,
        "urban_sed": {"cut"},
        "urbansound8k": {"test_fold", "validation_fold", *HELD_OUT},
    }
    for reader in readers().values():
        assert not set(COMMON) & set(reader.settings)
        assert reader.title
        assert reader.licence


def test_settings_of_another_data_set_are_refused_unless_they_are_its_defaults() -> None:
    """Oracle: by hand; all of them are named at once."""
    everything = {"kind": "x", "residency": "auto", "csv": None, "test_fraction": 0.2, "subset": 100, "seed": 7}
    assert own_settings("tau22", everything) == {"subset": 100, "seed": 7}
    assert own_settings("folder", everything) == {"csv": None, "test_fraction": 0.2, "seed": 7}
    with pytest.raises(UserError) as caught:
        own_settings("tau22", {**everything, "csv": "mine.csv", "test_fraction": 0.3, "colour": "red"})
    for setting in ("data.csv=mine.csv", "data.test_fraction=0.3", "data.colour=red"):
        assert f"{setting} means nothing to data=tau22: leave it out" in str(caught.value)
    with pytest.raises(UserError, match=r"data.subset=50 means nothing to data=folder"):
        own_settings("folder", {"subset": 50})


def test_a_data_set_without_a_folder_has_one_below_the_cache(tmp_path: Path) -> None:
    """Oracle: the names that earlier versions chose, which must be found again."""
    top = "TAU-urban-acoustic-scenes-2022-mobile-development"
    assert root_of("tau22", None, {}, cache=tmp_path) == tmp_path / top
    assert root_of("synthetic", None, {"seed": 3}, cache=tmp_path) == tmp_path / "synthetic-v1-3"
    assert root_of("folder", None, {"csv": "there/mine.csv"}, cache=tmp_path) == Path("there")
    assert root_of("folder", "here", {"csv": "there/mine.csv"}, cache=tmp_path) == Path("here")
    with pytest.raises(UserError, match=r"data.root=FOLDER \(with clips.csv\), or data.csv=FILE"):
        root_of("folder", None, {"csv": None}, cache=tmp_path)


def test_what_is_not_there_and_may_not_be_fetched_is_a_message(tmp_path: Path) -> None:
    """Oracle: the messages; an empty folder."""
    with pytest.raises(UserError, match=r"data.download=false forbids to fetch it"):
        fetch("tau22", tmp_path, {}, cache=tmp_path, download=False)
    fetch("folder", tmp_path, {}, cache=tmp_path, download=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("missing", ["train", "validation", "test"])
def test_an_empty_split_is_found_when_the_clips_are_read(tmp_path: Path, missing: str) -> None:
    """Oracle: a data set with two of the three splits."""
    splits = [split for split in ("train", "validation", "test") if split != missing]
    with pytest.raises(UserError, match=f"has no {missing} clips"):
        read("three", tmp_path, {"splits": splits}, cache=tmp_path)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("name", ["filename", "start", "scene_label"])
def test_a_class_that_is_called_as_a_column_is_found_when_the_clips_are_read(tmp_path: Path, name: str) -> None:
    """Oracle: the message; a table of its predictions could not be read."""
    with pytest.raises(UserError, match=f"classes are named {name}, which are columns"):
        read("three", tmp_path, {"language": name}, cache=tmp_path)


def test_only_the_challenge_s_data_are_the_challenge_s() -> None:
    """Oracle: DCASE Task 1, whose authors ask for two citations."""
    assert [kind for kind, reader in readers().items() if reader.is_challenge] == ["tau22"]
    assert "Heittola" in reader_of("tau22").citation
    assert "Martín-Morató" in reader_of("tau22").citation


def test_the_synthetic_set_has_responses_of_its_own(tmp_path: Path) -> None:
    """Oracle: the folder that it writes; the others have none."""
    assert impulse_folder("synthetic", tmp_path) == tmp_path / IMPULSE_FOLDER
    assert impulse_folder("tau22", tmp_path) is None
