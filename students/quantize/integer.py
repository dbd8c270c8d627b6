"""The integer network as plain data, and its exact execution in torch: the logits of a microcontroller, bit for bit.

Conventions: tensors are NCHW here. real = scale * (q - zero_point); activations are int8 with one scale a tensor,
weights int8 (or int4, the same with a narrower range) with one symmetric scale an output channel, biases int32 at
input scale * weight scale. Scales are float32 values, because the file stores them so.
Source of the arithmetic: Jacob et al., CVPR 2018, section 2.2 and appendix; gemmlowp's "double rounding", which
TensorFlow Lite's reference kernels and tflite-micro use: a saturating, rounding, doubling high multiply, then a
rounding shift.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch.nn import functional as F

from data.front_ends.integer_steps import steps_of
from students.quantize.layers import ADD, AVERAGE_POOL, CONVOLUTION, GLOBAL_MEAN, INPUT, MAX_POOL, Layer

LOW, HIGH = -128, 127
ADD_LEFT_SHIFT = {8: 20, 16: 15}
CLIPS_IN_CACHE = 4  # at a time: a CPU loses speed on maps that have to go to memory and back
# Sums of products below this are exact in float32, where convolutions are several times faster than in float64.
EXACT_IN_FLOAT32 = 2**24


@dataclass(frozen=True)
class Quantity:
    """How a tensor's integers, of 8 or 16 bits, are read: real = scale * (q - zero_point); `shape` is (C, H, W)."""

    scale: float
    zero_point: int
    shape: tuple[int, int, int]
    bits: int = 8

    @property
    def low(self) -> int:
        """The lowest integer."""
        return -(2 ** (self.bits - 1))

    @property
    def high(self) -> int:
        """The highest integer."""
        return 2 ** (self.bits - 1) - 1

    @property
    def dtype(self) -> torch.dtype:
        """Of the integers."""
        return torch.int8 if self.bits == 8 else torch.int16

    def quantize(self, real: torch.Tensor) -> torch.Tensor:
        """Nearest integers (halves to even) of real values; of int64 values, a log-mel's in integers, the steps of a
        device."""
        if not real.is_floating_point():
            return steps_of(self.scale, self.zero_point, self.low, self.high)(real)
        return (real / self.scale).round().add(self.zero_point).clamp(self.low, self.high).to(self.dtype)

    def dequantize(self, q: torch.Tensor) -> torch.Tensor:
        """float32 values of integers."""
        return (q.float() - self.zero_point) * self.scale


@dataclass(frozen=True)
class Weights:
    """A convolution's integers: weight int8 (O, I / groups, kh, kw) within +-(2^(bits - 1) - 1), bias int32 (O,), or
    int64 for activations of 16 bits, scale float32 (O,)."""

    weight: np.ndarray
    bias: np.ndarray
    scale: np.ndarray
    bits: int = 8


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
        elif layer.kind == ADD:
            y = _add(inputs[0].long(), inputs[1].long(), read[0], read[1], wanted)
        elif layer.kind == MAX_POOL:
            y = layer.pooled(inputs[0].float())
        else:
            y = _average(inputs[0].long(), layer, read[0])
        return y.clamp_(lowest(layer, wanted), wanted.high).to(wanted.dtype)


def fixed_point(multiplier: float) -> tuple[int, int]:
    """(m, e) with multiplier ~ m / 2^31 * 2^e and m in [2^30, 2^31): how kernels hold a real factor.

    >>> fixed_point(0.75)
    (1610612736, 0)
    >>> fixed_point(3.0)
    (1610612736, 2)
    """
    if multiplier == 0:
        return 0, 0
    fraction, exponent = math.frexp(multiplier)
    # C's round(): halves away from zero; the fraction is positive.
    mantissa = math.floor(fraction * 2**31 + 0.5)
    if mantissa == 2**31:
        mantissa, exponent = mantissa // 2, exponent + 1
    return (0, 0) if exponent < -31 else (mantissa, exponent)


def lowest(layer: Layer, wanted: Quantity) -> int:
    """The lowest integer that a layer writes: with a ReLU the one that stands for 0."""
    return max(wanted.zero_point, wanted.low) if layer.relu else wanted.low


def convolution_factors(weights: Weights, read: Quantity, wanted: Quantity) -> list[tuple[int, int]]:
    """By what the sums of each output channel are rescaled, see fixed_point."""
    return [
        fixed_point(float(np.float32(read.scale)) * float(s) / float(np.float32(wanted.scale))) for s in weights.scale
    ]


def addition_factors(first: Quantity, second: Quantity, wanted: Quantity) -> tuple[tuple[int, int], ...]:
    """By what both summands, shifted left by ADD_LEFT_SHIFT, and then their sum are rescaled, see fixed_point."""
    scale_a, scale_b, scale = (float(np.float32(q.scale)) for q in (first, second, wanted))
    twice, left = 2 * max(scale_a, scale_b), ADD_LEFT_SHIFT[wanted.bits]
    return tuple(map(fixed_point, (scale_a / twice, scale_b / twice, twice / ((1 << left) * scale))))


def rescale(x: torch.Tensor, mantissa: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """x * mantissa / 2^31 * 2^exponent with gemmlowp's double rounding; all int64, x within int32."""
    # gemmlowp writes both roundings by cases of the sign. With shifts that round down, as they do for negative numbers
    # too, the first is one addition: halves go up. In the second they go away from zero: below it by one less.
    high = x * (mantissa << exponent.clamp(min=0))
    high += 1 << 30
    high >>= 31
    shift = (-exponent).clamp(min=0)
    below = high >> 63
    below *= shift > 0
    high += below
    high += (1 << shift) >> 1
    high >>= shift
    return high


def rescale_once(x: torch.Tensor, mantissa: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """The same with one rounding and 15 bits of the mantissa, as kernels do it for activations of 16 bits; x within
    int48."""
    short = torch.where(mantissa < 0x7FFF0000, (mantissa + (1 << 15)) >> 16, 0x7FFF)
    shift = 15 - exponent
    y = x * short
    y += 1 << (shift - 1)
    y >>= shift
    return y


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
