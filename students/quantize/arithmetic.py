"""Numbers of a network of integers, and how kernels multiply a sum by a real factor.

Conventions: real = scale * (q - zero_point). A factor is held as mantissa / 2^31 * 2^exponent; scales are rounded to
float32 before they are divided, because files store them so.
Source: gemmlowp, fixedpoint.h; TensorFlow Lite, kernels/internal/common.cc.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from data.front_ends.integer_steps import steps_of

SCALES = 2.0**-63, 2.0**63  # products of two are normal numbers in float32
ALMOST_ONE, LARGEST_SHORT = 0x7FFF0000, 0x7FFF  # mantissas of 31 bits from the one on are the other in 15 bits


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


def nonzero_scale(wanted: float) -> float:
    """A scale in float32; 1 for values that are 0, or as good as 0."""
    scale = float(np.float32(wanted))
    return scale if scale >= SCALES[0] else 1.0


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


def convolution_factors(weights: Weights, read: Quantity, wanted: Quantity) -> list[tuple[int, int]]:
    """By what the sums of each output channel are rescaled, see fixed_point."""
    return [
        fixed_point(float(np.float32(read.scale)) * float(s) / float(np.float32(wanted.scale))) for s in weights.scale
    ]


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


def shortened(mantissa: int) -> int:
    """Its 15 highest bits, rounded: what kernels take of it for activations of 16 bits."""
    return (mantissa + (1 << 15)) >> 16 if mantissa < ALMOST_ONE else LARGEST_SHORT


def rescale_once(x: torch.Tensor, mantissa: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """The same with one rounding and 15 bits of the mantissa, as kernels do it for activations of 16 bits; x within
    int48."""
    short = torch.where(mantissa < ALMOST_ONE, (mantissa + (1 << 15)) >> 16, LARGEST_SHORT)
    shift = 15 - exponent
    y = x * short
    y += 1 << (shift - 1)
    y >>= shift
    return y
