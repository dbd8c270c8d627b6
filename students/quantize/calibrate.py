"""Choose the scales: record the activations of a folded network for some clips, then round its weights.

Conventions: activations get one int8 scale and zero point a tensor, from the range that holds all but a small share
of its values; weights are symmetric, one scale an output channel. A pool keeps its input's scale (its kernel does not
rescale), and maps that are joined have one, by the range of all of them. Scales are rounded to float32 before anything
is divided by them, or file and network would differ.
Source: Jacob et al., CVPR 2018, section 3; Krishnamoorthi, "Quantizing deep convolutional networks for efficient
inference", 2018, section 2.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from data.errors import UserError
from students.quantize.arithmetic import SCALES, nonzero_scale
from students.quantize.integer import HIGH, LOW, IntegerNetwork, Quantity, Weights
from students.quantize.layers import BITS, CONVOLUTION, EIGHT_BITS, INPUT, SPECIAL, FoldedNetwork, scaled_as
from students.quantize.products import as_kernels_have_it

LEVELS = HIGH - LOW
BIAS_LIMITS = {8: 2**30, 16: 2**46}  # by the bits of activations; as much is left for the products
SHRINKS = 36
MSE = "mse"
MOST_VALUES = 200_000  # of a tensor in each batch, drawn at random


def require_percentile(percentile: float | str) -> None:
    """Check a percentile, see calibrate.

    Raises:
        UserError: it is out of its range.
    """
    if percentile != MSE and not (isinstance(percentile, int | float) and 50 < percentile <= 100):
        raise UserError(f"quantize.percentile={percentile} must be above 50 and at most 100, or {MSE}")


def calibrate(
    network: FoldedNetwork,
    batches: Iterable[torch.Tensor],
    *,
    percentile: float | str = 99.99,
    bits: Mapping[str, int] | None = None,
    activations: int = 8,
) -> IntegerNetwork:
    """Make the integer network.

    Args:
        network: the folded float network.
        batches: log-mels (B, 1, mels, frames) of training clips.
        percentile: share of each tensor's values that its range must hold, two-sided; 100 is min-max; "mse": the range
            with the smallest squared error of rounding and cutting off, tried in SHRINKS steps.
        bits: layer name to the bits of its weights, one of BITS; layers that are not named have 8.
        activations: their bits, 8 or 16; with 16 all weights have 8, because runtimes get others wrong.

    Raises:
        UserError: there are no clips, or an activation or a weight is not a number.
    """
    require_percentile(percentile)
    if activations not in (8, 16) or (activations == 16 and 4 in (bits or {}).values()):
        raise UserError(f"quantize.activations={activations} must be 8, or 16 with weights of 8 bits")
    if activations == 16 and (narrow := [layer for layer in network.layers if layer.kind in EIGHT_BITS]):
        what = f"{narrow[0].name} is {SPECIAL[narrow[0].kind]}"
        raise UserError(f"quantize.activations=16: {what}, which is computed of 8 bits alone: leave it at 8")
    for name, width in (bits or {}).items():
        if width not in BITS or name not in network.convolutions:
            raise UserError(
                f"{width} bits for the weights of {name}: bits are {' or '.join(map(str, BITS))}, and the layers with "
                f"weights are {', '.join(network.convolutions)}"
            )
        if width not in network.widths(name):
            raise UserError(f"{width} bits for the weights of {name}: it is a GRU, whose weights have 8")
    seen: dict[str, list[np.ndarray]] = {}
    edges: dict[str, tuple[float, float]] = {}
    shapes: dict[str, tuple[int, int, int]] = {}
    generator = np.random.default_rng(0)

    def observe(name: str, tensor: torch.Tensor) -> torch.Tensor:
        values = _finite(tensor, name)
        low, high = edges.get(name, (0.0, 0.0))
        edges[name] = (min(low, float(values.min())), max(high, float(values.max())))
        some = values if len(values) <= MOST_VALUES else values[generator.integers(len(values), size=MOST_VALUES)]
        seen.setdefault(name, []).append(some)
        shapes[name] = tuple(tensor.shape[1:])
        return tensor

    with torch.no_grad():
        for batch in batches:
            network(batch, observe)
    if not seen:
        raise UserError("calibration got no clips: the train split must not be empty")
    ranges = {name: _range(np.concatenate(values), edges[name], percentile) for name, values in seen.items()}

    scaled, limits = scaled_as(network.layers), dict[str, tuple[float, float]]()
    for name in (INPUT, *(layer.name for layer in network.layers if layer.rescales)):
        (low, high), one = ranges[name], scaled[name]
        lowest, highest = limits.get(one, (low, high))
        limits[one] = min(low, lowest), max(high, highest)
    quantities = {name: _quantity(limits[scaled[name]], shape, activations) for name, shape in shapes.items()}
    for layer in network.layers:
        of_inputs = [quantities[name] for name in layer.inputs]
        quantities[layer.name] = as_kernels_have_it(layer, of_inputs, quantities[layer.name])
    weights = dict[str, Weights]()
    integers = IntegerNetwork(network.layers, weights, quantities)
    for layer in network.layers:
        if layer.has_weights:
            read, width = integers.weighted(layer), (bits or {}).get(layer.name, 8)
            convolution = network.convolutions[layer.name]
            weights[layer.name] = round_weights(convolution, read.scale, layer.name, width, read.bits)
    return integers


@torch.no_grad()
def correct_biases(network: FoldedNetwork, integers: IntegerNetwork, spectrograms: torch.Tensor) -> IntegerNetwork:
    """Shift each convolution's biases so that rounding does not move the mean of any channel.

    Layer by layer, with the earlier corrections in force, the mean over clips and positions of each output channel of
    the rounded network is brought back to the float network's.
    Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section
    4.2, with measured instead of modelled means.

    Args:
        network: the folded float network.
        integers: what calibrate made of it.
        spectrograms: log-mels (B, 1, mels, frames) of training clips.
    """
    rounded, weights = copy.deepcopy(network), dict(integers.weights)

    def as_stored(name: str, tensor: torch.Tensor) -> torch.Tensor:
        quantity = integers.quantities[name]
        return quantity.dequantize(quantity.quantize(tensor))

    exact, stored = {INPUT: spectrograms}, {INPUT: as_stored(INPUT, spectrograms)}
    for layer in network.layers:
        wanted = network.compute(layer, exact)
        if layer.has_weights:
            convolution, w = rounded.convolutions[layer.name], weights[layer.name]
            convolution.weight.copy_(torch.from_numpy(w.weight * w.scale[:, None, None, None]))
        if layer.kind == CONVOLUTION:
            error = (rounded.compute(layer, stored) - wanted).unflatten(2, (layer.parts, -1))
            convolution.bias -= error.mean((0, 3, 4)).flatten()
            read = integers.quantities[layer.inputs[0]]
            bias = _round_bias(convolution, read.scale, w.scale, read.bits)
            weights[layer.name] = replace(w, bias=bias)
        y = rounded.compute(layer, stored)
        exact[layer.name] = wanted.relu() if layer.relu else wanted
        stored[layer.name] = as_stored(layer.name, y.relu() if layer.relu else y)
    return replace(integers, weights=weights)


def _finite(tensor: torch.Tensor, name: str) -> np.ndarray:
    values = tensor.detach().float().flatten().cpu().numpy()
    if not np.isfinite(values).all():
        raise UserError(
            f"calibration: layer {name} gives values that are not numbers; the checkpoint or a clip is broken"
        )
    return values


def _range(values: np.ndarray, edges: tuple[float, float], percentile: float | str) -> tuple[float, float]:
    if percentile == MSE:
        return _least_error(values, *edges)
    if percentile == 100:
        return edges
    assert not isinstance(percentile, str)  # calibrate has checked it
    tail = (100 - percentile) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def _least_error(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    def error(shrink: float) -> float:
        step = shrink * (high - low) / LEVELS or 1.0
        inside = np.clip(values, shrink * low, shrink * high)
        return float(np.square(np.round(inside / step) * step - values).sum())

    best = min(np.linspace(1.0, 0.3, SHRINKS), key=error)
    return float(best * low), float(best * high)


def _quantity(limits: tuple[float, float], shape: tuple[int, int, int], bits: int) -> Quantity:
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    if bits == 16:  # symmetric, as the kernels want it
        return Quantity(nonzero_scale(max(-low, high) / (2**15 - 1)), 0, shape, bits)
    scale = nonzero_scale((high - low) / LEVELS)
    zero_point = round(LOW - low / scale)
    return Quantity(scale, max(LOW, min(HIGH, zero_point)), shape)


def round_weights(
    convolution: nn.Conv2d, input_scale: float, name: str, bits: int = 8, activations: int = 8
) -> Weights:
    """The nearest integers to a convolution's weights and biases, at the scales of weight_scales.

    Raises:
        UserError: a weight is not a number.
    """
    weight = convolution.weight.detach().cpu().double().numpy()
    bias = convolution.bias.detach().cpu().double().numpy()
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise UserError(f"calibration: layer {name} has weights that are not numbers; train the student again")
    scale = weight_scales(weight, bits)
    # A dead channel, whose weights have decayed, has only its bias; a scale this small would push it out of int32.
    smallest = np.abs(bias) / (BIAS_LIMITS[activations] * input_scale)
    scale = np.maximum(np.where(scale >= SCALES[0], scale, 1.0), smallest.astype(np.float32) * 2).astype(np.float32)
    return Weights(
        _nearest(weight, scale, bits), _round_bias(convolution, input_scale, scale, activations), scale, bits
    )


def weight_scales(weight: np.ndarray, bits: int) -> np.ndarray:
    """A scale for each output channel of (O, ...), float32 (O,).

    With 8 bits the largest weight is the largest integer. With 4 the large ones are cut off where that leaves the
    smallest squared error of all, tried in SHRINKS steps.
    Source of the latter: Banner et al., "Post training 4-bit quantization of convolutional networks", NeurIPS 2019,
    who derive the cut instead of trying.
    """
    largest = (np.abs(weight).max(axis=tuple(range(1, weight.ndim))) / limit_of(bits)).astype(np.float32)
    if bits == 8:
        return largest
    best, smallest = largest, np.full(len(weight), np.inf)
    for shrink in np.linspace(1.0, 0.3, SHRINKS):
        scale = np.where(largest > 0, largest * np.float32(shrink), 1).astype(np.float32)
        each = scale.reshape(-1, *[1] * (weight.ndim - 1))
        error = ((_nearest(weight, scale, bits) * each - weight) ** 2).sum(axis=tuple(range(1, weight.ndim)))
        best, smallest = np.where(error < smallest, scale, best), np.minimum(error, smallest)
    return best


def limit_of(bits: int) -> int:
    """Largest integer of a weight: the range is symmetric, so the lowest one is not used."""
    return 2 ** (bits - 1) - 1


def _nearest(weight: np.ndarray, scale: np.ndarray, bits: int) -> np.ndarray:
    steps = np.round(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    return np.clip(steps, -limit_of(bits), limit_of(bits)).astype(np.int8)


def _round_bias(convolution: nn.Conv2d, input_scale: float, scale: np.ndarray, activations: int) -> np.ndarray:
    bias = convolution.bias.detach().cpu().double().numpy()
    q = np.round(bias / (np.float64(np.float32(input_scale)) * scale))
    limit = BIAS_LIMITS[activations]
    return np.clip(q, -limit, limit).astype(np.int32 if activations == 8 else np.int64)
