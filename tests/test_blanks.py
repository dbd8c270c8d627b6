"""Blanks and empty rows in tables, as people and spreadsheets leave them."""

import io
from pathlib import Path

import pytest

from data.errors import UserError, listed
from data.readers.folder import read_folder
from data.tables import parse_table, read_table, write_table


@pytest.mark.parametrize(
    "text",
    [
        'label, filename\nbus, a.wav\nbus, " b.wav"\n',
        '"label", "filename"\n"bus", "a.wav"\n"bus", " b.wav"\n',
        'label,filename\n"bus", "a.wav"\n"bus"," b.wav"\n',
        'label,filename\nbus, a.wav\nbus," b.wav"\n',
        'label , filename\n bus,   a.wav\n bus, " b.wav"\n',
    ],
)
def test_blanks_behind_commas_are_no_content(tmp_path: Path, text: str) -> None:
    """Oracle: by hand; what is quoted keeps its blanks, and is written so again."""
    (tmp_path / "x.csv").write_text(text)
    columns = {"label": ["bus", "bus"], "filename": ["a.wav", " b.wav"]}
    assert read_table(tmp_path / "x.csv", ["filename", "label"]) == columns
    assert read_table(write_table(tmp_path / "y.csv", columns, separator=","), ["filename"]) == columns


@pytest.mark.parametrize("nothing", ["\n,", "\n,,\n", "\r\n,\r\n,\r\n", "\n   ", "\n \n, ,\n\n", "\r,\r"])
def test_rows_of_nothing_are_no_content(tmp_path: Path, nothing: str) -> None:
    """Oracle: by hand, what spreadsheets and people leave there; a last value may be empty, and so may quoted rows, and
    lines within quotes; what follows is counted by its line in the file."""
    rows = {"a.wav,bus": ["a.wav", "bus"], "a.wav,": ["a.wav", ""], '"",""': ["", ""], '"a\n,\nb",c': ["a\n,\nb", "c"]}
    for row, found in rows.items():
        text = f"filename,label{nothing}\n{row}{nothing}\n{row}{nothing}"
        (tmp_path / "x.csv").write_text(text, newline="")
        assert read_table(tmp_path / "x.csv", ["filename"]) == {"filename": [found[0]] * 2, "label": [found[1]] * 2}
        (tmp_path / "x.csv").write_text(f"{text}\nodd", newline="")
        line = len(io.StringIO(f"{text}\nodd", newline="").readlines())
        with pytest.raises(UserError, match=rf"1 rows that do not have 2 values:\n  line {line}: 1 values"):
            read_table(tmp_path / "x.csv", ["filename"])


def test_an_exact_table_has_no_rows_of_nothing() -> None:
    """Oracle: by hand: in a table of a fixed form a row of separators is one, and is for its reader to judge."""
    table = parse_table(io.StringIO("a\tb\n1\t2\n\t\n\n", newline=""), "x.csv", ["a", "b"], separator="\t", exact=True)
    assert table == {"a": ["1", ""], "b": ["2", ""]}


def test_names_whose_blanks_would_not_be_seen_are_quoted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: by hand."""
    assert listed(["a.wav", " b.wav", "c.wav ", "d e.wav", ""]) == "  a.wav\n  ' b.wav'\n  'c.wav '\n  d e.wav\n  ''"
    rows = [f"{n}.wav,{'cat' if n % 2 else 'owl'},,,\n" for n in range(12)]
    (tmp_path / "clips.csv").write_text("filename,label,x ,y,\n" + "".join(rows) + ",,,,\n" * 3)
    assert len(read_folder(tmp_path).clips) == 12
    assert "the columns 'x ', y, '' are not used" in caplog.text
