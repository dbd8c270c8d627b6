"""The one kind of error that a user can correct: it says what is wrong, with the value, and what to do.

The command line prints the message alone; a traceback is for defects of ours.
"""

import importlib.util
from collections.abc import Iterable, Sequence
from typing import NoReturn

from data.names import printable

SHOWN = 20  # names, or messages
LONGEST = 200  # characters of a value


class UserError(Exception):
    """Something in the input or the configuration that only the user can put right. Its text may quote names of files
    and what stands in them: str() gives it as a terminal may show it, see `printable`."""

    def __str__(self) -> str:
        return printable(super().__str__())


def listed(names: Sequence[str], *, shown: int = SHOWN, total: int | None = None) -> str:
    """The names one a line, in quotes where blanks around them would not be seen, at most `shown` of them, and how many
    were left out, also of a `total` of which `names` holds the first."""
    lines = [f"  {quoted(name)}" for name in names[:shown]]
    if (left := (len(names) if total is None else total) - len(lines)) > 0:
        lines.append(f"  ... and {left} more")
    return "\n".join(lines)


def some_of(values: Iterable[str], *, shown: int = SHOWN) -> str:
    """The different values on one line, numbers in their order, at most `shown` of them, and how many were left out."""
    found = sorted({*values} - {""}, key=lambda value: (len(value) if value.isdecimal() else 0, value))
    left = f" and {len(found) - shown} more" if len(found) > shown else ""
    return f"{', '.join(map(quoted, found[:shown]))}{left}"


def quoted(name: str) -> str:
    """A name, in quotes if it is empty or blanks around it would not be seen."""
    return name if name and name == name.strip(" ") else f"'{name}'"


def together(problems: Iterable[str], *, shown: int = SHOWN) -> str:
    """Several messages, each of them once, at most `shown` of them, and how many were left out."""
    found = list(dict.fromkeys(problems))
    more = [f"... and {len(found) - shown} more mistakes"] if len(found) > shown else []
    return "\n".join([*found[:shown], *more])


def in_short(value: object) -> str:
    """A value from a file as it can stand in a message: as Python writes it, on one line, cut at LONGEST."""
    text = "".join(c if c.isprintable() else "?" for c in repr(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def counted(number: int, what: str) -> str:
    """1 clip, 2 clips, 1,000 clips."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def unknown(kind: str, value: object, choices: Iterable[str]) -> NoReturn:
    """Raise the error for a name that is not in a registry.

    Raises:
        UserError: always, with the choices.
    """
    raise UserError(f"unknown {kind} {value!r}; choose one of: {', '.join(choices)}")


def require(package: str, extra: str) -> None:
    """Check that an optional package is installed, before it is imported.

    Args:
        package: its name in an import.
        extra: the optional dependencies of pyproject.toml that it belongs to.

    Raises:
        UserError: it is not, with the command that installs it.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(f"the package {package} is not installed: pip install '.[{extra}]'")
