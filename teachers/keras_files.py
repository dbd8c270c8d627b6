"""Layers of a file that Keras' save_weights wrote, as PyTorch has them.

Conventions: a dataset is called by its layer and its own name, such as `conv1/conv1/kernel:0`; layers are in the order
of their names, numbers in them by their value, which is the order of the network where Keras numbered them. Keras'
kernels are (height, width, in, out), those of dense layers (in, out).
Source: Keras, saving/legacy/hdf5_format.py.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from data.damage import WrongValueError
from data.hdf5_arrays import read_arrays
from data.tensors import Tensors

NAME = re.compile(r"(?:model_weights/)?(.+)/(\w+?)(?::0)?")

Layer = Mapping[str, np.ndarray]  # its arrays by their own names: kernel, bias, gamma, ...


def read_layers(path: Path, remedy: str) -> dict[str, Layer]:
    """The layers of a file that have arrays of floats: by name, in order.

    Args:
        path: of the file.
        remedy: the end of the message about a file that is damaged.

    Raises:
        UserError: it is damaged, or no HDF5 file.
    """
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, array in read_arrays(path, remedy).items():
        if match := NAME.fullmatch(name):
            layers.setdefault(match[1], {})[match[2]] = array
    return {name: layers[name] for name in sorted(layers, key=_natural)}


def convolution(layer: Layer) -> Tensors:
    """Weight (out, in, height, width) and bias.

    Raises:
        WrongValueError: the layer is no convolution.
    """
    return {"weight": _tensor(_array(layer, "kernel", 4).transpose(3, 2, 0, 1)), "bias": _tensor(_array(layer, "bias"))}


def dense(layer: Layer) -> Tensors:
    """Weight (out, in) and bias.

    Raises:
        WrongValueError: the layer is no dense one.
    """
    return {"weight": _tensor(_array(layer, "kernel", 2).T), "bias": _tensor(_array(layer, "bias"))}


def normalisation(layer: Layer) -> Tensors:
    """Of a BatchNorm: weight, bias, mean and variance.

    Raises:
        WrongValueError: the layer is no BatchNorm with a scale.
    """
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    return {ours: _tensor(_array(layer, theirs)) for ours, theirs in names.items()}


def _array(layer: Layer, name: str, axes: int = 1) -> np.ndarray:
    if name not in layer or layer[name].ndim != axes:
        found = ", ".join(f"{each} {array.shape}" for each, array in layer.items())
        raise WrongValueError(f"a layer has {found}, and no {name} of {axes} axes")
    return layer[name]


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32, order="C"))


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which names are sorted, their numbers by value."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
