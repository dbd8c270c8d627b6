"""The systems that a search ends with: what they cost, how accurate they are on the clips held out, which of them are
on the Pareto front, and which four a team would hand in.

Conventions: a system is a network with so many bits, trained by several seeds. Its accuracy is the mean over the seeds,
its interval that of the mean of all their answers, over recordings (evaluation/bootstrap.py). A difference is between
answers to the same clips by trainings of the same seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from experiments.evaluation.bootstrap import mean_intervals
from experiments.evaluation.metrics import clip_losses, mean_by_class
from experiments.evaluation.ranking import System, expected_points, non_dominated
from experiments.search.costs import Cost
from experiments.search.space import Network

PICKS = 4  # systems that a team may hand in
FOUND, RANDOM = "search", "random"
WIDTH = 2 * 1.96  # standard deviations of a normal distribution in an interval of 95 %

Edges = tuple[float, float]


@dataclass(frozen=True)
class Clips:
    """Those held out: class numbers (n,), how many classes there are, and which recording each is of (n,)."""

    labels: np.ndarray
    classes: int
    recordings: Sequence[str]


class Metrics(NamedTuple):
    """Means over trainings: accuracy and log loss, the accuracy's interval, and each training's accuracy."""

    accuracy: float
    log_loss: float
    interval: Edges | None
    accuracies: list[float]


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A system.

    Attributes:
        network: its choices.
        bits: of its weights.
        cost: of one clip.
        place: the range of cost that it is of, from 0.
        kind: FOUND or RANDOM.
        trials: keys of its trainings.
        metrics: of them.
    """

    network: Network
    bits: int
    cost: Cost
    place: int
    kind: str
    trials: Sequence[str]
    metrics: Metrics

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.network.words} bits={self.bits}"

    def points(self, others: Sequence[System], weights: Mapping[str, float]) -> float:
        """That it can expect among other systems, see expected_points; its accuracy is taken as normally distributed,
        with the interval of its mean."""
        low, high = self.metrics.interval or (0.0, 0.0)
        own = System(self.name, self.metrics.accuracy, self.cost.bytes, self.cost.macs, own=True)
        return expected_points(own, (high - low) / WIDTH, others, weights)


class Energy(NamedTuple):
    """Of one clip, metered on this machine: millijoules, and the baseline's over the system's."""

    millijoules: float
    normalised: float


class Difference(NamedTuple):
    """What was found minus what was drawn at random: points of accuracy as a share, log loss, and their intervals."""

    accuracy: float
    log_loss: float
    accuracy_interval: Edges | None
    log_loss_interval: Edges | None


def metrics_of(clips: Clips, answers: Sequence[np.ndarray]) -> Metrics:
    """Of several trainings' probabilities (n, classes)."""
    right, losses = _gains(clips, answers)
    edges = _intervals(clips, right, losses)
    accuracies = [mean_by_class(each, clips.labels) for each in right]
    return Metrics(float(np.mean(accuracies)), float(losses.mean()), edges.get("accuracy"), accuracies)


def difference_of(clips: Clips, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Difference:
    """The first of each pair of probabilities (n, classes) minus the second, over all pairs."""
    (right, losses), (others, other_losses) = (_gains(clips, each) for each in zip(*pairs, strict=True))
    better, worse = right - others, losses - other_losses
    edges = _intervals(clips, better, worse)
    mean = float(np.mean([mean_by_class(each, clips.labels) for each in better]))
    return Difference(mean, float(worse.mean()), edges.get("accuracy"), edges.get("log_loss"))


def on_front(systems: Sequence[Searched], costs: Sequence[str]) -> list[bool]:
    """For each system whether no other is as good in accuracy and in these costs, and better in one."""
    losses = [[-each.metrics.accuracy for each in systems]]
    return non_dominated(np.array(losses + [[getattr(each.cost, name) for each in systems] for name in costs], float))


def picked(points: Sequence[float], count: int = PICKS) -> list[int]:
    """The numbers of the systems with the fewest points, the best first."""
    return sorted(range(len(points)), key=lambda number: points[number])[:count]


def _gains(clips: Clips, answers: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Which answers are right, and their losses in nats, (trainings, n) each."""
    right = np.array([each.argmax(1) == clips.labels for each in answers], float)
    return right, np.array([clip_losses(each, clips.labels) for each in answers])


def _intervals(clips: Clips, right: np.ndarray, losses: np.ndarray) -> dict[str, Edges]:
    """Of the means over all trainings, with a recording's clips and their answers by all trainings drawn together."""
    times = len(right)
    labels, recordings = np.tile(clips.labels, times), np.tile(np.array(clips.recordings), times)
    found = mean_intervals(right.ravel(), losses.ravel(), labels, clips.classes, recordings)
    return {name: (low, high) for name, (low, high) in found.items() if low < high}
