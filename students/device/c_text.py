"""Numbers as the text of C."""

from collections.abc import Iterable, Sequence

LICENCE = "/* SPDX-License-Identifier: Apache-2.0. Written by scenelet. */\n"
PER_LINE = 16
Table = tuple[str, Sequence[int]]  # type of C, and values
BYTES = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4}


def table(kind: str, name: str, values: Sequence[int | str], *, static: bool = False) -> list[str]:
    """A constant array, line by line."""
    scope = "static " if static else ""
    return [f"{scope}const {kind} {name}[{len(values)}] = {{", *_rows(values), "};", ""]


def _rows(values: Sequence[int | str]) -> Iterable[str]:
    for start in range(0, len(values), PER_LINE):
        yield "    " + " ".join(f"{value}," for value in values[start : start + PER_LINE])
