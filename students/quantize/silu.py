"""sigmoid(x) and x sigmoid(x) of integers of 8 bits, by the operators LOGISTIC, and MUL of its result and x.

Conventions: a table has the integers of -128, -127, ..., 127. Sigmoids have the scale 2^-8 and the zero point -128.
LOGISTIC is that of the reference kernels, in fixed point; a number of b integer bits has 31 - b behind them.
Source: gemmlowp, fixedpoint.h (logistic, exp_on_negative_values, one_over_one_plus_x_for_x_in_0_1); TensorFlow Lite,
kernels/internal/reference/integer_ops, logistic.h and mul.h.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from students.quantize.arithmetic import Quantity, fixed_point, rescale
from students.quantize.layers import SIGMOID, Layer

SIGMOIDS = Quantity(2.0**-8, -128, (0, 0, 0))
INTEGER_BITS = 4  # of what LOGISTIC takes: beyond +-16 it is 0 or 1
LARGEST = 2**31 - 1
# e^(-2^k) for k = -2, -1, ..., 3
_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401)
_E_TO_MINUS_EIGHTH, _THIRD = 1895147668, 715827883
_48_17THS, _MINUS_32_17THS = 1515870810, -1010580540


def table_of(layer: Layer, read: Quantity, wanted: Quantity) -> torch.Tensor:
    """The 256 integers that a layer, a sigmoid or a SiLU, writes for those that it reads, int8."""
    return sigmoids(read) if layer.kind == SIGMOID else table(read, wanted)


def sigmoids(read: Quantity) -> torch.Tensor:
    """The integers of the sigmoids of those that are read, int8."""
    x = range(read.low - read.zero_point, read.high - read.zero_point + 1)
    return torch.tensor([_sigmoid(each, read.scale) for each in x], dtype=torch.int8)


def table(read: Quantity, wanted: Quantity) -> torch.Tensor:
    """The 256 integers that a SiLU writes for those that it reads, int8."""
    return torch.tensor(_table(read.scale, read.zero_point, wanted.scale, wanted.zero_point), dtype=torch.int8)


def agreed(read: Quantity, wanted: Quantity) -> Quantity:
    """The quantity, with the nearest scale from its own on with which all runtimes multiply alike: some divide scales
    in float32, others in float64."""
    while True:
        first, second = float(np.float32(read.scale)), float(np.float32(wanted.scale))
        single = float(np.float32(first * SIGMOIDS.scale) / np.float32(second))
        if _products(read, wanted, single) == _products(read, wanted, first * SIGMOIDS.scale / second):
            return wanted
        wanted = replace(wanted, scale=float(np.nextafter(np.float32(second), np.float32(np.inf))))


@cache
def _table(scale: float, zero_point: int, wanted: float, wanted_zero: int) -> tuple[int, ...]:
    read = Quantity(scale, zero_point, (0, 0, 0))
    factor = float(np.float32(scale)) * SIGMOIDS.scale / float(np.float32(wanted))
    return _products(read, Quantity(wanted, wanted_zero, (0, 0, 0)), factor)


def _products(read: Quantity, wanted: Quantity, factor: float) -> tuple[int, ...]:
    x = torch.arange(read.low, read.high + 1) - read.zero_point
    mantissa, exponent = (torch.tensor(number) for number in fixed_point(factor))
    found = rescale(x * (sigmoids(read).long() - SIGMOIDS.zero_point), mantissa, exponent) + wanted.zero_point
    return tuple(found.clamp(wanted.low, wanted.high).tolist())


@cache
def _sigmoid(x: int, scale: float) -> int:
    """The integer of the sigmoid of an integer less its zero point."""
    mantissa, shift = fixed_point(float(np.float32(scale)) * 2.0 ** (31 - INTEGER_BITS))
    radius = int((2**INTEGER_BITS - 1) * 2.0 ** (31 - INTEGER_BITS) / 2.0**shift)
    if abs(x) >= radius:
        return 127 if x > 0 else -128
    value = int(rescale(torch.tensor(x), torch.tensor(mantissa), torch.tensor(shift)))
    return max(-128, min(127, _divided(_logistic(value), 31 - 8) - 128))


def _logistic(x: int) -> int:
    """Of 4 integer bits, to none."""
    if x == 0:
        return 2**30
    positive = _one_over_one_plus(_exponential(-abs(x)))
    return positive if x > 0 else LARGEST - positive


def _exponential(x: int) -> int:
    """e^x of x < 0 with 4 integer bits, to none."""
    quarter = 1 << 25
    rest = (x & quarter - 1) - quarter
    y = (rest << INTEGER_BITS) + (1 << 28)
    square = _product(y, y)
    cube, fourth = _product(square, y), _product(square, square)
    series = _divided(_product(_divided(fourth, 2) + cube, _THIRD) + square, 1)
    result = _E_TO_MINUS_EIGHTH + _product(_E_TO_MINUS_EIGHTH, y + series)
    left = rest - x
    for place, power in enumerate(_POWERS, 25):
        if left >> place & 1:
            result = _product(result, power)
    return result


def _one_over_one_plus(x: int) -> int:
    """1 / (1 + x) of x from 0 to 1, without integer bits, by Newton and Raphson."""
    half = (x + LARGEST + 1) // 2
    y = _48_17THS + _product(half, _MINUS_32_17THS)
    for _ in range(3):
        y += _cut(_product(y, (1 << 29) - _product(half, y)) << 2)
    return _cut(y << 1)


def _product(a: int, b: int) -> int:
    """Doubled and rounded, halves away from zero: the high 32 bits."""
    doubled = a * b
    return (doubled + (1 << 30)) // 2**31 if doubled >= 0 else -((-doubled - 1 + (1 << 30)) // 2**31)


def _divided(x: int, bits: int) -> int:
    """By 2^bits, rounded, halves away from zero."""
    half = 1 << bits - 1
    return (x + half) >> bits if x >= 0 else -((-x + half) >> bits)


def _cut(x: int) -> int:
    return max(-LARGEST - 1, min(LARGEST, x))
