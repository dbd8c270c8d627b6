"""Products of two maps of integers of 8 bits, as the operator MUL computes them, and what kernels make of scales.

Conventions: integers less their zero points are multiplied, and their product is rescaled with two roundings. One side
may have a single band or frame, which belongs to all of the other one's.
Source: TensorFlow Lite, kernels/mul.cc and kernels/internal/reference/integer_ops/mul.h.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from students.quantize import silu
from students.quantize.arithmetic import Quantity, fixed_point, rescale
from students.quantize.layers import MULTIPLY, SIGMOID, SILU, Layer


def multiplied(a: torch.Tensor, b: torch.Tensor, first: Quantity, second: Quantity, wanted: Quantity) -> torch.Tensor:
    """The integers of products, not yet cut off, of those of two maps, int64."""
    products = (a - first.zero_point) * (b - second.zero_point)
    return _rescaled(products, product_factor(first, second, wanted), wanted)


def product_factor(first: Quantity, second: Quantity, wanted: Quantity) -> tuple[int, int]:
    """By what products of integers are rescaled, see fixed_point."""
    one, other, scale = (float(np.float32(each.scale)) for each in (first, second, wanted))
    return fixed_point(one * other / scale)


def as_kernels_have_it(layer: Layer, read: Sequence[Quantity], wanted: Quantity) -> Quantity:
    """How the integers that a layer writes are read: as wanted, if it computes values of a scale of its own, with the
    nearest scale on which all runtimes agree; or as those that it reads, or as all sigmoids."""
    if layer.kind == SIGMOID:
        return replace(silu.SIGMOIDS, shape=wanted.shape)
    if layer.kind == SILU:
        return silu.agreed(read[0], wanted)
    if layer.kind == MULTIPLY:
        return agreed(read[0], read[1], wanted)
    return wanted if layer.rescales else replace(read[0], shape=wanted.shape)


def agreed(first: Quantity, second: Quantity, wanted: Quantity) -> Quantity:
    """The quantity, with the nearest scale from its own on with which all runtimes multiply any two integers alike:
    some divide scales in float32, others in float64."""
    halves = torch.arange(wanted.low - 1, wanted.high + 1) + 0.5 - wanted.zero_point
    while True:
        one, other, scale = (np.float32(each.scale) for each in (first, second, wanted))
        single = float(one * other / scale)
        factors = fixed_point(single), product_factor(first, second, wanted)
        # Where the next integer begins is all that may differ.
        products = (halves.double() / single).round().long()[:, None] + torch.arange(-2, 3)
        if torch.equal(*(_rescaled(products, factor, wanted) for factor in factors)):
            return wanted
        wanted = replace(wanted, scale=float(np.nextafter(scale, np.float32(np.inf))))


def _rescaled(products: torch.Tensor, factor: tuple[int, int], wanted: Quantity) -> torch.Tensor:
    mantissa, exponent = (torch.tensor(number, device=products.device) for number in factor)
    return rescale(products, mantissa, exponent) + wanted.zero_point
