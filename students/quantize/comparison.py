"""Whether two open TFLite files hold the same network: the same operators on the same tensors, whatever their order."""

import textwrap
from dataclasses import fields
from typing import Any

import numpy as np

from data.damage import WrongValueError
from data.flatbuffer import Graph

LONGEST_VALUE = 200  # characters of a value in a message


def require_equal(found: Graph, wanted: Graph) -> None:
    """Check a file against what scenelet writes for the network that was read from it.

    Raises:
        WrongValueError: of the first field that differs.
    """
    if len(found.operators) != len(wanted.operators):
        raise WrongValueError(
            f"it has {len(found.operators)} operators, scenelet writes {len(wanted.operators)} for this network"
        )
    for step, (one, other) in enumerate(zip(found.operators, wanted.operators, strict=True)):
        where = f"operator {step} ({one.kind})"
        _require("kind", one.kind, other.kind, where)
        _require("version", one.version, other.version, where)
        _require("options", _plain(one.options), _plain(other.options), where)
        tensors, expected = ((*step.inputs, *step.outputs) for step in (one, other))
        _require("number of tensors", len(tensors), len(expected), where)
        for i, j in zip(tensors, expected, strict=True):
            _require_tensor(found, i, wanted, j, where)


def _require_tensor(found: Graph, i: int, wanted: Graph, j: int, where: str) -> None:
    one, other = found.tensors[i], wanted.tensors[j]
    for name in (field.name for field in fields(one)):
        # A tensor may have lost its name, and floats and single values have no axis.
        if name != "name" and not (name == "axis" and len(other.scales) < 2):
            _require(name, getattr(one, name), getattr(other, name), f"{where}, tensor {one.name!r}")


def _require(field: str, found: Any, wanted: Any, where: str) -> None:
    if not np.array_equal(found, wanted):
        shown, expected = (textwrap.shorten(str(value), LONGEST_VALUE) for value in (found, wanted))
        raise WrongValueError(f"{where}: {field} is {shown}, scenelet writes {expected} for this network")


def _plain(options: Any) -> dict[str, Any]:
    return {} if options is None else {"kind": type(options).__name__.removesuffix("T"), **vars(options)}
