"""What a network thinks of some clips as a table that people hand in: how it is written, and what can be wrong in one.

Conventions: the challenge's format: tab-separated, header `filename scene_label airport bus ... tram` (classes in the
order of data/scenes.py), a row for each clip, probabilities from 0 to 1 that sum to 1. A clip's name is the last part
of its path.
"""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from data.tables import Table

TOLERANCE = 1e-3  # of a sum of probabilities that were written with a few digits
DIGITS = 8  # significant ones: the log loss of a probability of 1e-9 is not that of 0; rows sum to 1 within 1e-7
LONGEST = 100  # characters of a number
# float() would also take "nan", "1_0" and the digits of other scripts. No digit can be part of two groups, or a long
# cell would take the square of its length.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def header(scenes: Sequence[str]) -> list[str]:
    """The columns, in their order."""
    return ["filename", "scene_label", *scenes]


def table_text(filenames: Sequence[str], probabilities: np.ndarray, scenes: Sequence[str]) -> str:
    """The table of probabilities (n, classes); every clip's label is its most probable scene."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow(header(scenes))
    for name, row in zip(filenames, probabilities, strict=True):
        writer.writerow([name, scenes[row.argmax()], *(f"{p:.{DIGITS}g}" for p in row)])
    return out.getvalue()


def check_predictions(
    table: Table, scenes: Sequence[str], filenames: Iterable[str] | None = None, *, of: str
) -> tuple[np.ndarray, list[str]]:
    """The probabilities of a table, float64 (rows, classes), and its defects, in words.

    Args:
        table: with the columns filename and one for each class; scene_label is checked if it is there.
        scenes: the classes.
        filenames: the clips that must be there, each once; None: any will do.
        of: what they are the clips of.
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
    """What a clip is called without its folders: `audio/x.wav` and `x.wav` are the same clip."""
    return name.rsplit("/", 1)[-1]


def _number(text: str) -> float:
    return float(text) if len(text) <= LONGEST and _NUMBER.fullmatch(text) else math.nan
