"""Where the tensors of a network lie in one block of memory while it runs.

Conventions: step i writes the tensor of layer i and reads earlier ones; a tensor is alive from the step that writes it
to the last one that reads it, the input from before the first step. Offsets and sizes are in bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from students.quantize.integer import IntegerNetwork
from students.quantize.layers import INPUT

ALIGNMENT = 4  # bytes: a word of the processor, on which the block begins


@dataclass(frozen=True)
class Plan:
    """Offsets of the tensors, by name, and the size of the whole block."""

    offsets: Mapping[str, int]
    size: int


def planned(network: IntegerNetwork) -> Plan:
    """The largest tensor is placed first, each as low as those allow that are alive at the same time."""
    first, last, sizes = {INPUT: -1}, {INPUT: -1}, {INPUT: _bytes(network, INPUT)}
    for step, layer in enumerate(network.layers):
        first[layer.name] = last[layer.name] = step
        sizes[layer.name] = _bytes(network, layer.name)
        last |= dict.fromkeys(layer.inputs, step)
    offsets: dict[str, int] = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], first[name])):
        beside = sorted(
            (offsets[other], offsets[other] + sizes[other])
            for other in offsets
            if first[other] <= last[name] and first[name] <= last[other]
        )
        place = 0
        for start, end in beside:
            if place + sizes[name] <= start:
                break
            place = max(place, end)
        offsets[name] = place
    return Plan(offsets, max(offsets[name] + sizes[name] for name in offsets))


def _bytes(network: IntegerNetwork, name: str) -> int:
    """Of a tensor, rounded up to whole words."""
    quantity = network.quantities[name]
    channels, height, width = quantity.shape
    return -(-channels * height * width * quantity.bits // 8 // ALIGNMENT) * ALIGNMENT
