"""Read a TFLite file back into an integer network, so that what is executed, counted and exported is the file.

Conventions: files are those of tflite.py; an operator that it never writes is refused by name. What was read and
written again has the same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import numpy as np

from data.errors import UserError
from students.quantize.integer import IntegerNetwork, Quantity, Weights
from students.quantize.layers import ADD, AVERAGE_POOL, CONVOLUTION, GLOBAL_MEAN, INPUT, MAX_POOL, Layer
from students.quantize.nibbles import unpacked
from students.quantize.tflite import IDENTIFIER, METADATA_NAME

POOLS = {"AVERAGE_POOL_2D": AVERAGE_POOL, "MAX_POOL_2D": MAX_POOL}
_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


def read_tflite(path: str | Path) -> tuple[IntegerNetwork, Mapping[str, Any]]:
    """The network of a file and its metadata.

    Raises:
        UserError: the file is missing, cut short, no TFLite file, or not one of tflite.py's.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is no file: run stage=quantize first, or name another model.tflite")
    data = path.read_bytes()
    if data[4:8] != IDENTIFIER:
        raise UserError(f"{path} is no TFLite file: its identifier is {data[4:8]!r}, not {IDENTIFIER!r}")
    try:
        reader = _Reader(schema.ModelT.InitFromPackedBuf(bytearray(data), 0))
        metadata = reader.metadata()
        return replace(reader.network(), exact=bool(metadata.get("exact"))), metadata
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception as error:  # flatbuffers raises whatever a wild offset leads to
        raise UserError(f"{path} is damaged, or not written by scenelet ({error}): run stage=quantize again") from error


class _Reader:
    def __init__(self, model: schema.ModelT) -> None:
        self.model = model
        (self.graph,) = model.subgraphs
        self.tensors = self.graph.tensors
        self.layers: list[Layer] = []
        self.weights: dict[str, Weights] = {}
        self.names = {int(self.graph.inputs[0]): INPUT}
        self.padded: dict[int, tuple[int, tuple[int, int]]] = {}  # what PAD made: of which tensor, cells before

    def network(self) -> IntegerNetwork:
        quantities = {INPUT: self._quantity(int(self.graph.inputs[0]))}
        for operator in self.graph.operators:
            name = _NAMES[self.model.operatorCodes[operator.opcodeIndex].builtinCode]
            inputs, output = [int(i) for i in operator.inputs], int(operator.outputs[0])
            if name == "PAD":
                amounts = self._constant(inputs[1])
                self.padded[output] = (inputs[0], (int(amounts[1, 0]), int(amounts[2, 0])))
                continue
            layer = self._layer(name, operator.builtinOptions, inputs, output)
            self.layers.append(layer)
            self.names[output] = layer.name
            quantities[layer.name] = self._quantity(output)
        return IntegerNetwork(tuple(self.layers), self.weights, quantities)

    def metadata(self) -> Mapping[str, Any]:
        for note in self.model.metadata or []:
            if note.name == METADATA_NAME.encode():
                return json.loads(bytes(self.model.buffers[note.buffer].data))
        raise UserError(f"it has no metadata named {METADATA_NAME}: it was not written by scenelet")

    def _layer(self, name: str, options: Any, inputs: list[int], output: int) -> Layer:
        source, padding = self.padded.get(inputs[0], (inputs[0], None))
        own = self.tensors[output].name.decode()
        if name == "ADD":
            return Layer(own, ADD, tuple(self.names[i] for i in inputs), _relu(options))
        if name not in ("CONV_2D", "DEPTHWISE_CONV_2D", *POOLS):
            raise UserError(f"it contains the operator {name}, which scenelet does not write")
        stride = (options.strideH, options.strideW)
        size, wanted = (self._quantity(i).shape[1:] for i in (source, output))
        if name in POOLS:
            kernel, groups = (options.filterHeight, options.filterWidth), 1
            if name == "AVERAGE_POOL_2D" and kernel == size and stride == (1, 1) and padding is None:
                return Layer(own, GLOBAL_MEAN, (self.names[source],), _relu(options))
        else:
            own = self.tensors[inputs[1]].name.decode().removesuffix("/weight")
            depthwise = name == "DEPTHWISE_CONV_2D"
            self.weights[own] = weights = self._weights(inputs, depthwise)
            kernel, groups = weights.weight.shape[2:], len(weights.weight) if depthwise else 1
        if padding is None:
            same = options.padding == schema.Padding.SAME
            totals = [(o - 1) * s + k - n for n, o, s, k in zip(size, wanted, stride, kernel, strict=True)]
            padding = tuple(max(total, 0) // 2 if same else 0 for total in totals)
        kind = POOLS.get(name, CONVOLUTION)
        return Layer(own, kind, (self.names[source],), _relu(options), tuple(kernel), stride, padding, groups)

    def _weights(self, inputs: list[int], depthwise: bool) -> Weights:
        tensor = self.tensors[inputs[1]]
        values = self._constant(inputs[1]).transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        scale = np.asarray(tensor.quantization.scale, np.float32)
        bits = 4 if tensor.type == schema.TensorType.INT4 else 8
        return Weights(np.ascontiguousarray(values), self._constant(inputs[2]), scale, bits)

    def _constant(self, index: int) -> np.ndarray:
        tensor = self.tensors[index]
        shape, data = tuple(int(n) for n in tensor.shape), np.asarray(self.model.buffers[tensor.buffer].data, np.uint8)
        if tensor.type == schema.TensorType.INT4:
            return unpacked(data, int(np.prod(shape))).reshape(shape)
        types = schema.TensorType
        kinds = {types.INT8: np.int8, types.INT32: np.int32, types.INT64: np.int64}
        return data.view(kinds[tensor.type]).reshape(shape)

    def _quantity(self, index: int) -> Quantity:
        tensor = self.tensors[index]
        bits = {schema.TensorType.INT8: 8, schema.TensorType.INT16: 16}.get(tensor.type)
        if bits is None:
            raise UserError(f"its tensor {tensor.name.decode()} is not of int8 or int16: scenelet writes no such files")
        _, height, width, channels = (int(n) for n in tensor.shape)
        about = tensor.quantization
        return Quantity(float(np.float32(about.scale[0])), int(about.zeroPoint[0]), (channels, height, width), bits)


def _relu(options: Any) -> bool:
    kinds = schema.ActivationFunctionType
    if options.fusedActivationFunction not in (kinds.NONE, kinds.RELU):
        raise UserError("it contains an activation that scenelet does not write")
    return options.fusedActivationFunction == kinds.RELU
