"""Tables of predictions, as people hand them in: how they are written, read, and what can be wrong in one.

Conventions: the challenge's format: tab-separated, header `filename scene_label airport bus ... tram` (classes in the
order of data/scenes.py), a row for each clip, probabilities from 0 to 1 that sum to 1. A clip's name is the last part
of its path.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from data.errors import UserError, listed
from data.scenes import check_class_names
from data.tables import Table, read_table, table_text

TOLERANCE = 1e-3  # of a sum of probabilities that were written with a few digits
DIGITS = 8  # significant ones: the log loss of a probability of 1e-9 is not that of 0; rows sum to 1 within 1e-7
LONGEST = 100  # characters of a number
# float() would also take "nan", "1_0" and the digits of other scripts. No digit can be part of two groups, or a long
# cell would take the square of its length.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


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
) -> str:
    """A table of probabilities as text; the label of a clip is its most probable scene.

    Args:
        filenames: of the clips.
        probabilities: (n, classes).
        scenes: the classes.
        starts: seconds at which the clips begin in their files: a column `start`, which the challenge's format has not.
        digits: significant ones of a probability; None: all of them.

    Raises:
        UserError: a class is named like another column, or a name holds a carriage return.
    """
    columns: dict[str, Sequence[object]] = {"filename": filenames}
    if starts is not None:
        columns["start"] = [f"{start:g}" for start in starts]
    columns["scene_label"] = [scenes[number] for number in probabilities.argmax(axis=1)]
    check_class_names(scenes)
    for scene, column in zip(scenes, probabilities.T.tolist(), strict=True):
        columns[scene] = [repr(p) if digits is None else f"{p:.{digits}g}" for p in column]
    return table_text(columns)


def read_predictions(path: str | Path, filenames: Sequence[str], scenes: Sequence[str]) -> np.ndarray:
    """Probabilities of the given clips, float64 (len(filenames), classes), in the order asked for.

    Names are compared by their last part, so that `audio/x.wav` and `x.wav` are the same clip. Commas between columns
    will do as well, and `scene_label` may be left out; a clip is in the table once, and none is guessed.

    Raises:
        UserError: the table is no such table, or clips are missing, unknown or there twice, or values are no
            probabilities, or contradict scene_label; all of a kind are listed.
    """
    table = read_table(path, ["filename", *scenes])
    values, wrong = check_predictions(table, scenes, filenames, of="the test split")
    if wrong:
        raise UserError(f"{path} has {len(wrong)} defects:\n{listed(wrong)}")
    found = {last_part(name): row for row, name in enumerate(table["filename"])}
    rows = values[[found[last_part(name)] for name in filenames]]
    return rows / rows.sum(axis=1, keepdims=True)


def check_predictions(
    table: Table, scenes: Sequence[str], filenames: Iterable[str] | None = None, *, of: str
) -> tuple[np.ndarray, list[str]]:
    """The probabilities of a table, float64 (rows, classes), and its defects, in words.

    Args:
        table: with the columns filename and one for each class; scene_label is checked if it is there.
        scenes: the classes.
        filenames: the clips that must be there, each once; None: any will do.
        of: what they are the clips of, in words.
    """
    wrong: list[str] = []
    names = table["filename"]
    values = np.array([[_number(text) for text in table[scene]] for scene in scenes]).reshape(len(scenes), -1).T
    for name, row in zip(names, values, strict=True):
        if not (np.isfinite(row).all() and (row >= 0).all() and abs(row.sum() - 1) <= TOLERANCE):
            wrong.append(f"{name}: {row.round(4).tolist()} are no probabilities that sum to 1")
    if not wrong and "scene_label" in table:
        number = {scene: column for column, scene in enumerate(scenes)}
        for name, label, row in zip(names, table["scene_label"], values, strict=True):
            if label not in number or row[number[label]] < row.max():
                wrong.append(f"{name}: scene_label {label} is not the most probable of {', '.join(scenes)}")
    found = Counter(map(last_part, names))
    wrong += ["a row has no filename"] if "" in found else []
    wrong += [f"{name}: there twice" for name in sorted(name for name, count in found.items() if count > 1)]
    if filenames is not None:
        known = set(map(last_part, filenames))
        wrong += [f"{name}: no clip of {of}" for name in sorted(found.keys() - known)]
        wrong += [f"{name}: missing" for name in sorted(known - found.keys())]
    return values, wrong


def last_part(name: str) -> str:
    """The name of a clip without its folders."""
    return name.rsplit("/", 1)[-1]


def _number(text: str) -> float:
    return float(text) if len(text) <= LONGEST and _NUMBER.fullmatch(text) else math.nan
