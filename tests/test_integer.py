"""The arithmetic of integer kernels, value by value, against the published rules written out in Python's integers."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from students.quantize.integer import (
    HIGH,
    LOW,
    IntegerNetwork,
    Quantity,
    Weights,
    fixed_point,
    rescale,
    rescale_once,
)
from students.quantize.layers import ADD, AVERAGE_POOL, CONVOLUTION, GLOBAL_MEAN, INPUT, MAX_POOL, Layer


def truncated(a: int, b: int) -> int:
    """Division as C's: towards zero; b > 0."""
    return a // b if a >= 0 else -(-a // b)


def rescaled_twice(x: int, mantissa: int, exponent: int) -> int:
    """gemmlowp, fixedpoint.h: SaturatingRoundingDoublingHighMul of x * 2^left, then RoundingDivideByPOT by right."""
    product = (x << max(exponent, 0)) * mantissa
    high = truncated(product + (1 << 30 if product >= 0 else 1 - (1 << 30)), 1 << 31)
    right = max(-exponent, 0)
    mask = (1 << right) - 1
    threshold = (mask >> 1) + (1 if high < 0 else 0)
    return (high >> right) + (1 if high & mask > threshold else 0)


def rescaled_once(x: int, mantissa: int, exponent: int) -> int:
    """TensorFlow Lite, common.cc: MultiplyByQuantizedMultiplier of an int64: 15 bits of the factor, one rounding."""
    reduced = (mantissa + (1 << 15)) >> 16 if mantissa < 0x7FFF0000 else 0x7FFF
    shift = 15 - exponent
    return (x * reduced + (1 << (shift - 1))) >> shift


EDGES = [0, 1, -1, 2, -2, 3, -3, 5, -5, 255, -256, 2**24, -(2**24), 2**30 - 1, -(2**30)]


@given(st.integers(-(2**30), 2**30), st.integers(2**30, 2**31 - 1), st.integers(-31, 0))
def test_rescaling_rounds_as_gemmlowp_does(x: int, mantissa: int, exponent: int) -> None:
    """Oracle: gemmlowp's two functions in Python's integers, for random values and for the edges of rounding."""
    for value in (x, *EDGES):
        found = rescale(torch.tensor(value), torch.tensor(mantissa), torch.tensor(exponent)).item()
        assert found == rescaled_twice(value, mantissa, exponent), (value, mantissa, exponent)


def test_every_shift_rounds_the_edges_as_gemmlowp_does() -> None:
    """Oracle: gemmlowp's two functions in Python's integers, for each shift from 0 to 31, both signs, and factors
    of which halves are exact."""
    grid = list(itertools.product(EDGES, (2**30, 2**30 + 1, 3 * 2**29, 2**31 - 1), range(-31, 1)))
    found = rescale(*(torch.tensor(column) for column in zip(*grid, strict=True)))
    assert found.tolist() == [rescaled_twice(*values) for values in grid]


@pytest.mark.parametrize("exponent", [1, 3, 7])
def test_factors_above_one_are_shifted_before_they_are_multiplied(exponent: int) -> None:
    """Oracle: gemmlowp's rule; values whose product stays within int32."""
    for value in (0, 1, -1, 3, -5, 1000, -1000):
        for mantissa in (2**30, 2**30 + 1, 1_900_000_001):
            found = rescale(torch.tensor(value), torch.tensor(mantissa), torch.tensor(exponent)).item()
            assert found == rescaled_twice(value, mantissa, exponent)


@given(st.integers(-(2**46), 2**46), st.integers(2**30, 2**31 - 1), st.integers(-31, 7))
def test_activations_of_16_bits_are_rescaled_with_one_rounding(x: int, mantissa: int, exponent: int) -> None:
    """Oracle: TensorFlow Lite's rule in Python's integers; the edges of the shortened multiplier among them."""
    for value, factor in itertools.product((x, *EDGES), (mantissa, 2**30, 0x7FFF0000 - 1, 0x7FFF0000, 2**31 - 1)):
        found = rescale_once(torch.tensor(value), torch.tensor(factor), torch.tensor(exponent)).item()
        assert found == rescaled_once(value, factor, exponent), (value, factor, exponent)


def test_a_factor_is_a_mantissa_of_31_bits_and_an_exponent() -> None:
    """Oracle: by hand: halves of a unit of the mantissa go up, a mantissa of 2^31 is 2^30 of the next exponent, and
    what is below 2^-32 is nothing."""
    assert fixed_point(0.0) == (0, 0)
    assert fixed_point(1.0) == (2**30, 1)
    assert fixed_point(0.5) == (2**30, 0)
    assert fixed_point(0.5 + 2.0**-32) == (2**30 + 1, 0)
    assert fixed_point(0.5 + 2.0**-33) == (2**30, 0)
    assert fixed_point(1 - 2.0**-33) == (2**30, 1)
    assert fixed_point(2.0**-32) == (2**30, -31)
    assert fixed_point(2.0**-33) == (0, 0)


@given(st.floats(1e-8, 60.0))
def test_a_fixed_point_factor_is_the_nearest(factor: float) -> None:
    """Oracle: arithmetic: mantissa in [2^30, 2^31), relative error at most 2^-31."""
    mantissa, exponent = fixed_point(factor)
    assert 2**30 <= mantissa < 2**31
    assert abs(mantissa * 2.0 ** (exponent - 31) - factor) <= factor * 2**-31


@given(st.integers(-(2**24), 2**24), st.floats(1e-6, 0.999))
def test_rescaling_is_multiplication_to_within_a_rounding(value: int, factor: float) -> None:
    """Oracle: real multiplication; two roundings of at most one half each."""
    mantissa, exponent = (torch.tensor(v) for v in fixed_point(factor))
    assert abs(rescale(torch.tensor(value), mantissa, exponent).item() - value * factor) <= 1.0


def test_a_quantity_reads_and_writes_real_values() -> None:
    """Oracle: by hand: halves go to even, then the zero point is added and the range cuts off."""
    assert (LOW, HIGH) == (-128, 127)
    eight, sixteen = Quantity(0.5, 3, (1, 1, 1)), Quantity(0.5, 0, (1, 1, 1), 16)
    assert (eight.low, eight.high, eight.dtype) == (-128, 127, torch.int8)
    assert (sixteen.low, sixteen.high, sixteen.dtype) == (-32768, 32767, torch.int16)
    real = torch.tensor([0.25, 0.75, -0.25, 100.0, -100.0, 1e6])
    assert eight.quantize(real).tolist() == [3, 5, 3, 127, -128, 127]
    assert sixteen.quantize(real).tolist() == [0, 2, 0, 200, -200, 32767]
    assert eight.dequantize(torch.tensor([3, 5, -128], dtype=torch.int8)).tolist() == [0.0, 1.0, -65.5]


def clamped(value: int, read: Quantity, relu: bool) -> int:
    return max(read.zero_point if relu else read.low, min(read.high, value))


def run(layer: Layer, x: np.ndarray, read: Quantity, wanted: Quantity, weights: Weights | None = None) -> np.ndarray:
    """The output (C, H, W) of a network of one layer, for an input (C, H, W)."""
    network = IntegerNetwork((layer,), {layer.name: weights} if weights else {}, {INPUT: read, layer.name: wanted})
    record: dict[str, torch.Tensor] = {}
    network.run(torch.from_numpy(x[None]).to(read.dtype), record)
    assert record[layer.name].dtype == wanted.dtype
    return record[layer.name][0].numpy()


CONVOLUTIONS = {
    "dense": (Layer("c", CONVOLUTION, (INPUT,), False, (3, 2), (2, 1), (1, 0)), (4, 2, 3, 2)),
    "with a ReLU": (Layer("c", CONVOLUTION, (INPUT,), True, (3, 3), (1, 2), (1, 1)), (4, 2, 3, 3)),
    "depthwise": (Layer("c", CONVOLUTION, (INPUT,), False, (3, 3), (2, 2), (1, 1), 2), (2, 1, 3, 3)),
    "dilated": (Layer("c", CONVOLUTION, (INPUT,), False, (3, 2), (1, 1), (2, 1), 1, (2, 3)), (4, 2, 3, 2)),
    "of two filters a channel": (Layer("c", CONVOLUTION, (INPUT,), False, (3, 3), (2, 1), (1, 1), 2), (4, 1, 3, 3)),
    "of channels two by two": (Layer("c", CONVOLUTION, (INPUT,), False, (3, 2), (1, 1), (1, 0), 3), (6, 2, 3, 2)),
    "of parts of the rows": (
        Layer("c", CONVOLUTION, (INPUT,), True, (3, 2), (1, 2), (1, 1), 2, (1, 2), parts=3),
        (6, 1, 3, 2),
    ),
    "of parts of every second row": (
        Layer("c", CONVOLUTION, (INPUT,), False, (3, 1), (2, 1), (1, 0), 2, parts=3),
        (6, 1, 3, 1),
    ),
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_a_convolution_is_a_sum_of_integers_rescaled_and_cut_off(kind: str, bits: int) -> None:
    """Oracle: loops over Python's integers: products with the zero point taken off, padding that counts nothing, the
    bias, and the rule of rescaling for the bits of the activations; of parts, the filter of the channel and the row."""
    layer, shape = CONVOLUTIONS[kind]
    g = np.random.default_rng(0)
    inputs = layer.groups * shape[1]
    read = Quantity(0.1, 7 if bits == 8 else 0, (inputs, 6, 5), bits)
    wanted = Quantity(0.37, -11 if bits == 8 else 0, (shape[0] // layer.parts, 0, 0), bits)
    x = g.integers(read.low, read.high + 1, (inputs, 6, 5))
    weights = Weights(
        g.integers(-127, 128, shape).astype(np.int8),
        g.integers(-5000, 5000, shape[0]).astype(np.int32 if bits == 8 else np.int64),
        g.uniform(0.001, 0.02, shape[0]).astype(np.float32),
    )
    found = run(layer, x, read, wanted, weights)
    rescaled = rescaled_twice if bits == 8 else rescaled_once
    scales = np.float32(read.scale), np.float32(wanted.scale)
    cut = set()
    (down, along), (tall, wide) = layer.stride, layer.dilation
    for o, i, j in np.ndindex(*found.shape):
        which = o * layer.parts + i * layer.parts // found.shape[1]
        total = int(weights.bias[which])
        for c, a, b in np.ndindex(*shape[1:]):
            row, column = i * down + a * tall - layer.padding[0], j * along + b * wide - layer.padding[1]
            if 0 <= row < 6 and 0 <= column < 5:
                source = o // (shape[0] // layer.parts // layer.groups) * shape[1] + c
                total += int(weights.weight[which, c, a, b]) * (int(x[source, row, column]) - read.zero_point)
        factor = float(scales[0]) * float(weights.scale[which]) / float(scales[1])
        value = rescaled(total, *fixed_point(factor)) + wanted.zero_point
        cut.add(value == clamped(value, wanted, layer.relu))
        assert found[o, i, j] == clamped(value, wanted, layer.relu), (o, i, j)
    assert True in cut


def test_sums_that_float32_cannot_count_are_exact_too() -> None:
    """Oracle: numpy's int64: 700 products of 127 and 255, whose sum, 22,669,373, is odd and above 2^24."""
    read, wanted = Quantity(1.0, -128, (700, 1, 1)), Quantity(2.0**20, 0, (1, 1, 1), 16)
    x = np.full((700, 1, 1), 127)
    x[0] = 126
    weights = Weights(np.full((1, 700, 1, 1), 127, np.int8), np.zeros(1, np.int32), np.ones(1, np.float32))
    layer = Layer("c", CONVOLUTION, (INPUT,))
    total = int((127 * (x.astype(np.int64) + 128)).sum())
    assert total > 2**24
    for scale in (2.0**20, 2.0**12):  # coarse, and one step of which is 4,096
        wanted = Quantity(scale, 0, (1, 1, 1), 16)
        assert run(layer, x, read, wanted, weights).item() == rescaled_twice(total, *fixed_point(1 / scale))


@pytest.mark.parametrize(("bits", "left"), [(8, 20), (16, 15)])
@pytest.mark.parametrize("relu", [False, True])
def test_an_addition_brings_both_sides_to_one_scale(bits: int, left: int, relu: bool) -> None:
    """Oracle: TensorFlow Lite's reference ADD in Python's integers: both sides times 2^left, at twice the larger
    scale, added and rescaled."""
    a, b = (Quantity(s, z if bits == 8 else 0, (1, 4, 64), bits) for s, z in ((0.11, 4), (0.031, -9)))
    wanted = Quantity(0.13, 5 if bits == 8 else 0, (1, 4, 64), bits)
    layers = (Layer("a", MAX_POOL, (INPUT,)), Layer("b", CONVOLUTION, ("a",)), Layer("s", ADD, ("a", "b"), relu))
    weights = Weights(np.full((1, 1, 1, 1), -3, np.int8), np.array([40]), np.array([0.03], np.float32))
    network = IntegerNetwork(layers, {"b": weights}, {INPUT: a, "a": a, "b": b, "s": wanted})
    record: dict[str, torch.Tensor] = {}
    values = np.random.default_rng(1).integers(a.low, a.high + 1, (1, 1, 4, 64))
    network.run(torch.from_numpy(values).to(a.dtype), record)
    sides = [record[name].flatten().tolist() for name in ("a", "b")]
    assert all(len(set(side)) > 20 for side in sides)
    scale_a, scale_b, scale = (float(np.float32(q.scale)) for q in (a, b, wanted))
    for x, y, found in zip(*sides, record["s"].flatten().tolist(), strict=True):
        total = rescaled_twice((x - a.zero_point) << left, *fixed_point(scale_a / (2 * scale_a)))
        total += rescaled_twice((y - b.zero_point) << left, *fixed_point(scale_b / (2 * scale_a)))
        value = rescaled_twice(total, *fixed_point(2 * scale_a / ((1 << left) * scale))) + wanted.zero_point
        assert found == clamped(value, wanted, relu), (x, y)


@pytest.mark.parametrize("height", [1, 2, 3, 4])
def test_a_mean_is_rounded_with_halves_away_from_zero(height: int) -> None:
    """Oracle: decimal rounding by hand of the raw integers' mean: sign * floor(|sum| / n + 1/2)."""
    read, layer = Quantity(0.1, 3, (1, height, 2)), Layer("m", GLOBAL_MEAN, (INPUT,))
    for seed in range(40):
        x = np.random.default_rng(seed).integers(-4, 5, (1, height, 2))
        total, count = int(x.sum()), 2 * height
        expected = int(math.copysign((2 * abs(total) + count) // (2 * count), total))
        assert run(layer, x, read, read).item() == expected


def test_an_average_pool_counts_padding_as_the_zero_point() -> None:
    """Oracle: loops over Python's integers: nine cells, of which those outside hold the zero point; halves away from
    zero."""
    read = Quantity(0.1, 5, (2, 4, 5))
    layer = Layer("p", AVERAGE_POOL, (INPUT,), False, (3, 3), (2, 1), (1, 1))
    x = np.random.default_rng(0).integers(-128, 128, (2, 4, 5))
    found = run(layer, x, read, read)
    assert found.shape == (2, 2, 5)
    for c, i, j in np.ndindex(*found.shape):
        cells = [
            int(x[c, row, column]) if 0 <= row < 4 and 0 <= column < 5 else 5
            for row in range(2 * i - 1, 2 * i + 2)
            for column in range(j - 1, j + 2)
        ]
        assert found[c, i, j] == int(math.copysign((2 * abs(sum(cells)) + 9) // 18, sum(cells)))


def test_a_maximum_is_one_of_its_cells() -> None:
    """Oracle: numpy's maxima of windows of 2 x 3."""
    read, layer = Quantity(0.1, 5, (1, 4, 6)), Layer("p", MAX_POOL, (INPUT,), False, (2, 3), (2, 3))
    x = np.random.default_rng(0).integers(-128, 128, (1, 4, 6))
    np.testing.assert_array_equal(run(layer, x, read, read), x.reshape(1, 2, 2, 2, 3).max((2, 4)))


def test_logits_are_the_output_read_as_real_values() -> None:
    """Oracle: by hand, of more clips than are computed at a time: 0.5 * (q - 1)."""
    read, wanted = Quantity(1.0, 0, (1, 1, 1)), Quantity(0.5, 1, (1, 1, 1))
    layer = Layer("c", CONVOLUTION, (INPUT,))
    weights = Weights(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int32), np.full(1, 0.5, np.float32))
    network = IntegerNetwork((layer,), {"c": weights}, {INPUT: read, "c": wanted})
    assert network.output == wanted
    assert not network.exact  # which is said of those that exact.py makes
    clips = torch.arange(-5.0, 6.0).view(11, 1, 1, 1)
    assert network.logits(clips).flatten().tolist() == [0.5 * n for n in range(-5, 6)]
