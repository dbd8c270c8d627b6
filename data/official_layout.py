"""The layout in which TAU Urban Acoustic Scenes 2022 Mobile is published: meta.csv, official split, 2024 subsets.

Conventions: lists are tab-separated with a header, lines end in LF or CRLF. `fold1_train.csv` is divided into train
and validation by location, `fold1_evaluate.csv` is test; clips in neither are "unused", and so are, with a subset, the
train clips outside it. Everything that is wrong is reported at once.
Source: DCASE 2022/2023 Task 1, development set, Zenodo record 6337421; subsets: DCASE 2024 Task 1.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from data.errors import UserError, listed, unknown
from data.names import with_slashes
from data.packing import read_stamps
from data.records import DEVELOPMENT, META, RECORDS, SETUP, TEST, TRAIN, UNFINISHED
from data.scenes import Clip, ClipSet, parse_filename
from data.splits import hold_out
from data.tables import Table, read_table
from data.whereabouts import meant_root

META_COLUMNS = ("filename", "scene_label", "identifier", "source_label")
OFFICIAL_ROWS = {META: 230_350, TRAIN: 139_620, TEST: 29_680}
SUBSETS = (5, 10, 25, 50)  # percent of the train split; each is part of the next
WHOLE = 100
FEW = 5  # rows of a kind that are shown, because several lists may have several kinds

HELP = RECORDS[DEVELOPMENT].help

log = logging.getLogger(__name__)


def read_official(
    root: str | Path,
    *,
    name: str,
    subset: int = WHOLE,
    subset_lists: str | Path | None = None,
    validation_fraction: float = 0.3,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
) -> ClipSet:
    """Read meta.csv and the splits below `root`.

    Args:
        root: folder with meta.csv, evaluation_setup/ and audio/.
        name: short name of the set.
        subset: percent of the official train split to use: 5, 10, 25, 50 (DCASE 2024) or 100.
        subset_lists: folder of the subsets' lists, `split<percent>.csv` or `.csv.gz`; by default evaluation_setup/.
        validation_fraction, folds, fold, seed: which locations of the train split are held out; see data/splits.py.

    Raises:
        UserError: root or a list is missing, or rows are malformed, duplicate or contradictory, or subsets are not
            nested; and, if so, which audio files are missing too.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"data.root={root} is no folder: {HELP}{meant_root(root, META)}")
    if (root / UNFINISHED).is_dir():
        raise UserError(f"the download into {root} is not finished: fetch it with the same settings, it goes on")
    if not (root / META).exists() and (elsewhere := meant_root(root, META)):
        raise UserError(f"data.root={root} has no {META}{elsewhere}")
    problems: list[str] = []
    paths = subset_paths(root, subset, subset_lists)
    tables = {path: _read_table(path, ("filename",), problems) for path in (root / TRAIN, root / TEST, *paths.values())}
    meta = _read_table(root / META, META_COLUMNS, problems)
    unread = list(problems)  # of an empty list nothing else could be said that is true
    members = {path: set(table["filename"]) for path, table in tables.items()}
    train, test, used = members[root / TRAIN], members[root / TEST], members[paths.get(subset, root / TRAIN)]
    clips = _read_meta(root / META, meta, {**dict.fromkeys(used, "train"), **dict.fromkeys(test, "test")}, problems)
    known = {clip.filename: clip.scene for clip in clips}
    for path, table in tables.items():
        problems += _contradictions(path, table, known)
    if both := sorted(train & test):
        problems.append(f"{len(both)} clips are in both {TRAIN} and {TEST}:\n{listed(both, shown=FEW)}")
    problems += _not_nested({**{percent: members[path] for percent, path in paths.items()}, WHOLE: train})
    problems += _not_official({META: len(clips), TRAIN: len(train), TEST: len(test)})
    places = {split: {clip.location for clip in clips if clip.split == split} for split in ("train", "test")}
    if shared := sorted(places["train"] & places["test"]):
        problems.append(f"{len(shared)} locations are in both {TRAIN} and {TEST}:\n{listed(shared, shown=FEW)}")
    if problems:
        problems = unread or problems
        try:
            read_stamps(root, list(known))
        except UserError as error:
            problems.append(str(error))
        raise UserError("\n".join([*problems, HELP]))

    clips = hold_out(clips, fraction=validation_fraction, folds=folds, fold=fold, seed=seed)
    log.info("%s: %s", name, ", ".join(f"{n} {split}" for split, n in Counter(c.split for c in clips).items()))
    sources = (root / META, root / TRAIN, root / TEST, *paths.values())
    return ClipSet(name=name, root=root, clips=clips, sources=sources)


def subset_paths(root: str | Path, subset: int, subset_lists: str | Path | None = None) -> dict[int, Path]:
    """percent -> list, for the subsets whose lists there are; empty for the whole train split.

    Raises:
        UserError: the subset is unknown, or its list is missing.
    """
    if subset == WHOLE:
        return {}
    if subset not in SUBSETS:
        unknown("data.subset", subset, map(str, (*SUBSETS, WHOLE)))
    folder = Path(root) / SETUP if subset_lists is None else Path(subset_lists)
    found = {percent: path for percent in SUBSETS if (path := list_of(folder, percent)) is not None}
    if subset not in found:
        raise UserError(f"{folder}/split{subset}.csv is missing: name the 2024 lists' folder by data.subset_lists=...")
    return found


def list_of(folder: Path, percent: int) -> Path | None:
    """The list of a 2024 subset in a folder, plain or gzipped, if it is there."""
    return next((p for end in ("", ".gz") if (p := folder / f"split{percent}.csv{end}").is_file()), None)


def _not_nested(members: Mapping[int, set[str]]) -> list[str]:
    sizes = sorted(members)
    problems = []
    for small, large in pairwise(sizes):
        if strangers := sorted(members[small] - members[large]):
            problems.append(
                f"{len(strangers)} clips of the {small} % subset are not in the {large} % one:\n"
                f"{listed(strangers, shown=FEW)}"
            )
    return problems


def _not_official(rows: Mapping[str, int]) -> list[str]:
    """Problems of a complete meta.csv with incomplete lists; an incomplete one is another, smaller set."""
    if rows[META] != OFFICIAL_ROWS[META]:
        return []
    return [
        f"{name} has {n} rows; the official list has {OFFICIAL_ROWS[name]}"
        for name, n in rows.items()
        if n != OFFICIAL_ROWS[name]
    ]


def _read_table(path: Path, columns: Sequence[str], problems: list[str]) -> Table:
    """A list; what is wrong with it is added to the problems, and it is then empty."""
    try:
        table = read_table(path, columns, separator="\t")
        return {**table, "filename": [with_slashes(name) for name in table["filename"]]}
    except UserError as error:
        problems.append(str(error))
        return {column: [] for column in columns}


def _read_meta(path: Path, table: Table, split_of: Mapping[str, str], problems: list[str]) -> list[Clip]:
    clips, wrong, seen = [], [], set()
    rows = zip(*(table[column] for column in META_COLUMNS), strict=True)
    for line, (filename, scene, location, device) in enumerate(rows, start=2):
        try:
            clip = parse_filename(filename, split_of.get(filename, "unused"))
        except UserError as error:
            wrong.append(f"line {line}: {error}")
            continue
        if clip.scene != scene or clip.location != location or clip.device != device:
            wrong.append(f"line {line}: {filename} contradicts its columns {scene}, {location}, {device}")
        if filename in seen:
            wrong.append(f"line {line}: {filename} appears twice")
        seen.add(filename)
        clips.append(clip)
    if wrong:
        problems.append(f"{path} has {len(wrong)} bad rows:\n{listed(wrong, shown=FEW)}")
    return clips


def _contradictions(path: Path, table: Table, known: Mapping[str, str]) -> list[str]:
    """Problems of a list whose rows should each stand once in meta.csv (`known`: filename -> scene)."""
    names, problems = table["filename"], []
    if strangers := sorted(set(names) - known.keys()):
        problems.append(f"{len(strangers)} rows of {path} are not in {META}:\n{listed(strangers, shown=FEW)}")
    twice = {name for name, n in Counter(names).items() if n > 1}
    scenes: Sequence[str | None] = table.get("scene_label") or [known.get(name) for name in names]
    wrong = dict.fromkeys(n for n, s in zip(names, scenes, strict=True) if known.get(n, s) != s or n in twice)
    if wrong:
        problems.append(
            f"{len(wrong)} rows of {path} are duplicate or contradict {META}:\n{listed(list(wrong), shown=FEW)}"
        )
    return problems
