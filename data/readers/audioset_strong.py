"""The part of AudioSet with temporally strong labels: 120 thousand segments in which every event has its times.

Conventions: the folder holds `audioset_train_strong.tsv`, `audioset_eval_strong.tsv` (the test split) and
`mid_to_display_name.tsv`, or has them in `metadata/`; sounds are found as data/segments.py says. Classes are those of
the events in both lists, by name; a clip has those that are heard in it, as data/events.py says. A video is a location.
Source: https://research.google.com/audioset/download_strong.html
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from data import bibliography
from data.clip_sets import HeldOut, complete_set
from data.clip_table import ONE_DEVICE
from data.errors import UserError, in_short
from data.events import Event, times, with_events
from data.lines import read_lines, require_none
from data.readers import Reader, Settings
from data.resources import Resource
from data.scenes import Clip, ClipSet
from data.segments import VIDEO, Segment, class_names, find_list, find_sounds
from data.sound_files import folders_around

TRAIN, EVALUATION = "audioset_train_strong.tsv", "audioset_eval_strong.tsv"
VOCABULARY = "mid_to_display_name.tsv"
ROW = re.compile(rf"({VIDEO})_(\d{{1,9}})\t([^\t]+)\t([^\t]+)\t([^\t]+)", re.ASCII)
MEANING = "VIDEO_START (milliseconds), start, end and class, separated by tabs"
HEADER = re.compile("segment_id\tstart_time_seconds\tend_time_seconds\tlabel")
NAME = re.compile("([^\t]+)\t([^\t]+)")


def read_audioset_strong(
    root: str | Path,
    *,
    validation_fraction: float = 0.3,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
    cut: bool = False,
    clip_seconds: float = 1.0,
) -> ClipSet:
    """Read the lists, and find the sounds.

    Args:
        root: the folder of the lists and the sounds.
        validation_fraction, folds, fold, seed: which train videos are held out; see HeldOut.
        cut: whether each file is cut into clips of `clip_seconds`, and not one clip.
        clip_seconds: length of a clip.

    Raises:
        UserError: a list is missing or has bad lines (all of them listed), a segment has several sound files, or none
            has one.
    """
    root = Path(root)
    vocabulary, problems = find_list(root, VOCABULARY), list[str]()
    rows = read_lines(vocabulary, NAME, "an identifier and a name, separated by a tab", problems)
    require_none(problems, vocabulary)
    names = class_names([(mid, name) for _, (mid, name) in rows], vocabulary)
    paths = {find_list(root, name): split for name, split in ((TRAIN, "train"), (EVALUATION, "test"))}
    events, splits = defaultdict[Segment, list[Event]](list), dict[Segment, str]()
    for path, split in paths.items():
        for place, (video, begins, start, end, mid) in read_lines(path, ROW, MEANING, problems, header=HEADER):
            segment, span = Segment(video, int(begins) / 1000), times(start, end)
            if isinstance(span, str):
                problems.append(f"{place}: {span}")
            elif mid not in names:
                problems.append(f"{place}: {in_short(mid)} not in {VOCABULARY}")
            elif splits.setdefault(segment, split) != split:
                problems.append(f"{place}: {segment} is in {TRAIN} too")
            else:
                events[segment].append(Event(*span, names[mid]))
    require_none(problems, vocabulary.parent)
    sounds = find_sounds(root, list(events))
    of_files = {name: events[segment] for segment, name in sounds.items()}
    clips = [
        Clip(name, "", "", segment.video, name, 0, ONE_DEVICE, splits[segment], _labels(of_files[name]))
        for segment, name in sounds.items()
    ]
    found_set = complete_set(
        clips,
        name="audioset_strong",
        root=root,
        of=root,
        sources=[vocabulary, *paths, *folders_around(root, of_files)],
        held_out=HeldOut(validation_fraction=validation_fraction, folds=folds, fold=fold, seed=seed),
        cut_into=clip_seconds if cut else None,
        is_multi_label=True,
        vocabulary=tuple(sorted({each.label for found in events.values() for each in found})),
    )
    return with_events(found_set, of_files, clip_seconds)


def _labels(events: Sequence[Event]) -> tuple[str, ...]:
    return tuple(sorted({each.label for each in events}))


def _default_root(cache: Path, settings: Settings) -> Path:
    raise UserError(f"data=audioset_strong needs data.root=FOLDER, the folder with {TRAIN} and the sounds")


LINK = "https://research.google.com/audioset/download_strong.html"
LICENCE = "CC BY 4.0 (labels; sounds: those of their videos)"

AUDIOSET_STRONG = Reader(
    title="AudioSet with temporally strong labels",
    licence=LICENCE,
    citation=bibliography.AUDIOSET_STRONG,
    read=read_audioset_strong,
    default_root=_default_root,
    resources=(
        Resource("AudioSet with Temporally-Strong Labels", LINK, type="audio, video", licence="CC BY 4.0 (labels)"),
    ),
    is_multi_label=lambda _: True,
)
