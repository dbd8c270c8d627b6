"""Names of clips and the order of the classes."""

from dataclasses import replace

import pytest

from data.errors import UserError
from data.scenes import SCENES, ClipSet, check_class_names, parse_filename


def test_the_classes_are_those_of_the_task_in_alphabetical_order() -> None:
    """Oracle: the column order of a DCASE Task 1 submission."""
    assert list(SCENES) == sorted(SCENES)
    assert (len(SCENES), SCENES[0], SCENES[3], SCENES[9]) == (10, "airport", "metro_station", "tram")


def test_classes_without_a_train_clip_are_known(miniature: ClipSet) -> None:
    """Oracle: all train clips of two classes taken away."""
    assert miniature.untaught == []
    rest = [clip for clip in miniature.clips if clip.split != "train" or clip.scene not in ("bus", "tram")]
    assert replace(miniature, clips=rest).untaught == ["bus", "tram"]


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
