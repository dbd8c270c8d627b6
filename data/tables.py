"""Read and write tables as text: a header and rows, comma- or tab-separated, maybe gzipped.

Conventions: every value is the text that stands in the file: nothing is guessed, so a class may be called NA and a clip
007. Files are UTF-8, with or without a byte order mark; lines end in LF, CRLF or CR; values are quoted as in RFC 4180.
pandas does the work (it is imported where a table is touched, which takes 0.3 s). What it would pass over in silence is
checked here first: rows of another length than the header, empty lines between rows, columns of one name, open quotes.
"""

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from data.errors import SHOWN, UserError, listed
from data.files import write_whole

Table = dict[str, list[str]]  # column name to values

KINDS = {"\t": "tab-separated", ",": "comma-separated"}


def read_table(path: str | Path, required: Sequence[str], *, separator: str | None = None) -> Table:
    """Read a table, all values as text.

    Args:
        path: the file; unzipped if its name ends in .gz.
        required: columns that must be there.
        separator: of columns; by default a tab if the first line has one, else a comma.

    Raises:
        UserError: the file is missing, damaged or no such table, lacks columns or has one twice, or has rows of another
            length than the header (listed by line).
    """
    path = Path(path)
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            return parse_table(file, path, required, separator=separator)
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is no comma- or tab-separated table ({error})") from error


def parse_table(
    file: TextIO, path: str | Path, required: Sequence[str], *, separator: str | None = None, exact: bool = False
) -> Table:
    """As read_table, of a file that is open. Its header is checked before any row is read.

    Args:
        file: seekable, opened with newline="".
        path: what the file is called in messages.
        required: columns that must be there.
        separator: of columns; by default a tab if the first line has one, else a comma.
        exact: whether the header must consist of just the required columns, in their order.
    """
    try:
        separator = separator or ("\t" if "\t" in file.readline() else ",")
        file.seek(0)
        header = next(csv.reader(file, delimiter=separator, strict=True), [])
        _check_header(header, path, required, separator, exact=exact)
        file.seek(0)
        text = file.read()
        numbers, lengths = _rows(text, separator)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path} is no comma- or tab-separated table (line {line}: {error})") from error
    except csv.Error as error:
        raise UserError(f"{path} is no comma- or tab-separated table ({error})") from error
    while lengths and not lengths[-1]:  # only at the end of a file does an empty line mean nothing
        lengths.pop()
    if set(lengths) - {len(header)}:
        found = [(number, n) for number, n in zip(numbers, lengths, strict=False) if n != len(header)]
        lines = [f"line {number}: {f'{n} values' if n else 'empty'}" for number, n in found]
        raise UserError(f"{path} has {len(lines)} rows that do not have {len(header)} values:\n{listed(lines)}")
    return _read_values(text, header, separator) if header else {}


def table_text(columns: Mapping[str, Sequence[object]], *, separator: str = "\t") -> str:
    """A table as text: what Python's csv module writes, lines ending in LF.

    Args:
        columns: name -> values, one a row; each is written as str() gives it, so numbers that need a certain precision
            come as text.
        separator: of columns.

    Raises:
        UserError: a value holds a carriage return, which readers would take for the end of a line.
    """
    import pandas as pd

    frame = pd.DataFrame({name: [str(value) for value in values] for name, values in columns.items()}, dtype=object)
    text = frame.to_csv(sep=separator, index=False, lineterminator="\n")
    if (place := text.find("\r")) >= 0:
        line = text.count("\n", 0, place) + 1
        raise UserError(f"line {line} of a table would hold a carriage return ({text[:place][-40:]!r}): rename it")
    return text


def write_table(path: str | Path, columns: Mapping[str, Sequence[object]], *, separator: str = "\t") -> Path:
    """Write a table (see table_text) as UTF-8, whole or not at all; returns the path."""
    return write_whole(path, table_text(columns, separator=separator).encode())


def _check_header(
    header: Sequence[str], path: str | Path, required: Sequence[str], separator: str, *, exact: bool
) -> None:
    shown = f"{header[:SHOWN]}{f' and {len(header) - SHOWN:,} more' if len(header) > SHOWN else ''}"
    there = Counter(header)
    if missing := [column for column in required if column not in there]:
        kind = KINDS.get(separator, f"separated by {separator!r}")
        raise UserError(f"{path} lacks the columns {', '.join(missing)}: read as {kind}, its header is {shown}")
    if twice := sorted(column for column, count in there.items() if count > 1):
        raise UserError(f"{path} has the columns {', '.join(twice[:SHOWN])} twice")
    if exact and header != list(required):
        raise UserError(f"{path}: the header is {shown}, it must be {list(required)}")


def _rows(text: str, separator: str) -> tuple[Sequence[int], list[int]]:
    """The line at which each row ends, from 1, the header among them, and how many values it has; none if it is empty.

    Raises:
        csv.Error: quotes are not closed, or not followed by a separator.
    """
    if '"' not in text:  # then every line is a row, and is counted four times faster than csv reads it
        lines = re.sub("\r\n?", "\n", text).split("\n") if "\r" in text else text.split("\n")
        return range(1, len(lines) + 1), [line.count(separator) + 1 if line else 0 for line in lines]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    numbers, lengths = [0], []
    try:
        for row in reader:
            numbers.append(reader.line_num)
            lengths.append(len(row))
    except csv.Error as error:
        raise csv.Error(f"line {numbers[-1] + 1}: {error}") from error
    return numbers[1:], lengths


def _read_values(text: str, header: Sequence[str], separator: str) -> Table:
    """The columns of a table whose form was checked."""
    import pandas as pd

    frame = pd.read_csv(
        io.BytesIO(text.rstrip("\r\n").encode()),
        sep=separator,
        dtype=str,
        keep_default_na=False,
        na_filter=False,
        index_col=False,
        skip_blank_lines=False,
        low_memory=False,
    )
    return {name: frame.iloc[:, place].tolist() for place, name in enumerate(header)}
