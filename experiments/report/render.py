"""How plots look, and plots as files: SVG that is part of a page, PNG for PDFs and dashboards.

Conventions: equal plots make equal bytes. Sizes are in inches, fonts in points. Nothing is drawn in black or white but
in INK, which becomes the colour of a page's own text, so that one plot fits light and dark pages. Source of the first
colours: Okabe & Ito, "Color Universal Design", 2008. matplotlib, which takes a while to import, is imported when it is
needed.
"""

import html
import io
import re
import warnings
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from data.names import escaped

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")

INK = "#35424f"  # on white paper; in a page it becomes the colour of the words around it
COLOURS = ("#0a84c6", "#d55e00", "#009e73", "#cc79a7", "#b38600", "#56b4e9", "#8c6bb1", "#7f8c8d", "#c0392b", "#5d8a2f")
WIDTH, HEIGHT = 3.6, 2.4  # inches
WIDE = 2 * WIDTH  # of a plot that takes the place of two
FONT = 9.0  # the smallest: 12 pixels on a page that is 1280 wide
LINE = 0.19  # inches of a line of a legend
TIP = "tip:"  # begins the ids of what has a text to show under the pointer
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
    "axes.titlesize": 10,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "legend.fontsize": FONT,
    "figure.constrained_layout.use": True,
}


def styled(draw: Callable[P, "Figure"]) -> Callable[P, "Figure"]:
    """Draw in our style, whatever that of the process is."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> "Figure":
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def make_axes(rows: int = 1, columns: int = 1, *, height: float = HEIGHT, width: float = WIDTH) -> tuple["Figure", Any]:
    """A figure and its axes: one, or an array of several."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns)


def colour_of(number: int) -> str:
    """Of the run, or whatever has colours, of this number."""
    return COLOURS[number % len(COLOURS)]


def put_tip(artist: "Artist", *texts: str) -> None:
    """A text that a page shows while the pointer is on what is drawn; or one for each of its points."""
    artist.set_gid(TIP + "\n".join(escaped(text).replace("\n", " ") for text in texts))


def put_legend(figure: "Figure", axis: "Axes") -> None:
    """Above all axes, where it hides nothing, in as many columns as there is room for; the figure becomes so much
    higher."""
    handles, labels = axis.get_legend_handles_labels()
    columns = max(1, min(len(labels), int(36 / (max(map(len, labels), default=1) + 6))))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns)
    figure.set_figheight(figure.get_figheight() + LINE * -(-len(labels) // columns))


def svg(figure: "Figure", name: str) -> str:
    """The plot as SVG for a page: as wide as its place, in the page's font and text colour.

    Args:
        figure: the plot.
        name: keeps its ids apart from those of other plots, and is read aloud by screen readers.
    """
    import matplotlib

    _escape(figure)
    out = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # browsers have the letters
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text, salt = out.getvalue(), re.sub(r"\W", "-", name)
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    view = re.search(r'viewBox="[^"]+"', text)
    assert view is not None
    head = f'<svg role="img" aria-label="{html.escape(name)}" {view[0]}>'
    text = re.sub(r"<svg .*?>", lambda _: head, text, count=1, flags=re.S)
    # Both would be of the whole page: a style for every element, and names that other plots have too.
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>| font-family: [^;]*;", "", text, flags=re.S)
    text = _with_tips(text)
    text = re.sub(r'\bid="', f'id="{salt}-', text)
    return re.sub(r'(?:xlink:)?(href="#|url\(#)', rf"\g<1>{salt}-", text)


def _with_tips(text: str) -> str:
    """The SVG in which the texts of put_tip are titles of what they are about."""
    before, *parts = re.split(rf'<g id="{TIP}([^"]*)">', text)
    for tips, part in zip(parts[::2], parts[1::2], strict=True):
        one, *more = tips.split("\n")
        if not more:
            before += f"<g><title>{one}</title>{part}"
            continue
        for tip in (one, *more):
            part = re.sub(r"(<use [^>]*)/>", lambda use, tip=tip: f"{use[1]}><title>{tip}</title></use>", part, count=1)
        before += f"<g>{part}"
    return before


def png(figure: "Figure", dpi: int = 200) -> bytes:
    """The plot as PNG on white."""
    import matplotlib

    _escape(figure)
    out = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(out, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return out.getvalue()


def _escape(figure: "Figure") -> None:
    """Show characters that no font has as data/names.py says: names of classes and runs stand in plots."""
    from matplotlib.text import Text

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label.get_text() for label in axis.get_ticklabels()]
            if not "".join(labels).isprintable():  # an axis writes its labels anew
                axis.set_ticks(axis.get_ticklocs(), labels=list(map(escaped, labels)))
    for text in figure.findobj(Text):
        if not text.get_text().isprintable():
            text.set_text(escaped(text.get_text()))
