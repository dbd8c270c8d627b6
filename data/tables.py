"""Read and write tables as text: a header and rows, comma- or tab-separated, maybe gzipped.

Conventions: every value is the text that stands in the file: nothing is guessed, so a class may be called NA and a clip
007. Files are UTF-8, with or without a byte order mark; lines end in LF, CRLF or CR; values are quoted as in RFC 4180.
Blanks behind a comma or before a line of a comma-separated table are no content, unless they are quoted; nor are rows
below the header of nothing but separators and blanks, which spreadsheets leave there.
pandas does the work (it is imported where a table is touched, which takes 0.3 s). What it would pass over in silence is
checked here first: rows of another length than the header, columns of one name, open quotes.
A table may come from anybody: its size, the number of its columns and of its values are limited before they are read.
"""

import csv
import gzip
import io
import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import TextIO

from data.errors import SHOWN, UserError, listed
from data.files import read_bounded, write_whole

Table = dict[str, list[str]]  # column name to values

KINDS = {"\t": "tab-separated", ",": "comma-separated"}
BYTES = 64 << 20  # of a table, unzipped: that of the evaluation set has 15 MB
COLUMNS, ROWS, VALUES = 10_000, 1_000_000, 4_000_000  # there are 118,800 rows and 1.4 million values there
LONGEST = 100  # characters of a number, and bytes of a line that is shown
# No digit can be part of two groups, or a long cell would take the square of its length.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
GZIP = b"\x1f\x8b"
OTHER_FILES = {  # first bytes of what is sometimes taken for a table
    b"\xff\xfe": "it is in UTF-16: save it as UTF-8",
    b"\xfe\xff": "it is in UTF-16: save it as UTF-8",
    b"PK\x03\x04": "it is a zip file or a workbook: save the sheet as comma-separated text",
    GZIP: "it is zipped twice: unzip it",
}


class MissingColumnsError(UserError):
    """A table lacks columns that must be there."""


def read_table(path: str | Path, required: Sequence[str], *, separator: str | None = None) -> Table:
    """Read a table, all values as text.

    Args:
        path: the file; unzipped if it is gzipped.
        required: columns that must be there.
        separator: of columns; by default a tab if the first line has one, else a comma.

    Raises:
        UserError: the file is missing, damaged, too large or no such table, lacks columns or has one twice, or has rows
            of another length than the header (listed by line).
    """
    data = read_bounded(path, BYTES)
    if data.startswith(GZIP):
        try:
            with gzip.open(io.BytesIO(data)) as zipped:
                data = zipped.read(BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} is no comma- or tab-separated table ({error})") from error
        if len(data) > BYTES:
            raise UserError(f"{path} holds more than {BYTES:,} bytes unzipped, which is too large for a table")
    for start, what in OTHER_FILES.items():
        if data.startswith(start):
            raise UserError(f"{path} is no comma- or tab-separated table: {what}")
    file = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    return parse_table(file, path, required, separator=separator)


def parse_table(
    file: TextIO, path: str | Path, required: Sequence[str], *, separator: str | None = None, exact: bool = False
) -> Table:
    """As read_table, of a file that is open, and bounded. Its header is checked before any row is read.

    Args:
        file: seekable, opened with newline="".
        path: what the file is called in messages.
        required: columns that must be there.
        separator: of columns; by default a tab if the first line has one, else a comma.
        exact: whether the header must consist of just the required columns, in their order, and every row counts.
    """
    try:
        line = file.readline()
        separator = separator or ("\t" if "\t" in line else ",")
        if (count := line.count(separator) + 1) > COLUMNS:
            raise UserError(f"{path} has {count:,} columns, more than {COLUMNS:,}: leave out those that are not needed")
        file.seek(0)
        form = csv.excel()
        form.delimiter, form.strict, form.skipinitialspace = separator, True, separator == "," and not exact
        header = next(csv.reader(file, form), [])
        # Blanks around tabs belong to the values, unless without them the header is the one that was asked for.
        if not exact and _is_spaced(header, required):
            header, form.skipinitialspace = [name.strip() for name in header], True
        _check_header(header, path, required, separator, exact=exact)
        file.seek(0)
        text = file.read()
        _check_size(path, text, separator)
        text = text.rstrip("\r\n")
        lines = io.StringIO(text, newline="").readlines()
        numbers, lengths = _rows(lines, form, quoted='"' in text)
        if not exact and (empty := _empty(lines, numbers, separator)):
            lengths = [length for number, length in zip(numbers, lengths, strict=True) if number not in empty]
            numbers = [number for number in numbers if number not in empty]
            text = "".join(line for number, line in enumerate(lines, 1) if number not in empty)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no comma- or tab-separated table ({_undecodable(error)})") from error
    except csv.Error as error:
        raise UserError(f"{path} is no comma- or tab-separated table ({error})") from error
    if wrong := len(lengths) - lengths.count(len(header)):
        found = ((number, n) for number, n in zip(numbers, lengths, strict=False) if n != len(header))
        where = [f"line {number}: {f'{n} values' if n else 'empty'}" for number, n in islice(found, SHOWN)]
        raise UserError(f"{path} has {wrong} rows that do not have {len(header)} values:\n{listed(where, total=wrong)}")
    return _read_values(text, header, form) if header else {}


def table_text(columns: Mapping[str, Sequence[object]], *, separator: str = "\t") -> str:
    """A table as text: what Python's csv module writes, lines ending in LF; all values are quoted where readers would
    take one for something else: one with a carriage return, the first with a byte order mark before it, one with blanks
    before it among commas, or a row of nothing but blanks.

    Args:
        columns: name -> values, one a row; each is written as str() gives it, so numbers that need a certain precision
            come as text.
        separator: of columns.

    Raises:
        UserError: a value holds what is no character, as the names of some files do; it is named.
    """
    import pandas as pd

    frame = pd.DataFrame({name: [str(value) for value in values] for name, values in columns.items()}, dtype=object)
    text = frame.to_csv(sep=separator, index=False, lineterminator="\n")
    blank = separator == "," and any(value.startswith(" ") for name in frame for value in (name, *frame[name]))
    empty = frame.apply(lambda column: column.str.strip(" ") == "").all(axis=1)
    if frame.shape[1] == 1:
        empty &= frame.iloc[:, 0] != ""  # which is quoted anyway
    if blank or empty.any() or "\r" in text or text.startswith("\ufeff"):
        text = frame.to_csv(sep=separator, index=False, lineterminator="\n", quoting=csv.QUOTE_ALL)
    try:
        text.encode()
    except UnicodeEncodeError:
        strange = untabular([*columns, *(str(value) for values in columns.values() for value in values)])
        raise UserError(f"names that are no UTF-8 cannot stand in a table:\n{listed(strange)}\nrename them") from None
    return text


def untabular(names: Sequence[str]) -> list[str]:
    """Those of some names of files that no table can hold, because bytes of them are no UTF-8."""
    return [name for name in names if any("\ud800" <= c <= "\udfff" for c in name)]


def decimal(text: str) -> float:
    """The number in a cell, with or without blanks around it; NaN if there is none. float() would also take "nan",
    "1_0" and the digits of other scripts."""
    found = _NUMBER.fullmatch(text) or _NUMBER.fullmatch(text.strip())
    return float(found[0]) if found and len(found[0]) <= LONGEST else math.nan


def write_table(path: str | Path, columns: Mapping[str, Sequence[object]], *, separator: str = "\t") -> Path:
    """Write a table (see table_text) as UTF-8, whole or not at all; returns the path."""
    return write_whole(path, table_text(columns, separator=separator).encode())


def _undecodable(error: UnicodeDecodeError) -> str:
    before = error.object[: error.start].splitlines()[-1:]
    text = b"".join([*before, error.object[error.start :].splitlines()[0]])[:LONGEST].decode(errors="surrogateescape")
    line = error.object.count(b"\n", 0, error.start) + 1
    return f"line {line} is no UTF-8, '{text}': save the table as UTF-8; rename files whose names are no UTF-8"


def _is_spaced(header: Sequence[str], required: Sequence[str]) -> bool:
    return bool(set(required) - set(header)) and set(required) <= {name.strip() for name in header}


def _check_header(
    header: Sequence[str], path: str | Path, required: Sequence[str], separator: str, *, exact: bool
) -> None:
    shown = f"{header[:SHOWN]}{f' and {len(header) - SHOWN:,} more' if len(header) > SHOWN else ''}"
    there = Counter(header)
    if missing := [column for column in required if column not in there]:
        kind = KINDS.get(separator, f"separated by {separator!r}")
        remedy = "; separate columns by tabs or commas" if ";" in "".join(header[:1]) else ""
        lacking = f"{path} lacks the columns {', '.join(missing)}"
        raise MissingColumnsError(f"{lacking}: read as {kind}, its header is {shown}{remedy}")
    if (nameless := there[""]) > 1:
        raise UserError(f"{path} has {nameless} columns without a name: name them, or delete them")
    if twice := sorted(column for column, count in there.items() if count > 1):
        raise UserError(f"{path} has the columns {', '.join(twice[:SHOWN])} twice")
    if exact and header != list(required):
        raise UserError(f"{path}: the header is {shown}, it must be {list(required)}")
    if len(header) > COLUMNS:  # quoted names may have several lines
        raise UserError(f"{path} has {len(header):,} columns, more than {COLUMNS:,}")


def _check_size(path: str | Path, text: str, separator: str) -> None:
    rows = text.count("\n") + text.count("\r") - text.count("\r\n")
    for count, most, what in ((rows, ROWS, "rows"), (rows + text.count(separator), VALUES, "values")):
        if count > most:
            raise UserError(f"{path} has {count:,} {what}, more than {most:,}: leave out what is not needed")


def _rows(lines: Sequence[str], form: csv.Dialect, *, quoted: bool) -> tuple[Sequence[int], list[int]]:
    """The line at which each row ends, from 1, the header among them, and how many values it has; none if it is empty.

    Raises:
        csv.Error: quotes are not closed, or not followed by a separator.
    """
    if not quoted:  # then every line is a row, and is counted four times faster than csv reads it
        lengths = [line.count(form.delimiter) + 1 if line.strip("\r\n") else 0 for line in lines]
        return range(1, len(lines) + 1), lengths
    reader = csv.reader(lines, form)
    numbers, lengths = [0], []
    try:
        for row in reader:
            numbers.append(reader.line_num)
            lengths.append(len(row))
    except csv.Error as error:
        raise csv.Error(f"line {numbers[-1] + 1}: {error}") from error
    return numbers[1:], lengths


def _empty(lines: Sequence[str], numbers: Sequence[int], separator: str) -> set[int]:
    """The lines, from 1, of rows below the header that hold nothing but separators and blanks; `numbers`: see _rows."""
    nothing = f"{separator} \r\n"
    return {number for before, number in pairwise(numbers) if number == before + 1 and not lines[before].strip(nothing)}


def _read_values(text: str, header: Sequence[str], form: csv.Dialect) -> Table:
    """The columns of a table whose form was checked."""
    import pandas as pd

    frame = pd.read_csv(
        io.BytesIO(text.encode()),
        sep=form.delimiter,
        skipinitialspace=form.skipinitialspace,
        dtype=str,
        keep_default_na=False,
        na_filter=False,
        index_col=False,
        skip_blank_lines=False,
        low_memory=False,
    )
    return {name: frame.iloc[:, place].tolist() for place, name in enumerate(header)}
