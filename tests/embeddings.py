"""Weights of embedding networks in the files in which they are published, written anew from a state dict.

Conventions: Keras' save_weights puts the arrays of a layer below its name, under their own names, which begin with it,
contiguous and unfiltered; the paths here were compared with a file that tf_keras 2.21 wrote.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import h5py
import pytest
import torch

from teachers import l3, vggish

State = Mapping[str, torch.Tensor]


def make_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the published VGGish have eight units in its dense layers, and the published L3 few channels."""
    monkeypatch.setattr(vggish, "VGGish", partial(vggish.VGGish, dense=8))
    monkeypatch.setattr(l3, "L3", partial(l3.L3, channels=(2, 2, 2, 4)))


def write_keras(path: Path, layers: Mapping[str, str], state: State) -> Path:
    """Convolutions, dense layers and BatchNorms.

    Args:
        path: of the file.
        layers: Keras' names by those of PyTorch's modules.
        state: the tensors of these modules.
    """
    with h5py.File(path, "w") as file:
        for module, layer in layers.items():
            own = {name.removeprefix(f"{module}."): t for name, t in state.items() if name.startswith(f"{module}.")}
            weight = own.pop("weight")
            if "running_mean" in own:
                names = {"bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
                arrays = {"gamma": weight, **{keras: own[name] for name, keras in names.items()}}
            else:
                arrays = {"kernel": weight.permute(2, 3, 1, 0) if weight.ndim == 4 else weight.T, "bias": own["bias"]}
            for name, tensor in arrays.items():
                file[f"{layer}/{layer}/{name}:0"] = tensor.numpy()
    return path
