"""Damaged tables, trees of values and zip files for fuzzing.py: sound as bytes, and wrong in what they hold.

Conventions: a mutant is what was changed, and a file's content. Mutants follow from a seed; each has one to three
changes.
"""

import copy
import csv
import gzip
import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fuzzing import Mutant

TEXTS = (
    *(
        "",
        " ",
        "nan",
        "inf",
        "-1",
        "1e400",
        "0,5",
        "1_0",
        "50 %",
        "\u0661",
        "NA",
        "null",
        "true",
        "[",
        "{",
        '"',
        "'",
        ";",
    ),
    *(",", "\t", "\n", "\r", "\0", "\x1b[2J", "\u202e", "\ufeff", "e\u0301", "\u00e9", "\u2028", "a\\b", "a/b", ".."),
    *(
        "/dev/zero",
        "/",
        ".",
        "~",
        "=1+1",
        "<script>",
        "[red]",
        "x" * 5000,
        "1" * 5000,
        "0" * 99 + "1",
        "1:1:1",
        "2022-13-45",
    ),
)
HUGE = "a whole number of 5,000 digits"  # which json will not write
VALUES = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        1.5,
        1e308,
        -0.0,
        10**30,
        10**400,
        HUGE,
        float("nan"),
        float("inf"),
        [],
        {},
        [[]],
        [None],
    ),
    *({"a": {"b": []}}, "7", b"bytes", "[" * 5000),
)


def table_mutants(rows: Sequence[Sequence[str]], count: int, *, separator: str, seed: int = 0) -> Iterator[Mutant]:
    """Of a table with its header: cells, rows and columns that are changed, gone, there twice or elsewhere; other
    separators, line ends, encodings and quotes."""
    draw = random.Random(seed)
    for _ in range(count):
        table, changes = [list(row) for row in rows], []
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            changes.append(_change_table(table, draw))
        form = {"delimiter": separator, "lineterminator": "\n", "quoting": csv.QUOTE_MINIMAL}
        if draw.random() < 0.2:
            key, value = draw.choice(
                [
                    *(("delimiter", mark) for mark in ",;\t |"),
                    *(("lineterminator", end) for end in ("\r\n", "\r", "\n\n", "\n\r", "")),
                    ("quoting", csv.QUOTE_ALL),
                ]
            )
            form[key] = value
            changes.append(f"{key} {value!r}")
        text = io.StringIO(newline="")
        csv.writer(text, **form).writerows(table)
        data = text.getvalue().encode()
        if draw.random() < 0.1:
            how, encode = draw.choice(list(ENCODINGS.items()))
            data = encode(text.getvalue())
            changes.append(how)
        yield ", ".join(changes), data


ENCODINGS: Mapping[str, Callable[[str], bytes]] = {
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "Latin-1": lambda text: text.encode("latin-1", "replace") + b"\xfc",
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "two byte order marks": lambda text: b"\xef\xbb\xbf" + text.encode("utf-8-sig"),
    "gzipped": lambda text: gzip.compress(text.encode(), mtime=0),
    "gzipped twice": lambda text: gzip.compress(gzip.compress(text.encode(), mtime=0), mtime=0),
    "half a gzip": lambda text: gzip.compress(text.encode(), mtime=0)[:-9],
    "an open quote": lambda text: text.encode() + b'"',
    "quotes in values": lambda text: text.encode().replace(b"a", b'a"b', 1),
    "a blank behind each separator": lambda text: re.sub("([\t,])", r"\1 ", text).encode(),
}


def _change_table(table: list[list[str]], draw: random.Random) -> str:
    if not table or not any(table):
        table.append([draw.choice(TEXTS)])
        return "a table of one value"
    kind = draw.choice(("cell", "cell", "cell", "header", "remove", "repeat", "swap", "add", "rows", "column"))
    row = 0 if kind == "header" else draw.randrange(len(table))
    cells = table[row] or [""]
    place, text = draw.randrange(len(cells)), draw.choice(TEXTS)
    match kind:
        case "cell" | "header":
            cells[place] = draw.choice((text, cells[place] + text, text + cells[place]))
        case "remove":
            del cells[place]
        case "repeat":
            table[row:row] = [list(cells)] * draw.choice((1, 2, 1000))
        case "swap":
            other = draw.randrange(len(table))
            table[row], table[other] = table[other], table[row]
        case "add":
            cells += [text] * draw.choice((1, 2, 20_000))
        case "rows":
            del table[row:]
        case "column":
            for each in table:
                each[place : place + 1] = draw.choice(([], each[place : place + 1] * 2))
    table[row:row] = []
    return f"{kind} {place} of row {row} ({text[:20]!r})"


def tree_mutants(tree: Any, count: int, write: Callable[[Any], bytes], seed: int = 0) -> Iterator[Mutant]:
    """Of mappings and lists in each other: values of other types and ranges, names that are gone, new or another's, and
    what nests deep.

    Args:
        tree: the original.
        count: of the mutants.
        write: from a tree to a file's content.
        seed: of the mutants.
    """
    draw = random.Random(seed)
    for _ in range(count):
        mutant, changes = [copy.deepcopy(tree)], []
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            changes.append(_change_tree(mutant, draw))
        yield ", ".join(changes), write(mutant[0])


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with each of its keys."""
    for key in range(len(tree)) if isinstance(tree, list) else list(tree):
        yield tree, key
        if isinstance(tree[key], list | dict):
            yield from _places(tree[key])


def _change_tree(root: list, draw: random.Random) -> str:
    holder, key = draw.choice(list(_places(root)))
    kind = draw.choice(("value", "value", "value", "text", "remove", "rename", "nest", "copy"))
    if kind == "copy":
        other, there = draw.choice(list(_places(root)))
        holder[key] = copy.deepcopy(other[there])
    elif kind == "nest":
        for _ in range(draw.choice((1, 15, 45))):
            holder[key] = [holder[key]] if draw.random() < 0.5 else {"a": holder[key]}
    elif kind in ("value", "text") or isinstance(holder, list):
        holder[key] = draw.choice(VALUES if kind == "value" else TEXTS)
    elif kind == "remove":
        del holder[key]
    else:
        holder[draw.choice(TEXTS)] = holder.pop(key)
    return f"{kind} at {str(key)[:40]!r}"


def as_json(tree: Any) -> bytes:
    """With NaN, Infinity and numbers of any length, as other programs write them."""
    text = json.dumps(tree, default=str)
    return text.replace(json.dumps(HUGE), "1" * 5000).encode()


def zip_mutants(files: Mapping[str, bytes], count: int, seed: int = 0) -> Iterator[Mutant]:
    """Of a zip: members with other names, gone, there twice, of many kinds, or other than its directory says."""
    draw = random.Random(seed)
    for _ in range(count):
        buffer, name = io.BytesIO(), draw.choice(list(files))
        kind = draw.choice(("name", "remove", "twice", "many", "kind", "method", "lie", "bomb", "content", "inside"))
        content = dict(files)
        with zipfile.ZipFile(buffer, "w", draw.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))) as archive:
            data = content.pop(name)
            match kind:
                case "name":
                    data, name = (
                        data,
                        draw.choice((draw.choice(TEXTS), f"../{name}", f"/{name}", f"{name}/", name.upper())),
                    )
                case "content":
                    data = draw.choice((b"", data * 2, data[: len(data) // 2], draw.randbytes(1000), b"\0" * 1000))
                case "inside":
                    inner = io.BytesIO()
                    with zipfile.ZipFile(inner, "w") as nested:
                        nested.writestr(name, data)
                    data = inner.getvalue()
                case "bomb":
                    data = bytes(draw.choice((1 << 20, 80 << 20)))
            info = zipfile.ZipInfo(name)
            if kind == "kind":
                info.create_system, info.external_attr = 3, draw.choice((0o120777, 0o020666, 0o010666, 0o040755)) << 16
            method = draw.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)) if kind == "method" else archive.compression
            if kind != "remove":
                archive.writestr(info, data, method)
            for other, rest in content.items():
                archive.writestr(other, rest)
            if kind == "many":
                for number in range(draw.choice((1, 99, 20_000))):
                    archive.writestr(f"task1/{number}", b"")
            if kind == "twice":
                archive.NameToInfo.clear()  # zipfile would warn
                archive.writestr(name, draw.choice((b"", data)))
        data = bytearray(buffer.getvalue())
        if kind == "lie":  # sizes, checks, offsets, methods and flags of the central directory
            start = data.index(b"PK\x01\x02")
            at, size = draw.choice(((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4)))
            lie = draw.choice((0, 1, 7, 0xFFFF, 1 << 20, 0xFFFFFFFF, draw.getrandbits(32))) % (1 << 8 * size)
            data[start + at : start + at + size] = struct.pack("<I", lie)[:size]
        yield f"{kind} of {name[:40]!r}", bytes(data)
