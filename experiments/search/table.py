"""The table of a search's finished trials, trials.csv: a row for each trial and number of bits.

Conventions: a row is written when all that it says is on disk, so that a search can be stopped at any time. Rows of
several processes do not lose each other. `settings` is a digest of all else that a trial's result depends on: rows of
other settings or clips are refused. A training that diverged has a row without numbers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data.errors import UserError
from data.locks import locked
from data.tables import decimal, read_table, write_table
from experiments.search.answers import answers_in
from experiments.search.halving import Trial, read_trial

FILE = "trials.csv"
ANEW = "choose another name=..., or begin anew with force=true"


class Row(NamedTuple):
    """A line of the table."""

    trial: str
    bits: int
    words: str
    accuracy: float
    log_loss: float
    settings: str

    @property
    def diverged(self) -> bool:
        """Whether the training did."""
        return math.isnan(self.accuracy)

    @property
    def score(self) -> tuple[float, float]:
        """By which trials are compared, the higher the better."""
        return (-1.0, 0.0) if self.diverged else (self.accuracy, -self.log_loss)


Rows = Mapping[tuple[Trial, int], Row]


def read_rows(path: Path) -> dict[tuple[Trial, int], Row]:
    """The rows of a table by trial and bits; none where there is no table.

    Raises:
        UserError: the table is damaged.
    """
    if not path.is_file():
        return {}
    table, found = read_table(path, Row._fields, separator=","), {}
    for number, values in enumerate(zip(*(table[name] for name in Row._fields), strict=True), start=1):
        trial, bits, words, accuracy, log_loss, settings = values
        numbers = decimal(accuracy), decimal(log_loss)
        try:
            key = read_trial(trial), int(bits)
        except (UserError, ValueError) as error:
            raise UserError(f"{path}: row {number} is damaged: remove it, and its trial is computed again") from error
        if math.isnan(sum(numbers)) and (accuracy or log_loss):
            raise UserError(f"{path}: row {number} is damaged: remove it, and its trial is computed again")
        found[key] = Row(trial, key[1], words, *numbers, settings)
    return found


def add_rows(path: Path, rows: Sequence[Row]) -> None:
    """Add rows to a table, in place of those of the same trial and bits; it is written whole or not at all.

    Raises:
        UserError: the table is damaged, or cannot be written.
    """
    elsewhere = "choose another folder with runs=..."
    with locked(path.with_suffix(".lock"), f"adding to {path}", otherwise=ANEW, elsewhere=elsewhere, waits=True):
        together = read_rows(path) | {(read_trial(row.trial), row.bits): row for row in rows}
        columns = {name: [_text(getattr(row, name)) for row in together.values()] for name in Row._fields}
        write_table(path, columns, separator=",")


def require_settings(path: Path, rows: Rows, settings: str) -> None:
    """Check that all rows were made by the same settings.

    Raises:
        UserError: some were not.
    """
    if other := sum(row.settings != settings for row in rows.values()):
        raise UserError(f"{path} has {other} rows that were made by other settings or of other clips: {ANEW}")


def unfinished(trials: Sequence[Trial], bits: Callable[[Trial], Sequence[int]], folder: Path) -> list[Trial]:
    """Those of some trials that lack a row, or the answers that it is of.

    Args:
        trials: which.
        bits: for each of which a trial must have a row.
        folder: of the search.
    """
    rows = read_rows(folder / FILE)

    def is_there(trial: Trial, width: int) -> bool:
        row = rows.get((trial, width))
        return row is not None and (row.diverged or answers_in(folder, trial.key, width).is_file())

    return [trial for trial in trials if not all(is_there(trial, width) for width in bits(trial))]


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6f}"
    return str(value)
