"""Files of SoundNet in their published forms, with weights that follow from a formula, whatever a library draws."""

import math
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import panns
import torch

# Channels in and out and length of the kernels, as in main_train.lua of cvondrick/soundnet.
KERNELS = {
    **{"conv1": (1, 16, 64), "conv2": (16, 32, 32), "conv3": (32, 64, 16), "conv4": (64, 128, 8)},
    **{"conv5": (128, 256, 4), "conv6": (256, 512, 4), "conv7": (512, 1024, 4)},
}
ARRAYS = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "var"}


def formula() -> dict[str, torch.Tensor]:
    """The state dict of sound8.pth up to conv7; the first kernels are small, as samples are up to 256."""
    state = {}
    for number, (layer, (before, channels, length)) in enumerate(KERNELS.items()):
        scale = math.sqrt(6 / (before * length)) / (20 if layer == "conv1" else 1)
        shape = (channels, before, length, 1)
        state[f"{layer}.0.weight"] = scale * panns.numbers(math.prod(shape), 10 * number).reshape(shape)
        state[f"{layer}.0.bias"] = panns.numbers(channels, 10 * number + 1) / 4
        for place, name in enumerate(ARRAYS, 2):
            value = panns.numbers(channels, 10 * number + place) / 4
            state[f"{layer}.1.{name}"] = 1 + value if name in ("weight", "running_var") else value
        state[f"{layer}.1.num_batches_tracked"] = torch.tensor(100)
    return state


def arrays(state: dict[str, torch.Tensor]) -> dict[str, dict[str, np.ndarray]]:
    """The content of sound8.npy, with a last layer that is not used."""
    content: dict[str, dict[str, np.ndarray]] = {"conv8": {"weights": np.ones((8, 1, 2, 3), np.float32)}}
    for layer in KERNELS:
        content[layer] = {
            "weights": np.ascontiguousarray(state[f"{layer}.0.weight"].permute(2, 3, 1, 0).numpy()),
            "biases": state[f"{layer}.0.bias"].numpy(),
            **{theirs: state[f"{layer}.1.{ours}"].numpy() for ours, theirs in ARRAYS.items()},
        }
    return content


class _Python2(pickle._Pickler):
    """Writes texts and bytes as Python 2 wrote its strings."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def _string(self, value: str | bytes) -> None:
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<I", len(raw)) + raw)

    dispatch[str] = dispatch[bytes] = _string


def write_python2(path: Path, content: Any) -> None:
    """Write an object as numpy.save of Python 2 did."""
    whole = np.empty((), object)
    whole[()] = content
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        _Python2(file, 2).dump(whole)
