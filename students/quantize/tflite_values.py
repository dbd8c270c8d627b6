"""Layers in a TFLite file that have no windows: they compute each value from values at its place, or move values."""

from dataclasses import replace
from typing import TYPE_CHECKING

import ai_edge_litert.schema_py_generated as schema
import numpy as np

from students.quantize.layers import ADD, JOIN, SILU, Layer
from students.quantize.silu import SIGMOIDS

if TYPE_CHECKING:
    from students.quantize.tflite import Writer

ROWS, CHANNELS = 1, 3  # axes of (1, height, width, channels)


def write_values(writer: "Writer", layer: Layer) -> None:
    """Add the operators of a layer to a file."""
    inputs, output = [writer.index[name] for name in layer.inputs], writer.index[layer.name]
    if layer.kind == ADD:
        options = schema.AddOptionsT()
        options.fusedActivationFunction = activation_of(layer)
        writer.operator("ADD", inputs, output, options)
    elif layer.kind == SILU:
        shape = writer.network.quantities[layer.name].shape
        sigmoids = writer.activation(f"{layer.name}/sigmoid", replace(SIGMOIDS, shape=shape))
        writer.operator("LOGISTIC", inputs, sigmoids, None)
        writer.operator("MUL", [*inputs, sigmoids], output, schema.MulOptionsT())
    elif layer.kind == JOIN:
        write_joined(writer, inputs, output, CHANNELS)
    else:
        gathered = schema.GatherOptionsT()
        gathered.axis = CHANNELS
        channels = writer.constant(f"{layer.name}/channels", np.array(layer.channels, np.int32), None)
        writer.operator("GATHER", [*inputs, channels], output, gathered)


def write_joined(writer: "Writer", parts: list[int], output: int, axis: int) -> None:
    """Tensors, one after the other along an axis."""
    options = schema.ConcatenationOptionsT()
    options.axis = axis
    writer.operator("CONCATENATION", parts, output, options)


def activation_of(layer: Layer) -> int:
    """What an operator does last."""
    kinds = schema.ActivationFunctionType
    return kinds.RELU if layer.relu else kinds.NONE
