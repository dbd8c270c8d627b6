"""A digest of what a TFLite file of scenelet says, by which a bit that was changed since is seen.

Conventions: it lies in the file's metadata under the name DIGEST and covers all else that a reader uses: operators in
their order, the tensors on which they work, those of recording devices (sets.py), and the other metadata. How the bytes
of a file are arranged, and the names of its tensors, are no part of it; nor is what is 0 or false in an operator's
options, so that options which the schema learns later change no digest.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from data.flatbuffer import Graph, Tensor
from students.quantize.metadata import SETS

DIGEST = "digest"


def digest(graph: Graph, metadata: Mapping[str, Any]) -> str:
    """SHA-256 of a network and of what is said of it (JSON, without a digest), as 64 hexadecimal digits."""
    found = hashlib.sha256(_text(metadata))
    places: dict[int, int] = {}  # of tensors, in the order in which the operators name them
    for operator in graph.operators:
        tensors = (*operator.inputs, *operator.outputs)
        new = [tensor for tensor in dict.fromkeys(tensors) if tensor not in places]
        places |= {tensor: len(places) + number for number, tensor in enumerate(new)}
        options = (
            {} if operator.options is None else {name: value for name, value in vars(operator.options).items() if value}
        )
        found.update(_text([operator.kind, operator.version, options, [places[tensor] for tensor in tensors]]))
        for tensor in new:
            _add(found, graph.tensors[tensor])
    found.update(graph.metadata(SETS) or b"")
    return found.hexdigest()


def _add(found: Any, tensor: Tensor) -> None:
    axis = tensor.axis if len(tensor.scales) > 1 else 0  # a single scale has none
    found.update(_text([tensor.shape, tensor.dtype, axis]))
    for values in (tensor.scales, tensor.zero_points, tensor.data):
        found.update(values.tobytes())


def _text(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
