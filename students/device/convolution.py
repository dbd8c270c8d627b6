"""The numbers of a layer in the order in which the kernels of templates/scenelet_kernels.c read them.

Conventions: weights, biases and factors are those of students/quantize/integer.py. What stands for 0 in the input is
folded into the biases. `is_fast` says whether the assembly of templates/scenelet_cortex_m.h may compute a layer; the
portable C takes every one. Words have 32 bits: integers from 0 to 2^32 - 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.errors import UserError
from students.quantize.arithmetic import Quantity, Weights, convolution_factors, fixed_point, shortened
from students.quantize.gru import STATES, SUMS
from students.quantize.integer import IntegerNetwork, addition_factors
from students.quantize.layers import ADD, CONVOLUTION, GRU, MULTIPLY, SIGMOID, SILU, Layer
from students.quantize.products import product_factor
from students.quantize.silu import table_of

HALF = 1 << 30  # of the range of a sum that is doubled, and the mantissa of a power of two
LARGEST = (1 << 31) - 1
EXACT_HALF = (HALF, 0)  # as a factor: that of the larger scale of a sum
ORDER = (0, 2, 1, 3)  # of four values of 8 bits that become pairs of 16: see SXTB16
LARGEST_SHIFT = 24  # from which on a zero point shifted to the left has no 32 bits: C adds it afterwards
SQUARE = (3, 3)  # windows of a convolution channel by channel that assembly computes
FEW = 16  # products of a value, whose places a kernel keeps
MOST_CHANNELS = 500  # that an address within an instruction reaches, nine columns on


@dataclass(frozen=True)
class Numbers:
    """Words of one layer.

    Attributes:
        words: see templates/scenelet_kernels.c.
        bits: that its weights have there.
        shifts: whether sums are only shifted.
        is_fast: whether assembly may compute it.
    """

    words: Sequence[int]
    bits: int
    shifts: bool
    is_fast: bool


def is_of_few(network: IntegerNetwork, layer: Layer) -> bool:
    """Whether a convolution in groups loops over FEW products at most, having a window without a loop of its own."""
    _, ins, *window = network.weights[layer.name].weight.shape
    products = ins * window[0] * window[1]
    return products <= FEW and not (ins == 1 and (products in (1, 3) or layer.kernel == SQUARE))


def numbers_of(network: IntegerNetwork, layer: Layer) -> tuple[Numbers, tuple[str, ...]]:
    """The numbers of a layer, and its inputs in the order in which its kernel takes them."""
    if layer.kind == ADD:
        numbers, order = addition_numbers(network, layer)
        return numbers, tuple(layer.inputs[number] for number in order)
    of_kind = {CONVOLUTION: convolution_numbers, GRU: recurrence_numbers, MULTIPLY: product_numbers}
    of_kind |= dict.fromkeys((SILU, SIGMOID), table_numbers)
    return of_kind.get(layer.kind, plain_numbers)(network, layer), layer.inputs


def convolution_numbers(network: IntegerNetwork, layer: Layer) -> Numbers:
    """The numbers of a convolution, dense or channel by channel.

    Raises:
        UserError: a sum can be larger than 32 bits hold.
    """
    weights, read, wanted = (
        network.weights[layer.name],
        network.quantities[layer.inputs[0]],
        network.quantities[layer.name],
    )
    factors, sums = convolution_factors(weights, read, wanted), _largest_sums(weights, read)
    folded = weights.bias.astype(np.int64) - read.zero_point * weights.weight.astype(np.int64).sum((1, 2, 3))
    biases = [int(bias) for bias in folded]
    if max(sums) > LARGEST:
        raise UserError(f"layer {layer.name} has sums of up to {max(sums):,}, which are no integers of 32 bits")
    bits = 4 if weights.bits == 4 and layer.groups == 1 and 16 * max(sums) <= LARGEST else 8
    shifts = network.exact and all(mantissa == HALF for mantissa, _ in factors)
    if shifts:
        shift_by = [1 - exponent for _, exponent in factors]
        biases = [b + (1 << s >> 1) + (wanted.zero_point << s) for b, s in zip(biases, shift_by, strict=True)]
        rest = [[shift] for shift in shift_by]
        is_fast = all(0 < shift < 32 for shift in shift_by) and max(map(abs, biases)) < HALF
    else:
        rest = [_factor(*factor, wanted.zero_point, most) for factor, most in zip(factors, sums, strict=True)]
        is_fast = max(sums) < HALF and all(0 < shift < LARGEST_SHIFT for _, _, shift in rest)
    if shifts and not is_fast:
        raise UserError(f"layer {layer.name} has factors or biases that no shift of 32 bits takes")
    if bits == 4:
        biases = [16 * bias for bias in biases]
    weight = weights.weight.astype(np.int64)
    if layer.groups > 1:
        weight = weight.transpose(0, 2, 3, 1)  # each cell's channels side by side
    if layer.groups == 1:
        words = _dense(weight, bits, biases, rest)
    else:
        parts = [slice(part, None, layer.parts) for part in range(layer.parts)]
        words = [word for part in parts for word in _depthwise(weight[part], biases[part], rest[part])]
    return Numbers([word % (1 << 32) for word in words], bits, shifts, is_fast)


def addition_numbers(network: IntegerNetwork, layer: Layer) -> tuple[Numbers, tuple[int, int]]:
    """The numbers of an addition, and which input is its first and which its second, the one with the larger scale.

    Raises:
        UserError: the sum's scale is so small that it would be shifted to the left.
    """
    read, wanted = [network.quantities[name] for name in layer.inputs], network.quantities[layer.name]
    *factors, out = addition_factors(read[0], read[1], wanted)
    one, other = (0, 1) if factors[1] == EXACT_HALF else (1, 0)
    assert factors[other] == EXACT_HALF
    (mantissa, exponent), zero = factors[one], read[one].zero_point
    multiplier, addend, shift = _factor(*out, wanted.zero_point)
    if not 0 < shift < LARGEST_SHIFT:
        raise UserError(f"layer {layer.name} adds with scales that differ by more than 2^20")
    half, before = 1 << -exponent >> 1, read[other].zero_point + (zero if exponent == 0 else 0)
    words = [-(zero << 21), mantissa, half, -exponent, -(before << 20), multiplier, addend, shift]
    return Numbers([word % (1 << 32) for word in words], 8, shifts=False, is_fast=False), (one, other)


def recurrence_numbers(network: IntegerNetwork, layer: Layer) -> Numbers:
    """The numbers of a GRU, see templates/scenelet_gru.c.

    Raises:
        UserError: a sum can be larger than 32 bits hold.
    """
    weights, read, wanted = (
        network.weights[layer.name],
        network.quantities[layer.inputs[0]],
        network.quantities[layer.name],
    )
    if (largest := max(_largest_sums(weights, STATES))) > LARGEST:
        raise UserError(f"layer {layer.name} has sums of up to {largest:,}, which are no integers of 32 bits")
    words = [read.zero_point, *fixed_point(read.scale / SUMS.scale), *fixed_point(STATES.scale / wanted.scale)]
    words.append(wanted.zero_point)
    matrix = weights.weight[:, :, 0, 0].astype(np.int64)
    filled = np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % 4))).reshape(len(matrix), -1, 4)
    packed = ((filled & 255) << np.arange(0, 32, 8)).sum(2).tolist()
    factors = convolution_factors(weights, STATES, SUMS)
    for bias, (mantissa, exponent), row in zip(weights.bias.tolist(), factors, packed, strict=True):
        words += [bias, shortened(mantissa), 15 - exponent, *row]
    return Numbers([word % (1 << 32) for word in words], 8, shifts=False, is_fast=False)


def product_numbers(network: IntegerNetwork, layer: Layer) -> Numbers:
    """The numbers of a product of two maps: both zero points, and how products are rescaled."""
    read, wanted = [network.quantities[name] for name in layer.inputs], network.quantities[layer.name]
    factor = _factor(*product_factor(read[0], read[1], wanted), wanted.zero_point)
    words = [word % (1 << 32) for word in (read[0].zero_point, read[1].zero_point, *factor)]
    return Numbers(words, 8, shifts=False, is_fast=False)


def table_numbers(network: IntegerNetwork, layer: Layer) -> Numbers:
    """The numbers of a layer that looks each value up."""
    read, wanted = (network.quantities[name] for name in (layer.inputs[0], layer.name))
    return Numbers(table_of(layer, read, wanted).numpy().view("<u4").tolist(), 8, shifts=False, is_fast=False)


def plain_numbers(_: IntegerNetwork, layer: Layer) -> Numbers:
    """Those of other layers: the channels that are taken, or none."""
    return Numbers(layer.channels, 8, shifts=False, is_fast=False)


def _factor(mantissa: int, exponent: int, zero_point: int, most: int = LARGEST) -> list[int]:
    """Multiplier, addend and shift, of sums up to `most`: the addend is what rounds and the zero point, both before the
    last shift. Large shifts are those of channels that hardly ever leave the zero point: where no sum reaches half a
    step, the result is a constant, which assembly takes too."""
    shift = -exponent
    if shift >= LARGEST_SHIFT and most < 1 << shift - 1:
        return [0, 2 * zero_point + 1, 1]
    inside = 0 < shift < LARGEST_SHIFT
    return [mantissa, (1 << shift >> 1) + (zero_point << shift) if inside else zero_point, shift]


def _largest_sums(weights: Weights, read: Quantity) -> list[int]:
    """Of each output channel, the largest magnitude that a sum of any part of its products may have."""
    largest = np.abs(weights.weight.astype(np.int64)).sum((1, 2, 3)) * -read.low
    zero = np.abs(read.zero_point * weights.weight.astype(np.int64)).sum((1, 2, 3))
    return [int(n) for n in np.abs(weights.bias.astype(np.int64)) + zero + largest]


def _dense(weight: np.ndarray, bits: int, biases: list[int], rest: list[list[int]]) -> list[int]:
    """Two output channels at a time; each row of the window is filled up to whole groups of four values."""
    out, channels, height, width = weight.shape
    filled = np.zeros((out + out % 2, height, -(-width * channels // 4) * 4), np.int64)
    filled[:out, :, : width * channels] = weight.transpose(0, 2, 3, 1).reshape(out, height, width * channels)
    groups = filled.reshape(len(filled), -1, 4)
    if bits == 4:
        groups = np.concatenate([groups, np.zeros((len(groups), groups.shape[1] % 2, 4), np.int64)], 1)
        pairs = groups.reshape(len(groups), -1, 2, 4)
        groups = (pairs[:, :, 0] & 15) | (pairs[:, :, 1] & 15) << 4
    words = ((groups & 255) << np.arange(0, 32, 8)).sum(2).tolist()
    biases, rest = [*biases, 0], [*rest, rest[-1]]
    found = []
    for one in range(0, out, 2):
        found += biases[one : one + 2]
        found += [word for both in zip(words[one], words[one + 1], strict=True) for word in both]
        found += [number for numbers in rest[one : one + 2] for number in numbers]
    return found


def _depthwise(weight: np.ndarray, biases: list[int], rest: list[list[int]]) -> list[int]:
    """Four channels at a time, 0 and 2, then 1 and 3; weights have 16 bits here."""
    more = -len(weight) % 4
    cells = np.pad(weight.reshape(len(weight), -1), ((0, more), (0, 0))).tolist()
    biases, rest = [*biases, *[0] * more], [*rest, *[rest[-1]] * more]
    found = []
    for channel in range(0, len(cells), 4):
        for one, other in ((channel, channel + 2), (channel + 1, channel + 3)):
            found += [biases[one], biases[other]]
            found += [(a & 0xFFFF) | (b & 0xFFFF) << 16 for a, b in zip(cells[one], cells[other], strict=True)]
            found += [*rest[one], *rest[other]]
    return found
