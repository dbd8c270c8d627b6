"""Any other data set: a table of sound files and their classes.

Conventions: the table is comma- or tab-separated with a header; `filename` (relative to the folder, or absolute; a `\\`
separates folders as `/` does) and `label` are required, `device`, `location` and `split` (train, validation, test or
unused) are not. Classes are the labels, in alphabetical order. Devices that train clips come from are "seen", the
others "unseen". Files of one location are never divided between train and validation; without that column every file
is a location of its own.
"""

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.errors import UserError, listed
from data.names import with_slashes
from data.readers import Reader, Settings
from data.scenes import SPLITS, Clip, ClipSet
from data.splits import hold_out
from data.tables import read_table

REQUIRED, OPTIONAL = ("filename", "label"), ("device", "location", "split")
ONE_DEVICE = "device"  # the name of all devices where none is given
TABLE = "clips.csv"

log = logging.getLogger(__name__)


def read_folder(
    root: str | Path,
    *,
    csv: str | Path | None = None,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.3,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
    reference_device: str | None = None,
) -> ClipSet:
    """Read a table of clips.

    Args:
        root: folder that filenames are relative to.
        csv: the table; `root/clips.csv` by default.
        test_fraction: share of the clips, by location, that becomes the test split where the table gives none.
        validation_fraction, folds, fold, seed: share of the train clips, by location, that becomes the validation
            split where the table gives none; see data/splits.py.
        reference_device: whose clips may be given another device's response; by default the device with most train
            clips.

    Raises:
        UserError: the table is missing, lacks columns or has bad rows (all of them listed).
    """
    root = Path(root)
    path = root / TABLE if csv is None else Path(csv)
    if not path.is_file():
        raise UserError(f"{path} is missing: a table with the columns filename and label; name it by data.csv=FILE")
    rows = _read(path)
    if problems := _problems(rows, root):
        raise UserError(f"{path} has bad rows ({len(problems)}):\n{listed(problems)}")
    clips = [
        Clip(r["filename"], r["label"], "", r["location"], r["filename"], 0, r["device"], r["split"]) for r in rows
    ]
    if shared := _divided(clips):
        raise UserError(f"{path} has {len(shared)} locations in more than one split:\n{listed(shared)}")
    given = {clip.split for clip in clips}
    if "test" not in given:
        log.info("%s names no test clips: about %g of each class is held out", path, test_fraction)
        clips = hold_out(clips, into="test", fraction=test_fraction, seed=seed)
    if "validation" not in given:
        clips = hold_out(clips, fraction=validation_fraction, folds=folds, fold=fold, seed=seed)
    elif folds is not None or fold is not None:
        raise UserError(f"{path} names validation clips: data.folds and data.fold do not apply, set them to null")
    log.info("folder: %s", ", ".join(f"{n} {split}" for split, n in Counter(c.split for c in clips).items()))
    devices = Counter(clip.device for clip in clips if clip.split == "train")
    if reference_device is None and devices:
        reference_device = max(sorted(devices), key=lambda device: devices[device])
    elif reference_device not in {clip.device for clip in clips}:
        raise UserError(f"data.reference_device={reference_device} is none of {path}: {', '.join(sorted(devices))}")
    found = ClipSet(
        name="folder",
        root=root,
        clips=clips,
        scenes=tuple(sorted({clip.scene for clip in clips})),
        device_groups=_groups(clips),
        reference_device=reference_device or ONE_DEVICE,
        sources=(path,),
    )
    if found.untaught:
        raise UserError(
            f"{path} has {len(found.untaught)} classes without train clips:\n{listed(found.untaught)}\n"
            "give them more locations, name the splits in a column, or take the classes out"
        )
    return found


def _read(path: Path) -> list[dict[str, str]]:
    """The rows, with the optional columns filled in."""
    table = read_table(path, REQUIRED)
    if unused := [column for column in table if column not in REQUIRED + OPTIONAL]:
        log.warning("%s: the columns %s are not used", path, ", ".join(unused))
    if "location" not in table:
        log.warning("%s has no column location: files of one recording may come to train and validation", path)
    count = len(table["filename"])
    defaults = {"device": (ONE_DEVICE,) * count, "location": table["filename"], "split": ("train",) * count}
    columns = [table[name] if name in table else defaults[name] for name in REQUIRED + OPTIONAL]
    columns[0] = [with_slashes(name) for name in columns[0]]
    # A blank behind a label would be another class; a filename may have one.
    columns[1:] = [[value.strip() for value in column] for column in columns[1:]]
    return [dict(zip(REQUIRED + OPTIONAL, row, strict=True)) for row in zip(*columns, strict=True)]


def _problems(rows: Sequence[Mapping[str, str]], root: Path) -> list[str]:
    """What is wrong with each row; line 1 is the header."""
    if not rows:
        return ["there are none"]
    if len({row["label"] for row in rows}) < 2:
        return [f"all have the label {rows[0]['label']!r}: there must be two classes"]
    problems: list[str] = []
    seen: dict[str, int] = {}
    for line, row in enumerate(rows, start=2):
        place = os.path.normpath(os.path.join(root, row["filename"]))
        if empty := [column for column, value in row.items() if not value.strip()]:
            problems.append(f"line {line}: no {', '.join(empty)}")
        elif place in seen:
            problems.append(f"line {line}: {row['filename']} is the file of line {seen[place]}")
        elif row["split"] not in SPLITS:
            problems.append(f"line {line}: split {row['split']!r} is none of {', '.join(SPLITS)}")
        seen.setdefault(place, line)
    return problems


def _divided(clips: Sequence[Clip]) -> list[str]:
    """Locations that have clips in more than one split, not counting unused ones."""
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        splits[clip.location].add(clip.split)
    return sorted(place for place, found in splits.items() if len(found - {"unused"}) > 1)


def _groups(clips: Sequence[Clip]) -> dict[str, tuple[str, ...]]:
    """Devices of train clips and others; none if all clips are of one device."""
    devices = {clip.device for clip in clips}
    seen = {clip.device for clip in clips if clip.split == "train"}
    groups = {"seen": tuple(sorted(seen)), "unseen": tuple(sorted(devices - seen))} if len(devices) > 1 else {}
    return {name: group for name, group in groups.items() if group}


def _default_root(cache: Path, settings: Settings) -> Path:
    """The folder of the table."""
    if (table := settings.get("csv")) is None:
        raise UserError("data=folder needs data.root=FOLDER (with clips.csv), or data.csv=FILE, or both")
    return Path(str(table)).parent


FOLDER = Reader(
    title="Folder of sound files",
    licence="that of the files",
    citation="",
    read=read_folder,
    default_root=_default_root,
)
