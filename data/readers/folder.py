"""Any other data set: a table of sound files and their classes.

Conventions: the table is comma- or tab-separated with a header; `filename` (relative to the folder, or absolute; a `\\`
separates folders as `/` does, unless there is a file of that very name) and `label` are required, `device`, `location`
and `split` (train, validation, test or unused) are not. Classes are the labels, in alphabetical order. Devices that
train clips come from are "seen", the others "unseen". Files of one location are never divided between train and
validation; without that column every file is a location of its own.
"""

import logging
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.errors import UserError, listed, quoted
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
    rows = _read(path, root)
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


def _read(path: Path, root: Path) -> list[dict[str, str]]:
    """The rows, with the optional columns filled in."""
    table = read_table(path, REQUIRED)
    if unused := [column for column in table if column not in REQUIRED + OPTIONAL]:
        log.warning("%s: the columns %s are not used", path, ", ".join(map(quoted, unused)))
    if "location" not in table:
        log.warning("%s has no column location: files of one recording may come to train and validation", path)
    count = len(table["filename"])
    defaults = {"device": (ONE_DEVICE,) * count, "location": table["filename"], "split": ("train",) * count}
    columns = [table[name] if name in table else defaults[name] for name in REQUIRED + OPTIONAL]
    columns[0] = [_as_found(name, root) for name in columns[0]]
    # A blank behind a label would be another class; a filename may have one.
    columns[1:] = [[value.strip() for value in column] for column in columns[1:]]
    return [dict(zip(REQUIRED + OPTIONAL, row, strict=True)) for row in zip(*columns, strict=True)]


def _as_found(name: str, root: Path) -> str:
    """A name from the table, with slashes if only so there is a file."""
    meant = _meant(name, root)
    return meant if meant == name or os.path.exists(os.path.join(root, meant)) else name


def _meant(name: str, root: Path) -> str:
    """A name from the table, with slashes unless there is a file of the name as it stands."""
    return name if "\\" not in name or os.path.exists(os.path.join(root, name)) else with_slashes(name)


def _place(name: str, root: Path, folders: dict[str, str]) -> str:
    """Where a file lies, absolute, its folder without links (`folders` keeps those that were asked for)."""
    folder, last = os.path.split(os.path.join(root, _meant(name, root)))
    if folder not in folders:
        try:
            folders[folder] = os.path.realpath(folder)
        except (OSError, ValueError):  # ValueError: a name with a zero byte
            folders[folder] = os.path.abspath(folder)
    return os.path.join(folders[folder], last)


def _problems(rows: Sequence[Mapping[str, str]], root: Path) -> list[str]:
    """What is wrong with each row; line 1 is the header."""
    if not rows:
        return ["there are none"]
    if len({row["label"] for row in rows}) < 2:
        return [f"all have the label {rows[0]['label']!r}: there must be two classes"]
    problems: list[str] = []
    seen: dict[str, int] = {}
    folders: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        place = _place(row["filename"], root, folders)
        if empty := [column for column, value in row.items() if not value.strip()]:
            problems.append(f"line {line}: no {', '.join(empty)}")
        elif place in seen:
            problems.append(f"line {line}: {row['filename']} is the file of line {seen[place]}")
        elif row["split"] not in SPLITS:
            problems.append(f"line {line}: split {row['split']!r} is none of {', '.join(SPLITS)}")
        seen.setdefault(place, line)
    return problems + [problem for column in ("label", "device", "location") for problem in _spellings(rows, column)]


def _spellings(rows: Sequence[Mapping[str, str]], column: str) -> list[str]:
    """Values that look the same and are not, because a letter with an accent is one code point or two."""
    lines: dict[str, dict[str, int]] = defaultdict(dict)  # as shown -> as written -> first line
    for line, row in enumerate(rows, start=2):
        value = row[column]
        if not value.isascii() and value != row["filename"].strip():  # files may differ in that alone
            lines[unicodedata.normalize("NFC", value)].setdefault(value, line)
    return [
        f"{column} {shown} is written in {len(found)} ways: "
        f"{', '.join(f'{value!a} in line {line}' for value, line in found.items())}; write it alike in all rows"
        for shown, found in lines.items()
        if len(found) > 1
    ]


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
