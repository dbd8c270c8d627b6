"""Sound events with times: which of them a clip has, and the lists that they are published in."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzzing import mutants, survive
from multi_label import HEAD, JAMS, KEYS, SOUNDSCAPE

from data.errors import UserError
from data.events import LEAST, Event, heard, times, with_events
from data.lines import read_lines, require_none
from data.readers import audioset
from data.readers.urban_sed import read_annotation
from data.scenes import Clip, ClipSet

ROW = re.compile("([^\t]+)\t([^\t]+)\t([^\t]+)")


def read_events(path: Path) -> list[Event]:
    problems: list[str] = []
    found = []
    for place, (start, end, label) in read_lines(path, ROW, "start, end and class", problems):
        span = times(start, end)
        if isinstance(span, str):
            problems.append(f"{place}: {span}")
        else:
            found.append(Event(*span, label))
    require_none(problems, path)
    return found


def test_a_clip_has_the_classes_that_sound_in_it(tmp_path: Path) -> None:
    """Oracle: a published file of URBAN-SED, by hand: the air conditioner, from 3.91 s on, has less than 0.1 s in
    second 3; two soundings of one class are one class."""
    (tmp_path / "a.txt").write_text(SOUNDSCAPE)
    events = {"a.wav": read_events(tmp_path / "a.txt")}
    parts = [Clip(f"a.wav#{n}", "", "", "a", "a.wav", n, "d", "train") for n in range(10)]
    cut = with_events(ClipSet("x", tmp_path, parts, is_cut=True), events, 1.0)
    assert [clip.classes for clip in cut.clips] == [
        (),
        ("gun_shot", "jackhammer", "street_music"),
        ("jackhammer", "street_music"),
        ("street_music",),
        ("air_conditioner", "jackhammer", "street_music"),
        ("air_conditioner", "jackhammer"),
        ("air_conditioner",),
        (),
        (),
        ("dog_bark",),
    ]
    whole = ClipSet("x", tmp_path, [Clip("a.wav", "", "", "a", "a.wav", 0, "d", "train")])
    assert with_events(whole, events, 4.0).clips[0].classes == ("gun_shot", "jackhammer", "street_music")
    assert len(with_events(whole, events, 10.0).clips[0].classes) == 5


def test_the_least_that_must_be_heard() -> None:
    """Oracle: by hand: 0.1 s, or half of a shorter event, or half of a shorter clip; at the very border too, which no
    binary number meets."""
    for event, start, seconds, is_heard in [
        (Event(0.0, 4.1, "x"), 4.0, 1.0, True),
        (Event(0.0, 4.0999, "x"), 4.0, 1.0, False),
        (Event(0.9, 9.0, "x"), 0.0, 1.0, True),
        (Event(0.95, 1.07, "x"), 0.0, 1.0, False),
        (Event(0.95, 1.07, "x"), 1.0, 1.0, True),
        (Event(0.98, 1.02, "x"), 0.0, 1.0, True),
        (Event(0.98, 1.02, "x"), 1.0, 1.0, True),
        (Event(1.0, 1.0, "x"), 0.0, 1.0, False),
        (Event(1.0, 1.0, "x"), 1.0, 1.0, True),
        (Event(0.0, 1.0, "x"), 0.98, 0.05, False),
        (Event(0.0, 1.0, "x"), 0.96, 0.05, True),
    ]:
        assert heard([event], start, seconds) == (("x",) if is_heard else ()), (event, start)


@pytest.mark.parametrize("seconds", [0.05, 0.25, 1.0, 10.0])
def test_no_event_is_lost_between_clips(seconds: float) -> None:
    """Oracle: a law: clips in a row that cover an event have it at least once; and none that has less of it than was
    said, counted in tenths of milliseconds."""
    draw = np.random.default_rng(0)
    for start in draw.integers(0, 50_000, 30).tolist():
        for length in (0, 1, 50, 1500, 9999, 30_000):
            event = Event(start / 1e4, (start + length) / 1e4, "x")
            least = round(1e4 * min(LEAST, length / 2e4, seconds / 2)) - 1
            starts = [n * seconds for n in range(int(np.ceil(9 / seconds)))]
            having = [begin for begin in starts if heard([event], begin, seconds)]
            assert having, event
            for begin in having:
                first, last = round(begin * 1e4), round((begin + seconds) * 1e4)
                assert min(last, start + length) - max(first, start) >= least
                assert start < last


def test_what_is_no_event_is_named(tmp_path: Path) -> None:
    """Oracle: the lines, by hand; all of them in one message. Empty lines, CRLF and a byte order mark are none."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf0\t1.5\tdog\r\n\r\n2\t2\tcat\r\n")
    assert read_events(path) == [Event(0, 1.5, "dog"), Event(2, 2, "cat")]
    path.write_text("0\t1\tdog\n3\t2.5\tcat\nnan\t1\tcat\n-1\t1\tcat\n1e999\t2\tcat\n1\t2\n")
    with pytest.raises(UserError) as caught:
        read_events(path)
    for line in (
        f"{path} has 5 mistakes",
        "a.txt line 6: '1\\t2' is not start, end and class",
        "a.txt line 2: it begins at 3 s and ends before, at 2.5 s",
        "a.txt line 3: nan and 1 are no times in seconds",
        "a.txt line 4: -1 and 1 are no times in seconds",
        "a.txt line 5: 1e999 and 2 are no times in seconds",
    ):
        assert line in str(caught.value)
    path.write_text("\n")
    with pytest.raises(UserError, match=r"a.txt has no lines; each must be start, end and class"):
        read_events(path)
    path.write_text("0\t1\n" * 5_000)
    with pytest.raises(UserError, match=r"a.txt has 1001 mistakes"):
        read_events(path)
    path.write_bytes(b"0\t1\t\xff\n")
    with pytest.raises(UserError, match=r"a.txt is no list in UTF-8 \(byte 4\): fetch it again"):
        read_events(path)
    with pytest.raises(UserError, match=r"b.txt is missing"):
        read_events(tmp_path / "b.txt")


def read_segments(path: Path) -> None:
    problems: list[str] = []
    read_lines(path, audioset.ROW, audioset.MEANING, problems, header=audioset.COMMENT)
    require_none(problems, path)


def read_jams(path: Path) -> None:
    problems: list[str] = []
    read_annotation(path.rename(path.with_suffix(".jams")), problems)
    require_none(problems, path)


@pytest.mark.parametrize(
    ("reader", "original"),
    [
        (read_events, SOUNDSCAPE),
        pytest.param(read_segments, HEAD + KEYS, marks=pytest.mark.slow),  # two seconds each
        pytest.param(read_jams, JAMS, marks=pytest.mark.slow),
    ],
)
def test_damaged_lists_are_refused_or_read(
    tmp_path: Path, fuzz: int, reader: Callable[[Path], object], original: str
) -> None:
    """Oracle: fuzzing.py: within bounds, and with a message that names the file; a line of blanks alone takes no longer
    than others."""
    longest = ("long", (original + "-0RWZT-miFs," + " " * 1_000_000).encode())
    damaged = [longest, *mutants(original.encode(), fuzz)]
    assert survive(reader, original.encode(), damaged, tmp_path, "a.txt")
