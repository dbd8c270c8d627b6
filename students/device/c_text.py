"""The text of C: templates, and numbers."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files

LICENCE = "/* SPDX-License-Identifier: Apache-2.0. Written by scenelet. */\n"
PER_LINE = 16
Table = tuple[str, Sequence[int]]  # type of C, and values
BYTES = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4}


def template(name: str) -> str:
    """The text of a file in templates/."""
    return (files(__package__) / "templates" / name).read_text()


def comment(name: str) -> str:
    """A name from a model file as a comment may have it: letters, digits and underscores, so that it ends none."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name)


def licensed(templates: Iterable[str], made: Mapping[str, str]) -> dict[str, str]:
    """Templates, by their names, and texts that were made, each with the licence before it."""
    texts = {**{name: template(name) for name in templates}, **made}
    return {name: LICENCE + text for name, text in texts.items()}


def table(kind: str, name: str, values: Sequence[int | str], *, static: bool = False) -> list[str]:
    """A constant array, line by line."""
    scope = "static " if static else ""
    return [f"{scope}const {kind} {name}[{len(values)}] = {{", *_rows(values), "};", ""]


def _rows(values: Sequence[int | str]) -> Iterable[str]:
    for start in range(0, len(values), PER_LINE):
        yield "    " + " ".join(f"{value}," for value in values[start : start + PER_LINE])
