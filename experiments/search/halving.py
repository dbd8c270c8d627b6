"""Successive halving by thirds, within ranges of cost, so that cheap networks are not compared with dear ones; and
networks drawn at random, for as many epochs, as a control.

Conventions: a network is known by its key. A training is a trial: network, epochs, seed. The trainings of a rung have
the same number of epochs, and begin anew: a schedule is scaled to its epochs. Scores are better the higher they are.
Source: Jamieson & Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016;
with a factor of three as in Li et al., "Hyperband", JMLR 2018, section 3.6.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from data.errors import UserError, counted

FACTOR = 3
_KEY = re.compile(r"([0-9a-f]+)-e([1-9][0-9]{0,8})-s(0|[1-9][0-9]{0,18})")


class Trial(NamedTuple):
    """One training: of the network of this key."""

    network: str
    epochs: int
    seed: int

    @property
    def key(self) -> str:
        """Of the trial, in tables and names of folders."""
        return f"{self.network}-e{self.epochs}-s{self.seed}"


def read_trial(key: str) -> Trial:
    """The trial of a key.

    Raises:
        UserError: it is no trial's.
    """
    if (parts := _KEY.fullmatch(key)) is None:
        raise UserError(f"search.trial={key} is no trial: its key is NETWORK-eEPOCHS-sSEED, as in trials.csv")
    return Trial(parts[1], int(parts[2]), int(parts[3]))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a space is searched.

    Attributes:
        ranges: of cost, each the keys of its networks.
        candidates: networks of each range that are trained at first, if it has so many.
        epochs: of the longest trainings.
        seeds: trainings of the network that is left of a range.
        control: whether networks are drawn at random, too.
        seed: of draws and of the first trainings; those of further trainings follow it.
    """

    ranges: Sequence[Sequence[str]]
    candidates: int
    epochs: int
    seeds: int
    control: bool
    seed: int

    @property
    def rungs(self) -> list[tuple[int, int]]:
        """From the first to the last: networks of each range, and epochs of each training."""
        counts = [self.candidates]
        while counts[-1] > 1:
            counts.append(math.ceil(counts[-1] / FACTOR))
        last = len(counts) - 1
        return [(n, max(1, round(self.epochs / FACTOR ** (last - rung)))) for rung, n in enumerate(counts)]

    @property
    def words(self) -> str:
        """Of the rungs."""
        return ", then ".join(f"{count} for {counted(epochs, 'epoch')}" for count, epochs in self.rungs)

    @property
    def drawn(self) -> int:
        """Networks of each range that the control trains: its epochs are those of all rungs by one seed."""
        return max(1, round(sum(n * epochs for n, epochs in self.rungs) / self.epochs))


@dataclass(frozen=True)
class Outcome:
    """What was trained.

    Attributes:
        rungs: the trials of each rung, from the first to the last.
        found: the trials of the network that is left of each range, one a seed.
        control: those of the networks drawn at random that are left, likewise; empty without a control.
    """

    rungs: Sequence[Sequence[Trial]]
    found: Sequence[Sequence[Trial]]
    control: Sequence[Sequence[Trial]]


def ranges_of(costs: Mapping[str, float], count: int) -> list[list[str]]:
    """The keys of networks by their costs, cheapest first, in so many lists of equal length (or one more)."""
    ordered = sorted(costs, key=lambda key: (costs[key], key))
    return [list(part) for part in np.array_split(np.array(ordered, dtype=object), min(count, len(ordered)))]


def search(plan: Plan, train: Callable[[Sequence[Trial]], Mapping[Trial, Any]]) -> Outcome:
    """Search a space.

    Args:
        plan: how.
        train: gives the scores of trials, which may be trained side by side.
    """
    places = range(len(plan.ranges))
    alive = [_drawn(plan, place, 0)[: plan.candidates] for place in places]
    rungs: list[list[Trial]] = []
    *shorter, (_, longest) = plan.rungs
    for _, epochs in shorter:
        rungs.append([Trial(network, epochs, plan.seed) for networks in alive for network in networks])
        scores = train(rungs[-1])
        alive = [
            best([Trial(network, epochs, plan.seed) for network in networks], scores, math.ceil(len(networks) / FACTOR))
            for networks in alive
        ]
    # Where a range has few networks, one is left before the last rung.
    found = [[Trial(networks[0], longest, plan.seed + n) for n in range(plan.seeds)] for networks in alive]
    rungs.append([trials[0] for trials in found])
    random = [
        [Trial(network, longest, plan.seed) for network in _drawn(plan, place, 1)[: plan.drawn]]
        for place in (places if plan.control else ())
    ]
    scores = train(list(dict.fromkeys(trial for trials in (*found, *random) for trial in trials)))
    chosen = [best(trials, scores, 1)[0] for trials in random]
    control = [[Trial(network, longest, plan.seed + n) for n in range(plan.seeds)] for network in chosen]
    if control:
        train([trial for trials in control for trial in trials])
    return Outcome(rungs, found, control)


def best(trials: Sequence[Trial], scores: Mapping[Trial, Any], count: int) -> list[str]:
    """The networks of the trials with the highest scores, so many."""
    return [trial.network for trial in sorted(trials, key=lambda trial: scores[trial], reverse=True)[:count]]


def _drawn(plan: Plan, place: int, stream: int) -> list[str]:
    """The networks of a range in random order, another one for each stream."""
    networks = plan.ranges[place]
    order = np.random.default_rng([plan.seed, place, stream]).permutation(len(networks))
    return [networks[number] for number in order]
