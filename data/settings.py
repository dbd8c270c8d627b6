"""How a setting is declared: a field of a dataclass, with its meaning and the values that it may have.

Conventions: the key of a setting is its dotted name on the command line, such as student.fit.epochs.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, fields, is_dataclass
from typing import Any


def setting(
    about: str, *, choices: Sequence[Any] = (), suggested: Sequence[Any] = (), is_path: bool = False, **default: Any
) -> Any:
    """A field of a dataclass of settings.

    Args:
        about: its line in --help.
        choices: all values that it may have, besides None.
        suggested: values that tab completion offers, of a setting that takes others too.
        is_path: whether it names files or folders: tab completion offers these, and ~ is the home folder.
        default: `default` or `default_factory`; without them a value must be given.
    """
    metadata = {"about": about, "choices": tuple(choices), "suggested": tuple(suggested), "is_path": is_path}
    return field(metadata=metadata, **default)


def problems_of(kind: type, values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """What is wrong with the values of a dataclass of settings, each by itself: none of its choices, or not finite.

    Args:
        kind: a dataclass.
        values: by the names of its fields; those that are missing are not checked.
        prefix: of the keys in the messages, such as "student.fit.".
    """
    for each in fields(kind):
        if each.name not in values:
            continue
        value, choices = values[each.name], each.metadata.get("choices", ())
        if choices and value is not None and value not in choices:
            yield f"unknown {prefix}{each.name} {value!r}; choose one of: {', '.join(map(in_words, choices))}"
        if each.metadata.get("is_path") and value == []:
            yield f"{prefix}{each.name}=[] names nothing: give a path, a pattern, or a list of them"
        for key, number in _numbers(f"{prefix}{each.name}", value):
            if not math.isfinite(number):
                yield f"{key}={number} must be a finite number"


def in_words(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(in_words, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{in_words(inner)}' for key, inner in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _numbers(key: str, value: Any) -> Iterator[tuple[str, float]]:
    """All floats in a value, in dicts and lists too, by their keys."""
    if isinstance(value, float):
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
