"""Layers in a TFLite file that have no windows: they compute each value from values at its place, or move values."""

from dataclasses import replace
from typing import TYPE_CHECKING

import ai_edge_litert.schema_py_generated as schema
import numpy as np

from data.damage import WrongValueError
from data.flatbuffer import Operator
from students.quantize.layers import ADD, JOIN, MULTIPLY, SIGMOID, SILU, TURN, Layer
from students.quantize.metadata import SIGMOID_OF_SILU
from students.quantize.silu import SIGMOIDS

if TYPE_CHECKING:
    from students.quantize.tflite import Writer

ROWS, CHANNELS = 1, 3  # axes of (1, height, width, channels)
TURNED = (0, 2, 3, 1)  # which axis each one is of a map whose channels become frames, and its rows channels


def write_values(writer: "Writer", layer: Layer) -> None:
    """Add the operators of a layer to a file."""
    inputs, output = [writer.index[name] for name in layer.inputs], writer.index[layer.name]
    if layer.kind == ADD:
        options = schema.AddOptionsT()
        options.fusedActivationFunction = activation_of(layer)
        writer.operator("ADD", inputs, output, options)
    elif layer.kind == SILU:
        shape = writer.network.quantities[layer.name].shape
        sigmoids = writer.activation(f"{layer.name}{SIGMOID_OF_SILU}", replace(SIGMOIDS, shape=shape))
        writer.operator("LOGISTIC", inputs, sigmoids, None)
        writer.operator("MUL", [*inputs, sigmoids], output, schema.MulOptionsT())
    elif layer.kind == SIGMOID:
        writer.operator("LOGISTIC", inputs, output, None)
    elif layer.kind == MULTIPLY:
        writer.operator("MUL", inputs, output, schema.MulOptionsT())
    elif layer.kind == TURN:
        axes = writer.constant(f"{layer.name}/axes", np.array(TURNED, np.int32), None)
        writer.operator("TRANSPOSE", [*inputs, axes], output, schema.TransposeOptionsT())
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


def has_relu(operator: Operator) -> bool:
    """Whether an operator of a file ends in a ReLU.

    Raises:
        WrongValueError: it ends in something else.
    """
    kinds, found = schema.ActivationFunctionType, getattr(operator.options, "fusedActivationFunction", None)
    if found not in (None, kinds.NONE, kinds.RELU):
        raise WrongValueError(
            f"an operator {operator.kind} has the fusedActivationFunction {found}, which scenelet does not write"
        )
    return found == kinds.RELU
