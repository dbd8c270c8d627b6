"""Whether an integer network can be executed: by the runtimes without a crash, and in bounded time and memory.

Conventions: see integer.py. The bounds are far beyond any network for a microcontroller: hundreds of times what the
challenge allows.
"""

import math
from dataclasses import replace

import numpy as np

from data.damage import WrongValueError
from students.quantize.arithmetic import SCALES
from students.quantize.calibrate import limit_of
from students.quantize.gru import GATES, STATES, SUMS
from students.quantize.integer import IntegerNetwork, Quantity
from students.quantize.layers import ADD, CONVOLUTION, GRU, INPUT, MULTIPLY, SIGMOID, SILU, TAKE, TURN, Layer
from students.quantize.silu import SIGMOIDS

MOST_MACS = 10**10  # of one clip: seconds on any computer
MOST_VALUES = 2**23  # of a tensor, for one clip
MOST_UNFOLDED = 2**25  # values that a convolution's windows hold together, which are copied side by side

# What kernels can multiply by, by the bits of activations; beyond it some abort the process, others overflow in silence
LARGEST_FACTOR = {8: 2**8, 16: 2**7}  # XNNPACK's limit, and that of the kernels for 16 bits
FACTORS_OF_ADDITIONS = {8: (2.0**-10, 2.0**8), 16: (2.0**-15, 2.0**13)}  # XNNPACK's limits, and the others'

SCALES_OF_SIGMOID = 2.0**-12, 2.0**4  # of what one is computed of
FACTORS_OF_PRODUCTS = 2.0**-16, 2.0**4  # by which products of integers are multiplied
LARGEST_FACTOR_OF_SCALES = 2**14  # by which 16 bits are shifted and stay within 32


def check_network(network: IntegerNetwork) -> None:
    """Check every number of a network.

    Raises:
        WrongValueError: of the first that is wrong.
    """
    names = [INPUT, *(layer.name for layer in network.layers)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise WrongValueError(f"several layers have the name {twice[0]!r}")
    for name, quantity in network.quantities.items():
        _check_quantity(name, quantity)
    macs = 0
    for layer in network.layers:
        if layer.kind == CONVOLUTION:
            macs += _check_convolution(network, layer)
        elif layer.kind == GRU:
            macs += _check_recurrence(network, layer)
        elif layer.kind == ADD:
            _check_addition(network, layer)
        elif layer.kind in (SILU, SIGMOID):
            _check_function(network, layer)
        elif layer.kind == MULTIPLY:
            _check_product(network, layer)
        elif layer.moves:
            _check_moved(network, layer)
        else:
            _check_pool(network, layer)
    if macs > MOST_MACS:
        raise WrongValueError(f"it has {macs:,} multiply-accumulates, at most {MOST_MACS:,} are executed")


def check_sets(network: IntegerNetwork) -> None:
    """Check every number that recording devices have of their own, of a network that is checked.

    Raises:
        WrongValueError: of the first that is wrong.
    """
    for device, own in network.sets.items():
        one = network.of_device(device)
        for layer in one.layers:
            if layer.name in own:
                (_check_recurrence if layer.kind == GRU else _check_convolution)(one, layer)


def _check_quantity(name: str, quantity: Quantity) -> None:
    low, high = SCALES
    if not low <= quantity.scale <= high:
        raise WrongValueError(f"{name!r} has the scale {quantity.scale:g}: scales are from {low:g} to {high:g}")
    wanted = (quantity.low, quantity.high) if quantity.bits == 8 else (0, 0)
    if not wanted[0] <= quantity.zero_point <= wanted[1]:
        raise WrongValueError(
            f"{name!r} has the zero point {quantity.zero_point}: with {quantity.bits} bits it is from {wanted[0]} to "
            f"{wanted[1]}"
        )
    if math.prod(quantity.shape) > MOST_VALUES:
        raise WrongValueError(f"{name!r} has the shape {quantity.shape}: at most {MOST_VALUES:,} values are computed")


def _check_convolution(network: IntegerNetwork, layer: Layer) -> int:
    """Returns its multiply-accumulates."""
    weights, read, wanted = network.weights[layer.name], network.quantities[layer.inputs[0]], network.quantities
    where, limit = f"the convolution {layer.name!r}", limit_of(weights.bits)
    each = weights.weight.shape[1]
    if layer.groups * each != read.shape[0] or len(weights.weight) % (layer.groups * layer.parts):
        raise WrongValueError(f"{where} has {layer.groups} groups of {read.shape[0]} channels")
    if np.abs(weights.weight.astype(np.int64)).max() > limit:
        raise WrongValueError(f"{where} has weights of {weights.bits} bits that are not from {-limit} to {limit}")
    if not np.isfinite(weights.scale).all():  # before the cast, of which numpy warns if it meets a signalling NaN
        raise WrongValueError(f"{where} has scales of weights that are no finite numbers")
    scales = weights.scale.astype(np.float64)
    low, high = SCALES
    if not ((scales >= low) & (scales <= high)).all():
        raise WrongValueError(
            f"{where} has scales of weights from {scales.min():g} to {scales.max():g}: they are from "
            f"{low:g} to {high:g}"
        )
    largest = read.scale * scales.max() / wanted[layer.name].scale
    if not largest < LARGEST_FACTOR[read.bits]:
        raise WrongValueError(
            f"{where} multiplies its sums by {largest:g}, by the scales of its input, weights and output: kernels "
            f"multiply by less than {LARGEST_FACTOR[read.bits]}"
        )
    cells = math.prod(weights.weight.shape[1:])
    positions = math.prod(wanted[layer.name].shape[1:])
    if positions * cells * layer.groups > MOST_UNFOLDED:
        raise WrongValueError(
            f"{where} has {positions:,} windows of {cells * layer.groups:,} values, together at most "
            f"{MOST_UNFOLDED:,} are computed"
        )
    return positions * weights.weight.size // layer.parts


def _check_recurrence(network: IntegerNetwork, layer: Layer) -> int:
    """Returns its multiply-accumulates."""
    weights, where = network.weights[layer.name], f"the GRU {layer.name!r}"
    gates, states = (network.quantities[name] for name in (layer.inputs[0], layer.name))
    units, steps = weights.weight.shape[1], gates.shape[2]
    for what, found, wanted in (
        ("weights", weights.weight.shape, (GATES * units, units, 1, 1)),
        ("gates", gates.shape, (GATES * units, 1, steps)),
        ("states", states.shape, (units, 1, steps)),
    ):
        if found != wanted:
            raise WrongValueError(f"{where} has {what} of the shape {found}, by its units and steps it is {wanted}")
    for what, factor in (("gates", gates.scale / SUMS.scale), ("states", STATES.scale / states.scale)):
        if not factor < LARGEST_FACTOR_OF_SCALES:
            raise WrongValueError(
                f"{where} multiplies {what} by {factor:g}, by their scale: kernels multiply by less than "
                f"{LARGEST_FACTOR_OF_SCALES}"
            )
    read, wanted_sums = replace(STATES, shape=(units, 1, 1)), replace(SUMS, shape=(GATES * units, 1, 1))
    quantities = {layer.inputs[0]: read, layer.name: wanted_sums}
    one = replace(layer, kind=CONVOLUTION)
    return steps * _check_convolution(IntegerNetwork((one,), network.weights, quantities), one)


def _check_addition(network: IntegerNetwork, layer: Layer) -> None:
    wanted, where = network.quantities[layer.name], f"the addition {layer.name!r}"
    low, high = FACTORS_OF_ADDITIONS[wanted.bits]
    for name in layer.inputs:
        read = network.quantities[name]
        if not _is_summand(read, wanted):
            raise WrongValueError(f"{where} is of {wanted.shape}, its input {name!r} of {read.shape}")
        if not low <= read.scale / wanted.scale < high:
            raise WrongValueError(
                f"{where} multiplies its input {name!r} by {read.scale / wanted.scale:g}, by their scales: kernels "
                f"multiply by {low:g} to {high:g}"
            )


def _is_summand(read: Quantity, wanted: Quantity) -> bool:
    """Whether a map can be a side of a sum or product of a shape: it has that shape, or a single band or frame."""
    axes = zip(read.shape[1:], wanted.shape[1:], strict=True)
    return read.shape[0] == wanted.shape[0] and all(own in (1, full) for own, full in axes)


def _check_function(network: IntegerNetwork, layer: Layer) -> None:
    """Of a sigmoid or a SiLU."""
    read, wanted = network.quantities[layer.inputs[0]], network.quantities[layer.name]
    where, (low, high) = f"the {'SiLU' if layer.kind == SILU else 'sigmoid'} {layer.name!r}", SCALES_OF_SIGMOID
    if (read.bits, wanted.bits, read.shape) != (8, 8, wanted.shape):
        raise WrongValueError(f"{where} makes {wanted.shape} of {wanted.bits} bits of {read.shape} of {read.bits} bits")
    if not low <= read.scale < high:
        raise WrongValueError(f"{where} reads the scale {read.scale:g}: it is from {low:g} to {high:g}")
    if layer.kind == SILU:
        _check_factor(where, read, SIGMOIDS, wanted)
    elif (wanted.scale, wanted.zero_point) != (SIGMOIDS.scale, SIGMOIDS.zero_point):
        raise WrongValueError(
            f"{where} has the scale {wanted.scale:g} and the zero point {wanted.zero_point}: all sigmoids have "
            f"{SIGMOIDS.scale:g} and {SIGMOIDS.zero_point}"
        )


def _check_product(network: IntegerNetwork, layer: Layer) -> None:
    read, wanted = [network.quantities[name] for name in layer.inputs], network.quantities[layer.name]
    where = f"the product {layer.name!r}"
    for name, each in zip(layer.inputs, read, strict=True):
        if (each.bits, wanted.bits) != (8, 8) or not _is_summand(each, wanted):
            raise WrongValueError(
                f"{where} is of {wanted.shape} of {wanted.bits} bits, its input {name!r} of {each.shape} of "
                f"{each.bits} bits"
            )
    _check_factor(where, read[0], read[1], wanted)


def _check_factor(where: str, first: Quantity, second: Quantity, wanted: Quantity) -> None:
    factor, (low, high) = first.scale * second.scale / wanted.scale, FACTORS_OF_PRODUCTS
    if not low <= factor < high:
        raise WrongValueError(
            f"{where} has the scales {first.scale:g}, {second.scale:g} and {wanted.scale:g}: products are multiplied "
            f"by {factor:g}, kernels multiply by {low:g} to {high:g}"
        )


def _check_moved(network: IntegerNetwork, layer: Layer) -> None:
    """Of a layer that takes or joins channels, or turns a map."""
    read, wanted = [network.quantities[name] for name in layer.inputs], network.quantities[layer.name]
    where, channels = f"the layer {layer.name!r}", sum(each.shape[0] for each in read)
    if layer.kind == TAKE:
        if strange := [channel for channel in layer.channels if not 0 <= channel < channels]:
            raise WrongValueError(f"{where} takes channel {strange[0]} of {channels}")
        channels = len(layer.channels)
    for name in layer.inputs:
        _require_scale(network, layer, name, where)
    expected = {(channels, *each.shape[1:]) for each in read}
    if layer.kind == TURN:
        _, bands, frames = read[0].shape
        if frames != 1:
            raise WrongValueError(f"{where} turns a map of {frames} frames: it is of one")
        expected = {(bands, frames, channels)}
    if expected != {wanted.shape}:
        raise WrongValueError(f"{where} is of {wanted.shape}, by its inputs it is {' or '.join(map(str, expected))}")


def _check_pool(network: IntegerNetwork, layer: Layer) -> None:
    _require_scale(network, layer, layer.inputs[0], f"the pool {layer.name!r}")


def _require_scale(network: IntegerNetwork, layer: Layer, name: str, where: str) -> None:
    read, wanted = network.quantities[name], network.quantities[layer.name]
    if (read.scale, read.zero_point) != (wanted.scale, wanted.zero_point):
        raise WrongValueError(
            f"{where} has the scale {wanted.scale:g} and zero point {wanted.zero_point}, its input has {read.scale:g} "
            f"and {read.zero_point}: it changes neither"
        )
