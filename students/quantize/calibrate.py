"""Choose the scales: watch a folded network work on some clips, then round its weights.

Conventions: activations get one int8 scale and zero point a tensor, from the range that holds all but a small share
of its values; weights are symmetric, one scale an output channel. A pool keeps its input's scale (its kernel does not
rescale). Scales are rounded to float32 before anything is divided by them, or file and network would differ.
Source: Jacob et al., CVPR 2018, section 3; Krishnamoorthi, "Quantizing deep convolutional networks for efficient
inference", 2018, section 2.
"""

import copy
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from data.errors import UserError
from students.quantize.fold import ADD, CONVOLUTION, INPUT, FoldedNetwork
from students.quantize.integer import HIGH, LOW, IntegerNetwork, Quantity, Weights

LEVELS = HIGH - LOW
WEIGHT_LIMIT = 127  # -128 is not used: symmetric
BIAS_LIMIT = 2**31 - 1


def calibrate(network: FoldedNetwork, batches: Iterable[torch.Tensor], *, percentile: float = 99.99) -> IntegerNetwork:
    """Make the integer network.

    Args:
        network: the folded float network.
        batches: log-mels (B, 1, mels, frames) of training clips.
        percentile: share of each tensor's values that its range must hold, two-sided; 100 is min-max.

    Raises:
        UserError: there are no clips, or an activation or a weight is not a number.
    """
    if not 50 < percentile <= 100:
        raise UserError(f"quantize.percentile={percentile} must be above 50 and at most 100")
    ranges: dict[str, tuple[float, float]] = {}
    shapes: dict[str, tuple[int, int, int]] = {}

    def observe(name: str, tensor: torch.Tensor) -> torch.Tensor:
        low, high = _range(tensor, percentile, name)
        before = ranges.get(name, (0.0, 0.0))
        ranges[name] = (min(before[0], low), max(before[1], high))
        shapes[name] = tuple(tensor.shape[1:])
        return tensor

    with torch.no_grad():
        for batch in batches:
            network(batch, observe)
    if not ranges:
        raise UserError("calibration got no clips: the train split must not be empty")

    quantities = {INPUT: _quantity(ranges[INPUT], shapes[INPUT])}
    weights = {}
    for layer in network.layers:
        source = quantities[layer.inputs[0]]
        if layer.kind in (CONVOLUTION, ADD):
            quantities[layer.name] = _quantity(ranges[layer.name], shapes[layer.name])
        else:
            quantities[layer.name] = Quantity(source.scale, source.zero_point, shapes[layer.name])
        if layer.kind == CONVOLUTION:
            weights[layer.name] = _round_weights(network.convolutions[layer.name], source.scale, layer.name)
    return IntegerNetwork(network.layers, weights, quantities)


@torch.no_grad()
def correct_biases(network: FoldedNetwork, integers: IntegerNetwork, pictures: torch.Tensor) -> IntegerNetwork:
    """Shift each convolution's biases so that rounding does not move the mean of any channel.

    Layer by layer, with the earlier corrections in force, the mean over clips and positions of each output channel of
    the rounded network is brought back to the float network's.
    Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section
    4.2, with measured instead of modelled means.

    Args:
        network: the folded float network.
        integers: what calibrate made of it.
        pictures: log-mels (B, 1, mels, frames) of training clips.
    """
    rounded, weights = copy.deepcopy(network), dict(integers.weights)

    def as_stored(name: str, tensor: torch.Tensor) -> torch.Tensor:
        quantity = integers.quantities[name]
        return quantity.dequantize(quantity.quantize(tensor))

    exact, stored = {INPUT: pictures}, {INPUT: as_stored(INPUT, pictures)}
    for layer in network.layers:
        wanted = network.compute(layer, exact)
        if layer.kind == CONVOLUTION:
            convolution, w = rounded.convolutions[layer.name], weights[layer.name]
            convolution.weight.copy_(torch.from_numpy(w.weight * w.scale[:, None, None, None]))
            convolution.bias -= (rounded.compute(layer, stored) - wanted).mean((0, 2, 3))
            bias = _round_bias(convolution, integers.quantities[layer.inputs[0]].scale, w.scale)
            weights[layer.name] = replace(w, bias=bias)
        y = rounded.compute(layer, stored)
        exact[layer.name] = wanted.relu() if layer.relu else wanted
        stored[layer.name] = as_stored(layer.name, y.relu() if layer.relu else y)
    return replace(integers, weights=weights)


def _range(tensor: torch.Tensor, percentile: float, name: str) -> tuple[float, float]:
    values = tensor.detach().float().flatten().cpu().numpy()
    if not np.isfinite(values).all():
        raise UserError(
            f"calibration: layer {name} gives values that are not numbers; the checkpoint or a clip is broken"
        )
    tail = (100 - percentile) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def _quantity(limits: tuple[float, float], shape: tuple[int, int, int]) -> Quantity:
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    scale = float(np.float32((high - low) / LEVELS)) or 1.0
    zero_point = round(LOW - low / scale)
    return Quantity(scale, max(LOW, min(HIGH, zero_point)), shape)


def _round_weights(convolution: nn.Conv2d, input_scale: float, name: str) -> Weights:
    weight = convolution.weight.detach().cpu().double().numpy()
    bias = convolution.bias.detach().cpu().double().numpy()
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise UserError(f"calibration: layer {name} has weights that are not numbers; train the student again")
    scale = (np.abs(weight).max(axis=(1, 2, 3)) / WEIGHT_LIMIT).astype(np.float32)
    # A dead channel has only its bias; a scale this small would push it out of int32.
    smallest = np.abs(bias) / (BIAS_LIMIT * input_scale)
    scale = np.maximum(np.where(scale > 0, scale, 1.0), smallest.astype(np.float32) * 2).astype(np.float32)
    q = np.clip(np.round(weight / scale[:, None, None, None]), -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8)
    return Weights(q, _round_bias(convolution, input_scale, scale), scale)


def _round_bias(convolution: nn.Conv2d, input_scale: float, scale: np.ndarray) -> np.ndarray:
    bias = convolution.bias.detach().cpu().double().numpy()
    q = np.round(bias / (np.float64(np.float32(input_scale)) * scale))
    return np.clip(q, -BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)
