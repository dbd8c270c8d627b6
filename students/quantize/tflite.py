"""Write an integer network as a TFLite file: int8 in, int8 out, nothing in between that is not an integer.

Conventions: TFLite is NHWC: spectrograms are (1, mels, frames, 1), convolution weights (O, kh, kw, I), depthwise ones
(1, kh, kw, C). PyTorch's padding becomes SAME where both pad alike and an explicit PAD before a VALID operator
elsewhere. The global mean is an average pool over the whole map, because the runtimes disagree on MEAN. What recording
devices have of their own (sets.py) lies beside the network, in metadata.
Source: the TensorFlow Lite schema, version 3, and its 8-bit quantization specification.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np

from data.errors import UserError
from data.files import write_whole
from data.flatbuffer import IDENTIFIER, Graph
from students.quantize.buffers import AlignedBuffer
from students.quantize.digest import DIGEST, digest
from students.quantize.integer import IntegerNetwork, Quantity, Weights
from students.quantize.layers import CONVOLUTION, GLOBAL_MEAN, GRU, INPUT, MAX_POOL, Layer
from students.quantize.metadata import DEVICES, METADATA_NAME, SETS
from students.quantize.nibbles import packed
from students.quantize.sets import require_devices, sets_to_bytes
from students.quantize.tflite_gru import write_recurrence
from students.quantize.tflite_operators import VERSIONS, VERSIONS_OF_INT4, VERSIONS_OF_INT16, padding_of
from students.quantize.tflite_values import ROWS, activation_of, write_joined, write_values

OUTPUT = "logits"
PART = "part"  # in the names of what a convolution of several parts is made of, with the part's number


def write_tflite(network: IntegerNetwork, path: str | Path, metadata: Mapping[str, object]) -> Path:
    """Write the file, under a temporary name first. `metadata` (JSON) travels in the file under METADATA_NAME, with a
    digest, see digest.py."""
    return write_whole(path, to_tflite(network, metadata))


def to_tflite(network: IntegerNetwork, metadata: Mapping[str, object]) -> bytes:
    """The bytes of the file.

    Raises:
        UserError: the network ends in a map, whose cells the file would hold in another order, or has more devices than
            a file can.
    """
    if network.output.shape[1:] != (1, 1):
        raise UserError(
            f"the network ends in a map of the shape {network.output.shape}: end it in a mean or dense layer"
        )
    require_devices([*network.sets])
    named = {**metadata, DEVICES: [*network.sets]} if network.sets else metadata
    plain = json.loads(json.dumps(named))
    graph = Graph(schema.Model.GetRootAs(Writer(network).build(plain)))
    return Writer(network).build(plain | {DIGEST: digest(graph, plain)})


class Writer:
    """Builds the file; see also tflite_float.py, which stores other numbers in the same operators."""

    versions: Mapping[str, int] = VERSIONS

    def __init__(self, network: IntegerNetwork) -> None:
        self.network = network
        if network.quantities[INPUT].bits == 16:
            self.versions = VERSIONS_OF_INT16
        self.buffers = [AlignedBuffer()]  # buffer 0 is empty by definition: tensors without constant data
        self.tensors: list[schema.TensorT] = []
        self.operators: list[schema.OperatorT] = []
        self.codes: dict[tuple[str, int], int] = {}  # name and version
        self.index = {INPUT: self.activation(INPUT, network.quantities[INPUT])}

    def build(self, metadata: Mapping[str, object]) -> bytes:
        for layer in self.network.layers:
            name = OUTPUT if layer is self.network.layers[-1] else layer.name
            self.index[layer.name] = self.activation(name, self.network.quantities[layer.name])
            self._layer(layer)
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = "main", self.tensors, self.operators
        graph.inputs, graph.outputs = [self.index[INPUT]], [self.index[self.network.layers[-1].name]]
        notes = [self._note(METADATA_NAME, json.dumps(metadata, sort_keys=True).encode())]
        if self.network.sets:
            notes.append(self._note(SETS, sets_to_bytes(self.network)))
        model = schema.ModelT()
        model.version, model.description = 3, "scenelet integer network"
        model.operatorCodes, model.subgraphs, model.metadata = [_code(*code) for code in self.codes], [graph], notes
        model.buffers = self.buffers
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _layer(self, layer: Layer) -> None:
        if layer.kind == GRU:
            write_recurrence(self, layer)
            return
        if not (layer.is_pool or layer.kind == CONVOLUTION):
            write_values(self, layer)
            return
        inputs, output = [self.index[name] for name in layer.inputs], self.index[layer.name]
        shape, wanted = (self.network.quantities[name].shape for name in (layer.inputs[0], layer.name))
        if layer.kind == GLOBAL_MEAN:
            layer = replace(layer, kernel=shape[1:])
        scheme, before, after = padding_of(shape[1:], wanted[1:], layer)
        if scheme == schema.Padding.VALID and any(before + after):
            inputs = [self._pad(layer, inputs[0], before, after)]
        if layer.kind == CONVOLUTION and layer.parts > 1:
            self._parts(inputs[0], output, layer, shape[2] + before[1] + after[1])
        elif layer.kind == CONVOLUTION:
            self._convolution(inputs[0], output, scheme, layer, layer.name, slice(None))
        else:
            self._pool(inputs, output, scheme, layer)

    def _parts(self, source: int, output: int, layer: Layer, columns: int) -> None:
        """A convolution of each part of the rows, of the padded map, one after the other."""
        read, wanted = (self.network.quantities[name] for name in (layer.inputs[0], layer.name))
        rows, stride = wanted.shape[1] // layer.parts, layer.stride[0]
        size, parts = ((rows - 1) * stride + layer.extent[0], columns), []
        for part in range(layer.parts):
            name = f"{layer.name}/{PART}{part}"
            begin = self.constant(f"{name}/begin", np.array([0, part * rows * stride, 0, 0], np.int32), None)
            extent = self.constant(f"{name}/size", np.array([1, *size, read.shape[0]], np.int32), None)
            taken = self.activation(f"{name}/rows", replace(read, shape=(read.shape[0], *size)))
            self.operator("SLICE", [source, begin, extent], taken, schema.SliceOptionsT())
            parts.append(self.activation(name, replace(wanted, shape=(wanted.shape[0], rows, wanted.shape[2]))))
            filters = slice(part, None, layer.parts)
            self._convolution(taken, parts[-1], schema.Padding.VALID, layer, name, filters)
        write_joined(self, parts, output, ROWS)

    def _convolution(self, source: int, output: int, scheme: int, layer: Layer, name: str, filters: slice) -> None:
        stored = self.network.weights[layer.name].weight
        depthwise = layer.groups > 1 and stored.shape[1] == 1
        options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
        options.padding, (options.strideH, options.strideW) = scheme, layer.stride
        options.dilationHFactor, options.dilationWFactor = layer.dilation
        options.fusedActivationFunction = activation_of(layer)
        if depthwise:
            options.depthMultiplier = len(stored) // layer.parts // layer.groups
        code = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        weight, bias, version = self.parameters(layer, code, name, filters)
        self.operator(code, [source, weight, bias], output, options, version)

    def parameters(self, layer: Layer, code: str, name: str, filters: slice) -> tuple[int, int, int]:
        """Tensors of some filters' weights and biases, of a name, and the version of the operator that reads them."""
        stored, depthwise = self.network.weights[layer.name], code == "DEPTHWISE_CONV_2D"
        weights = Weights(stored.weight[filters], stored.bias[filters], stored.scale[filters], stored.bits)
        values = weights.weight.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
        scales = np.float32(self.network.weighted(layer).scale).astype(np.float64) * weights.scale
        axis, bits = 3 if depthwise else 0, weights.bits
        weight = self.constant(f"{name}/weight", values, weights.scale, axis=axis, bits=bits)
        bias = self.constant(f"{name}/bias", weights.bias, scales.astype(np.float32), axis=0)
        return weight, bias, VERSIONS_OF_INT4[code] if bits == 4 else self.versions[code]

    def _pool(self, inputs: list[int], output: int, scheme: int, layer: Layer) -> None:
        options = schema.Pool2DOptionsT()
        options.padding, options.fusedActivationFunction = scheme, activation_of(layer)
        (options.filterHeight, options.filterWidth), (options.strideH, options.strideW) = layer.kernel, layer.stride
        self.operator("MAX_POOL_2D" if layer.kind == MAX_POOL else "AVERAGE_POOL_2D", inputs, output, options)

    def _pad(self, layer: Layer, source: int, before: tuple[int, int], after: tuple[int, int]) -> int:
        quantity = self.network.quantities[layer.inputs[0]]
        channels, height, width = quantity.shape
        shape = (channels, height + before[0] + after[0], width + before[1] + after[1])
        output = self.activation(f"{layer.name}/padded", replace(quantity, shape=shape))
        amounts = np.array([[0, 0], [before[0], after[0]], [before[1], after[1]], [0, 0]], np.int32)
        paddings = self.constant(f"{layer.name}/paddings", amounts, None)
        self.operator("PAD", [source, paddings], output, schema.PadOptionsT())
        return output

    def operator(
        self, code: str, inputs: list[int], outputs: int | list[int], options: object, version: int | None = None
    ) -> None:
        """Add an operator of these tensors, with these options, or None if its kind has none."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.setdefault((code, version or self.versions[code]), len(self.codes))
        operator.inputs, operator.outputs = inputs, outputs if isinstance(outputs, list) else [outputs]
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.operators.append(operator)

    def activation(self, name: str, quantity: Quantity) -> int:
        """The number of a new tensor that an operator computes."""
        channels, height, width = quantity.shape
        scale = np.array([quantity.scale], np.float32)
        kind = schema.TensorType.INT8 if quantity.bits == 8 else schema.TensorType.INT16
        return self._tensor(name, (1, height, width, channels), kind, 0, scale, quantity.zero_point)

    def constant(
        self, name: str, values: np.ndarray, scale: np.ndarray | None, axis: int = 0, bits: int | None = None
    ) -> int:
        """The number of a new tensor of these values."""
        kind = getattr(schema.TensorType, "INT4" if bits == 4 else values.dtype.name.upper())
        data = packed(values) if bits == 4 else values.tobytes()
        return self._tensor(name, values.shape, kind, self._buffer(data), scale, 0, axis)

    def _tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: int,
        buffer: int,
        scale: np.ndarray | None,
        zero_point: int,
        axis: int = 0,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scale
            tensor.quantization.zeroPoint = np.full(len(scale), zero_point, np.int64)
            tensor.quantization.quantizedDimension = axis
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _note(self, name: str, data: bytes) -> schema.MetadataT:
        note = schema.MetadataT()
        note.name, note.buffer = name, self._buffer(data)
        return note

    def _buffer(self, data: bytes) -> int:
        buffer = AlignedBuffer()
        buffer.data = data
        self.buffers.append(buffer)
        return len(self.buffers) - 1


def _code(name: str, version: int) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    # Old readers read only the first field; all our operators are below 127, so both hold the same number.
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = version
    return code
