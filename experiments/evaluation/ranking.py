"""The challenge's ranking of systems by accuracy, memory and multiply-accumulates, and their Pareto front.

Conventions: accuracies are macro-averaged shares in [0, 1], memory is bytes of parameters, multiply-accumulates are of
one clip. Ranks begin at 1; systems that are equal share the smallest of their ranks, and the next one's counts them
all (1, 2, 2, 4): by the task's rules ties share a rank; what comes after them is left open.
Source: DCASE 2023 Task 1, "Ranking". The values that its worked example prints do not follow from its formula (0.5625
for the ranks 1, 1, 1); the formula is followed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from students.limits import LIMITS

WEIGHTS = {"accuracy": 0.5, "parameter_bytes": 0.25, "macs": 0.25}


class System(NamedTuple):
    """A system: its accuracy and its costs.

    Attributes:
        name: of the system.
        accuracy: macro-averaged share of clips that are right.
        parameter_bytes, macs: its costs.
        set: clips that the accuracy is of, "development" (its test split) or "evaluation"; "" if that is not known.
        source: where the numbers are from.
        own: whether it is one's own.
    """

    name: str
    accuracy: float
    parameter_bytes: int
    macs: int
    set: str = ""
    source: str = ""
    own: bool = False


class Standing(NamedTuple):
    """The place of a system in the ranking.

    Attributes:
        system: which.
        place: among all, from 1.
        points: weighted mean of its ranks, by which places are given.
        ranks: by the names of WEIGHTS.
        pareto: whether it is on the Pareto front, see `pareto`.
    """

    system: System
    place: int
    points: float
    ranks: dict[str, int]
    pareto: bool


def over_limits(system: System) -> list[str]:
    """The task's limits that a system breaks, in words."""
    return [
        f"{getattr(system, cost):,} {cost.replace('_', ' ')}, at most {limit:,}"
        for cost, limit in LIMITS.items()
        if getattr(system, cost) > limit
    ]


def rank(systems: Sequence[System]) -> list[Standing]:
    """The systems from the first place to the last; those of one place in the order given."""
    ranks = {name: _ranks(values) for name, values in _losses(systems).items()}
    points = np.sum([weight * ranks[name] for name, weight in WEIGHTS.items()], axis=0)
    places, front = _ranks(points), pareto(systems)
    standings = [
        Standing(
            s, int(places[i]), float(points[i]), {name: int(values[i]) for name, values in ranks.items()}, front[i]
        )
        for i, s in enumerate(systems)
    ]
    return sorted(standings, key=lambda standing: standing.place)


def pareto(systems: Sequence[System]) -> list[bool]:
    """For each system whether no other is better in accuracy or in a cost and as good in the others."""
    losses = np.array([*_losses(systems).values()])
    return [not ((losses <= own[:, None]).all(axis=0) & (losses < own[:, None]).any(axis=0)).any() for own in losses.T]


def _ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value, from 1: one more than the number of smaller ones (scipy.stats has it too, and takes a
    second to import)."""
    return 1 + np.searchsorted(np.sort(values), values)


def _losses(systems: Sequence[System]) -> dict[str, np.ndarray]:
    """Numbers that are better the less they are, float64 (systems,) each, by the names of WEIGHTS."""
    return {
        "accuracy": np.array([-s.accuracy for s in systems], float),
        "parameter_bytes": np.array([s.parameter_bytes for s in systems], float),
        "macs": np.array([s.macs for s in systems], float),
    }
