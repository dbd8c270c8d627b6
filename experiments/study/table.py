"""The tables of a study: each method's metrics, and differences of two methods on the same clips.

Conventions: markdown. A method's metrics are those of the answers of all its cells together; an interval is of 95 %, by
bootstrap over the locations of a fold, a location's clips and their answers by all seeds drawn together
(evaluation/bootstrap.py). It is about other clips from other places, and not about other seeds.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from data.errors import UserError
from experiments.evaluation.bootstrap import mean_intervals
from experiments.evaluation.metrics import mean_by_class
from experiments.study.cells import Answers

Rows = Mapping[tuple[str, int, int], Answers]
CLIPS = ("labels", "locations", "devices")  # which are equal where two cells were tested on the same clips


def methods_table(rows: Rows) -> str:
    """A line for each method: accuracy and log loss with intervals, and how many folds, seeds and clips they are of."""
    lines = ["| method | accuracy | log loss | folds | seeds | clips |", "|---|---|---|---|---|---|"]
    for method in dict.fromkeys(row.method for row in rows.values()):
        cells = [row for row in rows.values() if row.method == method]
        right, losses = (np.concatenate([getattr(cell, name) for cell in cells]) for name in ("right", "losses"))
        accuracy, loss = _with_intervals(right, losses, cells)
        folds, seeds = ({getattr(cell, name) for cell in cells} for name in ("fold", "seed"))
        clips = sum({cell.fold: len(cell.labels) for cell in cells}.values())
        lines.append(f"| {method} | {accuracy} | {loss} | {len(folds)} | {len(seeds)} | {clips} |")
    return "\n".join(lines)


def differences_table(rows: Rows, comparisons: Sequence[tuple[str, str]]) -> str:
    """A line for each pair of methods that have cells of the same fold and seed: the first minus the second.

    Raises:
        UserError: two cells of one fold were tested on other clips.
    """
    lines = ["| difference | accuracy, points | log loss | cells |", "|---|---|---|---|"]
    for first, second in comparisons:
        if pairs := _pairs(rows, first, second):
            accuracy, loss = _difference(pairs)
            lines.append(f"| {first} - {second} | {accuracy} | {loss} | {len(pairs)} |")
    return "\n".join(lines)


def devices_table(rows: Rows, comparisons: Sequence[tuple[str, str]]) -> str:
    """A line for each pair of methods and each device: the first minus the second on the clips of this device, as in
    differences_table; empty where no pair has clips of two devices.

    Raises:
        UserError: two cells of one fold were tested on other clips.
    """
    lines = ["| difference | device | clips | accuracy, points | log loss |", "|---|---|---|---|---|"]
    for first, second in comparisons:
        pairs = _pairs(rows, first, second)
        devices = sorted({name for one, _ in pairs for name in one.devices})
        for device in devices if len(devices) > 1 else ():
            own = [(one.of_device(device), other.of_device(device)) for one, other in pairs]
            own = [pair for pair in own if len(pair[0].labels)]
            clips = sum({one.fold: len(one.labels) for one, _ in own}.values())
            accuracy, loss = _difference(own)
            lines.append(f"| {first} - {second} | {device} | {clips} | {accuracy} | {loss} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _pairs(rows: Rows, first: str, second: str) -> list[tuple[Answers, Answers]]:
    """The cells of two methods that have the same fold and seed.

    Raises:
        UserError: two of one fold were tested on other clips.
    """
    pairs = [
        (row, rows[second, row.fold, row.seed])
        for row in rows.values()
        if row.method == first and (second, row.fold, row.seed) in rows
    ]
    for one, other in pairs:
        if any(not np.array_equal(getattr(one, name), getattr(other, name)) for name in CLIPS):
            raise UserError(
                f"{one.method} and {other.method}, fold {one.fold}, seed {one.seed}, were tested on other clips: "
                "remove the rows of one of them from the table, and compute its cells again"
            )
    return pairs


def _difference(pairs: Sequence[tuple[Answers, Answers]]) -> tuple[str, str]:
    """Accuracy and log loss of the first of each pair minus those of the second, with intervals, in words."""
    right, losses = (
        np.concatenate([getattr(one, name) - getattr(other, name) for one, other in pairs])
        for name in ("right", "losses")
    )
    return _with_intervals(right, losses, [one for one, _ in pairs], signed=True)


def _with_intervals(
    right: np.ndarray, losses: np.ndarray, cells: Sequence[Answers], *, signed: bool = False
) -> tuple[str, str]:
    """Accuracy in per cent (a difference: in points) and log loss, each with its interval, in words.

    Args:
        right, losses: of all items of the cells, or differences.
        cells: whose items they are.
        signed: whether a plus sign is written.
    """
    labels = np.concatenate([cell.labels for cell in cells])
    places = [f"{cell.fold} {location}" for cell in cells for location in cell.locations]
    edges = mean_intervals(right, losses, labels, int(labels.max()) + 1, places)
    sign, unit = ("+", "") if signed else ("", " %")
    accuracy, loss = 100 * mean_by_class(right, labels), losses.mean()
    texts = f"{accuracy:{sign}.1f}{unit}", f"{loss:{sign}.3f}"
    if not edges:
        return texts
    low, high = (100 * edge for edge in edges["accuracy"])
    below, above = edges["log_loss"]
    return (
        f"{texts[0]} ({low:{sign}.1f} to {high:{sign}.1f})",
        f"{texts[1]} ({below:{sign}.3f} to {above:{sign}.3f})",
    )


def in_words(keys: Iterable[tuple[str, int, int]]) -> list[str]:
    """Keys of cells for messages."""
    return [f"{method}, fold {fold}, seed {seed}" for method, fold, seed in keys]
