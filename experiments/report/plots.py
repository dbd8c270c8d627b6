"""Plots of results: training curves, accuracies, calibration, layers, cycles.

Conventions: a function takes what the files of runs hold and returns a matplotlib Figure WIDTH or WIDE inches wide, so
that its text can be read on a phone. A run has one colour, by its place among the runs. Names are text, never formulas.
Style: see render.py. matplotlib, which takes a while to import, is imported when something is drawn.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.evaluation.confidence import Row
from experiments.evaluation.metrics import metrics_under
from experiments.evaluation.multi_label import metric_title
from experiments.report.numbers import word
from experiments.report.order import is_grouped, order_of
from experiments.report.render import FONT, HEIGHT, INK, WIDE, WIDTH, colour_of, make_axes, put_legend, put_tip, styled
from students.device.cost import Cost

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class _Share(NamedTuple):
    """How a metric from 0 to 1 is drawn: times what, and under which name."""

    factor: int
    label: str


SHARES = {"validation/accuracy": _Share(100, "accuracy, %"), "validation/mean_average_precision": _Share(1, "mAP")}
LOSSES = ("log_loss", "binary_cross_entropy", "divergence")  # of the clips held out


@styled
def curves(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> "Figure":
    """Losses (above) and validation accuracy or mAP (below, as far as there are any) over epochs; runs by name, each a
    sequence of rows, maybe none."""
    from matplotlib.ticker import MaxNLocator

    shown = [key for key in SHARES if any(key in row for rows in histories.values() for row in rows)]
    figure, axes = make_axes(1 + len(shown), height=(1 + 0.6 * len(shown)) * HEIGHT)
    above, *below = np.atleast_1d(axes)
    alone = len(histories) == 1
    lines = [("loss", ":", above, 1), *((f"validation/{name}", "-", above, 1) for name in LOSSES)]
    lines += [(key, "-", axis, SHARES[key].factor) for key, axis in zip(shown, below, strict=True)]
    for number, (name, rows) in enumerate(histories.items()):
        for key, style, axis, factor in lines:
            if not any(key in row for row in rows):
                continue
            title = "training" if key == "loss" else f"validation {metric_title(key.removeprefix('validation/'))}"
            values = [factor * row.get(key, np.nan) for row in rows]
            label = title if alone else name if key == "loss" else None
            epochs = [row["epoch"] for row in rows]
            dot = "o" if len(rows) == 1 else None
            (line,) = axis.plot(epochs, values, style, color=colour_of(number), label=label, marker=dot)
            put_tip(line, f"{name}, {title}: {word(values[-1], 3)} after epoch {epochs[-1]:g}")
    above.set(ylabel="loss")
    for key, axis in zip(shown, below, strict=True):
        axis.set(ylabel=SHARES[key].label)
    for axis in (above, *below):
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    (*_, last) = (above, *below)
    last.set(xlabel="epoch")
    put_legend(figure, above)
    return figure


@styled
def shares(scores: Mapping[str, Mapping[str, float]], kind: str) -> "Figure":
    """Accuracy by "device", "group" or "scene", with 95 % intervals where there are some; scores of runs by name. The
    challenge's scenes are in their groups, others sorted by the first run's accuracy."""
    prefix = f"test/accuracy/{kind}/"
    found = [*dict.fromkeys(key for run in scores.values() for key in metrics_under(prefix, run))]
    shown = [(number, *pair) for number, pair in enumerate(scores.items()) if metrics_under(prefix, pair[1])]
    if kind == "scene" and is_grouped(names := [key.removeprefix(prefix) for key in found]):
        found = [found[place] for place in order_of(names)]
    elif kind == "scene" and shown:
        found = sorted(found, key=lambda key: -shown[0][2].get(key, 0))
    figure, axis = make_axes(height=0.7 + len(found) * (0.14 + 0.07 * len(shown)))
    step = 0.8 / max(len(shown), 1)
    for place, (number, name, run) in enumerate(shown):
        places = np.arange(len(found)) + (place - (len(shown) - 1) / 2) * step
        values = 100 * np.array([run.get(key, np.nan) for key in found])
        edges = 100 * np.array([[run.get(f"{key}/{edge}", np.nan) for key in found] for edge in ("low", "high")])
        bars = axis.barh(places, values, height=0.9 * step, color=colour_of(number), alpha=0.75, label=name)
        for bar, key, value, (low, high) in zip(bars, found, values, edges.T, strict=True):
            within = "" if np.isnan(low) else f" (95 %: {low:.1f} to {high:.1f})"
            put_tip(bar, f"{name}, {key.removeprefix(prefix).replace('_', ' ')}: {value:.1f} %{within}")
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
            form = {"color": colour_of(number), "alpha": 0.75, "label": name, "clip_on": False}
            dots = axis.scatter(100 * x, 100 * y, s=sizes, **form)
            bins = zip(items, x, y, strict=True)
            put_tip(
                dots,
                *(f"{name}: {n:,.0f} clips, confidence {100 * a:.0f} %, accuracy {100 * b:.0f} %" for n, a, b in bins),
            )
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
            (line,) = axis.plot(x, y, "-o", color=colour_of(number), markersize=3, label=name)
            put_tip(line, *(f"{name}: {b:.1f} % right of {a:.0f} % answered" for a, b in zip(x, y, strict=True)))
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

    figure, (left, right) = make_axes(1, 2, height=0.7 + 0.18 * max(len(rows), 10), width=WIDE)
    right.sharey(left)
    places = np.arange(len(rows))
    bits = sorted({int(row["bits"]) for row in rows})
    for axis, title, values in (
        (left, "bytes", [row["bytes"] for row in rows]),
        (right, "multiply-accumulates", [macs.get(str(row["layer"]), 0) for row in rows]),
    ):
        for number, width in enumerate(bits):
            mine = [i for i, row in enumerate(rows) if row["bits"] == width]
            bars = axis.barh(
                mine, [values[i] for i in mine], color=colour_of(number), alpha=0.75, label=f"{width} bits"
            )
            for bar, i in zip(bars, mine, strict=True):
                put_tip(bar, f"{rows[i]['layer']}: {values[i]:,} {title}, {width} bits")
        axis.set(title=title)
        axis.grid(visible=False, axis="y")
        axis.xaxis.set_major_locator(MaxNLocator(2))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    left.set_yticks(places, [str(row["layer"]) for row in rows], fontsize=FONT)
    left.set_ylim(len(rows) - 0.4, -0.6)
    right.tick_params(labelleft=False)
    put_legend(figure, left)
    return figure


@styled
def cycles(cost: Cost) -> "Figure":
    """Cycles of the front end and of each layer on a device, and cycles for a multiply-accumulate."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    parts = [*([cost.front_end] if cost.front_end else []), *cost.layers]
    figure, (left, right) = make_axes(1, 2, height=0.6 + 0.18 * max(len(parts), 10), width=WIDE)
    right.sharey(left)
    colours = [colour_of(1 if part is cost.front_end else 0) for part in parts]
    for axis, title, values in (
        (left, "cycles", [part.cycles for part in parts]),
        (right, "cycles a MAC", [part.cycles_per_mac or 0 for part in parts]),
    ):
        bars = axis.barh(range(len(parts)), values, color=colours, alpha=0.75)
        for bar, part, value in zip(bars, parts, values, strict=True):
            put_tip(bar, f"{part.name}: {word(value, 2)} {title}")
        axis.set(title=title)
        axis.grid(visible=False, axis="y")
        axis.xaxis.set_major_locator(MaxNLocator(3))
    left.xaxis.set_major_formatter(EngFormatter(sep=""))
    left.set_yticks(range(len(parts)), [part.name for part in parts], fontsize=FONT)
    left.set_ylim(len(parts) - 0.4, -0.6)
    right.tick_params(labelleft=False)
    return figure
