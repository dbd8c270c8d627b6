"""Texts as Hydra takes them: paths are taken as they stand, whatever is in them, without its quotes.

Conventions: a path that the user has put in Hydra's quotes, an interpolation such as ${oc.env:HOME}/x, and null are
left to Hydra. Of settings that take several paths [a,b] is a list; of a sweep (-m) commas separate the jobs' values, so
that a comma that is part of a path needs quotes within the shell's own: data.root="'a, b'".
"""

import os
import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from data.ranges import fits

QUOTES = "'\""
SWEEPS = re.compile(r"(choice|glob|range|interval|shuffle|sort|tag|extend_list)\(.*\)", re.DOTALL)


def quoted(text: str) -> str:
    """A text as Hydra takes it for a value: in quotes, and ${ is no interpolation."""
    literal = re.sub(r"(\\*)\$\{", lambda found: rf"{2 * found[1]}\${{", text)
    return QuotedString(literal, Quote.single).with_quotes()


def in_quotes(value: str, kind: Any, *, is_path: bool, is_sweep: bool) -> str:
    """The value of a setting for Hydra: in quotes where it is a path, or a text that Hydra's grammar does not take.

    Args:
        value: as it stands on the command line.
        kind: type of the setting.
        is_path: whether it names files or folders.
        is_sweep: whether commas separate values.
    """
    if is_path and value:
        return _paths(value, is_sweep=is_sweep, is_list=fits(kind, []))
    is_text = bool(value) and fits(kind, "") and value[0] not in QUOTES
    return quoted(value) if is_text and not _is_grammatical(value) else value


def _paths(value: str, *, is_sweep: bool = False, is_list: bool = False) -> str:
    """A path or several, as Hydra takes them."""
    if is_sweep and (SWEEPS.fullmatch(value) or len(parts := divided(value)) > 1):
        return value if SWEEPS.fullmatch(value) else ",".join(_paths(part, is_list=is_list) for part in parts)
    exists = os.path.lexists(value)
    if value == "null" or _is_quoted(value) or (re.search(r"\$\{.*\}", value) and not exists):
        return value
    if is_list and value[0] == "[" and value[-1] == "]" and not exists:
        return f"[{','.join(_paths(part) for part in divided(value[1:-1]) if part)}]"
    return quoted(value)


def divided(text: str) -> list[str]:
    """The parts of a text between its commas, without blanks around them; commas within quotes that begin a part, and
    within brackets, divide nothing.

    >>> divided("a b, 'c,d',[e,f]*")
    ['a b', "'c,d'", '[e,f]*']
    """
    parts, part, quote, depth = [], "", "", 0
    for before, char in zip(f" {text}", text, strict=False):
        if quote:
            quote = "" if char == quote and before != "\\" else quote
        elif char in QUOTES and not part.strip():
            quote = char
        elif char in "[]":
            depth = max(0, depth + (1 if char == "[" else -1))
        if char == "," and not quote and not depth:
            parts.append(part.strip())
            part = ""
        else:
            part += char
    return [*parts, part.strip()]


def _is_quoted(value: str) -> bool:
    """Whether a value is one text in Hydra's quotes, rather than one that only begins with such a character."""
    quote = value[0]
    return quote in QUOTES and bool(re.fullmatch(rf"{quote}(\\.|[^\\{quote}])*{quote}", value, re.DOTALL))


def _is_grammatical(value: str) -> bool:
    try:
        OverridesParser.create().parse_override(f"key={value}")
    except HydraException:
        return False
    return True
