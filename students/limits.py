"""The limits of the task, and the costs of a network that they apply to.

Conventions: costs are for one clip; bytes are those of parameters as they are stored. How they are counted is in
complexity.py; importing this file does not import torch.
Source: DCASE 2023 Task 1, "System complexity requirements": all parameters count, whatever their format, and one
inference is of one second.
"""

from collections.abc import Mapping
from typing import NamedTuple

LIMITS = {"macs": 30_000_000, "parameter_bytes": 128_000}


class Complexity(NamedTuple):
    """Costs of a network.

    Attributes:
        macs: multiply-accumulates of one clip.
        parameters: number of parameters.
        parameter_bytes: bytes they take.
        peak_bytes: largest sum of the activations that must be kept at once.
    """

    macs: int
    parameters: int
    parameter_bytes: int
    peak_bytes: int

    def within_limits(self) -> dict[str, bool]:
        """Whether each limit of the task holds."""
        return {cost: getattr(self, cost) <= limit for cost, limit in LIMITS.items()}

    def metrics(self) -> dict[str, float]:
        """Costs by flat name, as in score.json, and within_limit/<cost>, 1 or 0."""
        verdicts = {f"within_limit/{cost}": float(holds) for cost, holds in self.within_limits().items()}
        return self._asdict() | verdicts


def over_limits(cost: Complexity, limits: Mapping[str, int] = LIMITS) -> list[str]:
    """Which limits a float network would break at 8 bits, that is with one byte a parameter, in words; [] if none.

    Args:
        cost: of the float network.
        limits: as LIMITS.
    """
    costs = {
        "macs": (cost.macs, "multiply-accumulates"),
        "parameter_bytes": (cost.parameters, "parameters, bytes at 8 bits"),
    }
    return [
        f"{value:,} {what}, at most {limits[name]:,}" for name, (value, what) in costs.items() if value > limits[name]
    ]
