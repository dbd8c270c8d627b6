"""A student for other runtimes: its integers as an ONNX file in QDQ form, its floats by torch.export.

Conventions of the ONNX file: float log-mels (B, 1, mels, frames) in, float logits (B, classes) out, B free. Every
tensor that is of integers in the TFLite file goes through QuantizeLinear and DequantizeLinear with the same scale and
zero point, weights are stored as integers (int8 or int4) and biases as int32, so that a runtime may compute with
integers; it rounds in its own way, a value may differ by a step. Needs the extra `onnx`.
Source: ONNX operators, opset 21 (the first with int4).
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from data.errors import UserError, require
from data.files import write_whole
from students.blocks import deployed
from students.quantize.integer import IntegerNetwork, Quantity
from students.quantize.layers import ADD, AVERAGE_POOL, CONVOLUTION, INPUT, JOIN, MAX_POOL, SPECIAL, TAKE, TURN, Layer
from students.quantize.nibbles import packed
from students.quantize.tflite import OUTPUT

if TYPE_CHECKING:
    import onnx

OPSET = 21
IR_VERSION = 10  # of opset 21's release: runtimes refuse versions newer than their own


def write_onnx(network: IntegerNetwork, path: str | Path) -> Path:
    """Write the file, under a temporary name first.

    Raises:
        UserError: the package onnx is not installed, the activations have 16 bits, or a layer has no form there.
    """
    if network.output.bits != 8:
        raise UserError(
            "ONNX has no biases of 64 bits, which activations of 16 bits need: leave quantize.activations at 8"
        )
    if special := [layer for layer in network.layers if layer.kind in (*SPECIAL, TURN)]:
        what = f"{special[0].name} is {SPECIAL.get(special[0].kind, 'a map that is turned')}"
        raise UserError(f"{what}, which ONNX files have no form of here: leave onnx out of quantize.export")
    return write_whole(path, _Writer(network).build().SerializeToString())


def export_float(network: nn.Module, shape: Sequence[int], path: Path) -> None:
    """Write a float network by torch.export, for any number of spectrograms (B, 1, mels, frames) at once."""
    clips = torch.export.Dim("clips", min=1, max=4096)
    program = torch.export.export(deployed(network), (torch.zeros(2, *shape[1:]),), dynamic_shapes=({0: clips},))
    file = io.BytesIO()
    torch.export.save(program, file)
    write_whole(path, file.getvalue())


class _Writer:
    def __init__(self, network: IntegerNetwork) -> None:
        require("onnx", "onnx")
        import onnx

        self.onnx, self.network = onnx, network
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.real: dict[str, str] = {}  # layer -> the tensor that holds its dequantised values

    def build(self) -> "onnx.ModelProto":
        helper, network = self.onnx.helper, self.network
        self.real[INPUT] = self._as_integers(INPUT, INPUT, network.quantities[INPUT])
        for layer in network.layers:
            y = self._compute(layer)
            if layer.relu:
                y = self._node("Relu", [y], f"{layer.name}/relu")
            self.real[layer.name] = self._as_integers(y, layer.name, network.quantities[layer.name])
        last = network.layers[-1].name
        self._node("Flatten", [self.real[last]], OUTPUT)
        _, height, width = network.quantities[INPUT].shape
        kind = self.onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "scenelet",
            [helper.make_tensor_value_info(INPUT, kind, ["clips", 1, height, width])],
            [helper.make_tensor_value_info(OUTPUT, kind, ["clips", math.prod(network.quantities[last].shape)])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        self.onnx.checker.check_model(model, full_check=True)
        return model

    def _compute(self, layer: Layer) -> str:
        inputs = [self.real[name] for name in layer.inputs]
        window = {"kernel_shape": layer.kernel, "strides": layer.stride, "pads": layer.padding * 2}
        match layer.kind:
            case kind if kind == CONVOLUTION:
                if layer.parts > 1:
                    raise UserError(
                        f"layer {layer.name} has weights of its own for each part of the bands, and no ONNX file is "
                        "written of such: leave onnx out of quantize.export, or set student.arguments.sub_bands=1"
                    )
                inputs += self._weights(layer)
                return self._node(
                    "Conv", inputs, f"{layer.name}/sum", **window, dilations=layer.dilation, group=layer.groups
                )
            case kind if kind == ADD:
                return self._node("Add", inputs, f"{layer.name}/sum")
            case kind if kind == JOIN:
                return self._node("Concat", inputs, f"{layer.name}/joined", axis=1)
            case kind if kind == TAKE:
                channels = np.array(layer.channels, np.int64)
                inputs.append(self._constant(f"{layer.name}/channels", channels, self.onnx.TensorProto.INT64))
                return self._node("Gather", inputs, f"{layer.name}/taken", axis=1)
            case kind if kind == AVERAGE_POOL:
                return self._node("AveragePool", inputs, f"{layer.name}/mean", **window, count_include_pad=1)
            case kind if kind == MAX_POOL:
                return self._node("MaxPool", inputs, f"{layer.name}/max", **window)
        return self._node("GlobalAveragePool", inputs, f"{layer.name}/mean")

    def _weights(self, layer: Layer) -> list[str]:
        weights, name = self.network.weights[layer.name], layer.name
        kinds = self.onnx.TensorProto
        kind = kinds.INT4 if weights.bits == 4 else kinds.INT8
        scale = weights.scale.astype(np.float32)
        sums = np.float32(self.network.quantities[layer.inputs[0]].scale) * scale
        weight = self._constant(f"{name}/weight", weights.weight, kind)
        bias = self._constant(f"{name}/bias", weights.bias, kinds.INT32)
        return [
            self._node("DequantizeLinear", [values, self._float(f"{values}/scale", factors)], f"{values}/real", axis=0)
            for values, factors in ((weight, scale), (bias, sums))
        ]

    def _as_integers(self, tensor: str, name: str, quantity: Quantity) -> str:
        scale = self._float(f"{name}/scale", np.float32(quantity.scale))
        zero = self._constant(f"{name}/zero", np.int8(quantity.zero_point), self.onnx.TensorProto.INT8)
        integers = self._node("QuantizeLinear", [tensor, scale, zero], f"{name}/integers")
        return self._node("DequantizeLinear", [integers, scale, zero], f"{name}/real")

    def _float(self, name: str, values: np.ndarray | np.float32) -> str:
        return self._constant(name, np.asarray(values), self.onnx.TensorProto.FLOAT)

    def _constant(self, name: str, values: np.ndarray | np.int8 | np.float32, kind: int) -> str:
        array = np.asarray(values)
        data = packed(array) if kind == self.onnx.TensorProto.INT4 else array.tobytes()
        self.constants.append(self.onnx.helper.make_tensor(name, kind, array.shape, data, raw=True))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output
