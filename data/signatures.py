"""Whether values from a file or from settings are of the types, and in the ranges, that a function's annotations say.

Conventions: those of ranges.py.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from data.errors import in_short
from data.ranges import fits, wanted


def misfits(function: Callable[..., object], arguments: Mapping[str, object]) -> list[str]:
    """The arguments that are not of their declared types or ranges, in words: name, value and what it must be."""
    declared = _types_of(function)
    return [
        f"{name}={in_short(value)} must be {wanted(declared[name], value)}"
        for name, value in arguments.items()
        if name in declared and not fits(declared[name], value)
    ]


def _types_of(function: Callable[..., object]) -> Mapping[str, Any]:
    """The annotated types of a function's or a class's arguments; none where they cannot be found out."""
    try:
        return get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)
    except (NameError, TypeError, AttributeError):  # a name that only type checkers see
        return {}
