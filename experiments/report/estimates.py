"""Values with their intervals as a plot: of runs over recordings, or of settings over seeds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from experiments.report.render import INK, colour_of, make_axes, put_tip, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Estimated(NamedTuple):
    """A value, its interval if there is one, and the single values that it is the mean of, if it is one."""

    name: str
    value: float
    edges: tuple[float, float] | None = None
    samples: Sequence[float] = ()


@styled
def estimates(rows: Sequence[Estimated], title: str, digits: int = 1) -> "Figure":
    """A row for each: a point, the line of its interval, and small rings for single values.

    Args:
        rows: from the top.
        title: of the axis.
        digits: behind the point, of the words under the pointer.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axis = make_axes(height=0.7 + 0.24 * len(rows))
    for place, row in enumerate(rows):
        if row.edges:
            axis.plot(row.edges, [place, place], color=colour_of(place), linewidth=2, alpha=0.75, solid_capstyle="butt")
        if row.samples:
            axis.plot(row.samples, [place] * len(row.samples), "o", color=INK, markersize=4, markerfacecolor="none")
        (point,) = axis.plot([row.value], [place], "D" if row.samples else "o", color=colour_of(place), markersize=6)
        within = f" (95 %: {row.edges[0]:.{digits}f} to {row.edges[1]:.{digits}f})" if row.edges else ""
        put_tip(point, f"{row.name}: {row.value:.{digits}f}{within}")
    axis.set_yticks(range(len(rows)), [row.name for row in rows])
    axis.set(ylim=(len(rows) - 0.5, -0.5), xlabel=title)
    axis.grid(visible=False, axis="y")
    axis.xaxis.set_major_locator(MaxNLocator(5))
    return figure
