"""Names to builders: how a word in the settings becomes a network, a front end or a data set.

Conventions: a registry is a package whose modules each declare one entry; the module's name is the entry's name. Adding
a teacher, say, is therefore adding one module: there is no list elsewhere that could forget it.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import TypeVar

from data.errors import UserError, unknown
from data.signatures import misfits

Built = TypeVar("Built")
Entry = TypeVar("Entry")


@cache
def discover(package: str, kind: type[Entry]) -> Mapping[str, Entry]:
    """The entries of a package: module name -> the one object of `kind` at the module's top level.

    Args:
        package: dotted name; its modules are imported, except those whose names begin with an underscore.
        kind: class of the entries. Modules without such an object are no entries.

    Raises:
        TypeError: a module defines several (a mistake of whoever wrote it).
    """
    found: dict[str, Entry] = {}
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if info.ispkg or info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package}.{info.name}")
        entries = [value for value in vars(module).values() if isinstance(value, kind)]
        if len(entries) > 1:
            raise TypeError(f"{module.__name__} declares {len(entries)} entries of {kind.__name__}, one is wanted")
        if entries:
            found[info.name] = entries[0]
    return found


def find(what: str, entries: Mapping[str, Entry], name: str) -> Entry:
    """The entry of a name.

    Raises:
        UserError: there is none, with the choices; `what` says of which kind.
    """
    if not isinstance(name, str) or name not in entries:  # a name from a file may be anything
        unknown(what, name, entries)
    return entries[name]


def build(what: str, builder: Callable[..., Built], arguments: Mapping[str, object]) -> Built:
    """Call a builder.

    Values are checked against the types of the builder's parameters first, ranges of numbers among them (ranges.py).

    Raises:
        UserError: it does not take these arguments, or not with these values; `what` says whose builder it is.
    """
    signature = inspect.signature(builder)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise UserError(f"{what}: {error}; it takes {', '.join(signature.parameters)}") from error
    if wrong := misfits(builder, arguments):
        raise UserError("\n".join(f"{what}: {each}" for each in wrong))
    try:
        return builder(**arguments)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise UserError(f"{what} cannot be built with {dict(arguments)}: {error}") from error
