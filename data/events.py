"""Sound events in files, and which of them a clip of a file has.

Conventions: times are seconds from the beginning of the file. Clip n of a file that is cut lasts from n to n + 1 times
the length of a clip; a file that is not cut is one clip, its beginning.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from data.scenes import ClipSet
from data.tables import decimal

# Seconds of an event that a clip must have: the resolution of AudioSet's strong labels (S. Hershey et al., The benefit
# of temporally-strong labels in audio event classification, ICASSP 2021, abstract).
LEAST = 0.1
_ROUNDING = 1e-6


class Event(NamedTuple):
    """What sounds from `start` to `end`."""

    start: float
    end: float
    label: str


def times(start: str, end: str) -> tuple[float, float] | str:
    """The times of an event as numbers; or, in words, what is wrong with them."""
    begins, ends = decimal(start), decimal(end)
    if not (math.isfinite(begins) and math.isfinite(ends)) or begins < 0:
        return f"{start} and {end} are no times in seconds"
    return (begins, ends) if begins <= ends else f"it begins at {start} s and ends before, at {end} s"


def heard(events: Sequence[Event], start: float, seconds: float) -> tuple[str, ...]:
    """The labels of the events that are heard from `start` on for `seconds`, sorted: of each event at least LEAST
    seconds, or half of it, or half of the clip, whichever is shortest. So an event that several clips in a row cover is
    heard in one of them at least."""
    end = start + seconds
    return tuple(sorted({each.label for each in events if each.start < end and _is_heard(each, start, end)}))


def _is_heard(event: Event, start: float, end: float) -> bool:
    least = min(LEAST, (event.end - event.start) / 2, (end - start) / 2)
    return min(event.end, end) - max(event.start, start) >= least - _ROUNDING


def with_events(clips: ClipSet, events: Mapping[str, Sequence[Event]], seconds: float) -> ClipSet:
    """A data set whose clips have the classes of the events that are heard in them.

    Args:
        clips: of a multi-label data set.
        events: of each sound file, by its name.
        seconds: length of a clip.
    """
    heard_in = [
        clip._replace(classes=heard(events[file], clip.part * seconds if clips.is_cut else 0.0, seconds))
        for clip, file in zip(clips.clips, clips.files, strict=True)
    ]
    return replace(clips, clips=heard_in)
