"""Names to builders: how a word on the command line becomes a network."""

import inspect
from collections.abc import Callable, Mapping
from typing import TypeVar

from data.errors import UserError, unknown

Built = TypeVar("Built")


def build(kind: str, registry: Mapping[str, Callable[..., Built]], name: str, arguments: Mapping[str, object]) -> Built:
    """Call the builder of a name.

    Raises:
        UserError: there is none of that name, or it does not take these arguments, or not with these values.
    """
    if name not in registry:
        unknown(kind, name, registry)
    signature = inspect.signature(registry[name])
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise UserError(f"{kind} {name}: {error}; it takes {', '.join(signature.parameters)}") from error
    try:
        return registry[name](**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{kind} {name} cannot be built with {dict(arguments)}: {error}") from error
