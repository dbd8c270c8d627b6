"""A page of results: what it is made of, and how it is written; what is on it, run_page.py says.

Conventions: shares are in [0, 1] and shown in percent. A page needs no network: styles and pictures are inside.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from experiments.report.render import svg
from experiments.runs.layout import write_text

PAGES = Path(__file__).parent.parent / "pages"


class Tile(NamedTuple):
    """One figure that a reader needs first; `verdict` is "ok", "over" or ""."""

    label: str
    value: str
    note: str = ""
    verdict: str = ""


class Picture(NamedTuple):
    """A figure with what it says, of which run or page."""

    title: str
    caption: str
    figure: Figure
    of: str

    @property
    def svg(self) -> str:
        """As it stands in the page."""
        return svg(self.figure, f"{self.of}: {self.title}")


class Grid(NamedTuple):
    """A table of words; the first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Link(NamedTuple):
    """Words, and where they lead; "" is nowhere."""

    words: str
    address: str = ""


class Section(NamedTuple):
    """A run, or the comparison of several; `anchor` is its place in the page, where links may lead."""

    title: str
    summary: str
    tiles: Sequence[Tile] = ()
    lead: Sequence[Grid] = ()  # before the pictures
    pictures: Sequence[Picture] = ()
    grids: Sequence[Grid] = ()
    details: Sequence[tuple[str, str]] = ()  # title and text, closed at first
    links: Sequence[Link] = ()
    links_are: str = "Made from"
    anchor: str = ""


def write_page(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write sections as one page that needs no network."""
    environment = Environment(loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    write_text(path, environment.get_template("report.html").render(title=title, sections=sections))
    return path


def percent(share: float | None) -> str:
    """0.256 -> 25.6 %"""
    return "" if share is None else f"{100 * share:.1f} %"


def interval(scores: Mapping[str, float], figure: str, factor: float = 100, digits: int = 1) -> str:
    """ "17.2 to 34.1", where the figure has an interval."""
    if f"{figure}/low" not in scores:
        return ""
    low, high = (factor * scores[f"{figure}/{edge}"] for edge in ("low", "high"))
    return f"{low:.{digits}f} to {high:.{digits}f}"


def word(value: Any, digits: int = 4) -> str:
    """A value of a table: integers with commas, others with `digits` digits; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.{digits}f}" if 1e-3 <= abs(value) < 1e4 else f"{value:.3g}"
    return f"{value:,.0f}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
