"""The settings of structured pruning: what a student is to cost in the end, and when channels are removed.

Conventions: an epoch is one after which channels are removed, from 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from data.errors import UserError
from data.ranges import Fraction, Range, Share
from data.settings import require_valid, setting

Target = Annotated[int, Range(1, 1 << 50)]


@dataclass(frozen=True, kw_only=True)
class Prune:
    """What a student is to cost after channels were removed in training; see training/pruning.py."""

    bytes: Target | None = setting("of parameters, at one byte each, in the end; null: any", default=None)
    macs: Target | None = setting("multiply-accumulates of one clip in the end; null: any", default=None)
    cycles: Target | None = setting("of one clip on a Cortex-M4, by the estimate, in the end; null: any", default=None)
    removals: Annotated[int, Range(1, 1000)] = setting("so many times channels are removed", default=5)
    begin: Share = setting("share of the epochs after which the first are removed", default=0.1)
    end: Fraction = setting("share of the epochs after which the last are removed; the rest is recovery", default=0.5)
    ranking: str = setting(
        "taylor: those go first whose absence changes the loss least, for what they cost; random: as a control",
        choices=("taylor", "random"),
        default="taylor",
    )

    def __post_init__(self) -> None:
        require_valid(self, "prune.")
        if self.begin > self.end:
            raise UserError(f"prune.begin={self.begin} must be at most prune.end={self.end}")

    @property
    def targets(self) -> Mapping[str, int]:
        """What the student may cost, by name: parameters, macs, cycles; empty: nothing is pruned."""
        found = {"parameters": self.bytes, "macs": self.macs, "cycles": self.cycles}
        return {name: number for name, number in found.items() if number is not None}

    def epochs(self, epochs: int) -> tuple[int, ...]:
        """The epochs of a training of so many after which channels are removed, evenly from begin to end; at least one
        epoch follows, if there are two."""
        shares = [self.begin + (self.end - self.begin) * n / (self.removals - 1) for n in range(self.removals - 1)]
        latest = max(1, epochs - 1)
        return tuple(sorted({min(max(1, round(epochs * share)), latest) for share in (*shares, self.end)}))

    def settled(self, epochs: int) -> int:
        """The first epoch of so many, from 1, after which the network has its final size."""
        return self.epochs(epochs)[-1] if self.targets else 1
