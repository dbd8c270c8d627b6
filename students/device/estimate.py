"""What a network will cost on a device, before it is trained: by counting what its kernels do.

Conventions: of 8-bit weights, one clip, on a Cortex-M4 by the model of experiments/device/cycles.py. Memory is what the
C declares; cycles are those of the instructions of templates/scenelet_cortex_m.h, and means of measurements elsewhere.
"""

import copy
import math

import torch
from torch import nn

from data.front_ends.integer_log_mel import IntegerLogMel
from students.device.c_text import BYTES
from students.device.convolution import is_of_few
from students.device.cost import Estimate
from students.device.front_end import front_end_tables, window_length
from students.device.library import Model, state_bytes
from students.device.network import assembly_of, network_tables
from students.device.plan import groups_of, kernel_of
from students.quantize.answer import Confidence
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import (
    ADD,
    CONVOLUTION,
    GRU,
    JOIN,
    MAX_POOL,
    MULTIPLY,
    SIGMOID,
    SILU,
    TAKE,
    TURN,
    Layer,
)

# That are computed side by side: pixels of dense convolutions, those of convolutions channel by channel, or channels of
# averages.
PIXELS, AT_ONCE = 2, 4
PLAIN = 13  # cycles of a product in C
CODE, PAIRS_CODE, GROUP_CODE, FOUR_CODE = 9_400, 190, 56, 1_480  # bytes: of all C, and of each piece of assembly
GRU_CODE = 950
FIELDS = 76 + 36  # bytes: of a layer and its map


def estimated(network: nn.Module, front_end: IntegerLogMel, samples: int, classes: int) -> Estimate:
    """The cost of a float network after it is quantised.

    Args:
        network: log-mels to logits.
        front_end: that of the device.
        samples: of a clip.
        classes: number of scenes.

    Raises:
        UserError: a part of the network has no integer form.
    """
    return model_estimate(untrained(network, front_end, samples, classes))


def untrained(network: nn.Module, front_end: IntegerLogMel, samples: int, classes: int, bits: int = 8) -> Model:
    """A float network as integers that are as large as they will be when it is trained.

    Args:
        network, front_end, samples, classes: see estimated, whose errors it has.
        bits: of all weights, 8 or 4; those of a GRU have 8.
    """
    shape = (1, 1, front_end.mels, front_end.frames(samples))
    with torch.random.fork_rng(devices=[]):  # what is trained with a seed does not depend on an estimate
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        folded = fold(copy.deepcopy(network).eval(), shape, noise)
    widths = {name: max(bits, min(folded.widths(name))) for name in folded.convolutions}
    return Model(calibrate(folded, [noise], bits=widths), front_end, samples, [""] * classes, Confidence())


def model_estimate(model: Model) -> Estimate:
    """The cost of a network of integers."""
    network, front_end = model.network, model.front_end
    cycles = front_end_cycles(front_end, model.samples) + sum(layer_cycles(network, layer) for layer in network.layers)
    return Estimate(state_bytes(model), _flash(network, front_end), round(cycles))


def front_end_cycles(front_end: IntegerLogMel, samples: int) -> float:
    """Fitted to ten front ends with transforms of 512 to 8192 values, within 1 %."""
    stages, odd = divmod(int(math.log2(front_end.fft)) - 1, 2)
    a_frame = front_end.fft * (41.42 + 5.134 * stages - 5.977 * odd)
    return front_end.frames(samples) * (a_frame + 87.25 * front_end.mels + 7.315 * window_length(front_end))


def layer_cycles(network: IntegerNetwork, layer: Layer) -> float:
    """Of all rows of a layer."""
    channels, height, width = network.quantities[layer.name].shape
    rows, columns = kernel_of(network, layer)
    cells = rows * columns
    if layer.kind == ADD:
        widths = {network.quantities[name].shape[2] for name in layer.inputs}
        return height * width * (19 * channels if len(widths) == 1 else 21 * channels + 47 * (channels % 4) + 130)
    if layer.kind == TAKE:
        return 17.8 * channels * height * width
    if layer.kind == MULTIPLY:
        return height * (430 + 40 * width + 39.5 * channels * width)
    if layer.kind == TURN:
        return 700 + 15 * channels * width
    if layer.kind in (SILU, SIGMOID):
        return 15.2 * channels * height * width
    if layer.kind == JOIN:
        return height * width * (80 + 3 * channels)
    if layer.kind == MAX_POOL:
        return channels * height * width * (33 + 12.2 * cells)
    if layer.kind == GRU:
        return width * channels * (15.6 * channels + 511)
    if layer.kind != CONVOLUTION:
        values = math.ceil(channels / AT_ONCE) * AT_ONCE * height * width
        return values * (38 + 5 * cells + 1.6 * rows) + 32 * height * rows
    pairs, four = assembly_of(network, layer)
    if pairs:
        groups = groups_of(network, layer)
        return height * math.ceil(width / PIXELS) * (math.ceil(channels / 2) * (50 + 20 * groups) + 16 * groups + 124)
    if four and width >= AT_ONCE:
        return height * math.ceil(width / AT_ONCE) * channels / 4 * (461 if layer.stride[1] == 1 else 521)
    if layer.groups > 1:
        return _grouped_cycles(network, layer)
    return PLAIN * network.weights[layer.name].weight[0].size * channels * height * width


def _grouped_cycles(network: IntegerNetwork, layer: Layer) -> float:
    """Of a convolution in groups of channels, mostly channel by channel, without assembly."""
    channels, height, width = network.quantities[layer.name].shape
    _, ins, *window = network.weights[layer.name].weight.shape
    products = ins * math.prod(window)
    if ins == 1 and products == 1:
        return channels * height * (93 + 31 * width)
    if ins == 1 and products == 3:
        return channels * height * (140 + 48 * width)
    if ins == 1 and window == [3, 3]:
        return channels * height * (320 + 72 * width)
    if is_of_few(network, layer):
        return channels * height * (40 + 22 * products + (45 + 9.6 * products) * width)
    return channels * height * width * (115 + 15 * products + 11 * window[0])


def _flash(network: IntegerNetwork, front_end: IntegerLogMel) -> int:
    tables = [*network_tables(network).values(), *front_end_tables(front_end).values()]
    constants = sum(BYTES[kind] * len(values) for kind, values in tables) + FIELDS * len(network.layers)
    assembly = [assembly_of(network, layer) for layer in network.layers]
    pairs = {groups_of(network, layer) for layer, (dense, _) in zip(network.layers, assembly, strict=True) if dense}
    fours = {four for _, four in assembly if four}
    recurrent = GRU_CODE * any(layer.kind == GRU for layer in network.layers)
    pieces = sum(PAIRS_CODE + GROUP_CODE * groups for groups in pairs) + FOUR_CODE * len(fours)
    return constants + CODE + recurrent + pieces
