"""Accuracy over what systems cost, as a plot.

Conventions: names stand beside their points where there is room; the words under the pointer have them all.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from experiments.report.render import FONT, HEIGHT, INK, colour_of, make_axes, put_legend, put_tip, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of an axis that is one of two in a figure: the width of a letter and the height of a line, as shares of its own, and
# how far a name is from its point.
LETTER, LINE, GAP = 0.022, 0.11, 0.02
PLACES = ((1, 1), (1, -1), (-1, 1), (-1, -1))  # of a name, in the order in which they are tried: right, above

Box = tuple[float, float, float, float]  # left, low, right, high


class Point(NamedTuple):
    """A system in the plane of costs and accuracy.

    Attributes:
        name: shown under the pointer.
        accuracy: a share.
        parameter_bytes, macs: its costs.
        group: decides its colour.
        on_front: whether it has a ring.
        label: what stands beside it, if there is room; "": nothing.
    """

    name: str
    accuracy: float
    parameter_bytes: float
    macs: float
    group: str
    on_front: bool = False
    label: str = ""


@styled
def trade_off(points: Sequence[Point], limits: Mapping[str, int]) -> "Figure":
    """Accuracy over bytes (above) and over multiply-accumulates (below), limits dashed; points on the front have a
    ring."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    figure, axes = make_axes(2, height=1.7 * HEIGHT)
    groups = list(dict.fromkeys(point.group for point in points))
    for axis, cost, title in zip(axes, ("parameter_bytes", "macs"), ("bytes", "multiply-accumulates"), strict=True):
        axis.set(xscale="log", xlabel=title, ylabel="accuracy, %")
        for point in points:
            number, ring = groups.index(point.group), 1.4 if point.on_front else 0
            where = getattr(point, cost), 100 * point.accuracy
            dot = axis.scatter(*where, color=colour_of(number), s=34, edgecolors=INK, linewidths=ring, zorder=3)
            put_tip(dot, f"{point.name}: {where[1]:.1f} %, {where[0]:,.0f} {title}")
        axis.axvline(limits[cost], linestyle="--", color=INK, linewidth=0.8, alpha=0.6)
        axis.margins(0.2)
        _put_labels(axis, points, cost)
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.xaxis.set_minor_formatter(NullFormatter())
    for number, group in enumerate(groups):
        axes[0].scatter([], [], color=colour_of(number), s=34, label=group)
    put_legend(figure, axes[0])
    return figure


def _put_labels(axis: "Axes", points: Sequence[Point], cost: str) -> None:
    """Each label in the first of PLACES where it hides no point and no other label, and is inside; or else nowhere."""
    wheres = [(getattr(point, cost), 100 * point.accuracy) for point in points]
    spots = axis.transLimits.transform(axis.transScale.transform(wheres)).tolist()
    dots: list[Box] = [(x - GAP / 2, y - LINE / 4, x + GAP / 2, y + LINE / 4) for x, y in spots]
    taken: list[Box] = []
    for number, (point, where, (x, y)) in enumerate(zip(points, wheres, spots, strict=True)):
        for right, up in PLACES if point.label else ():
            left, end = sorted((x + right * GAP, x + right * (GAP + LETTER * len(point.label))))
            low, high = sorted((y, y + up * LINE))
            box, others = (left, low, end, high), [*dots[:number], *dots[number + 1 :], *taken]
            if left >= 0 and end <= 1 and not any(_overlap(box, other) for other in others):
                taken.append(box)
                offset, side = (5 * right, 3 if up > 0 else -9), "left" if right > 0 else "right"
                axis.annotate(point.label, where, xytext=offset, textcoords="offset points", ha=side, fontsize=FONT)
                break


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
