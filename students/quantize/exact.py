"""Integers on which every runtime agrees, and float32 too: nothing ever lies halfway between two values.

Runtimes differ in how they round (twice, once, in float32, half up, half to even), which matters where a product has to
be rounded at all and most where it is a tie. Here it never is one:

- the scales of activations are powers of two, and an addition has one scale for both its sides and its sum;
- weights are 4 q with |q| <= 31 (6 bits, stored in 8) at a scale of 2^k / 4; biases are multiples of 4, or 2 more than
  that where a layer's sums shrink: an odd number of halves of quarters is never a half;
- the global mean is a depthwise convolution over the map; other average pools have an odd number of cells.

The price is accuracy: 6 bits instead of 8, and ranges up to twice too wide; quantisation-aware training recovers it.
Sums are even and stay below 2^25, where float32 counts them exactly.
"""

import copy
import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import nn

from data.errors import UserError
from students.quantize.calibrate import calibrate
from students.quantize.integer import EXACT_IN_FLOAT32, HIGH, LOW, IntegerNetwork, Quantity, Weights
from students.quantize.layers import ADD, AVERAGE_POOL, CONVOLUTION, GLOBAL_MEAN, JOIN, SPECIAL, FoldedNetwork

QUARTERS = 4  # a weight is so many times its integer of 6 bits
LIMIT = 31
LARGEST_BIAS = 2**21  # times 4: a quarter of what float32 can count in steps of 2


def calibrate_exactly(
    network: FoldedNetwork, batches: Iterable[torch.Tensor], *, percentile: float | str = 99.99
) -> tuple[FoldedNetwork, IntegerNetwork]:
    """The network with its mean as a convolution, and its integers; arguments and errors as of `calibrate`.

    Raises:
        UserError: an average pool has an even number of cells, whose sums may be ties; or there is one of SPECIAL, or
            maps are joined.
    """
    if special := [layer for layer in network.layers if layer.kind in SPECIAL]:
        what = f"{special[0].name} is {SPECIAL[special[0].kind]}"
        raise UserError(f"quantize.exact=all: {what}, on which runtimes do not agree: leave it out")
    if strange := [layer.name for layer in network.layers if layer.kind == JOIN]:
        raise UserError(f"quantize.exact=all: {strange[0]} joins maps, for which it has no common scale: leave it out")
    batches = list(batches)
    network = _without_mean(network, calibrate(network, batches, percentile=percentile))
    usual = calibrate(network, batches, percentile=percentile)
    scales = _common_scales(usual)
    quantities = {name: _widened(quantity, scales[name]) for name, quantity in usual.quantities.items()}
    for layer in network.layers:
        if layer.kind not in (CONVOLUTION, ADD):  # pools do not rescale
            source = quantities[layer.inputs[0]]
            quantities[layer.name] = replace(source, shape=usual.quantities[layer.name].shape)
    weights = {
        layer.name: exact_weights(
            network.convolutions[layer.name],
            weight_exponents(network.convolutions[layer.name], scales[layer.inputs[0]]),
            scales[layer.inputs[0]],
            scales[layer.name],
            layer.name,
        )
        for layer in network.layers
        if layer.kind == CONVOLUTION
    }
    return network, IntegerNetwork(network.layers, weights, quantities, exact=True)


def weight_exponents(convolution: nn.Conv2d, read: float) -> torch.Tensor:
    """k of each output channel, float32 (O,): the smallest power of two that holds its weights and its bias, where the
    input has the scale `read`."""
    weights = convolution.weight.detach().abs().amax((1, 2, 3)).double() / LIMIT
    biases = convolution.bias.detach().abs().double() / (read * LARGEST_BIAS)
    return torch.maximum(weights, biases).clamp_min(2.0**-60).log2().ceil().float()


def offsets(read: float, exponents: torch.Tensor, wanted: float) -> torch.Tensor:
    """What a bias has beside multiples of 4 steps, in steps, (O,): 2 where sums shrink on their way to the output."""
    return torch.where(read * 2.0**exponents < wanted, 2.0, 0.0)


def exact_weights(convolution: nn.Conv2d, exponents: torch.Tensor, read: float, wanted: float, name: str) -> Weights:
    """A convolution's integers, from a tensor of scale `read` to one of scale `wanted`; `name` is the layer's.

    Raises:
        UserError: its sums could be too large for float32 to be exact.
    """
    steps = 2.0 ** exponents.double()
    weight = (convolution.weight.detach().cpu().double() / steps[:, None, None, None]).round().clamp(-LIMIT, LIMIT)
    offset = offsets(read, exponents, wanted).double()
    bias = convolution.bias.detach().cpu().double() / (read * steps / QUARTERS)
    bias = ((bias - offset) / QUARTERS).round().clamp(-LARGEST_BIAS, LARGEST_BIAS) * QUARTERS + offset
    scale = (steps / QUARTERS).float().numpy()
    largest = (QUARTERS * weight.abs().sum((1, 2, 3)) * (HIGH - LOW) + bias.abs()).max()
    if largest >= 2 * EXACT_IN_FLOAT32:  # all sums are even
        raise UserError(
            f"quantize.exact=all: the sums of {name} may reach {int(largest):,}, and float32 counts even numbers "
            f"exactly up to {2 * EXACT_IN_FLOAT32:,}: use a layer with fewer weights a channel"
        )
    return Weights((QUARTERS * weight).to(torch.int8).numpy(), bias.to(torch.int32).numpy(), scale)


def _without_mean(network: FoldedNetwork, usual: IntegerNetwork) -> FoldedNetwork:
    layers, convolutions = [], {name: copy.deepcopy(layer) for name, layer in network.convolutions.items()}
    for layer in network.layers:
        cells = math.prod(layer.kernel)
        if layer.kind == AVERAGE_POOL and cells % 2 == 0:
            raise UserError(f"quantize.exact=all: the average pool {layer.name} has {cells} cells, an even number")
        if layer.kind == GLOBAL_MEAN:
            channels, height, width = usual.quantities[layer.inputs[0]].shape
            mean = nn.Conv2d(channels, channels, (height, width), groups=channels)
            nn.init.constant_(mean.weight, 1 / (height * width))
            nn.init.zeros_(mean.bias)
            convolutions[layer.name] = mean
            layer = replace(layer, kind=CONVOLUTION, kernel=(height, width), groups=channels)
        layers.append(layer)
    return FoldedNetwork(tuple(layers), convolutions)


def _common_scales(usual: IntegerNetwork) -> dict[str, float]:
    """Power of two for each tensor: at least its scale, the same for all that an addition or a pool joins."""
    exponents = {name: math.ceil(math.log2(quantity.scale)) for name, quantity in usual.quantities.items()}
    joined = [(layer.name, *layer.inputs) for layer in usual.layers if layer.kind != CONVOLUTION]
    changed = True
    while changed:
        changed = False
        for names in joined:
            highest = max(exponents[name] for name in names)
            changed |= any(exponents[name] != highest for name in names)
            exponents |= dict.fromkeys(names, highest)
    return {name: 2.0**exponent for name, exponent in exponents.items()}


def _widened(quantity: Quantity, scale: float) -> Quantity:
    low = (LOW - quantity.zero_point) * quantity.scale
    return Quantity(scale, max(LOW, min(HIGH, round(LOW - low / scale))), quantity.shape)
