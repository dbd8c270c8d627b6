"""How plots look: sizes, colours, and matplotlib's settings.

Conventions: sizes in inches, fonts in points. Nothing is drawn in black or white but in INK, which becomes the colour
of a page's own text (render.py), so that one plot fits light and dark pages. Source of the first colours: Okabe & Ito,
"Color Universal Design", 2008.
"""

from typing import Any

INK = "#35424f"  # on white paper; in a page it becomes the colour of the words around it
COLOURS = ("#0a84c6", "#d55e00", "#009e73", "#cc79a7", "#b38600", "#56b4e9", "#8c6bb1", "#7f8c8d", "#c0392b", "#5d8a2f")
WIDTH, HEIGHT = 3.6, 2.4  # inches
FONT = 8.0
STYLE: dict[Any, Any] = {
    "font.size": FONT,
    "text.parse_math": False,
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
