"""Confidence intervals of metrics: bootstrap over recordings, because the ten clips of one are not independent.

Conventions: what is drawn with replacement are whole recordings; an interval is between percentiles of the draws.
Both predictions of a difference are evaluated on the same draws (paired).
Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, sections 8.6 (clusters) and 13.3 (percentiles).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from experiments.evaluation.metrics import clip_losses

DRAWS = 2000
LEVEL = 0.95
AT_ONCE = 50  # draws; on 3,000 recordings of ten classes some megabytes


def metric_intervals(
    probabilities: np.ndarray,
    labels: np.ndarray,
    recordings: Sequence[str],
    subsets: Mapping[str, np.ndarray] = MappingProxyType({}),
    *,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of "accuracy" (macro, over the classes that a draw has) and "log_loss", and of
    "accuracy/<subset>", the share of a subset's items that are right.

    Args:
        probabilities: (n, classes).
        labels: class numbers (n,).
        recordings: which recording each item is part of, (n,).
        subsets: name -> which items, bool (n,).
        seed: of the draws.

    Returns:
        metric -> (low, high); nothing where there is one recording only, or where all draws agree (all items are right,
        or none is), which is due to their small number.
    """
    right, losses = (probabilities.argmax(1) == labels).astype(float), clip_losses(probabilities, labels)
    found = mean_intervals(right, losses, labels, probabilities.shape[1], recordings, seed)
    names = np.asarray(recordings)
    for name, items in subsets.items():
        one_class = np.zeros(items.sum(), dtype=int)
        own = mean_intervals(right[items], losses[items], one_class, 1, names[items].tolist(), seed)
        found |= {f"accuracy/{name}": own["accuracy"]} if own else {}
    return {name: (low, high) for name, (low, high) in found.items() if low < high}


def difference_intervals(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, recordings: Sequence[str], *, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % intervals of first minus second: both are probabilities (n, classes) of the same items; the rest is as of
    metric_intervals."""
    right = (first.argmax(1) == labels).astype(float) - (second.argmax(1) == labels)
    losses = clip_losses(first, labels) - clip_losses(second, labels)
    return mean_intervals(right, losses, labels, first.shape[1], recordings, seed)


def mean_intervals(
    right: np.ndarray,
    losses: np.ndarray,
    labels: np.ndarray,
    classes: int,
    recordings: Sequence[str] | np.ndarray,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of means of what each item gives: "accuracy" is the mean over classes of their items' means, and
    "log_loss" the mean over all items.

    Args:
        right, losses: what each item gives to the two, (n,): of one prediction, or differences of two.
        labels: class numbers (n,).
        classes: how many there are.
        recordings: which are drawn whole, (n,).
        seed: of the draws.
    """
    _, member = np.unique(np.asarray(recordings), return_inverse=True)
    if (count := int(member.max()) + 1) < 2:
        return {}  # one recording has no spread
    cell = member * classes + labels

    def summed(values: np.ndarray) -> np.ndarray:
        """Sums over the items of each recording and class, (recordings, classes)."""
        return np.bincount(cell, values, minlength=count * classes).reshape(count, classes)

    items, better, worse = summed(np.ones(len(labels))), summed(right), summed(losses)
    g = np.random.default_rng(seed)
    accuracies, means = [], []
    for _ in range(DRAWS // AT_ONCE):
        drawn = g.multinomial(count, np.full(count, 1 / count), size=AT_ONCE)
        total = drawn @ items
        accuracies.append(np.nanmean(drawn @ better / np.where(total > 0, total, np.nan), axis=1))
        means.append((drawn @ worse).sum(1) / total.sum(1))
    tails = [100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2]
    edges = {
        name: np.percentile(np.concatenate(values), tails).tolist()
        for name, values in (("accuracy", accuracies), ("log_loss", means))
    }
    return {name: (low, high) for name, (low, high) in edges.items()}
