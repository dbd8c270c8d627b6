"""Whether values from a file or from settings are of the types that a function declares.

Conventions: types are those of the signature's annotations. A bool is no int, an int is a float too, a list or a tuple
is a Sequence; floats are finite. A type that is not known here is not checked.
"""

import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

SHOWN = 80  # characters of a value in a message


def misfits(function: Callable[..., object], arguments: Mapping[str, object]) -> list[str]:
    """The arguments that are not of their declared types, in words: the name, the value and what it must be."""
    declared = _types_of(function)
    return [
        f"{name}={in_short(value)} must be {describe_type(declared[name])}"
        for name, value in arguments.items()
        if name in declared and not is_of_type(value, declared[name])
    ]


def is_of_type(value: object, kind: Any) -> bool:
    """Whether a value is of an annotated type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(is_of_type(value, each) for each in inner)
    if origin is Literal:
        return value in inner
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            is_of_type(key, inner[0]) and is_of_type(each, inner[1]) for key, each in value.items()
        )
    if isinstance(origin, type) and issubclass(origin, Sequence):
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            return False
        # Of tuple[int, int] the number of values counts, of tuple[int, ...] and Sequence[int] it does not.
        if origin is tuple and Ellipsis not in inner:
            return len(value) == len(inner) and all(map(is_of_type, value, inner))
        return all(is_of_type(each, inner[0]) for each in value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)
    return isinstance(value, kind) if kind in (bool, str, Path, type(None)) else True


def describe_type(kind: Any) -> str:
    """An annotated type in words: a whole number, a finite number, ..."""
    words = {
        int: "a whole number",
        float: "a finite number",
        bool: "true or false",
        str: "a text",
        Path: "a path",
        type(None): "null",
    }
    if kind in words:
        return words[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe_type(each) for each in inner))
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping whose values are each {describe_type(inner[1])}"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return f"a list whose values are each {describe_type(inner[0])}"
    return str(kind)


def in_short(value: object) -> str:
    """A value of a file as it can stand in a message: short, and without control characters."""
    text = ascii(value) if isinstance(value, str) else "".join(c if c.isprintable() else "?" for c in repr(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _types_of(function: Callable[..., object]) -> Mapping[str, Any]:
    """The annotated types of a function's or a class's arguments; none where they cannot be found out."""
    try:
        return get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except (NameError, TypeError, AttributeError):  # a name that only type checkers see
        return {}


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond floats
        return False
