"""Names of clips and the order of the classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.clip_sets import HeldOut, complete_set
from data.errors import UserError
from data.scenes import SCENES, Clip, ClipSet, check_class_names, parse_filename


def test_the_classes_are_those_of_the_task_in_alphabetical_order() -> None:
    """Oracle: the column order of a DCASE Task 1 submission."""
    assert list(SCENES) == sorted(SCENES)
    assert (len(SCENES), SCENES[0], SCENES[3], SCENES[9]) == (10, "airport", "metro_station", "tram")


def test_classes_without_a_train_clip_are_known(miniature: ClipSet) -> None:
    """Oracle: all train clips of two classes taken away."""
    assert miniature.untaught == []
    rest = [clip for clip in miniature.clips if clip.split != "train" or clip.scene not in ("bus", "tram")]
    assert replace(miniature, clips=rest).untaught == ["bus", "tram"]


@pytest.fixture
def several() -> ClipSet:
    """A multi-label set of four clips, made as a reader makes one."""
    classes = {"a": ("dog", "rain"), "b": ("rain",), "c": (), "d": ("dog", "cat, meow")}
    splits = ("train", "train", "validation", "train")
    clips = [
        Clip(name, "", "", name, name, 0, "a", split, own)
        for split, (name, own) in zip(splits, classes.items(), strict=True)
    ]
    clips.append(clips[0]._replace(filename="e", location="e", split="test"))
    return complete_set(
        clips, name="several", root=Path("x"), of=Path("x"), sources=[], held_out=HeldOut(), is_multi_label=True
    )


def test_a_clip_of_a_multi_label_set_has_all_of_its_classes_or_none(several: ClipSet) -> None:
    """Oracle: the matrix written by hand, columns in alphabetical order; what the train clips lack is untaught."""
    assert several.scenes == ("cat, meow", "dog", "rain")
    wanted = [[0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 1, 0], [0, 1, 1]]
    assert several.label_matrix.dtype == bool
    assert several.label_matrix.tolist() == np.array(wanted, bool).tolist()
    assert several.untaught == []
    assert replace(several, clips=several.clips[:3]).untaught == ["cat, meow"]


def test_class_numbers_of_a_multi_label_set_are_refused_in_one_place(several: ClipSet) -> None:
    """Oracle: the message; a set without labels says that instead, whoever asks."""
    with pytest.raises(UserError, match="several in x has several classes a clip: give a data set with one class"):
        _ = several.labels
    for unknown in (replace(several, is_labelled=False), replace(several, is_labelled=False, is_multi_label=False)):
        for ask in ("labels", "label_matrix"):
            with pytest.raises(UserError, match="has no labels"):
                getattr(unknown, ask)


def test_one_class_a_clip_is_one_true_value_a_row(miniature: ClipSet) -> None:
    """Oracle: the law of one-hot rows: each sums to 1, and its greatest is at the class number."""
    assert (miniature.label_matrix.sum(axis=1) == 1).all()
    assert (miniature.label_matrix.argmax(axis=1) == miniature.labels).all()


def test_a_clip_with_one_class_is_described_as_by_earlier_versions() -> None:
    """Oracle: the line of version 0.2.0, of which fingerprints of data sets in runs and logits files are made; other
    classes are another line."""
    clip = parse_filename("audio/tram-lyon-1-2-3-a.wav", "train")
    assert clip.described() == "audio/tram-lyon-1-2-3-a.wav\ttram\tlyon\tlyon-1\ttram-lyon-1-2-a\t3\ta\ttrain"
    named = [clip._replace(scene="", classes=classes).described() for classes in (("x", "y"), ("x",), ("x, y",))]
    assert len({*named}) == 3


def test_a_name_holds_everything_about_its_clip() -> None:
    """Oracle: a name from the published meta.csv, taken apart by hand."""
    clip = parse_filename("audio/metro_station-lisbon-1000-40123-7-s5.wav")
    assert (clip.scene, clip.city, clip.location, clip.part, clip.device) == (
        "metro_station",
        "lisbon",
        "lisbon-1000",
        7,
        "s5",
    )
    assert clip.recording == parse_filename("audio/metro_station-lisbon-1000-40123-0-s5.wav").recording
    assert clip.recording != parse_filename("audio/metro_station-lisbon-1000-40123-7-a.wav").recording


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("audio/forest-lisbon-1000-40123-7-a.wav", "choose one of: airport"),
        ("audio/tram-lisbon-1000-40123-7-s9.wav", "choose one of: a, b, c"),
        ("audio/tram-lisbon.wav", "restore the official name"),
    ],
)
def test_a_strange_name_is_refused_with_the_choices(name: str, advice: str) -> None:
    """Oracle: the message."""
    with pytest.raises(UserError, match=advice):
        parse_filename(name)


@pytest.mark.parametrize("name", ["rue\u00a0x", "\u0645\u06cc\u200c\u0631", "a\tb", "caf\u00e9", "x" * 200, '"a", b'])
def test_what_scripts_write_may_name_a_class(name: str) -> None:
    """Oracle: no error, for a no-break space, a zero-width non-joiner of Persian, a tab, an accent, 200 letters."""
    check_class_names(["bus", name])


@pytest.mark.parametrize("name", ["", "  ", "a\x1b[31m", "a\nb", "a\rb", "a\0", "a\u2028b", "a\ud800", "x" * 201])
def test_what_controls_a_terminal_or_is_no_text_names_no_class(name: str) -> None:
    """Oracle: the message, which has the name as Python writes it."""
    with pytest.raises(UserError, match=r"classes are named .*no control characters: rename them"):
        check_class_names(["bus", name])
