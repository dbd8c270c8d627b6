"""What a terminal is shown of names that anybody chose."""

import ast
import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from experiments.command.console import Progress
from experiments.report.terminal import Table

ROOT = Path(__file__).parent.parent
NAME, SHOWN = "[red]a\x1b[2J\r\u202e:smile:\udcff", r"[red]a\x1b[2J\r\u202e:smile:\xff"


def test_cells_are_shown_as_they_are_but_for_what_moves_a_cursor() -> None:
    """Oracle: Python's escapes, by hand, in every place of a table; lines that are drawn to one width."""
    table = Table(NAME, caption=NAME)
    table.add_column(NAME)
    table.add_row(NAME)
    out = io.StringIO()
    Console(file=out, width=100).print(table)
    assert out.getvalue().count(SHOWN) == 4
    assert out.getvalue().replace("\n", "").isprintable()
    assert len({len(line) for line in out.getvalue().splitlines() if line[0] in "\u250f\u2503\u2502\u2514"}) == 1


def test_messages_of_progress_move_no_cursor(capsys: pytest.CaptureFixture) -> None:
    """Oracle: Python's escapes, by hand; names in arguments and in the text."""
    Progress().emit(logging.makeLogRecord({"msg": f"{NAME}\n%s", "args": (NAME,)}))
    assert capsys.readouterr().out == f"{SHOWN}\n{SHOWN}\n"


def test_every_table_is_drawn_in_one_place() -> None:
    """Oracle: the imports in the sources: rich's own tables would obey what stands in names."""
    drawing = set()
    for path in (ROOT / "experiments").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in ("rich.table", "rich.markup"):
                drawing.add(path.name)
            if isinstance(node, ast.Import) and any(name.name == "rich.table" for name in node.names):
                drawing.add(path.name)
    assert drawing == {"terminal.py"}
