"""YAMNet's weights from the files in which they are published: Keras' HDF5 file, TFLite files, or a state dict.

Conventions: whatever the file, the result is a state dict of teachers/yamnet.py: convolutions (out, in / groups, time,
bands) with BatchNorm folded into them. TensorFlow's kernels are (time, bands, in, out), depthwise ones (time, bands,
channels, 1); TFLite's are (out, time, bands, in) and (1, time, bands, channels).
Source: names of the layers and BatchNorm's epsilon as in TensorFlow models, research/audioset/yamnet.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from data.damage import WrongValueError, explain_damage
from data.errors import UserError
from data.flatbuffer import IDENTIFIER, Graph, read_graph
from data.hdf5_arrays import is_hdf5, read_arrays
from data.tensors import Tensors
from teachers.weights import read_weights, weights_files

EPSILON = 1e-4
REMEDY = "fetch it again"
# "layer2/depthwise_conv/bn/layer2/depthwise_conv/bn/beta:0": layer, convolution, of its BatchNorm, and which array.
LAYER = re.compile(r".*layer(\d+)/(conv|depthwise_conv|pointwise_conv)(/bn)?/(\w+?)(?::0)?")
DENSE = re.compile(r"(?!.*layer\d+/).*/(kernel|bias)(?::0)?")
CONVOLUTIONS, DENSE_KIND = ("CONV_2D", "DEPTHWISE_CONV_2D"), "FULLY_CONNECTED"
NUMBERS = {"FLOAT32": np.float32, "FLOAT16": np.float16, "INT8": np.int8, "UINT8": np.uint8, "INT32": np.int32}

Pair = tuple[np.ndarray, np.ndarray | None]  # weight and bias


def read_yamnet(path: Path, needed: Collection[str] = (), replaced: Sequence[str] = ()) -> Tensors:
    """The weights of a file.

    Args:
        path: of the file; what it is shows in its first bytes.
        needed, replaced: of a state dict; see teachers/weights.py.

    Raises:
        UserError: the file is missing, damaged, or holds no YAMNet.
    """
    weights_files(path)
    with open(path, "rb") as file:
        head = file.read(8)
    if is_hdf5(path):
        with explain_damage(path, REMEDY):
            return _state(_from_keras(read_arrays(path, REMEDY)))
    if head[4:] == IDENTIFIER:
        graph = read_graph(path, REMEDY)
        with explain_damage(path, REMEDY):
            return _state(_from_tflite(graph))
    return read_weights(path, needed, replaced)


def _state(layers: Sequence[Pair]) -> Tensors:
    """The state dict of the stem, both convolutions of each block, and the head, in this order.

    Raises:
        UserError: these are not as many.
    """
    names = ["body.0", *(f"body.{block}.{part}" for block in range(1, (len(layers)) // 2) for part in (0, 1)), "head"]
    if len(names) != len(layers):
        raise UserError(f"it holds {len(layers)} layers with weights, no YAMNet: {REMEDY}")
    state = {}
    for name, (weight, bias) in zip(names, layers, strict=True):
        state[f"{name}.weight"] = torch.from_numpy(np.array(weight, np.float32, order="C"))
        zeros = np.zeros(len(weight)) if bias is None else bias
        state[f"{name}.bias"] = torch.from_numpy(np.array(zeros, np.float32, order="C"))
    return state


def _from_keras(arrays: Mapping[str, np.ndarray]) -> list[Pair]:
    """The layers of a file that Keras' save_weights wrote."""
    convolutions: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    dense: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if match := LAYER.fullmatch(name):
            place = int(match[1]), int(match[2] == "pointwise_conv")
            convolutions.setdefault(place, {})[match[4]] = np.asarray(array, np.float64)
        elif match := DENSE.fullmatch(name):
            dense[match[1]] = np.asarray(array)
    if not convolutions or "kernel" not in dense:
        raise UserError(f"it has no layers of YAMNet (layer1/conv/kernel, ..., and a dense one): {REMEDY}")
    return [*(_folded(convolutions[place]) for place in sorted(convolutions)), (dense["kernel"].T, dense.get("bias"))]


def _folded(arrays: Mapping[str, np.ndarray]) -> Pair:
    """A convolution with its BatchNorm, which has no scale of its own: w / s and beta - mean / s."""
    if "depthwise_kernel" in arrays:
        weight = arrays["depthwise_kernel"].transpose(2, 3, 0, 1)
    else:
        weight = arrays["kernel"].transpose(3, 2, 0, 1)
    deviation = np.sqrt(arrays["moving_variance"] + EPSILON)
    return weight / deviation[:, None, None, None], arrays["beta"] - arrays["moving_mean"] / deviation


def _from_tflite(graph: Graph) -> list[Pair]:
    """The layers of a TFLite file, of floats or integers: all convolutions, in their order, and the last dense layer.

    Others of the dense layers belong to the log-mel, which such a file computes itself.
    """
    # Weights of 16 bits are made floats by an operator of their own.
    sources = {step.output: step.inputs[0] for step in graph.operators if step.kind == "DEQUANTIZE"}

    def layers(*kinds: str) -> Iterator[Pair]:
        for step in graph.operators:
            constants = [sources.get(index, index) for index in step.inputs[1:3]]
            if step.kind in kinds and constants and graph.is_constant(constants[0]):
                weight = _values(graph, constants[0])
                bias = _values(graph, constants[1]) if len(constants) == 2 and constants[1] >= 0 else None
                order = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2), DENSE_KIND: (0, 1)}[step.kind]
                yield weight.transpose(order), bias

    return [*layers(*CONVOLUTIONS), *list(layers(DENSE_KIND))[-1:]]


def _values(graph: Graph, index: int) -> np.ndarray:
    """A constant as floats: (number - zero point) * scale, of one channel or of all."""
    tensor = graph.tensors[index]
    if tensor.dtype not in NUMBERS:
        raise WrongValueError(f"{tensor.name} is of the type {tensor.dtype}, which no weights have")
    numbers = tensor.data.view(NUMBERS[tensor.dtype]).reshape(tensor.shape).astype(np.float64)
    if not len(tensor.scales):
        return numbers
    along = [1] * numbers.ndim
    along[tensor.axis] = -1
    zero_points = tensor.zero_points if len(tensor.zero_points) else np.zeros(1)
    if len(tensor.scales) == 1:
        return (numbers - zero_points[0]) * tensor.scales[0]
    return (numbers - zero_points.reshape(along)) * tensor.scales.reshape(along)
