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

    def within_limits(self, *, stored: bool = True) -> dict[str, bool]:
        """Whether each limit of the task holds; `stored`: see counted."""
        return {cost: number <= LIMITS[cost] for cost, number in counted(self._asdict(), stored=stored).items()}

    def metrics(self, *, stored: bool = True) -> dict[str, float]:
        """Costs by flat name, as in score.json, and within_limit/<cost>, 1 or 0; `stored`: see counted."""
        verdicts = {f"within_limit/{cost}": float(holds) for cost, holds in self.within_limits(stored=stored).items()}
        return self._asdict() | verdicts


def counted(costs: Mapping[str, float], *, stored: bool) -> dict[str, float]:
    """The numbers that the limits apply to, as far as they are known.

    Args:
        costs: by the names of Complexity.
        stored: whether the network is what is handed in. If not, it is a float network that will be stored with 8 bits,
            and each of its parameters counts one byte.
    """
    names = {cost: "parameters" if cost == "parameter_bytes" and not stored else cost for cost in LIMITS}
    return {cost: costs.get(name, costs[cost]) for cost, name in names.items() if cost in costs}


def over_limits(cost: Complexity, limits: Mapping[str, int] = LIMITS) -> list[str]:
    """Which limits a float network would break at 8 bits, that is with one byte a parameter, in words; [] if none.

    Args:
        cost: of the float network.
        limits: as LIMITS.
    """
    words = {"macs": "multiply-accumulates", "parameter_bytes": "parameters, bytes at 8 bits"}
    found = counted(cost._asdict(), stored=False)
    return [
        f"{found[name]:,} {what}, at most {limits[name]:,}"
        for name, what in words.items()
        if found[name] > limits[name]
    ]
