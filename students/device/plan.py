"""In which order the rows of a network's maps are computed, and where they lie in memory.

Conventions: a map is written and read row by row, a row being all its columns and channels, (width, channels). Of a map
only those rows are kept that some layer has still to read, in a ring: row r lies at place r modulo the number of rows
that are kept. The input alone is kept whole, because it is there before the first step. Columns of padding lie in the
rows; offsets and sizes are in bytes. Step i computes the next row of one layer.
Source of the idea: Alwani et al., Fused-layer CNN accelerators, MICRO 2016; no row is computed twice here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from students.quantize.gru import GATES
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import CONVOLUTION, GLOBAL_MEAN, GRU, INPUT, TURN, Layer

PIXELS = 2  # whose windows are spread out side by side
ALIGNMENT = 4  # bytes: a word of the processor, on which maps begin


@dataclass(frozen=True)
class Map:
    """How a map lies in memory.

    Attributes:
        offset: where its ring begins; of the input, in a block of its own.
        rows: how many are kept.
        before, after: bytes of padding in each row.
        values: bytes of a row between them.
    """

    offset: int
    rows: int
    before: int
    values: int
    after: int

    @property
    def row(self) -> int:
        """Bytes from one row to the next."""
        return self.before + self.values + self.after

    @property
    def size(self) -> int:
        """Bytes of the ring, in whole words."""
        return -(-self.rows * self.row // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Plan:
    """Maps, by name, the layers that the steps compute a row of, and the bytes of all maps but the input's."""

    maps: Mapping[str, Map]
    steps: tuple[int, ...]
    size: int


def planned(network: IntegerNetwork) -> Plan:
    """Each row is computed when it is first needed, so that few rows are kept; the largest ring is placed first, each
    as low as those allow that hold rows at the same time."""
    steps = _steps(network)
    rows, alive = _alive(network, steps)
    maps = {name: _laid_out(network, name, count) for name, count in rows.items()}
    offsets: dict[str, int] = {}
    for name in sorted((layer.name for layer in network.layers), key=lambda name: -maps[name].size):
        beside = sorted(
            (offsets[other], offsets[other] + maps[other].size) for other in offsets if alive[other] & alive[name]
        )
        place = 0
        for start, end in beside:
            if place + maps[name].size <= start:
                break
            place = max(place, end)
        offsets[name] = place
    placed = {name: Map(offsets.get(name, 0), m.rows, m.before, m.values, m.after) for name, m in maps.items()}
    return Plan(placed, steps, max(offsets[name] + placed[name].size for name in offsets))


def kernel_of(network: IntegerNetwork, layer: Layer) -> tuple[int, int]:
    """Rows and columns that one value of a layer is computed from."""
    return network.quantities[layer.inputs[0]].shape[1:] if layer.kind in (GLOBAL_MEAN, TURN) else layer.kernel


def rows_read(network: IntegerNetwork, layer: Layer, row: int, source: str) -> range:
    """The rows of one of its inputs that a row of a layer is computed from, without padding."""
    height = network.quantities[source].shape[1]
    if layer.is_paired:
        row = min(row, height - 1)  # a single row is added to all
        return range(row, row + 1)
    first = row * layer.stride[0] - layer.padding[0]
    return range(max(0, first), min(height, first + kernel_of(network, layer)[0]))


def strip_of(network: IntegerNetwork) -> int:
    """Integers of the windows of two pixels, of the largest convolution of all channels; or of a GRU's state, sums."""
    dense = [layer for layer in network.layers if layer.kind == CONVOLUTION and layer.groups == 1]
    units = [network.quantities[layer.name].shape[0] for layer in network.layers if layer.kind == GRU]
    states = [-(-count // 4) * 4 + GATES * count for count in units]
    return max(PIXELS * 4 * (max([groups_of(network, layer) for layer in dense], default=0) + 1), *states, 0)


def groups_of(network: IntegerNetwork, layer: Layer) -> int:
    """Groups of four values of a window, each row of which is filled up to whole ones."""
    channels, (height, width) = network.quantities[layer.inputs[0]].shape[0], layer.kernel
    return height * -(-channels * width // 4)


def _steps(network: IntegerNetwork) -> tuple[int, ...]:
    numbers = {layer.name: number for number, layer in enumerate(network.layers)}
    done = dict.fromkeys(numbers, 0) | {INPUT: network.quantities[INPUT].shape[1]}

    pools = _pools_side_by_side(network)

    def compute_up_to(name: str, row: int) -> Iterator[int]:
        while (at := done[name]) <= row:
            layer = network.layers[numbers[name]]
            for source in layer.inputs:
                if needed := rows_read(network, layer, at, source):
                    yield from compute_up_to(source, needed[-1])
            if done[name] == at:  # it may be a pool whose row was computed meanwhile
                yield from compute(name)

    def compute(name: str) -> Iterator[int]:
        done[name] += 1
        yield numbers[name]
        for pool in pools.get(name, ()):
            while done[pool.name] < network.quantities[pool.name].shape[1] and all(
                row < done[name] for row in rows_read(network, pool, done[pool.name], name)
            ):
                yield from compute(pool.name)

    last = network.layers[-1].name
    return tuple(compute_up_to(last, network.quantities[last].shape[1] - 1))


def _pools_side_by_side(network: IntegerNetwork) -> dict[str, list[Layer]]:
    """The pools of each map that several pools and nothing else reads: they are computed as soon as they can be, or the
    larger map would be kept until the last of them is needed."""
    readers: dict[str, list[Layer]] = {}
    for layer in network.layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer)
    return {name: pools for name, pools in readers.items() if len(pools) > 1 and all(pool.is_pool for pool in pools)}


def _alive(network: IntegerNetwork, steps: Sequence[int]) -> tuple[dict[str, int], dict[str, int]]:
    """How many rows of each map are kept, and the steps at which it holds any, as bits of a number."""
    written: dict[str, list[int]] = {layer.name: [] for layer in network.layers}
    last_read: dict[tuple[str, int], int] = {}
    for step, number in enumerate(steps):
        layer = network.layers[number]
        for source in layer.inputs:
            for row in rows_read(network, layer, len(written[layer.name]), source):
                last_read[source, row] = step
        last_read[layer.name, len(written[layer.name])] = step
        written[layer.name].append(step)
    rows, alive = {INPUT: network.quantities[INPUT].shape[1]}, {INPUT: 0}
    for name, at in written.items():
        # The oldest row that is still to be read when a row is written: all between them are kept.
        kept, bits, oldest = 1, 0, 0
        for row, step in enumerate(at):
            while last_read[name, oldest] < step:
                oldest += 1
            kept = max(kept, row - oldest + 1)
            bits |= (2 << last_read[name, row]) - (1 << step)
        rows[name], alive[name] = kept, bits
    return rows, alive


def _laid_out(network: IntegerNetwork, name: str, rows: int) -> Map:
    channels, _, width = network.quantities[name].shape
    before = after = 0
    for layer in network.layers:
        if name in layer.inputs and not (layer.is_paired or layer.kind == TURN):
            _, _, columns = network.quantities[layer.name].shape
            left, kernel = layer.padding[1], kernel_of(network, layer)[1]
            extent = (kernel - 1) * layer.dilation[1] + 1
            before = max(before, left)
            after = max(after, (columns - 1) * layer.stride[1] + extent - left - width)
    return Map(0, rows, before * channels, width * channels, after * channels)
