"""Names in tables: which clip one means, and how a terminal shows it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from data.names import LONGEST_LINE, matched, printable

PARTS = st.text(st.sampled_from("ab0 .\u00fc"), min_size=1, max_size=2).filter(lambda part: part.strip(" ."))
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


def found(names: list[str], wanted: list[str]) -> dict[str, int]:
    """The places of all; nothing may be wrong."""
    places, wrong = matched(names, wanted, of="the set")
    assert wrong == []
    return places


@given(st.lists(PATHS, unique=True), st.randoms())
def test_names_as_they_are_mean_themselves(names: list[str], random) -> None:
    """Oracle: the place of each in a shuffled table, whatever the others are like."""
    table = random.sample(names, len(names))
    assert found(table, names) == {name: table.index(name) for name in names}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("left\\002.wav", "left/002.wav"),
        ("002.wav", "left/002.wav"),
        ("/data/set/left/002.wav", "left/002.wav"),
        ("C:\\set\\left\\002.wav", "left/002.wav"),
        (".\\left//002.wav", "left/002.wav"),
        (" left/002.wav", "left/002.wav"),
        (unicodedata.normalize("NFD", "m\u00fcll.wav"), "m\u00fcll.wav"),
        ("m\u00fcll.wav", unicodedata.normalize("NFD", "m\u00fcll.wav")),
    ],
)
def test_a_name_written_otherwise_means_the_only_clip_it_can(name: str, wanted: str) -> None:
    """Oracle: by hand: separators, folders left out or added, blanks, accents in one code point or two."""
    assert found(["right/003.wav", name], [wanted, "right/003.wav"]) == {wanted: 1, "right/003.wav": 0}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("002.wav", "002.wav: may be left/002.wav or right/002.wav; write the whole name"),
        ("other/002.wav", "other/002.wav: no clip of the set"),
        ("02.wav", "02.wav: no clip of the set"),
        ("", "row 2 has no filename"),
        ("left\\002.wav", "left\\002.wav: there twice, also as left/002.wav"),
        ("left/002.wav", "left/002.wav: there twice"),
    ],
)
def test_a_name_that_may_mean_several_or_none_is_named(name: str, message: str) -> None:
    """Oracle: by hand; what is left over is missing."""
    _, wrong = matched(["left/002.wav", name], ["left/002.wav", "right/002.wav"], of="the set")
    assert wrong == [message, "right/002.wav: missing"]


def test_names_that_differ_only_in_their_accents_are_two() -> None:
    """Oracle: file systems keep both; each means itself, and neither is guessed."""
    one, two = "\u00fc.wav", "u\u0308.wav"
    assert found([two, one], [one, two]) == {one: 1, two: 0}
    assert matched([f" {one}"], [one, two], of="the set")[1][0].startswith(f" {one}: may be ")


def test_many_names_with_one_last_part_are_no_long_work() -> None:
    """Oracle: a comparison of each with each would take half an hour."""
    names = [f"{number}/audio.wav" for number in range(30_000)]
    assert len(found([f"set/{name}" for name in names], names)) == 30_000
    assert len(matched(["audio.wav"] * 30_000, names, of="the set")[1]) == 60_000
    assert len(matched(["a/" * 100_000], names, of="the set")[1]) == 30_001


def test_what_moves_a_cursor_is_shown_as_an_escape() -> None:
    """Oracle: Python's escapes, by hand: ESC, CR, marks of direction, bytes that are no UTF-8."""
    for text, expected in {
        "a\x1b[2J": "a\\x1b[2J",
        "a\rb\nc\td": "a\\rb\nc\\td",
        "\u202eavw.x": "\\u202eavw.x",
        "m\udcfcll": "m\\xfcll",
        "\ud800": "\\ud800",
        "m\u00fcll \u65e5\u672c \\": "m\u00fcll \u65e5\u672c \\",
    }.items():
        assert printable(text) == str(UserError(text)) == expected
        assert printable(expected) == expected


def test_a_line_that_floods_a_terminal_loses_its_middle() -> None:
    """Oracle: its beginning and its end, and the other lines."""
    shown = printable("one\nfrom " + "x" * 1_000_000 + " to\nthree").split("\n")
    assert (shown[0], shown[1][:6], shown[1][-4:], shown[2]) == ("one", "from x", "x to", "three")
    assert len(shown[1]) <= LONGEST_LINE
