"""Tables of predictions, as people hand them in: how they are written, read, and what can be wrong in one.

Conventions: the challenge's format: tab-separated, header `filename scene_label airport bus ... tram` (classes in the
order of data/scenes.py), a row for each clip, probabilities from 0 to 1. They should sum to 1, and the label should be
the most probable scene; the task's page shows rows that sum to 3.65 and 3.25, and the organisers' checker passes both
(experiments/submission/layout.py). Which clip a name means: see data/names.py. Blanks around numbers are no part of
them.
"""

import logging
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from data.errors import UserError, counted, listed
from data.names import matched
from data.scenes import check_class_names
from data.tables import LONGEST, Table, decimal, read_table, table_text

TOLERANCE = 1e-3  # of a sum of probabilities that were written with a few digits
DIGITS = 8  # significant ones: the log loss of a probability of 1e-9 is not that of 0; rows sum to 1 within 1e-7
MOST = 1000  # defects of a kind that are put into words
SHOWN = 3  # rows of a kind that are shown

REMEDIES = (
    (r"^$", ": every class needs a probability"),
    (r"^[0-9]*,[0-9]+$", ": write a decimal point"),
    (r"%$", ": write 50 % as 0.5"),
    (r"(?i)^[+-]?(nan|inf(inity)?)$", ": a training that diverged gives such"),
)

log = logging.getLogger(__name__)


def header(scenes: Sequence[str]) -> list[str]:
    """The columns of the challenge's format, in their order."""
    return ["filename", "scene_label", *scenes]


def predictions_text(
    filenames: Sequence[str],
    probabilities: np.ndarray,
    scenes: Sequence[str],
    *,
    starts: Sequence[float] | None = None,
    digits: int | None = DIGITS,
    is_multi_label: bool = False,
    more: Mapping[str, Sequence[object]] = MappingProxyType({}),
) -> str:
    """A table of probabilities as text; the label of a clip is its most probable scene.

    Args:
        filenames: of the clips.
        probabilities: (n, classes).
        scenes: the classes.
        starts: seconds at which the clips begin in their files: a column `start`, which the challenge's format has not.
        digits: significant ones of a probability; None: all of them.
        is_multi_label: whether a clip may have several classes, and so no column `scene_label`.
        more: other columns, by name, which the challenge's format has not either.

    Raises:
        UserError: a class is named like another column, or a name holds a carriage return.
    """
    columns: dict[str, Sequence[object]] = {"filename": filenames}
    if starts is not None:
        columns["start"] = [f"{start:g}" for start in starts]
    if not is_multi_label:
        columns["scene_label"] = [scenes[number] for number in probabilities.argmax(axis=1)]
    check_class_names(scenes)
    for scene, column in zip(scenes, probabilities.T.tolist(), strict=True):
        columns[scene] = [repr(p) if digits is None else f"{p:.{digits}g}" for p in column]
    return table_text({**columns, **more})


class Checked(NamedTuple):
    """What stands in a table.

    Attributes:
        probabilities: float64 (rows, classes), as they stand there.
        defects: why the table cannot be used, in words.
        sums: which rows do not sum to 1, in words; empty if all do, or there are defects.
        labels: likewise, which labels are not the most probable scene.
    """

    probabilities: np.ndarray
    defects: list[str]
    sums: str
    labels: str


def read_predictions(path: str | Path, filenames: Sequence[str], scenes: Sequence[str]) -> np.ndarray:
    """Probabilities of the given clips, float64 (len(filenames), classes), in the order asked for.

    Commas between columns will do as well, and `scene_label` may be left out; a clip is in the table once, and none is
    guessed. Every row is divided by its sum, which is said where it was not 1; a label that is not the most probable
    scene is said and not used.

    Raises:
        UserError: the table is no such table, or clips are missing, unknown or there twice, or values are no
            probabilities, or labels are no scenes; all of a kind are listed.
    """
    table = read_table(path, ["filename", *scenes])
    values, wrong, sums, labels = check_probabilities(table, scenes)
    rows, strange = matched(table["filename"], filenames, of="the test split")
    if defects := wrong + strange:
        more = "more than " if len(wrong) >= MOST else ""
        raise UserError(f"{path} has {more}{counted(len(defects), 'defect')}:\n{listed(defects)}")
    if sums:
        log.warning("%s: %s: each row is divided by its sum", path, sums)
    if labels:
        log.warning("%s: %s: metrics are those of the probabilities", path, labels)
    probabilities = values[[rows[name] for name in filenames]]
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def check_probabilities(table: Table, scenes: Sequence[str], *, exact: bool = False) -> Checked:
    """What is wrong with the probabilities and labels of a table.

    Args:
        table: with the columns filename and one for each class; scene_label is checked if it is there.
        scenes: the classes.
        exact: whether blanks around a label are a part of it, as for the organisers' checker.
    """
    names = table["filename"]
    values = np.array([[decimal(text) for text in table[scene]] for scene in scenes]).reshape(len(scenes), -1).T
    odd = np.argwhere(~((values >= 0) & (values <= 1 + TOLERANCE)))[:MOST].tolist()
    wrong = [
        f"{names[row]}: row {row + 1}, column {scenes[column]}: {_fault(table[scenes[column]][row])}"
        for row, column in odd
    ]
    sums = values.sum(axis=1)
    wrong += [
        f"{names[row]}: row {row + 1}: all probabilities are 0" for row in np.flatnonzero(sums == 0)[:MOST].tolist()
    ]
    number = {scene: column for column, scene in enumerate(scenes)}
    labels = [text if exact or text in number else text.strip() for text in table.get("scene_label", ())]
    unknown = [row for row, label in enumerate(labels) if label not in number]
    wrong += [f"{names[row]}: row {row + 1}: scene_label {labels[row]!r} is no scene" for row in unknown[:MOST]]
    if wrong:
        return Checked(values, wrong, "", "")
    far = np.flatnonzero(np.abs(sums - 1) > TOLERANCE).tolist()
    chosen = values[np.arange(len(labels)), [number[label] for label in labels]] if labels else values.max(axis=1)
    below = np.flatnonzero(chosen < values.max(axis=1)).tolist()
    return Checked(
        values,
        [],
        _among(names, [(row, f"{sums[row]:.6g}") for row in far], "the probabilities do not sum to 1"),
        _among(
            names,
            [(row, f"{labels[row]}, not {scenes[int(values[row].argmax())]}") for row in below],
            "scene_label is not the most probable scene",
        ),
    )


def _among(names: Sequence[str], rows: Sequence[tuple[int, str]], what: str) -> str:
    """In how many of some rows something is so, and the first of them with what stands there; empty if in none."""
    if not rows:
        return ""
    first = "; ".join(f"{names[row]}: {found}" for row, found in rows[:SHOWN])
    return f"in {len(rows):,} of {len(names):,} rows {what} ({first}{', ...' if len(rows) > SHOWN else ''})"


def _fault(text: str) -> str:
    """What is wrong with the text of a probability."""
    if not math.isnan(decimal(text)):
        return f"{text.strip()} is not between 0 and 1"
    shown = repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")
    remedy = next((remedy for pattern, remedy in REMEDIES if re.search(pattern, text.strip()[:LONGEST])), "")
    return f"{shown} is no number{remedy}"
