"""A page of results as HTML: what it consists of, and how it is written.

Conventions: a page needs no network: styles and plots are inside.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data.names import escaped
from experiments.report.render import svg
from experiments.runs.layout import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGES = Path(__file__).parent.parent / "pages"


class Tile(NamedTuple):
    """A number at the top of a section; `verdict` is "ok", "over" or ""."""

    label: str
    value: str
    note: str = ""
    verdict: str = ""


class Plot(NamedTuple):
    """A plot with its title and caption; `of` is the run or page that it belongs to."""

    title: str
    caption: str
    figure: "Figure"
    of: str

    @property
    def svg(self) -> str:
        """The plot as SVG for the page."""
        return svg(self.figure, f"{self.of}: {self.title}")


class Grid(NamedTuple):
    """A table of texts; the first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self, names: int = 1) -> str:
        """The table alone; its first columns, so many, are names, the others numbers."""
        rule = ["---"] * names + ["---:"] * (len(self.columns) - names)
        rows = [[cell.replace("|", "\\|") for cell in row] for row in (self.columns, rule, *self.rows)]
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)


class Link(NamedTuple):
    """A text and the address that it leads to; "" is none."""

    words: str
    address: str = ""


class Section(NamedTuple):
    """A run, or the comparison of several; `anchor` is its id on the page, which links may lead to."""

    title: str
    summary: str
    tiles: Sequence[Tile] = ()
    lead: Sequence[Grid] = ()  # before the plots
    plots: Sequence[Plot] = ()
    grids: Sequence[Grid] = ()
    details: Sequence[tuple[str, str]] = ()  # title and text, closed at first
    links: Sequence[Link] = ()
    links_are: str = "Made from"
    anchor: str = ""


def write_page(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write sections as one page; returns its path."""
    environment = Environment(
        loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, finalize=_escaped
    )
    environment.trim_blocks = environment.lstrip_blocks = True
    write_text(path, environment.get_template("report.html").render(title=title, sections=sections))
    return path


def _escaped(value: Any) -> Any:
    """A text of which nothing turns what follows around, as marks of direction in names of files do."""
    return escaped(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
