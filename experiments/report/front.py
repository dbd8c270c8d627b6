"""The Pareto front of a search as a plot."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from experiments.report.numbers import word
from experiments.report.render import HEIGHT, INK, colour_of, make_axes, put_legend, put_tip, styled
from experiments.search.front import FOUND, RANDOM, Searched, on_front

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "bytes": "bytes",
    "macs": "multiply-accumulates",
    "ram": "bytes of RAM",
    "flash": "bytes of flash",
    "cycles": "cycles",
    "millijoules": "mJ by the model",
}
LABELS = {FOUND: "found by the search", RANDOM: "drawn at random"}


@styled
def front_plot(systems: Sequence[Searched], costs: Sequence[str], budget: Mapping[str, float]) -> "Figure":
    """Accuracy with its interval over each cost; found systems on the front have a ring, and a line joins those on the
    front of this cost alone; a budget is dashed."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    found = [system for system in systems if system.kind == FOUND]
    best = {id(system) for system, is_best in zip(found, on_front(found, costs), strict=True) if is_best}
    figure, axes = make_axes(len(costs), height=max(1.0, 0.85 * len(costs)) * HEIGHT)
    for axis, cost in zip([axes] if len(costs) == 1 else axes, costs, strict=True):
        axis.set(xscale="log", xlabel=TITLES[cost], ylabel="accuracy, %")
        for number, kind in enumerate(LABELS):
            for system in (each for each in systems if each.kind == kind):
                x, y = getattr(system.cost, cost), 100 * system.metrics.accuracy
                low, high = (100 * edge for edge in system.metrics.interval or (y / 100, y / 100))
                form = {"color": colour_of(number), "zorder": 2}
                axis.errorbar(x, y, yerr=[[max(0, y - low)], [max(0, high - y)]], elinewidth=0.8, alpha=0.5, **form)
                ring = 1.4 if id(system) in best else 0
                dot = axis.scatter(x, y, color=colour_of(number), s=30, edgecolors=INK, linewidths=ring, zorder=3)
                put_tip(dot, f"{system.name}: {y:.1f} %, {word(x, 2)} {TITLES[cost]}")
        line = sorted((getattr(each.cost, cost), 100 * each.metrics.accuracy) for each in _steps(found, cost))
        axis.step(*zip(*line, strict=True), where="post", color=colour_of(0), linewidth=0.8)
        if cost in budget:
            axis.axvline(budget[cost], linestyle="--", color=INK, linewidth=0.8, alpha=0.6)
        axis.margins(0.15)
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.xaxis.set_minor_formatter(NullFormatter())
    first = axes if len(costs) == 1 else axes[0]
    for number, kind in enumerate(LABELS):
        if any(system.kind == kind for system in systems):
            first.scatter([], [], color=colour_of(number), s=30, label=LABELS[kind])
    put_legend(figure, first)
    return figure


def _steps(systems: Sequence[Searched], cost: str) -> list[Searched]:
    return [system for system, is_best in zip(systems, on_front(systems, [cost]), strict=True) if is_best]
