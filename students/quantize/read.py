"""Read a TFLite file back into an integer network, so that what is executed, counted and exported is the file.

Conventions: files are those of tflite.py; an operator that it never writes is refused by name. What was read and
written again has the same bytes, and a file whose operators, tensors or constants would be written otherwise is
refused: no number of a file is left unread. A bit that was changed in a valid file is seen by its digest (digest.py),
which files of earlier versions lack.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import numpy as np

from data.damage import WrongValueError, explain_damage
from data.errors import UserError
from data.flatbuffer import Graph, Operator, read_graph
from students.quantize.comparison import require_equal
from students.quantize.digest import DIGEST, digest
from students.quantize.graph_checks import check_graph, integers
from students.quantize.integer import IntegerNetwork, Quantity, Weights
from students.quantize.layers import (
    ADD,
    AVERAGE_POOL,
    CONVOLUTION,
    GLOBAL_MEAN,
    GRU,
    INPUT,
    JOIN,
    MAX_POOL,
    MULTIPLY,
    SIGMOID,
    SILU,
    TAKE,
    TURN,
    Layer,
)
from students.quantize.metadata import CONVOLUTIONS, DEVICES, METADATA_NAME, SETS, SIGMOID_OF_SILU, parse_metadata
from students.quantize.network_checks import check_network, check_sets
from students.quantize.nibbles import unpacked
from students.quantize.sets import sets_from_bytes
from students.quantize.tflite import PART, Writer
from students.quantize.tflite_gru import CONVOLUTION as FIRST_CONVOLUTION
from students.quantize.tflite_gru import operators_of
from students.quantize.tflite_values import ROWS, has_relu

POOLS = {"AVERAGE_POOL_2D": AVERAGE_POOL, "MAX_POOL_2D": MAX_POOL}
OTHERS = {"ADD": ADD, "MUL": MULTIPLY, "CONCATENATION": JOIN, "LOGISTIC": SIGMOID, "TRANSPOSE": TURN}
WEIGHTS = {"INT8": 8, "INT4": 4}  # bits
BIASES = {8: ("INT32", np.int32), 16: ("INT64", np.int64)}  # by the bits of activations


def read_tflite(path: str | Path) -> tuple[IntegerNetwork, Mapping[str, Any]]:
    """The network of a file and its metadata.

    Raises:
        UserError: the file is missing, cut short, no TFLite file, or not one of tflite.py's.
    """
    graph = read_graph(path)
    with explain_damage(path):
        note = graph.metadata(METADATA_NAME)
        if note is None:
            raise UserError(f"it has no metadata named {METADATA_NAME}: it was not written by scenelet")
        metadata = dict(parse_metadata(note))
        is_signed, stated = DIGEST in metadata, metadata.pop(DIGEST, None)
        check_graph(graph)
        network = replace(_Reader(graph).network(), exact=metadata.get("exact") is True)
        check_network(network)
        if (sets := graph.metadata(SETS)) is not None:
            network = replace(network, sets=sets_from_bytes(sets, metadata.get(DEVICES), network))
            check_sets(network)
        written = Graph(schema.Model.GetRootAs(Writer(network).build(metadata)))
        require_equal(graph, written)
        if sets != written.metadata(SETS):
            raise WrongValueError("its tensors of devices are stored otherwise than scenelet writes them")
        if is_signed and stated != digest(written, metadata):
            raise WrongValueError(
                "its digest is not that of what it holds: bits of it were changed since it was written"
            )
        return network, metadata


class _Reader:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers: list[Layer] = []
        self.weights: dict[str, Weights] = {}
        self.names = {graph.inputs[0]: INPUT}
        self.padded: dict[int, tuple[int, tuple[int, int]]] = {}  # output of a PAD: its input, cells before
        self.rows: dict[int, int] = {}  # output of a SLICE: its input
        self.sigmoids: dict[int, int] = {}  # output of a LOGISTIC: its input
        self.parts: dict[int, Operator] = {}  # output of a convolution of a part of the rows

    def network(self) -> IntegerNetwork:
        graph = self.graph
        if len(graph.inputs) != 1 or graph.outputs != (graph.operators[-1].output,):
            raise WrongValueError(
                f"it has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs: one input is wanted, and one "
                "output, of the last operator"
            )
        quantities = {INPUT: self._quantity(graph.inputs[0])}
        operators = iter(graph.operators)
        for operator in operators:
            if len(operator.outputs) != 1:
                raise WrongValueError(f"an operator {operator.kind} has {len(operator.outputs)} outputs, not one")
            if operator.kind == "PAD":
                amounts = integers(graph, operator.inputs[1])
                self.padded[operator.output] = (operator.inputs[0], (int(amounts[1, 0]), int(amounts[2, 0])))
                continue
            if operator.kind == "LOGISTIC" and graph.name(operator.output).endswith(SIGMOID_OF_SILU):
                self.sigmoids[operator.output] = operator.inputs[0]
                continue
            if operator.kind == "SLICE":
                self.rows[operator.output] = operator.inputs[0]
                continue
            if operator.inputs[0] in self.rows:
                self.parts[operator.output] = operator
                continue
            output = operator.output
            if operator.kind == "QUANTIZE":
                layer, output = self._recurrence(operator, operators)
            elif operator.kind == "CONCATENATION" and getattr(operator.options, "axis", None) == ROWS:
                layer = self._joined(operator)
            else:
                layer = self._layer(operator)
            self.layers.append(layer)
            self.names[output] = layer.name
            if layer.name in quantities:
                raise WrongValueError(f"several layers have the name {layer.name!r}")
            quantities[layer.name] = self._quantity(output)
        return IntegerNetwork(tuple(self.layers), self.weights, quantities)

    def _layer(self, operator: Operator) -> Layer:
        name, options, inputs, output = operator.kind, operator.options, operator.inputs, operator.output
        own = self.graph.name(output)
        if name == "MUL" and self.sigmoids.get(inputs[1]) == inputs[0]:
            return Layer(own, SILU, (self._source(inputs[0]),))
        if name in OTHERS:
            maps = inputs[:1] if name == "TRANSPOSE" else inputs  # the other one says how
            return Layer(own, OTHERS[name], tuple(self._source(i) for i in maps), has_relu(operator))
        if name == "GATHER":
            channels = tuple(map(int, integers(self.graph, inputs[1]).flatten()))
            return Layer(own, TAKE, (self._source(inputs[0]),), channels=channels)
        if name not in (*CONVOLUTIONS, *POOLS):
            raise UserError(f"it contains the operator {name}, which scenelet does not write")
        source, padding = self.padded.get(inputs[0], (inputs[0], None))
        stride = (options.strideH, options.strideW)
        size, wanted = (self._quantity(i).shape[1:] for i in (source, output))
        if name in POOLS:
            kernel, groups = (options.filterHeight, options.filterWidth), 1
            if name == "AVERAGE_POOL_2D" and kernel == size and stride == (1, 1) and padding is None:
                return Layer(own, GLOBAL_MEAN, (self._source(source),), has_relu(operator))
        else:
            own = self.graph.name(inputs[1]).removesuffix("/weight")
            depthwise = name == "DEPTHWISE_CONV_2D"
            self.weights[own] = weights = self._weights(operator, depthwise)
            kernel, groups = weights.weight.shape[2:], self._quantity(source).shape[0] // weights.weight.shape[1]
        dilation = getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1)
        kind, sources = POOLS.get(name, CONVOLUTION), (self._source(source),)
        layer = Layer(own, kind, sources, has_relu(operator), tuple(kernel), stride, (0, 0), groups, dilation)
        if padding is None:
            same = options.padding == schema.Padding.SAME
            totals = [(o - 1) * s + k - n for n, o, s, k in zip(size, wanted, stride, layer.extent, strict=True)]
            top, left = (max(total, 0) // 2 if same else 0 for total in totals)
            padding = top, left
        return replace(layer, padding=padding)

    def _joined(self, operator: Operator) -> Layer:
        """The convolution whose parts are joined."""
        if strange := [i for i in operator.inputs if i not in self.parts]:
            raise WrongValueError(f"it joins {self.graph.name(strange[0])!r}, which is no part of a convolution")
        parts = [self.parts[i] for i in operator.inputs]
        first = parts[0]
        if first.kind != "DEPTHWISE_CONV_2D":
            raise WrongValueError(f"it joins parts of {first.kind}, which scenelet writes of DEPTHWISE_CONV_2D alone")
        own = self.graph.name(first.inputs[1]).removesuffix(f"/{PART}0/weight")
        each = [self._weights(part, depthwise=True) for part in parts]
        weight, bias, scale = (
            np.stack([getattr(one, name) for one in each], 1) for name in ("weight", "bias", "scale")
        )
        filters = weight.reshape(-1, *weight.shape[2:])
        self.weights[own] = Weights(filters, bias.reshape(-1), scale.reshape(-1), each[0].bits)
        options, taken = first.options, self.rows[first.inputs[0]]
        source, padding = self.padded.get(taken, (taken, (0, 0)))
        stride, dilation = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
        geometry = filters.shape[2:], stride, padding, weight.shape[0], dilation, len(parts)
        return Layer(own, CONVOLUTION, (self._source(source),), has_relu(first), *geometry)

    def _recurrence(self, first: Operator, rest: Iterator[Operator]) -> tuple[Layer, int]:
        """The GRU that begins with an operator, and the tensor of its states; the operators behind it are compared
        later with those that are written for it."""
        count = operators_of(self._quantity(first.inputs[0]).shape[2])
        found = [first, *itertools.islice(rest, count - 1)]
        if len(found) < count or found[FIRST_CONVOLUTION].kind != "CONV_2D":
            raise WrongValueError(f"QUANTIZE begins a GRU, of which {count} operators are wanted, a CONV_2D among them")
        weight = found[FIRST_CONVOLUTION].inputs[1]
        name = self.graph.name(weight).removesuffix("/weight")
        self.weights[name] = self._weights(found[FIRST_CONVOLUTION], depthwise=False)
        return Layer(name, GRU, (self._source(first.inputs[0]),)), found[-1].output

    def _source(self, tensor: int) -> str:
        """The name of the layer that computes a tensor."""
        if tensor not in self.names:
            raise WrongValueError(f"tensor {self.graph.name(tensor)!r} is used as if a layer had computed it")
        return self.names[tensor]

    def _weights(self, operator: Operator, depthwise: bool) -> Weights:
        graph, inputs = self.graph, operator.inputs
        if len(inputs) != 3 or not all(i >= 0 and graph.is_constant(i) for i in inputs[1:]):
            raise WrongValueError(f"an operator {operator.kind} lacks its weights or biases as constants")
        weight, bias = (graph.tensors[i] for i in inputs[1:])
        name, kind = BIASES[self._quantity(inputs[0]).bits]
        if weight.dtype not in WEIGHTS or bias.dtype != name:
            raise WrongValueError(
                f"{weight.name!r} is of {weight.dtype} and {bias.name!r} of {bias.dtype}: weights are of "
                f"{' or '.join(WEIGHTS)}, biases here of {name}"
            )
        if len(weight.scales) != len(bias.data.view(kind)):
            raise WrongValueError(f"{weight.name!r} has {len(weight.scales)} scales: each output channel has one")
        bits = WEIGHTS[weight.dtype]
        integers = unpacked(weight.data, math.prod(weight.shape)) if bits == 4 else weight.data.view(np.int8)
        ordered = integers.reshape(weight.shape).transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        # Copied: what is part of a file's bytes is not aligned and cannot be written to.
        return Weights(ordered.copy(order="C"), bias.data.view(kind).copy(), weight.scales.copy(), bits)

    def _quantity(self, tensor: int) -> Quantity:
        it = self.graph.tensors[tensor]
        bits = {"INT8": 8, "INT16": 16}.get(it.dtype)
        if bits is None:
            raise UserError(
                f"its tensor {it.name!r} is of {it.dtype}, not int8 or int16: scenelet writes no files that are not of "
                "int8 or int16"
            )
        if len(it.scales) != 1 or len(it.zero_points) != 1:
            raise WrongValueError(
                f"tensor {it.name!r} has {len(it.scales)} scales and {len(it.zero_points)} zero points, not one of each"
            )
        if len(it.shape) != 4 or it.shape[0] != 1:
            raise WrongValueError(f"tensor {it.name!r} has the shape {it.shape}, not (1, height, width, channels)")
        _, height, width, channels = it.shape
        return Quantity(float(it.scales[0]), int(it.zero_points[0]), (channels, height, width), bits)
