"""Tables on a terminal, whose cells are texts and nothing else.

Conventions: names of files and classes stand in them, which anybody chose: no markup in them is obeyed, and what would
move the cursor is shown as data/names.py says.
"""

import rich.table
from rich import box
from rich.console import Console
from rich.text import Text

from data.names import printable

WIDEST = 10_000  # characters of a line of print_whole


class Table(rich.table.Table):
    """A table of plain texts."""

    def __init__(self, title: str = "", *, caption: str = "", box: box.Box = box.HEAVY_HEAD) -> None:
        """An empty one.

        Args:
            title: above it.
            caption: below it.
            box: how its lines are drawn.
        """
        above = plain(title, "table.title") if title else None
        super().__init__(title=above, caption=plain(caption, "table.caption") if caption else None, box=box)

    def add_column(self, header: str, **form) -> None:  # type: ignore[override]
        """See rich."""
        super().add_column(plain(header), **form)

    def add_row(self, *cells: str, **form) -> None:  # type: ignore[override]
        """See rich."""
        super().add_row(*map(plain, cells), **form)


def plain(text: str, style: str = "") -> Text:
    """A text for rich, as it is."""
    return Text(printable(text), style)


def print_whole(table: Table) -> None:
    """Print a table of many figures at its own width: a narrower terminal wraps its lines, and no figure is cut."""
    width = Console(width=WIDEST).measure(table).maximum
    Console(width=max(width, Console().width)).print(table)
