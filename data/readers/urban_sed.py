"""URBAN-SED, 10,000 synthetic soundscapes of ten seconds with some of ten sounds of cities, in its authors' splits.

Conventions: the folder holds `audio/` and `annotations/`, both with `train/`, `validate/` and `test/`; a sound
`audio/train/X.wav` has its events in `annotations/train/X.txt`: start, end and class, separated by tabs. The JAMS file
`X.jams` beside it says more of the same events, and is read where there is no text. A clip has the classes that are
heard in it, as data/events.py says. The published sounds are UrbanSound8K's, of its folds 1-6, 7-8 and 9-10.
Source: URBAN-SED 2.0, https://zenodo.org/record/1324404, and its README
"""

import json
import re
from pathlib import Path

from data import bibliography
from data.clip_sets import HeldOut, complete_set
from data.clip_table import ONE_DEVICE
from data.errors import UserError, in_short
from data.events import Event, times, with_events
from data.files import read_bounded
from data.lines import Line, read_lines, require_none
from data.named_files import sounds_by_stem
from data.readers import Reader, Settings
from data.resources import Resource
from data.scenes import Clip, ClipSet
from data.sound_files import list_sounds
from data.whereabouts import meant_root

SPLITS = {"train": "train", "validate": "validation", "test": "test"}
CLASSES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)
JAMS, JAMS_BYTES = ".jams", 1 << 20  # of a file; a published one has 11 kB
ROW = re.compile("([^\t]+)\t([^\t]+)\t([^\t]+)")


def read_urban_sed(root: str | Path, *, cut: bool = False, clip_seconds: float = 1.0) -> ClipSet:
    """Read the three splits.

    Args:
        root: the folder that holds `audio/` and `annotations/`.
        cut: whether each file is cut into clips of `clip_seconds`, and not one clip.
        clip_seconds: length of a clip.

    Raises:
        UserError: a split is missing, or files have no annotations, or annotations no file or bad lines (all of them
            listed).
    """
    root = Path(root)
    folders = [f"{kind}/{split}" for kind in ("audio", "annotations") for split in SPLITS]
    if missing := [folder for folder in folders if not (root / folder).is_dir()]:
        raise UserError(f"{root} has no {', '.join(missing)}{meant_root(root, missing[0])}")
    events, clips, problems = dict[str, list[Event]](), list[Clip](), list[str]()
    for folder, split in SPLITS.items():
        for file, found in _annotated(root, folder, problems).items():
            events[file] = found
            labels = tuple(sorted({each.label for each in found}))
            clips.append(Clip(file, "", "", file, file, 0, ONE_DEVICE, split, labels))
    require_none(problems, root)
    found_set = complete_set(
        clips,
        name="urban_sed",
        root=root,
        of=root,
        sources=[root / folder for folder in folders],
        held_out=HeldOut(),
        cut_into=clip_seconds if cut else None,
        is_multi_label=True,
        vocabulary=CLASSES,
    )
    return with_events(found_set, events, clip_seconds)


def _annotated(root: Path, folder: str, problems: list[str]) -> dict[str, list[Event]]:
    """The events of each sound file of a split; what is wrong is added to the problems."""
    sounds, found = sounds_by_stem(root, f"audio/{folder}"), dict[str, list[Event]]()
    others = sorted(list_sounds(root / f"annotations/{folder}").others, key=lambda path: path.suffix)
    texts = {path.stem: path for path in others if path.suffix in (JAMS, ".txt")}  # the text, if there are both
    for stem in sorted({*sounds, *texts}):
        files = sounds.get(stem, [])
        if stem not in texts:
            problems.append(f"{files[0]}: no annotations/{folder}/{stem}.txt")
        elif len(files) != 1:
            there = f"several sound files, {', '.join(files)}" if files else f"no audio/{folder}/{stem}.wav"
            problems.append(f"annotations/{folder}/{texts[stem].name}: {there}")
        else:
            found[files[0]] = read_annotation(texts[stem], problems)
    return found


def read_annotation(path: Path, problems: list[str]) -> list[Event]:
    """The events of a text or JAMS file; what is wrong with them is added to the problems."""
    found = []
    for place, (start, end, label) in _rows(path, problems):
        span = times(start, end)
        if isinstance(span, str):
            problems.append(f"{place}: {span}")
        elif label not in CLASSES:
            problems.append(f"{place}: {in_short(label)} is none of {', '.join(CLASSES)}")
        else:
            found.append(Event(*span, label))
    return found


def _rows(path: Path, problems: list[str]) -> list[Line]:
    """Start, end and class of each event as text; of a JAMS file those in the foreground, as text files have them."""
    if path.suffix != JAMS:
        return read_lines(path, ROW, "start, end and class, separated by tabs", problems)
    try:
        events = json.loads(read_bounded(path, JAMS_BYTES))["annotations"][0]["data"]
        return [
            Line(f"{path.name} event {n}", (f"{each['time']}", f"{each['time'] + each['duration']}", value["label"]))
            for n, each in enumerate(events)
            if (value := each["value"])["role"] == "foreground"
        ]
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        problems.append(f"{path.name} is no JAMS file of scaper's")
        return []


def _default_root(cache: Path, settings: Settings) -> Path:
    raise UserError("data=urban_sed needs data.root=FOLDER, the folder with audio/ and annotations/")


MINUTES = 10_000 * 10 / 60
LICENCE = "CC BY 4.0"

URBAN_SED = Reader(
    title="URBAN-SED",
    licence=LICENCE,
    citation=bibliography.URBAN_SED,
    read=read_urban_sed,
    default_root=_default_root,
    resources=(Resource("Urban-SED", "http://urbansed.weebly.com/", MINUTES, licence=LICENCE),),
    is_multi_label=lambda _: True,
)
