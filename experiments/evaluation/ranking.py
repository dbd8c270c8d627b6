"""The challenge's ranking of systems by accuracy, memory and multiply-accumulates, and their Pareto front.

Conventions: accuracies are macro-averaged shares in [0, 1], memory is bytes of parameters, multiply-accumulates are of
one clip. Ranks begin at 1; systems that are equal share the smallest of their ranks, and the next one's counts them
all (1, 2, 2, 4): by the task's rules ties share a rank; what comes after them is left open.
Sources: DCASE 2023 Task 1, "Ranking", whose worked example prints values that do not follow from its formula (0.5625
for the ranks 1, 1, 1); the formula is followed. 2024: the rank scores of the results page are the means of the
accuracies of the five subsets (50.73 of the baseline's 44.00, 46.95, 51.47, 54.40, 56.84). 2025: "Rank: accuracy" of
the results page. The rule of 2022 was not found; by accuracy, its second team would be the first.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from students.limits import LIMITS

WEIGHTS = {"accuracy": 0.5, "parameter_bytes": 0.25, "macs": 0.25}
BY_ACCURACY = {"accuracy": 1.0}
RULES: Mapping[int, Mapping[str, float]] = {2022: BY_ACCURACY, 2023: WEIGHTS, 2024: BY_ACCURACY, 2025: BY_ACCURACY}
TRAINED_ON = {2022: (100,), 2023: (100,), 2024: (5, 10, 25, 50, 100), 2025: (25,)}  # percent of the train split


class System(NamedTuple):
    """A system: its accuracy and its costs.

    Attributes:
        name: of the system.
        accuracy: macro-averaged share of clips that are right.
        parameter_bytes, macs: its costs; None: not known.
        set: clips that the accuracy is of, "development" (its test split) or "evaluation"; "" if that is not known.
        source: where the numbers are from.
        own: whether it is one's own.
        year: of the challenge; None: of any.
        subset: percent of the train split that it was trained on; None: not known.
        selected_on: "test" if its epoch or weights were chosen by the clips of the test split, so that the accuracy of
            these is an upper bound; else "".
        part: of one's own: what the accuracy is of, in words, if that is not the whole official test split; else "".
    """

    name: str
    accuracy: float
    parameter_bytes: int | None
    macs: int | None
    set: str = ""
    source: str = ""
    own: bool = False
    year: int | None = None
    subset: int | None = None
    selected_on: str = ""
    part: str = ""


class Standing(NamedTuple):
    """The place of a system in the ranking.

    Attributes:
        system: which.
        place: among all, from 1.
        points: weighted mean of its ranks, by which places are given.
        ranks: by the names of the weights.
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
        if (getattr(system, cost) or 0) > limit
    ]


def rank(systems: Sequence[System], weights: Mapping[str, float] = WEIGHTS) -> list[Standing]:
    """The systems from the first place to the last; those of one place in the order given.

    Args:
        systems: whose figures that have a weight are known.
        weights: of the ranks, by the names of WEIGHTS.
    """
    losses = _losses(systems)
    ranks = {name: _ranks(losses[name]) for name in weights}
    points = np.sum([weight * ranks[name] for name, weight in weights.items()], axis=0)
    places, front = _ranks(points), pareto(systems)
    standings = [
        Standing(
            s, int(places[i]), float(points[i]), {name: int(values[i]) for name, values in ranks.items()}, front[i]
        )
        for i, s in enumerate(systems)
    ]
    return sorted(standings, key=lambda standing: standing.place)


def pareto(systems: Sequence[System]) -> list[bool]:
    """For each system whether no other is better in accuracy or in a cost and as good in the others; one whose costs
    are not known neither beats another nor is on the front."""
    return non_dominated(np.array([*_losses(systems).values()]))


def non_dominated(losses: np.ndarray) -> list[bool]:
    """For each of n things whether no other has a lower loss and no higher one.

    Args:
        losses: (kinds of losses, n); NaN, of what is not known, is not equal, less or more.
    """
    return [
        not (np.isnan(own).any() or ((losses <= own[:, None]).all(axis=0) & (losses < own[:, None]).any(axis=0)).any())
        for own in losses.T
    ]


def expected_points(
    system: System, deviation: float, others: Sequence[System], weights: Mapping[str, float] = WEIGHTS
) -> float:
    """The weighted mean of the ranks that a system can expect among others, if its accuracy is normally distributed.

    Args:
        system: whose accuracy is the mean.
        deviation: the standard deviation of its accuracy.
        others: whose accuracies are taken as they are.
        weights: of the ranks, by the names of WEIGHTS.
    """
    if deviation > 0:
        ratios = [(other.accuracy - system.accuracy) / (deviation * math.sqrt(2)) for other in others]
        better = sum(math.erfc(-ratio) / 2 for ratio in ratios)
    else:
        better = sum(other.accuracy > system.accuracy for other in others)
    ranks = {"accuracy": 1 + better}
    for name in weights.keys() - {"accuracy"}:
        ranks[name] = 1 + sum(getattr(other, name) < getattr(system, name) for other in others)
    return sum(weight * ranks[name] for name, weight in weights.items())


def _ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value, from 1: one more than the number of smaller ones (scipy.stats has it too, and takes a
    second to import)."""
    return 1 + np.searchsorted(np.sort(values), values)


def _losses(systems: Sequence[System]) -> dict[str, np.ndarray]:
    """Numbers that are better the less they are, float64 (systems,) each, by the names of WEIGHTS; NaN: not known."""
    return {
        "accuracy": np.array([-s.accuracy for s in systems], float),
        "parameter_bytes": np.array([s.parameter_bytes for s in systems], float),
        "macs": np.array([s.macs for s in systems], float),
    }
