"""Files of PASE and PASE+ in their published form, with weights that follow from a formula, whatever is drawn."""

import math
from pathlib import Path

import panns
import torch

FEATURES = {"pase": 100, "pase+": 256}
# Channels and length of the kernel of the convolutions behind the first one, as in cfg/PASE.cfg of santi-pdp/pase.
KERNELS = ((64, 20), (128, 11), (128, 11), (256, 11), (256, 11), (512, 11), (512, 11))


def names(size: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a file: those that conversions of FE_e199.ckpt read, and for PASE the first of them."""
    shapes: dict[str, tuple[int, ...]] = {"blocks.0.conv.low_hz_": (64, 1), "blocks.0.conv.band_hz_": (64, 1)}
    widths = [64, *(width for width, _ in KERNELS)]
    for number, width in enumerate(widths):
        if number:
            shapes[f"blocks.{number}.conv.weight"] = (width, widths[number - 1], KERNELS[number - 1][1])
            shapes[f"blocks.{number}.conv.bias"] = (width,)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"blocks.{number}.norm.{name}"] = (width,)
        shapes[f"blocks.{number}.norm.num_batches_tracked"] = ()
        shapes[f"blocks.{number}.act.weight"] = (width,)
    features = FEATURES[size]
    if size == "pase+":
        shapes |= {f"denseskips.{number}.weight": (features, width, 1) for number, width in enumerate(widths[:-1])}
        shapes |= {"rnn.layers.0.linear.weight": (1536, 1024), "rnn.layers.0.linear.bias": (1536,)}
    shapes |= {"W.weight": (features, 512, 1), "W.bias": (features,)}
    shapes |= {f"norm_out.{name}": (features,) for name in ("running_mean", "running_var")}
    return shapes | {"norm_out.num_batches_tracked": ()}


def formula(size: str) -> dict[str, torch.Tensor]:
    """Weights: numbers times what keeps activations in range, or near 1 and 0 in BatchNorm; edges up to 5 kHz."""
    state = {}
    for number, (name, shape) in enumerate(sorted(names(size).items())):
        value = panns.numbers(math.prod(shape), number).reshape(shape)
        if name.endswith("hz_"):
            value = (value + 1) * 2500 if "low" in name else value * 1000
        elif name.endswith("num_batches_tracked"):
            value = torch.tensor(100)
        elif name.endswith("running_var") or name.endswith("norm.weight"):
            value = 1 + value / 4
        elif len(shape) > 1:
            value = value * math.sqrt(6 / math.prod(shape[1:]))
        else:
            value = value / 4
        state[name] = value
    return state


def write(path: Path, size: str = "pase+") -> dict[str, torch.Tensor]:
    """Write a file as published; returns its weights."""
    state = formula(size)
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return state
