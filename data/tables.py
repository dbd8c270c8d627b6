"""Lists of clips as text: a header and rows, comma- or tab-separated, maybe gzipped."""

import csv
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from data.errors import UserError, listed

Table = dict[str, list[str]]  # column name to values


def read_table(path: str | Path, required: Sequence[str], *, separator: str | None = None) -> Table:
    """Read a table, all values as text; lines may end in LF or CRLF.

    Args:
        path: the file; unzipped if its name ends in .gz.
        required: columns that must be there.
        separator: of columns; by default a tab if the header has one, else a comma.

    Raises:
        UserError: the file is missing or no such table, lacks columns, or has rows of another length than the header
            (listed by line).
    """
    path = Path(path)
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            return parse_table(file, path, required, separator=separator)
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is no comma- or tab-separated table ({error})") from error


def parse_table(file: TextIO, path: str | Path, required: Sequence[str], *, separator: str | None = None) -> Table:
    """As read_table, of a file that is open (seekable, newline=""); `path` is what it is called in messages."""
    try:
        separator = separator or ("\t" if "\t" in file.readline() else ",")
        file.seek(0)
        reader = csv.reader(file, delimiter=separator, strict=True)
        header = next(reader, [])
        columns, ragged, blank = [[] for _ in header], [], []
        for row in reader:
            if not row:
                blank.append(f"line {reader.line_num}: empty")
            elif len(row) == len(header):
                ragged += blank  # only at the end of a file does an empty line mean nothing
                blank = []
                for column, value in zip(columns, row, strict=True):
                    column.append(value)
            else:
                ragged.append(f"line {reader.line_num}: {len(row)} values")
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no comma- or tab-separated table ({error})") from error
    if missing := [column for column in required if column not in header]:
        kind = "tab-separated" if separator == "\t" else "comma-separated"
        raise UserError(f"{path} lacks the columns {', '.join(missing)}: read as {kind}, its header is {header}")
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise UserError(f"{path} has the columns {', '.join(twice)} twice")
    if ragged:
        raise UserError(f"{path} has {len(ragged)} rows that do not have {len(header)} values:\n{listed(ragged)}")
    return dict(zip(header, columns, strict=True))
