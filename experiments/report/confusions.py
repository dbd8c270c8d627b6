"""The confusion matrix as a plot.

Conventions: counts are of clips; a recall is the share of a class's clips that were recognised. Order of the classes:
see order.py.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

from data.scenes import SCENE_GROUPS
from experiments.report.numbers import percent
from experiments.report.order import is_grouped, order_of, shares_of
from experiments.report.render import COLOURS, FONT, INK, WIDE, make_axes, put_tip, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 20  # classes: with more, the plot has the page's width, and counts are not written
PITCH = FONT / 72 * 1.05  # inches of a row and of a column, at least, so that names do not touch
NAMES = 1.9  # inches of the names, and of the recalls


@styled
def confusions(counts: Sequence[Sequence[int]], scenes: Sequence[str]) -> "Figure":
    """The confusion matrix, in the order of order_of: a row for each true class, a column for each predicted one; a
    cell is as dark as its share of the row, and has its count in it. The last column is the recall."""
    from matplotlib.patches import Rectangle

    order, n = order_of(scenes, counts), len(scenes)
    table = np.asarray(counts, dtype=float)[np.ix_(order, order)]
    shares, words = shares_of(table), [scenes[place].replace("_", " ") for place in order]
    width, least = (WIDE, 0.75 * WIDE) if n <= MANY else (1.5 * WIDE, NAMES + PITCH * n)
    size = min(FONT, FONT * (width - NAMES) / (PITCH * max(n, 1)))
    figure, axis = make_axes(height=least, width=width)
    axis.grid(visible=False)
    for row, column in np.argwhere(table).tolist():
        square = Rectangle((column - 0.5, row - 0.5), 1, 1)
        square.set(facecolor=COLOURS[0], alpha=0.85 * shares[row, column], linewidth=0)
        axis.add_patch(square)
        count, share = int(table[row, column]), percent(float(shares[row, column]))
        put_tip(square, f"{words[row]}, answered {words[column]}: {count:,} of {int(table[row].sum()):,} ({share})")
        if n <= MANY:
            axis.text(column, row, f"{count:,}", ha="center", va="center", fontsize=size)
    for row, share in enumerate(np.diagonal(shares)):
        known = f"{100 * share:.0f} %" if table[row].any() else "-"
        axis.text(n - 0.3, row, known, ha="left", va="center", fontsize=size)
    axis.text(n - 0.3, -0.7, "recall", ha="left", va="bottom", fontsize=size)
    axis.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), xlabel="answered", ylabel="true")
    axis.set_xticks(range(n), words, rotation=60, ha="right", rotation_mode="anchor", fontsize=size)
    axis.set_yticks(range(n), words, fontsize=size)
    axis.tick_params(length=0)
    if is_grouped(scenes):
        _put_groups(axis)
    return figure


def _put_groups(axis: "Axes") -> None:
    """Lines between the groups of the challenge's classes, and their names above."""
    edges = [0, *accumulate(map(len, SCENE_GROUPS.values()))]
    for edge in edges[1:-1]:
        axis.axhline(edge - 0.5, color=INK, linewidth=0.8, alpha=0.6)
        axis.axvline(edge - 0.5, color=INK, linewidth=0.8, alpha=0.6)
    for name, (start, end) in zip(SCENE_GROUPS, pairwise(edges), strict=True):
        axis.text((start + end - 1) / 2, -0.7, name, ha="center", va="bottom")
