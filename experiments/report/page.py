"""A page of results as HTML: what it consists of, and how it is written.

Conventions: a page needs no network: styles and plots are inside.
"""

import base64
import mimetypes
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data.files import write_whole
from data.names import escaped
from experiments.report.render import WIDTH, svg
from experiments.runs.layout import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_NUMBER = 32  # characters, with its interval
PICTURES = "mistakes"  # folder beside a page
MOST_ROWS = 12  # of a table that is open at first
_NUMBER = re.compile(r"[-+]?\d|-$")
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

    @property
    def places(self) -> str:
        """Of how many plots it takes the place, as the page's class."""
        return {2: "two", 3: "three"}.get(round(self.figure.get_figwidth() / WIDTH), "")


class Grid(NamedTuple):
    """A table of texts; the first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def kinds(self) -> list[str]:
        """Of each column: "text", which begins at the left, or "number", which ends at the right."""
        columns = [[row[number] for row in self.rows if row[number]] for number in range(1, len(self.columns))]
        return ["text", *("number" if sum(map(_is_number, cells)) * 2 >= len(cells) else "text" for cells in columns)]

    @property
    def is_long(self) -> bool:
        """Whether a page shows it closed at first."""
        return len(self.rows) > MOST_ROWS

    def markdown(self, names: int = 1) -> str:
        """The table alone; its first columns, so many, are names, the others numbers."""
        rule = ["---"] * names + ["---:"] * (len(self.columns) - names)
        rows = [[cell.replace("|", "\\|") for cell in row] for row in (self.columns, rule, *self.rows)]
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)


class Link(NamedTuple):
    """A text and the address that it leads to; "" is none."""

    words: str
    address: str = ""


class Sound(NamedTuple):
    """A clip that can be heard.

    Attributes:
        words: about it.
        name: of the clip.
        file: of the sound, which begins with it; None: it cannot be played.
        seconds: its length.
        picture: its spectrogram as PNG.
    """

    words: str
    name: str
    file: Path | None
    seconds: float
    picture: bytes


class Player(NamedTuple):
    """A sound as a page shows it; addresses are "" where there is nothing."""

    words: str
    name: str
    sound: str
    picture: str


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
    facts: Sequence[tuple[str, str]] = ()  # what it is of: name and value
    warning: str = ""  # what a reader must know before all numbers
    files: Sequence[Link] = ()
    sounds: Sequence[Sound] = ()
    remarks: Sequence[str] = ()  # below the summary, one a line


def write_page(path: Path, title: str, sections: Sequence[Section], *, embed: bool = False) -> Path:
    """Write sections as one page, and the spectrograms of its sounds beside it; returns its path.

    Args:
        path: of the page.
        title: of the page.
        sections: from the top.
        embed: whether the sounds are in the page itself, with their spectrograms; otherwise it has their addresses.
    """
    environment = Environment(
        loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, finalize=_escaped
    )
    pictures = path.parent / PICTURES
    for old in pictures.glob("*.png"):
        old.unlink()
    players = []
    for number, section in enumerate(sections):
        named = {f"{number}-{place}.png": sound for place, sound in enumerate(section.sounds)}
        players.append([_player(sound, pictures / name, embed) for name, sound in named.items()])
    environment.trim_blocks = environment.lstrip_blocks = True
    write_text(path, environment.get_template("report.html").render(title=title, sections=sections, players=players))
    return path


def _player(sound: Sound, picture: Path, embed: bool) -> Player:
    """A sound as the page beside whose folder of pictures `picture` lies shows it."""
    if sound.file is None:
        return Player(sound.words, sound.name, "", "")
    if embed:
        kind = mimetypes.guess_type(sound.file.name)[0] or "audio/wav"
        return Player(
            sound.words, sound.name, _inside(kind, sound.file.read_bytes()), _inside("image/png", sound.picture)
        )
    picture.parent.mkdir(exist_ok=True)
    write_whole(picture, sound.picture)
    here = picture.parent.parent.resolve()
    heard, seen = (quote(os.fsencode(os.path.relpath(file, here))) for file in (sound.file, picture.resolve()))
    return Player(sound.words, sound.name, f"{heard}#t=0,{sound.seconds:g}", seen)


def _inside(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _is_number(cell: str) -> bool:
    return bool(_NUMBER.match(cell)) and len(cell) <= LONGEST_NUMBER


def _escaped(value: Any) -> Any:
    """A text of which nothing turns what follows around, as marks of direction in names of files do."""
    return escaped(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
