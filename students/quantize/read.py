"""Read a TFLite file back into an integer network, so that what is executed, counted and exported is the file.

Conventions: files are those of tflite.py; an operator that it never writes is refused by name. What was read and
written again has the same bytes.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import numpy as np

from data.errors import UserError
from students.quantize.flatbuffer import Graph, Operator, explain_damage, read_graph
from students.quantize.integer import IntegerNetwork, Quantity, Weights
from students.quantize.layers import ADD, AVERAGE_POOL, CONVOLUTION, GLOBAL_MEAN, INPUT, MAX_POOL, Layer
from students.quantize.nibbles import unpacked
from students.quantize.tflite import METADATA_NAME

POOLS = {"AVERAGE_POOL_2D": AVERAGE_POOL, "MAX_POOL_2D": MAX_POOL}
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
DTYPES = {"INT8": np.int8, "INT32": np.int32, "INT64": np.int64}  # of constants


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
        metadata = json.loads(note)
        return replace(_Reader(graph).network(), exact=bool(metadata.get("exact"))), metadata


class _Reader:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers: list[Layer] = []
        self.weights: dict[str, Weights] = {}
        self.names = {graph.inputs[0]: INPUT}
        self.padded: dict[int, tuple[int, tuple[int, int]]] = {}  # output of a PAD: its input, cells before

    def network(self) -> IntegerNetwork:
        quantities = {INPUT: self._quantity(self.graph.inputs[0])}
        for operator in self.graph.operators:
            if operator.kind == "PAD":
                amounts = self._constant(operator.inputs[1])
                self.padded[operator.output] = (operator.inputs[0], (int(amounts[1, 0]), int(amounts[2, 0])))
                continue
            layer = self._layer(operator)
            self.layers.append(layer)
            self.names[operator.output] = layer.name
            quantities[layer.name] = self._quantity(operator.output)
        return IntegerNetwork(tuple(self.layers), self.weights, quantities)

    def _layer(self, operator: Operator) -> Layer:
        name, options, inputs, output = operator.kind, operator.options, operator.inputs, operator.output
        source, padding = self.padded.get(inputs[0], (inputs[0], None))
        own = self.graph.name(output)
        if name == "ADD":
            return Layer(own, ADD, tuple(self.names[i] for i in inputs), _has_relu(options))
        if name not in (*CONVOLUTIONS, *POOLS):
            raise UserError(f"it contains the operator {name}, which scenelet does not write")
        stride = (options.strideH, options.strideW)
        size, wanted = (self._quantity(i).shape[1:] for i in (source, output))
        if name in POOLS:
            kernel, groups = (options.filterHeight, options.filterWidth), 1
            if name == "AVERAGE_POOL_2D" and kernel == size and stride == (1, 1) and padding is None:
                return Layer(own, GLOBAL_MEAN, (self.names[source],), _has_relu(options))
        else:
            own = self.graph.name(inputs[1]).removesuffix("/weight")
            depthwise = name == "DEPTHWISE_CONV_2D"
            self.weights[own] = weights = self._weights(inputs, depthwise)
            kernel, groups = weights.weight.shape[2:], len(weights.weight) if depthwise else 1
        if padding is None:
            same = options.padding == schema.Padding.SAME
            totals = [(o - 1) * s + k - n for n, o, s, k in zip(size, wanted, stride, kernel, strict=True)]
            top, left = (max(total, 0) // 2 if same else 0 for total in totals)
            padding = top, left
        kind = POOLS.get(name, CONVOLUTION)
        return Layer(own, kind, (self.names[source],), _has_relu(options), tuple(kernel), stride, padding, groups)

    def _weights(self, inputs: Sequence[int], depthwise: bool) -> Weights:
        values = self._constant(inputs[1]).transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        bits = 4 if self.graph.dtype(inputs[1]) == "INT4" else 8
        return Weights(np.ascontiguousarray(values), self._constant(inputs[2]), self.graph.scales(inputs[1]), bits)

    def _constant(self, tensor: int) -> np.ndarray:
        shape, kind, data = self.graph.shape(tensor), self.graph.dtype(tensor), self.graph.data(tensor)
        if kind == "INT4":
            return unpacked(data, math.prod(shape)).reshape(shape)
        return data.view(DTYPES[kind]).reshape(shape)

    def _quantity(self, tensor: int) -> Quantity:
        bits = {"INT8": 8, "INT16": 16}.get(self.graph.dtype(tensor))
        if bits is None:
            raise UserError(
                f"its tensor {self.graph.name(tensor)} is not of int8 or int16: scenelet writes no such files"
            )
        _, height, width, channels = self.graph.shape(tensor)
        scale, zero_point = self.graph.scales(tensor)[0], self.graph.zero_points(tensor)[0]
        return Quantity(float(scale), int(zero_point), (channels, height, width), bits)


def _has_relu(options: Any) -> bool:
    kinds = schema.ActivationFunctionType
    if options.fusedActivationFunction not in (kinds.NONE, kinds.RELU):
        raise UserError("it contains an activation that scenelet does not write")
    return options.fusedActivationFunction == kinds.RELU
