"""Which columns of a table of sound files say what: their names, by default and as settings, and the values there.

Conventions: a role is what a clip must or may have: filename, label, device, location, split. A setting names the
column that plays it, or is a pattern of several, such as `audio/fold{fold}/{slice_file_name}`. The roles filename and
label must be played; one of the others is left out where no column has its own name.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from data.errors import UserError, some_of
from data.settings import setting
from data.tables import MissingColumnsError, Table, read_table

FOLD = "fold"  # the column of folds, where none is named
_PART = re.compile(r"\{([^{}]*)\}")  # of a pattern: the name of a column


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The column of a table for each role, or a pattern of columns; None: the table does not say it."""

    filename: str = setting(
        "of data=folder: column of the sound files; or a pattern, audio/fold{fold}/{name}", default="filename"
    )
    label: str = setting("column of the classes", default="label")
    device: str | None = setting("column of the recording devices, if there is one; null: unused", default="device")
    location: str | None = setting(
        "column of the places or recordings, none of which is divided between splits", default="location"
    )
    split: str | None = setting(
        "column of the splits; with data.test_fold, of the folds (fold, if there is one)", default="split"
    )


AS_NAMED = Columns()
REQUIRED = ("filename", "label")
ROLES = tuple(each.name for each in fields(Columns))


def read_columns(path: Path, columns: Columns, *, with_folds: bool) -> tuple[Table, Mapping[str, str], list[str]]:
    """The values of a table by role, the columns or patterns that they come from, and the columns that play no role.

    Args:
        path: the table.
        columns: which columns play the roles.
        with_folds: whether the role split is played by a column of folds.

    Raises:
        UserError: see read_table; two roles are given the same column.
    """
    names = {role: name for role, name in asdict(columns).items() if name is not None}
    chosen = {role: name for role, name in names.items() if role in REQUIRED or name != role}
    _require_different(chosen)
    remedy = "say which columns it has instead by data.columns='{filename: COLUMN, label: COLUMN}'"
    try:
        table = read_table(path, list(dict.fromkeys(part for name in chosen.values() for part in _parts(name))))
    except MissingColumnsError as error:
        raise UserError(f"{error}\n{remedy}") from error
    if with_folds and "split" not in chosen and FOLD in table:
        chosen["split"] = FOLD
    taken = set(chosen.values())
    chosen |= {role: name for role, name in names.items() if role not in chosen and name in table and name not in taken}
    if with_folds and "split" not in chosen:
        raise UserError(
            f"{path} has no column {FOLD}, which data.test_fold needs: name the column of the folds by "
            f"data.columns.split=COLUMN; there are {some_of(list(table))}"
        )
    values = {role: _values(table, name) for role, name in chosen.items()}
    used = {part for name in chosen.values() for part in _parts(name)}
    return values, chosen, [column for column in table if column not in used]


def _require_different(chosen: Mapping[str, str]) -> None:
    roles: dict[str, str] = {}
    for role, name in chosen.items():
        if not name.strip():
            raise UserError(f"data.columns.{role}='' names no column")
        if name in roles:
            raise UserError(
                f"data.columns.{roles[name]} and data.columns.{role} are the same column, {name}: give each its own"
            )
        roles[name] = role


def _parts(name: str) -> list[str]:
    """The columns that a name or pattern needs."""
    return _PART.findall(name) or [name]


def _values(table: Table, name: str) -> list[str]:
    if not _PART.search(name):
        return table[name]
    rows = zip(*(table[part] for part in _parts(name)), strict=True)
    form = _PART.sub("\0", name).split("\0")
    return ["".join(text + cell for text, cell in zip(form, (*row, ""), strict=True)) for row in rows]
