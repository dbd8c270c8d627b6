"""Plots of results: training curves, confusion matrices, accuracies, calibration, layers, costs.

Conventions: a function takes what the files of runs hold and returns a matplotlib Figure WIDTH inches wide, so that its
text can be read on a phone. A run has one colour, by its place among the runs. Names are text, never formulas. Style:
see render.py. matplotlib, which takes a while to import, is imported when something is drawn.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.evaluation.confidence import Row
from experiments.evaluation.metrics import metrics_under
from experiments.report.render import COLOURS, FONT, HEIGHT, INK, WIDTH, colour_of, make_axes, put_legend, styled
from students.device.cost import Cost

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANY = 20  # classes: with more, their names are smaller, and counts are not written


class Point(NamedTuple):
    """A system in the plane of costs and accuracy; `name` is written beside it, `group` decides its colour."""

    name: str
    accuracy: float
    parameter_bytes: float
    macs: float
    group: str
    on_front: bool = False


@styled
def curves(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> "Figure":
    """Losses (above) and validation accuracy (below) over epochs; runs by name, each a sequence of rows, maybe none."""
    figure, (above, below) = make_axes(2, height=1.6 * HEIGHT)
    alone = len(histories) == 1
    for number, (name, rows) in enumerate(histories.items()):
        if not rows:
            continue
        colour, epochs = colour_of(number), [row["epoch"] for row in rows]
        lines = [("loss", ":", "training" if alone else None), ("validation/log_loss", "-", "validation log loss")]
        lines += [("validation/divergence", "-", "validation divergence")] if "validation/divergence" in rows[0] else []
        for key, style, word in lines:
            values = [row.get(key, np.nan) for row in rows]
            above.plot(epochs, values, style, color=colour, label=word if alone or word is None else name)
        below.plot(epochs, [100 * row.get("validation/accuracy", np.nan) for row in rows], color=colour)
    above.set(ylabel="loss")
    below.set(xlabel="epoch", ylabel="validation accuracy, %")
    put_legend(figure, above)
    return figure


@styled
def confusions(counts: Sequence[Sequence[int]], scenes: Sequence[str]) -> "Figure":
    """The confusion matrix: a row for each true class, a column for each predicted one; a cell is as dark as its share
    of the row, and has its count in it."""
    from matplotlib.patches import Rectangle

    table, n = np.asarray(counts, dtype=float), len(scenes)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    figure, axis = make_axes(height=0.9 * WIDTH)
    axis.grid(visible=False)
    for row in range(n):
        for column in range(n):
            square = Rectangle((column - 0.5, row - 0.5), 1, 1)
            square.set(facecolor=COLOURS[0], alpha=0.85 * shares[row, column], linewidth=0)
            axis.add_patch(square)
            if table[row, column] and n <= MANY:
                axis.text(column, row, f"{int(table[row, column])}", ha="center", va="center", fontsize=6.5)
    words, size = [scene.replace("_", " ") for scene in scenes], min(FONT, FONT * MANY / max(n, 1))
    axis.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), xlabel="predicted")
    axis.set_xticks(range(n), words, rotation=60, ha="right", rotation_mode="anchor", fontsize=size)
    axis.set_yticks(range(n), words, fontsize=size)
    axis.tick_params(length=0)
    return figure


@styled
def shares(scores: Mapping[str, Mapping[str, float]], kind: str) -> "Figure":
    """Accuracy by "device", "group" or "scene", with 95 % intervals where there are some; scores of runs by name."""
    prefix = f"test/accuracy/{kind}/"
    found = dict.fromkeys(key for run in scores.values() for key in metrics_under(prefix, run))
    shown = [(number, *pair) for number, pair in enumerate(scores.items()) if metrics_under(prefix, pair[1])]
    figure, axis = make_axes(height=0.6 + len(found) * (0.14 + 0.07 * len(shown)))
    step = 0.8 / max(len(shown), 1)
    for place, (number, name, run) in enumerate(shown):
        places = np.arange(len(found)) + (place - (len(shown) - 1) / 2) * step
        values = 100 * np.array([run.get(key, np.nan) for key in found])
        edges = 100 * np.array([[run.get(f"{key}/{edge}", np.nan) for key in found] for edge in ("low", "high")])
        axis.barh(places, values, height=0.9 * step, color=colour_of(number), alpha=0.75, label=name)
        axis.errorbar(values, places, xerr=np.abs(edges - values), fmt="none", ecolor=INK, elinewidth=0.8, capsize=1.5)
    axis.set_yticks(range(len(found)), [key.removeprefix(prefix).replace("_", " ") for key in found])
    axis.set(xlim=(0, 100), ylim=(len(found) - 0.5, -0.5), xlabel="accuracy, %")
    axis.grid(visible=False, axis="y")
    if len(scores) > 1:
        put_legend(figure, axis)
    return figure


@styled
def reliability(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> "Figure":
    """Accuracy over confidence, bin by bin; the larger a point, the more clips; on the diagonal both are equal.

    Args:
        runs: by name, each the rows of reliability.csv, maybe none.
    """
    figure, axis = make_axes(height=0.85 * WIDTH)
    axis.plot([0, 100], [0, 100], "--", color=INK, linewidth=0.8, alpha=0.6)
    for number, (name, rows) in enumerate(runs.items()):
        if rows:
            x, y, items = (np.array([row[key] for row in rows]) for key in ("confidence", "accuracy", "items"))
            sizes = 8 + 120 * items / items.sum()
            axis.scatter(100 * x, 100 * y, s=sizes, color=colour_of(number), alpha=0.75, label=name, clip_on=False)
    axis.set(xlim=(0, 100), ylim=(0, 100), xlabel="confidence, %", ylabel="accuracy, %")
    if len(runs) > 1:
        put_legend(figure, axis)
    return figure


@styled
def coverage(runs: Mapping[str, tuple[Sequence[Row], Row | None]]) -> "Figure":
    """Accuracy of the answered clips over their share; the model's own threshold is a ring.

    Args:
        runs: by name, each its curve, maybe empty, and the row of its threshold, if it has one.
    """
    figure, axis = make_axes()
    for number, (name, (rows, own)) in enumerate(runs.items()):
        if rows:
            x, y = ([100 * value for value in values] for values in zip(*(row[1:] for row in rows), strict=True))
            axis.plot(x, y, "-o", color=colour_of(number), markersize=3, label=name)
        if own is not None and own.accuracy is not None:
            place = 100 * own.coverage, 100 * own.accuracy
            axis.plot(*place, "o", color=colour_of(number), markersize=9, markerfacecolor="none", clip_on=False)
    axis.set(xlim=(0, 100), xlabel="clips answered, %", ylabel="accuracy, %")
    if len(runs) > 1:
        put_legend(figure, axis)
    return figure


@styled
def layers(rows: Sequence[Mapping[str, float | str]], macs: Mapping[str, int]) -> "Figure":
    """Bytes and multiply-accumulates of each layer of an integer network, coloured by the bits of its weights.

    Args:
        rows: of layers.json.
        macs: by layer.
    """
    from matplotlib.ticker import EngFormatter, MaxNLocator

    figure, (left, right) = make_axes(1, 2, height=0.6 + 0.15 * max(len(rows), 10))
    right.sharey(left)
    places = np.arange(len(rows))
    bits = sorted({int(row["bits"]) for row in rows})
    for axis, title, values in (
        (left, "bytes", [row["bytes"] for row in rows]),
        (right, "multiply-acc.", [macs.get(str(row["layer"]), 0) for row in rows]),
    ):
        for number, width in enumerate(bits):
            mine = [i for i, row in enumerate(rows) if row["bits"] == width]
            axis.barh(mine, [values[i] for i in mine], color=colour_of(number), alpha=0.75, label=f"{width} bits")
        axis.set(title=title)
        axis.grid(visible=False, axis="y")
        axis.xaxis.set_major_locator(MaxNLocator(2))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    left.set_yticks(places, [str(row["layer"]) for row in rows], fontsize=FONT - 1)
    left.set_ylim(len(rows) - 0.4, -0.6)
    right.tick_params(labelleft=False)
    put_legend(figure, left)
    return figure


@styled
def cycles(cost: Cost) -> "Figure":
    """Cycles of the front end and of each layer on a device, and cycles for a multiply-accumulate."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    parts = [*([cost.front_end] if cost.front_end else []), *cost.layers]
    figure, (left, right) = make_axes(1, 2, height=0.6 + 0.15 * max(len(parts), 10))
    right.sharey(left)
    colours = [colour_of(1 if part is cost.front_end else 0) for part in parts]
    for axis, title, values in (
        (left, "cycles", [part.cycles for part in parts]),
        (right, "cycles a MAC", [part.cycles_per_mac or 0 for part in parts]),
    ):
        axis.barh(range(len(parts)), values, color=colours, alpha=0.75)
        axis.set(title=title)
        axis.grid(visible=False, axis="y")
        axis.xaxis.set_major_locator(MaxNLocator(3))
    left.xaxis.set_major_formatter(EngFormatter(sep=""))
    left.set_yticks(range(len(parts)), [part.name for part in parts], fontsize=FONT - 1)
    left.set_ylim(len(parts) - 0.4, -0.6)
    right.tick_params(labelleft=False)
    return figure


@styled
def trade_off(points: Sequence[Point], limits: Mapping[str, int]) -> "Figure":
    """Accuracy over bytes (above) and over multiply-accumulates (below), limits dashed; points on the front have a
    ring."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    figure, axes = make_axes(2, height=1.7 * HEIGHT)
    groups = list(dict.fromkeys(point.group for point in points))
    for axis, cost, title in zip(axes, ("parameter_bytes", "macs"), ("bytes", "multiply-accumulates"), strict=True):
        for number, group in enumerate(groups):
            some = [point for point in points if point.group == group]
            x, y = [getattr(point, cost) for point in some], [100 * point.accuracy for point in some]
            rings = [1.4 if point.on_front else 0 for point in some]
            axis.scatter(x, y, color=colour_of(number), s=34, edgecolors=INK, linewidths=rings, label=group, zorder=3)
            for point, along, up in zip(some, x, y, strict=True):
                axis.annotate(point.name, (along, up), xytext=(4, 3), textcoords="offset points", fontsize=FONT - 1)
        axis.axvline(limits[cost], linestyle="--", color=INK, linewidth=0.8, alpha=0.6)
        axis.set(xscale="log", xlabel=title, ylabel="accuracy, %")
        axis.margins(0.2)
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.xaxis.set_minor_formatter(NullFormatter())
    put_legend(figure, axes[0])
    return figure
