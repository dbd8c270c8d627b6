"""A table of sound files and their classes, row by row: from the columns to clips, and what is wrong with the rows.

Conventions: filenames are relative to a folder, or absolute; a `\\` separates folders as `/` does, unless there is a
file of that very name. Blanks around other values are no content. Which column says what: data/columns.py.
"""

import logging
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data.columns import AS_NAMED, ROLES, Columns, read_columns
from data.errors import UserError, listed, quoted
from data.named_splits import splits_of, splits_of_folds
from data.names import with_slashes
from data.ranges import Fold
from data.scenes import SPLITS, Clip

ONE_DEVICE = "device"  # the name of all devices where none is given

log = logging.getLogger(__name__)


def read_clip_table(
    path: Path,
    root: Path,
    *,
    columns: Columns = AS_NAMED,
    label_separator: str | None = None,
    test_fold: Fold | None = None,
    validation_fold: Fold | None = None,
    is_published: bool = False,
) -> list[Clip]:
    """The clips of a table; those that no column gives a split are train clips.

    Args:
        path: the table.
        root: folder that filenames are relative to.
        columns: which columns say what.
        label_separator: what stands between several classes of a clip; None: a clip has one.
        test_fold, validation_fold: the split column holds folds, of which these are test and validation; the others
            are train. None: it holds splits.
        is_published: whether the table is as its authors made it: what it says beside or not at all is no news.

    Raises:
        UserError: the table is missing, lacks columns, has bad rows (all of them listed), or no clips of a fold.
    """
    if validation_fold is not None and test_fold is None:
        raise UserError(f"data.validation_fold={validation_fold} needs data.test_fold=FOLD: give both, or neither")
    if label_separator == "":
        raise UserError("data.label_separator='' separates nothing: give what stands between classes, or null")
    values, names, unused = read_columns(path, columns, with_folds=test_fold is not None)
    if unused and not is_published:
        log.warning("%s: the columns %s are not used", path, ", ".join(map(quoted, unused)))
    if "location" not in names and not is_published:
        log.warning("%s has no column location: files of one recording may come to train and validation", path)
    if "split" in names:
        what = f"values of the column {names['split']} of {path}"
        values["split"] = (
            splits_of(values["split"], what)
            if test_fold is None
            else splits_of_folds(values["split"], what, test_fold=test_fold, validation_fold=validation_fold)
        )
    rows = _rows(values, root)
    labels = [_labels(row["label"], label_separator) for row in rows]
    if problems := _problems(rows, labels, root, names, may_have_none=label_separator is not None):
        raise UserError(f"{path} has bad rows ({len(problems)}):\n{listed(problems)}")
    clips = [
        Clip(r["filename"], r["label"], "", r["location"], r["filename"], 0, r["device"], r["split"]) for r in rows
    ]
    if label_separator is None:
        return clips
    return [clip._replace(scene="", classes=found) for clip, found in zip(clips, labels, strict=True)]


def _rows(values: Mapping[str, Sequence[str]], root: Path) -> list[dict[str, str]]:
    """The rows by role, with those filled in that no column plays."""
    count = len(values["filename"])
    defaults = {"device": (ONE_DEVICE,) * count, "location": values["filename"], "split": ("train",) * count}
    columns = [values[role] if role in values else defaults[role] for role in ROLES]
    columns[0] = [_as_found(name, root) for name in columns[0]]
    # A blank behind a label would be another class; a filename may have one.
    columns[1:] = [[value.strip() for value in column] for column in columns[1:]]
    return [dict(zip(ROLES, row, strict=True)) for row in zip(*columns, strict=True)]


def _labels(cell: str, separator: str | None) -> tuple[str, ...]:
    """The classes in a cell, each once; where there may be several, an empty cell has none."""
    if separator is None:
        return (cell,)
    return tuple(dict.fromkeys(label.strip() for label in cell.split(separator))) if cell else ()


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


def _problems(
    rows: Sequence[Mapping[str, str]],
    labels: Sequence[Sequence[str]],
    root: Path,
    names: Mapping[str, str],
    *,
    may_have_none: bool,
) -> list[str]:
    """What is wrong with each row; line 1 is the header. `labels`: the classes of each row; `names`: the columns of the
    roles; `may_have_none`: whether a clip may have no class."""
    if not rows:
        return ["there are none"]
    if len(classes := {label for found in labels for label in found}) < 2:
        only = ", ".join(map(repr, classes))
        return [f"all have the label {only}: there must be two classes" if only else "there are no classes"]
    problems: list[str] = []
    seen: dict[str, int] = {}
    folders: dict[str, str] = {}
    for line, (row, found) in enumerate(zip(rows, labels, strict=True), start=2):
        place = _place(row["filename"], root, folders)
        if empty := [
            names[role] for role, value in row.items() if not value.strip() and not (role == "label" and may_have_none)
        ]:
            problems.append(f"line {line}: no {', '.join(empty)}")
        elif place in seen:
            problems.append(f"line {line}: {row['filename']} is the file of line {seen[place]}")
        elif "" in found:
            problems.append(f"line {line}: {names['label']} {row['label']!r} has an empty class")
        elif row["split"] not in SPLITS:
            problems.append(f"line {line}: {names['split']} {row['split']!r} is none of {', '.join(SPLITS)}")
        seen.setdefault(place, line)
    values = {"label": labels, **{role: [(row[role],) for row in rows] for role in ("device", "location")}}
    return problems + [problem for role, found in values.items() for problem in _spellings(rows, role, found)]


def _spellings(rows: Sequence[Mapping[str, str]], role: str, values: Iterable[Sequence[str]]) -> list[str]:
    """Of the values of each row those that look the same and are not, because a letter with an accent is one code point
    or two."""
    lines: dict[str, dict[str, int]] = defaultdict(dict)  # as shown -> as written -> first line
    for line, (row, found) in enumerate(zip(rows, values, strict=True), start=2):
        for value in found:
            if not value.isascii() and value != row["filename"].strip():  # files may differ in that alone
                lines[unicodedata.normalize("NFC", value)].setdefault(value, line)
    return [
        f"{role} {shown} is written in {len(found)} ways: "
        f"{', '.join(f'{value!a} in line {line}' for value, line in found.items())}; write it alike in all rows"
        for shown, found in lines.items()
        if len(found) > 1
    ]
