"""AudioSet's segments of videos: the names of their classes, and the sound files that people have of them.

Conventions: AudioSet is published as lists alone. Whoever has its sounds fetched them, never all of them, and named
them by the video, mostly with an extension of his own: those of NAMES are found, in any folder below that of the lists.
Sources: https://research.google.com/audioset/download.html and download_strong.html; of the names the loaders of
qiuqiangkong/audioset_tagging_cnn (utils/dataset.py: a Y before the video), marl/audiosetdl (utils.py:
get_media_filename, milliseconds), bakhtos/GoogleAudioSetScripts (audioset_download.py: both) and the data set
agkphysics/AudioSet on Hugging Face (the video alone).
"""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from data.errors import UserError, listed
from data.sound_files import list_sounds
from data.whereabouts import meant_root

METADATA = "metadata"  # a folder below the root that may have the lists, as that of audioset_tagging_cnn has
VIDEO = r"[\w-]{11}"
NAMES = "VIDEO, VIDEO_START or VIDEO_START_END (seconds or milliseconds), maybe with a Y before it"
_NAME = re.compile(rf"Y?({VIDEO})(?:_(\d+(?:\.\d+)?)(?:_(\d+(?:\.\d+)?))?)?", re.ASCII)

log = logging.getLogger(__name__)


class Segment(NamedTuple):
    """A part of a video: its eleven letters and digits, and the seconds from which to which it lasts; None: where it
    ends is not known."""

    video: str
    start: float
    end: float | None = None

    def __str__(self) -> str:
        until = "" if self.end is None else f" to {self.end:g}"
        return f"{self.video} from {self.start:g}{until} s"


def find_list(root: Path, name: str) -> Path:
    """A list of AudioSet in the folder of the data set, or in METADATA there.

    Raises:
        UserError: it is not there.
    """
    for path in (root / name, root / METADATA / name):
        if path.is_file():
            return path
    found = meant_root(root, name) or "; fetch it from https://research.google.com/audioset/download.html"
    raise UserError(f"{root} has no {name}, also not in {METADATA}/{found}")


def class_names(rows: Iterable[tuple[str, str]], path: Path) -> dict[str, str]:
    """What classes are called, by their machine identifiers, in the order of a vocabulary. Of those with one name each
    has the identifier in it.

    Args:
        rows: identifier and name.
        path: of the vocabulary, for messages.

    Raises:
        UserError: an identifier is there twice.
    """
    rows = list(rows)
    count = Counter(name for _, name in rows)
    if twice := sorted(mid for mid, n in Counter(mid for mid, _ in rows).items() if n > 1):
        raise UserError(f"{path} has {len(twice)} identifiers twice:\n{listed(twice)}\nfetch the file again")
    return {mid: name if count[name] == 1 else f"{name} ({mid})" for mid, name in rows}


def find_sounds(root: Path, segments: Sequence[Segment]) -> dict[Segment, str]:
    """The sound files of segments, relative to root; those that have none are passed over, counted and listed.

    Args:
        root: a folder, with the sounds at any depth.
        segments: each once.

    Raises:
        UserError: a segment has several files, a file may be of several segments, or no segment has one.
    """
    there = defaultdict[str, list[tuple[str, re.Match[str]]]](list)
    for path in list_sounds(root, deep=True).sounds:
        if match := _NAME.fullmatch(path.stem):
            there[match[1]].append((path.relative_to(root).as_posix(), match))
    found, owners, doubled = dict[Segment, str](), dict[str, Segment](), list[str]()
    for segment in segments:
        names = [name for name, match in there.get(segment.video, ()) if _is_of(match, segment)]
        if len(names) > 1:
            doubled.append(f"{segment}: {', '.join(names)}")
        elif names and (other := owners.setdefault(names[0], segment)) != segment:
            doubled.append(f"{names[0]}: of {other}, or {segment}")
        elif names:
            found[segment] = names[0]
    if doubled:
        raise UserError(
            f"{len(doubled)} segments have no sound file of their own below {root}:\n{listed(doubled)}\n"
            "keep one for each, or let data.root be a folder with the lists and such files"
        )
    if not found:
        raise UserError(
            f"{root} has no sound file of the {len(segments)} segments in the lists, also not in folders below it; "
            f"such files are named {NAMES}, for example Y{segments[0].video}.wav"
        )
    if missing := [str(segment) for segment in segments if segment not in found]:
        log.warning(
            "%s has no sound files of %d of %d segments, which are passed over:\n%s",
            *(root, len(missing), len(segments), listed(missing)),
        )
    return found


def _is_of(name: re.Match[str], segment: Segment) -> bool:
    """Whether a file is of this part of its video, by the times in its name if it has some."""
    return all(
        given is None or time is None or float(given) in (time, round(time * 1000))
        for given, time in ((name[2], segment.start), (name[3], segment.end))
    )
