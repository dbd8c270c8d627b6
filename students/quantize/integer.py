"""The integer network as plain data, and its exact execution in torch: the logits of a microcontroller, bit for bit.

Conventions: tensors are NCHW here. real = scale * (q - zero_point); activations are int8 with one scale a tensor,
weights int8 (or int4, the same with a narrower range) with one symmetric scale an output channel, biases int32 at
input scale * weight scale. Scales are float32 values, because the file stores them so.
Source of the arithmetic: Jacob et al., CVPR 2018, section 2.2 and appendix; gemmlowp's "double rounding", which
TensorFlow Lite's reference kernels and tflite-micro use: a saturating, rounding, doubling high multiply, then a
rounding shift.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch.nn import functional as F

from students.quantize.arithmetic import (
    Quantity,
    Weights,
    convolution_factors,
    fixed_point,
    rescale,
    rescale_once,
)
from students.quantize.gru import STATES, recur
from students.quantize.layers import (
    ADD,
    AVERAGE_POOL,
    CONVOLUTION,
    GLOBAL_MEAN,
    GRU,
    INPUT,
    MAX_POOL,
    MULTIPLY,
    SIGMOID,
    SILU,
    Layer,
)
from students.quantize.products import multiplied
from students.quantize.silu import table_of

LOW, HIGH = -128, 127
ADD_LEFT_SHIFT = {8: 20, 16: 15}
CLIPS_IN_CACHE = 4  # at a time: a CPU loses speed on maps that have to go to memory and back
# Sums of products below this are exact in float32, where convolutions are several times faster than in float64.
EXACT_IN_FLOAT32 = 2**24


@dataclass(frozen=True)
class IntegerNetwork:
    """Layers as in layers.py, with integers for their weights.

    Attributes:
        layers: in the order of execution.
        weights: of each convolution.
        quantities: of the input and of each layer's output.
        exact: whether every runtime agrees on it; see exact.py.
        sets: of some recording devices the weights of those layers in which they differ; see sets.py.
    """

    layers: tuple[Layer, ...]
    weights: Mapping[str, Weights]
    quantities: Mapping[str, Quantity]
    exact: bool = False
    sets: Mapping[str, Mapping[str, Weights]] = field(default_factory=dict)

    @property
    def output(self) -> Quantity:
        """How the logits are read."""
        return self.quantities[self.layers[-1].name]

    def weighted(self, layer: Layer) -> Quantity:
        """How that is read which a layer multiplies by its weights: its input, or its state."""
        return STATES if layer.kind == GRU else self.quantities[layer.inputs[0]]

    def of_device(self, device: str) -> "IntegerNetwork":
        """The network of a device alone: the general one with the device's weights, if it has any."""
        return replace(self, weights={**self.weights, **self.sets.get(device, {})}, sets={})

    def logits(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Log-mels (B, 1, mels, frames) -> float32 logits (B, classes)."""
        return self.output.dequantize(self.integer_logits(spectrograms))

    def integer_logits(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Log-mels (B, 1, mels, frames) -> the integers of the logits, (B, classes)."""
        some = CLIPS_IN_CACHE if spectrograms.device.type == "cpu" else max(1, len(spectrograms))
        return torch.cat([self.run(self.quantities[INPUT].quantize(part)) for part in spectrograms.split(some)])

    def run(self, q: torch.Tensor, record: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Integer spectrograms (B, 1, mels, frames) -> integer logits (B, classes); `record` receives every tensor."""
        tensors = {INPUT: q} if record is None else record
        tensors[INPUT] = q
        for layer in self.layers:
            tensors[layer.name] = self.compute(layer, [tensors[name] for name in layer.inputs])
        return tensors[self.layers[-1].name].flatten(1)

    def compute(self, layer: Layer, inputs: Sequence[torch.Tensor], weights: Weights | None = None) -> torch.Tensor:
        """The integers that a layer writes, of those that it reads, (B, C, H, W); `weights` are used instead of the
        network's."""
        read, wanted = [self.quantities[name] for name in layer.inputs], self.quantities[layer.name]
        if layer.kind == CONVOLUTION:
            y = _convolve(inputs[0], layer, weights or self.weights[layer.name], read[0], wanted)
        elif layer.kind == GRU:
            y = recur(inputs[0], weights or self.weights[layer.name], read[0], wanted)
        elif layer.kind == ADD:
            y = _add(inputs[0].long(), inputs[1].long(), read[0], read[1], wanted)
        elif layer.kind == MULTIPLY:
            y = multiplied(inputs[0].long(), inputs[1].long(), read[0], read[1], wanted)
        elif layer.kind in (SILU, SIGMOID):
            y = table_of(layer, read[0], wanted).to(inputs[0].device)[inputs[0].long() - read[0].low]
        elif layer.moves:
            y = layer.moved(inputs)
        elif layer.kind == MAX_POOL:
            y = layer.pooled(inputs[0].float())
        else:
            y = _average(inputs[0].long(), layer, read[0])
        return y.clamp_(lowest(layer, wanted), wanted.high).to(wanted.dtype)


def lowest(layer: Layer, wanted: Quantity) -> int:
    """The lowest integer that a layer writes: with a ReLU the one that stands for 0."""
    return max(wanted.zero_point, wanted.low) if layer.relu else wanted.low


def addition_factors(first: Quantity, second: Quantity, wanted: Quantity) -> tuple[tuple[int, int], ...]:
    """By what both summands, shifted left by ADD_LEFT_SHIFT, and then their sum are rescaled, see fixed_point."""
    scale_a, scale_b, scale = (float(np.float32(q.scale)) for q in (first, second, wanted))
    twice, left = 2 * max(scale_a, scale_b), ADD_LEFT_SHIFT[wanted.bits]
    return tuple(map(fixed_point, (scale_a / twice, scale_b / twice, twice / ((1 << left) * scale))))


def _convolve(x: torch.Tensor, layer: Layer, weights: Weights, read: Quantity, wanted: Quantity) -> torch.Tensor:
    largest = np.abs(weights.weight.astype(np.int64)).sum(axis=(1, 2, 3)).max() * (read.high - read.low)
    dtype = torch.float32 if largest < EXACT_IN_FLOAT32 else torch.float64
    # Padding with zeros after the zero point is taken off is what kernels do by padding with the zero point.
    centred = x.to(dtype, memory_format=torch.channels_last).sub_(read.zero_point)
    weight = torch.from_numpy(weights.weight).to(x.device, dtype, memory_format=torch.channels_last)
    sums = layer.convolved(centred, weight, None).long()
    height = sums.shape[2]
    sums += layer.by_row(torch.from_numpy(weights.bias).to(x.device), height)
    factors = zip(*convolution_factors(weights, read, wanted), strict=True)
    mantissa, exponent = (layer.by_row(torch.tensor(column, device=x.device), height) for column in factors)
    scaled = rescale if read.bits == 8 else rescale_once
    return scaled(sums, mantissa, exponent).add_(wanted.zero_point)


def _add(a: torch.Tensor, b: torch.Tensor, read_a: Quantity, read_b: Quantity, wanted: Quantity) -> torch.Tensor:
    left, (factor_a, factor_b, factor) = ADD_LEFT_SHIFT[wanted.bits], addition_factors(read_a, read_b, wanted)

    def scaled(x: torch.Tensor, factor: tuple[int, int]) -> torch.Tensor:
        mantissa, exponent = (torch.tensor(value, device=x.device) for value in factor)
        return rescale(x, mantissa, exponent)

    total = scaled((a - read_a.zero_point) << left, factor_a)
    total = total + scaled((b - read_b.zero_point) << left, factor_b)
    return scaled(total, factor) + wanted.zero_point


def _average(x: torch.Tensor, layer: Layer, read: Quantity) -> torch.Tensor:
    """Mean of the raw integers, halves away from zero; input and output share scale and zero point."""
    if layer.kind == GLOBAL_MEAN:
        sums, count = x.sum((2, 3), keepdim=True), x.shape[2] * x.shape[3]
    else:
        assert layer.kind == AVERAGE_POOL
        (top, left), count = layer.padding, layer.kernel[0] * layer.kernel[1]
        padded = F.pad(x, (left, left, top, top), value=read.zero_point).double()
        sums = F.avg_pool2d(padded, layer.kernel, layer.stride, divisor_override=1).round().long()
    return torch.div(sums + torch.where(sums > 0, count // 2, -(count // 2)), count, rounding_mode="trunc")
