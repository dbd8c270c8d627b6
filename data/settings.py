"""How a setting is declared: a field of a dataclass, with its type, its meaning and the values that it may have.

Conventions: the key of a setting is its dotted name on the command line, such as student.fit.epochs. The range of a
number is part of its type: see ranges.py.
"""

import math
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import cache
from typing import Any

from data.errors import UserError
from data.ranges import described, fits, in_words, shortened, wanted

POOLED = "pooled"  # as the name of a layer: the input of the last one


def setting(
    about: str,
    *,
    choices: Sequence[Any] = (),
    suggested: Sequence[Any] = (),
    is_path: bool = False,
    newer: bool = False,
    **default: Any,
) -> Any:
    """A field of a dataclass of settings.

    Args:
        about: its line in --help.
        choices: all values that it may have, besides None.
        suggested: values that tab completion offers, of a setting that takes others too.
        is_path: whether it names files or folders: tab completion offers these, and ~ is the home folder.
        newer: whether runs of version 0.1.0 know nothing of it; see identity_of.
        default: `default` or `default_factory`; without them a value must be given.
    """
    metadata = {"about": about, "choices": tuple(choices), "suggested": tuple(suggested), "is_path": is_path}
    return field(metadata={**metadata, "newer": newer}, **default)


def identity_of(settings: Any) -> dict[str, Any]:
    """The values of a dataclass of settings, as nested mappings, for the record of what a result depends on.

    A setting that was added later is left out while it has its default: earlier records do not have it.
    """
    return {
        each.name: identity_of(value) if is_dataclass(value := getattr(settings, each.name)) else value
        for each in fields(settings)
        if not (each.metadata.get("newer") and getattr(settings, each.name) == _default(each))
    }


def problems_of(kind: type, values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """What is wrong with the values of a dataclass of settings, each by itself: not of its type, out of its range, none
    of its choices, or not finite.

    Args:
        kind: a dataclass.
        values: by the names of its fields; those that are missing are not checked.
        prefix: of the keys in the messages, such as "student.fit.".
    """
    for each in fields(kind):
        if each.name not in values:
            continue
        key, value, choices = f"{prefix}{each.name}", values[each.name], each.metadata.get("choices", ())
        declared = hints_of(kind)[each.name]
        infinite = [f"{name}={number} must be a finite number" for name, number in _numbers(key, value)]
        if infinite:
            more = "" if fits(declared, value) else f": {key} is {described(declared)}"
            yield from (f"{text}{more}" for text in infinite)
        elif choices and value is not None and value not in choices:
            shown = shortened(repr(value) if isinstance(value, str) else value)
            yield f"unknown {key} {shown}; choose one of: {', '.join(map(in_words, choices))}"
        elif each.metadata.get("is_path") and value in ("", [], [""]):
            yield f"{key}={in_words(value)} names nothing: give a path, a pattern, or a list of them"
        elif not fits(declared, value):
            yield f"{key}={shortened(value)} must be {wanted(declared, value)}"


def require_valid(settings: Any, prefix: str) -> None:
    """Check the values of a dataclass of settings, each by itself.

    Args:
        settings: an instance.
        prefix: of the keys in the message, such as "fit.".

    Raises:
        UserError: some are out of their range; all of them are listed.
    """
    if problems := list(problems_of(type(settings), vars(settings), prefix)):
        raise UserError("\n".join(problems))


def _default(each: Field) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()


@cache
def hints_of(kind: type) -> Mapping[str, Any]:
    """The types of a dataclass's fields, with the ranges of their numbers."""
    return typing.get_type_hints(kind, include_extras=True)


def _numbers(key: str, value: Any) -> Iterator[tuple[str, float]]:
    """The floats in a value that are not finite, in dicts and lists too, by their keys."""
    if isinstance(value, float):
        if not math.isfinite(value):
            yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(f"{key}.{name}", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(key, inner)
    elif is_dataclass(value):
        for each in fields(value):
            yield from _numbers(f"{key}.{each.name}", getattr(value, each.name))
