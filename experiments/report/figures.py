"""Pictures of results: training curves, confusions, devices, calibration, costs; for reports, papers and dashboards.

Conventions: every function takes what a run's files hold and gives a matplotlib Figure of at most 4.8 inches, so that
its words can be read on a phone; nothing is drawn in black or white but in INK, which `svg` turns into the colour of
the page's own words, so that one picture fits light and dark. Colours: Okabe & Ito, "Color Universal Design", 2008.
"""

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, NamedTuple, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from experiments.judge import figures_under

INK = "#35424f"  # on white paper; in a page it becomes the colour of the words around it
COLOURS = ("#0a84c6", "#d55e00", "#009e73", "#cc79a7", "#b38600", "#56b4e9")
WIDTH, HEIGHT = 4.8, 3.1  # inches
STYLE = {
    "font.size": 8,
    "font.family": "sans-serif",
    "svg.fonttype": "none",  # words stay words: they can be searched, read aloud, and have the page's letters
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "figure.constrained_layout.use": True,
}


P = ParamSpec("P")


def _styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in our style, whatever that of the process is."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


class Point(NamedTuple):
    """A system in the plane of costs and accuracy; `group` decides its colour, "" is no name to be written."""

    name: str
    accuracy: float
    parameter_bytes: float
    macs: float
    group: str
    on_front: bool = False


@_styled
def curves(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Losses (left) and validation accuracy (right) over epochs; runs by name, each a sequence of rows."""
    figure, (left, right) = _axes(1, 2)
    for number, (name, rows) in enumerate(histories.items()):
        colour, epochs = COLOURS[number % len(COLOURS)], [row["epoch"] for row in rows]
        alone = len(histories) == 1
        lines = (("loss", ":", "training" if alone else None), ("validation/log_loss", "-", "validation log loss"))
        for key, style, word in lines:
            values = [row.get(key, np.nan) for row in rows]
            left.plot(epochs, values, style, color=colour, label=word if alone or word is None else name)
        accuracy = [100 * row.get("validation/accuracy", np.nan) for row in rows]
        right.plot(epochs, accuracy, color=colour, label=name)
    left.set(xlabel="epoch", title="loss")
    right.set(xlabel="epoch", title="validation accuracy, %")
    _legend(figure, left)
    return figure


@_styled
def confusions(counts: Sequence[Sequence[int]], scenes: Sequence[str]) -> Figure:
    """What each class (rows) was taken for (columns): shares of the row, and counts in the cells."""
    table = np.asarray(counts, dtype=float)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    figure, axis = _axes(height=WIDTH * 0.86)
    axis.grid(visible=False)
    places = range(len(scenes))
    for row in places:
        for column in places:
            square = Rectangle((column - 0.5, row - 0.5), 1, 1)
            square.set(facecolor=COLOURS[0], alpha=0.85 * shares[row, column], linewidth=0)
            axis.add_patch(square)
            if table[row, column] and len(scenes) <= 20:
                axis.text(column, row, f"{int(table[row, column])}", ha="center", va="center", fontsize=6.5)
    words = [scene.replace("_", " ") for scene in scenes]
    axis.set(xlim=(-0.5, len(scenes) - 0.5), ylim=(len(scenes) - 0.5, -0.5), xlabel="taken for")
    axis.set_xticks(places, words, rotation=60, ha="right", rotation_mode="anchor")
    axis.set_yticks(places, words)
    axis.tick_params(length=0)
    return figure


@_styled
def shares(scores: Mapping[str, Mapping[str, float]], kind: str) -> Figure:
    """Accuracy by "device", "group" or "scene" with 95 % intervals over recordings; scores of runs by name."""
    prefix = f"test/accuracy/{kind}/"
    found = dict.fromkeys(key for run in scores.values() for key in figures_under(prefix, run))
    figure, axis = _axes(height=HEIGHT if len(found) < 14 else 1.4 * HEIGHT)
    step = 0.8 / max(len(scores), 1)
    for number, (name, run) in enumerate(scores.items()):
        places = np.arange(len(found)) + (number - (len(scores) - 1) / 2) * step
        values = 100 * np.array([run.get(key, np.nan) for key in found])
        edges = 100 * np.array([[run.get(f"{key}/{edge}", np.nan) for key in found] for edge in ("low", "high")])
        colour = COLOURS[number % len(COLOURS)]
        axis.bar(places, values, width=0.9 * step, color=colour, alpha=0.75, label=name)
        bars = np.abs(edges - values)
        axis.errorbar(places, values, yerr=bars, fmt="none", ecolor=INK, elinewidth=0.8, capsize=2 if step > 0.3 else 1)
    words = [key.removeprefix(prefix).replace("_", " ") for key in found]
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if kind == "scene" else {}
    axis.set_xticks(range(len(found)), words, **slanted)
    axis.set(ylim=(0, 100), ylabel="accuracy, %")
    axis.grid(visible=False, axis="x")
    if len(scores) > 1:
        _legend(figure, axis)
    return figure


@_styled
def reliability(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Accuracy over confidence, bin by bin; the larger a point, the more clips; on the diagonal it means what it says.

    Args:
        runs: by name, each the rows of reliability.csv.
    """
    figure, axis = _axes(height=0.75 * WIDTH, width=0.85 * WIDTH)
    axis.plot([0, 100], [0, 100], "--", color=INK, linewidth=0.8, alpha=0.6)
    for number, (name, rows) in enumerate(runs.items()):
        x, y, items = (np.array([row[key] for row in rows]) for key in ("confidence", "accuracy", "items"))
        colour = COLOURS[number % len(COLOURS)]
        axis.plot(100 * x, 100 * y, color=colour, linewidth=1, alpha=0.6)
        axis.scatter(100 * x, 100 * y, s=8 + 120 * items / items.sum(), color=colour, alpha=0.75, label=name, zorder=3)
    axis.set(xlim=(0, 100), ylim=(0, 100), xlabel="confidence, %", ylabel="accuracy, %")
    if len(runs) > 1:
        _legend(figure, axis)
    return figure


@_styled
def layers(rows: Sequence[Mapping[str, float | str]], macs: Mapping[str, int]) -> Figure:
    """Bytes and multiply-accumulates of each layer of an integer network, coloured by the bits of its weights.

    Args:
        rows: of layers.json.
        macs: by layer.
    """
    figure, (left, right) = _axes(1, 2, height=0.5 + 0.16 * max(len(rows), 12))
    right.sharey(left)
    places = np.arange(len(rows))
    bits = sorted({int(row["bits"]) for row in rows})
    for axis, title, values in (
        (left, "bytes", [row["bytes"] for row in rows]),
        (right, "multiply-accumulates", [macs.get(str(row["layer"]), 0) for row in rows]),
    ):
        for number, width in enumerate(bits):
            mine = [i for i in places if rows[i]["bits"] == width]
            axis.barh(mine, [values[i] for i in mine], color=COLOURS[number], alpha=0.75, label=f"{width} bits")
        axis.set(title=title)
        axis.grid(visible=False, axis="y")
        axis.xaxis.set_major_locator(MaxNLocator(3))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    left.set_yticks(places, [str(row["layer"]) for row in rows], fontsize=6.5)
    left.set_ylim(len(rows) - 0.4, -0.6)
    right.tick_params(labelleft=False)
    _legend(figure, left)
    return figure


@_styled
def trade_off(points: Sequence[Point], limits: Mapping[str, int]) -> Figure:
    """Accuracy over bytes (left) and over multiply-accumulates (right); points on the Pareto front have a ring."""
    figure, axes = _axes(1, 2)
    groups = list(dict.fromkeys(point.group for point in points))
    for axis, cost, title in zip(axes, ("parameter_bytes", "macs"), ("bytes", "multiply-accumulates"), strict=True):
        for number, group in enumerate(groups):
            some = [point for point in points if point.group == group]
            x, y = [getattr(point, cost) for point in some], [100 * point.accuracy for point in some]
            rings = [1.4 if point.on_front else 0 for point in some]
            colour = COLOURS[number % len(COLOURS)]
            axis.scatter(x, y, color=colour, s=34, edgecolors=INK, linewidths=rings, label=group, zorder=3)
            for point, along, up in zip(some, x, y, strict=True):
                axis.annotate(point.name, (along, up), xytext=(3, 4), textcoords="offset points", fontsize=6)
        axis.axvline(limits[cost], linestyle="--", color=INK, linewidth=0.8, alpha=0.6)
        axis.set(xscale="log", title=title)
        axis.margins(0.25)
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.xaxis.set_minor_formatter(NullFormatter())
    axes[0].set(ylabel="accuracy, %")
    _legend(figure, axes[0])
    return figure


def svg(figure: Figure, name: str) -> str:
    """The figure as SVG for a page: as wide as its place, with the page's letters and the colour of its words; `name`
    keeps its ids apart from those of other figures, and is what a screen reader says."""
    out = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text, salt = out.getvalue(), re.sub(r"\W", "-", name)
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    view = re.search(r'viewBox="[^"]+"', text)[0]
    text = re.sub(r"<svg .*?>", f'<svg role="img" aria-label="{html.escape(name)}" {view}>', text, count=1, flags=re.S)
    # Both would be of the whole page: a style for every element, and names that other figures have too.
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>| font-family: [^;]*;", "", text, flags=re.S)
    text = re.sub(r'\bid="', f'id="{salt}-', text)
    return re.sub(r'(?:xlink:)?(href="#|url\(#)', rf"\g<1>{salt}-", text)


def png(figure: Figure, dpi: int = 200) -> bytes:
    """The figure as a picture on white."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return out.getvalue()


def _axes(rows: int = 1, columns: int = 1, *, width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns)


def _legend(figure: Figure, axis: Axes) -> None:
    """Above all axes, where it hides nothing."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 3))
