"""What one clip costs on a device: instructions and modelled cycles by layer, and memory; measured, or estimated.

Conventions: the front end is everything from samples to the network's input. Cycles are those of a model of the
Cortex-M4, without the wait states of a board: see experiments/device/cycles.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

STACK = "stack"  # among the uses of RAM
CLOCKS = (64e6, 80e6, 120e6)  # Hz, of usual boards
# Estimates in score.json, and what they are called: of a student of floats those that it will have with 8 bits.
RAM, FLASH, CYCLES = "estimated/ram_bytes", "estimated/flash_bytes", "estimated/cycles"
ESTIMATES = {RAM: "RAM on a device, bytes", FLASH: "flash on a device, bytes", CYCLES: "cycles on a device"}


def milliseconds(cycles: float, hertz: float = CLOCKS[-1]) -> float:
    """How long a processor takes for so many cycles."""
    return 1000 * cycles / hertz


class Estimate(NamedTuple):
    """Bytes of RAM without the stack, bytes of flash, and cycles of one clip, front end included."""

    ram: int
    flash: int
    cycles: int

    def metrics(self) -> dict[str, float]:
        """By flat name, as in score.json."""
        return dict(zip(ESTIMATES, self, strict=True))


@dataclass(frozen=True)
class Part:
    """A layer, or the front end.

    Attributes:
        name: of the layer.
        instructions, cycles: of one clip.
        macs: its multiply-accumulates; 0 for layers without weights.
    """

    name: str
    instructions: int
    cycles: int
    macs: int = 0

    @property
    def cycles_per_mac(self) -> float | None:
        """None without multiply-accumulates."""
        return self.cycles / self.macs if self.macs else None


@dataclass(frozen=True)
class Cost:
    """Of a network and its front end.

    Attributes:
        layers: in their order.
        front_end: None if it was not measured.
        ram, flash: bytes by what they are for.
    """

    layers: Sequence[Part]
    front_end: Part | None
    ram: Mapping[str, int]
    flash: Mapping[str, int]

    @property
    def network(self) -> Part:
        """All layers together."""
        instructions, cycles = (sum(getattr(part, key) for part in self.layers) for key in ("instructions", "cycles"))
        return Part("network", instructions, cycles, sum(part.macs for part in self.layers))

    @property
    def cycles(self) -> int:
        """Of one clip, from samples to logits."""
        return self.network.cycles + (self.front_end.cycles if self.front_end else 0)

    def described(self) -> dict[str, object]:
        """As cost.json has it."""
        front_end = {} if self.front_end is None else asdict(self.front_end)
        return {
            "layers": [asdict(part) for part in self.layers],
            "front_end": front_end,
            "ram": dict(self.ram),
            "flash": dict(self.flash),
        }

    def metrics(self) -> dict[str, float]:
        """The figures of the whole, by name."""
        found: dict[str, float] = {
            "device/cycles": self.cycles,
            "device/network_cycles": self.network.cycles,
            "device/instructions": self.network.instructions,
            "device/ram_bytes": sum(size for what, size in self.ram.items() if what != STACK),
            "device/stack_bytes": self.ram.get(STACK, 0),
            "device/flash_bytes": sum(self.flash.values()),
        }
        if self.front_end is not None:
            found["device/front_end_cycles"] = self.front_end.cycles
            found["device/instructions"] += self.front_end.instructions
        if (each := self.network.cycles_per_mac) is not None:
            found["device/cycles_per_mac"] = each
        return found
