"""SoundNet's weights from the files in which they are published: sound8.npy, or its conversion to PyTorch.

Conventions: the result is a state dict of smallflyingpig/SoundNet_Pytorch, which is that of teachers/soundnet.py. The
authors' own files, soundnet8_final.t7, are objects of Torch7, which only Lua can read, and are refused with the way
out; sound8.npy holds the same numbers: a pickled dict of the layers' arrays, kernels as (height, width, in, out).
Source: eborboihuc/SoundNet-tensorflow, load_t7.py at commit cca590f, and smallflyingpig/SoundNet_Pytorch, tf2pytorch.py
at commit 35c673d. Torch7, File.lua (writeObject): TYPE_TORCH is 4, and a class's version is the text "V 1".
"""

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch

from data.errors import UserError, in_short
from data.pickled_arrays import is_numpy, read_pickled
from data.tensors import Tensors
from teachers.weights import read_weights, weights_files

TORCH7 = re.compile(rb"(\x04\0\0\0....\x03\0\0\0|4\n\d+\n3\n)V 1", re.DOTALL)
REMEDY = "fetch it again"
# Their names by those of PyTorch.
ARRAYS = {
    **{"weights": "0.weight", "biases": "0.bias"},
    **{"gamma": "1.weight", "beta": "1.bias", "mean": "1.running_mean", "var": "1.running_var"},
}


def read_soundnet(path: Path, needed: Collection[str]) -> Tensors:
    """The weights of a file.

    Args:
        path: of the file; what it is shows in its content.
        needed: names of the network's own; layers that it does not have are left out.

    Raises:
        UserError: the file is missing, damaged, or holds no SoundNet.
    """
    weights_files(path)
    with open(path, "rb") as file:
        head = file.read(64)
    if TORCH7.match(head):
        raise UserError(
            f"{path} is a file of Torch7, which only Lua can read: give sound8.npy, which "
            "github.com/eborboihuc/SoundNet-tensorflow links to and whose load_t7.py makes it of this file, or its "
            "conversion to PyTorch"
        )
    if not is_numpy(path):
        return read_weights(path, needed)
    content = read_pickled(path, REMEDY)
    if not isinstance(content, dict) or not all(isinstance(each, dict) for each in content.values()):
        raise UserError(f"{path} holds no layers with arrays: give sound8.npy")
    state: Tensors = {}
    for layer, arrays in content.items():
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray) or name not in ARRAYS:
                raise UserError(f"{path}: {in_short(name)} of {in_short(layer)} is no array of SoundNet's: {REMEDY}")
            if array.ndim == 4:
                array = array.transpose(3, 2, 0, 1)
            state[f"{layer}.{ARRAYS[name]}"] = torch.from_numpy(np.array(array, np.float32, order="C"))
    layers = {name.split(".")[0] for name in needed}
    state |= {name: torch.zeros((), dtype=torch.int64) for name in needed if name.endswith("num_batches_tracked")}
    return {name: tensor for name, tensor in state.items() if name.split(".")[0] in layers}
