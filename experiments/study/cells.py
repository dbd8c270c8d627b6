"""The cells of a study, and the table of those that are finished: what each answered, clip by clip.

Conventions: a cell is one method on one fold by one seed. Its row has everything that the tables of a study are made
of, so that they can be made again without audio, weights or run folders. Numbers of one column are separated by blanks
and are in the order of the clips' names: labels and answers are class numbers; locations are numbers too, equal where
two clips were recorded at one place; devices are names, "-" where none is known; losses are -ln(probability of the
right class), nats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.scenes import ClipSet
from data.tables import decimal, read_table, write_table
from experiments.evaluation.metrics import clip_losses, mean_by_class
from experiments.evaluation.predictions import read_predictions
from experiments.runs.layout import PREDICTIONS

Command = tuple[str, ...]  # the words after `python -m experiments.run`
LISTS = ("labels", "locations", "answers", "losses")
COLUMNS = ("method", "fold", "seed", "version", "commands", "accuracy", "log_loss", *LISTS, "devices")
NO_DEVICE = "-"
DIGITS = 4  # decimals of a loss


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method on one fold by one seed.

    Attributes:
        method, fold, seed: which; together they are the key of its row.
        commands: that lead to its answers, in order; cells may share some.
        run: the run folder that the last one writes, whose predictions of the test clips are the cell's answers.
    """

    method: str
    fold: int
    seed: int
    commands: Sequence[Command]
    run: Path

    @property
    def key(self) -> tuple[str, int, int]:
        """Of its row."""
        return self.method, self.fold, self.seed


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A finished cell's answers to its test clips.

    Attributes:
        method, fold, seed: see Cell.
        version: of scenelet, by which it was made.
        commands: digest of the cell's, see digest.py.
        labels, answers: class numbers (n,).
        locations: numbers (n,).
        losses: nats (n,).
        devices: names (n,), or NO_DEVICE.
    """

    method: str
    fold: int
    seed: int
    version: str
    commands: str
    labels: np.ndarray
    locations: np.ndarray
    answers: np.ndarray
    losses: np.ndarray
    devices: np.ndarray

    @property
    def key(self) -> tuple[str, int, int]:
        """As the cell's."""
        return self.method, self.fold, self.seed

    @property
    def right(self) -> np.ndarray:
        """Which answers are right, float (n,)."""
        return (self.answers == self.labels).astype(float)

    def of_device(self, name: str) -> "Answers":
        """Those to the clips of one device."""
        chosen = self.devices == name
        lists = {each: getattr(self, each)[chosen] for each in (*LISTS, "devices")}
        return replace(self, **lists)


def read_answers(cell: Cell, clips: ClipSet, version: str, commands: str) -> Answers:
    """What a finished cell answered to the test clips of its fold; `version` and `commands` are of Answers.

    Raises:
        UserError: the run has no table of predictions, or one of other clips.
    """
    rows = sorted(clips.indices("test").tolist(), key=lambda row: clips.filenames[row])
    names = [clips.filenames[row] for row in rows]
    probabilities = read_predictions(cell.run / PREDICTIONS, names, clips.scenes)
    labels = clips.labels[rows]
    return Answers(
        method=cell.method,
        fold=cell.fold,
        seed=cell.seed,
        version=version,
        commands=commands,
        labels=labels,
        locations=np.unique([clips.clips[row].location for row in rows], return_inverse=True)[1],
        answers=probabilities.argmax(1),
        losses=clip_losses(probabilities, labels),
        devices=np.array([clips.clips[row].device or NO_DEVICE for row in rows]),
    )


def read_rows(path: Path) -> dict[tuple[str, int, int], Answers]:
    """The finished cells of a study's table, by key; none where there is no table.

    Raises:
        UserError: the table is damaged, or a folder.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a table with --rows")
    if not path.is_file():
        return {}
    table = read_table(path, COLUMNS, separator=",")
    found = {}
    for number in range(len(table["method"])):
        answers = _row({name: table[name][number] for name in COLUMNS}, f"{path}: row {number + 1}")
        if answers.key in found:
            raise UserError(f"{path}: row {number + 1} is of a cell that has a row already: remove one of them")
        found[answers.key] = answers
    return found


def write_rows(path: Path, rows: Mapping[tuple[str, int, int], Answers]) -> None:
    """Write a study's table, whole or not at all, ordered by method, fold and seed."""
    ordered = [rows[key] for key in sorted(rows)]
    columns: dict[str, list[object]] = {
        "method": [row.method for row in ordered],
        "fold": [row.fold for row in ordered],
        "seed": [row.seed for row in ordered],
        "version": [row.version for row in ordered],
        "commands": [row.commands for row in ordered],
        "accuracy": [f"{mean_by_class(row.right, row.labels):.4f}" for row in ordered],
        "log_loss": [f"{row.losses.mean():.4f}" for row in ordered],
        "losses": [" ".join(f"{loss:.{DIGITS}f}" for loss in row.losses) for row in ordered],
    }
    for name in ("labels", "locations", "answers", "devices"):
        columns[name] = [" ".join(map(str, getattr(row, name))) for row in ordered]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, {name: columns[name] for name in COLUMNS}, separator=",")


def _row(values: Mapping[str, str], where: str) -> Answers:
    """A row as answers.

    Raises:
        UserError: a value is none of its column's, or columns are of different lengths.
    """
    lists = {name: np.array([decimal(word) for word in values[name].split()]) for name in LISTS}
    numbers = [decimal(values[name]) for name in ("fold", "seed")]
    whole = np.concatenate([numbers, *(lists[name] for name in LISTS[:-1])])
    devices = np.array(values["devices"].split())
    lengths = {len(found) for found in (*lists.values(), devices)}
    if len(lengths) > 1 or 0 in lengths or (whole % 1 != 0).any() or not (lists["losses"] >= 0).all():
        raise UserError(f"{where} is damaged: restore the table, or remove the row to have its cell computed again")
    labels, locations, answers = (lists[name].astype(int) for name in LISTS[:-1])
    fold, seed = map(int, numbers)
    return Answers(
        method=values["method"],
        fold=fold,
        seed=seed,
        version=values["version"],
        commands=values["commands"],
        labels=labels,
        locations=locations,
        answers=answers,
        losses=lists["losses"],
        devices=devices,
    )
