"""Confidence intervals of metrics: bootstrap over recordings, because the ten clips of one are not independent.

Conventions: what is drawn with replacement are whole recordings; an interval is between percentiles of the draws.
Both predictions of a difference are evaluated on the same draws (paired).
Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, sections 8.6 (clusters) and 13.3 (percentiles).
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from experiments.evaluation.metrics import clip_losses
from experiments.evaluation.multi_label import (
    CROSS_ENTROPY,
    MEAN_AVERAGE_PRECISION,
    Ranked,
    binary_cross_entropies,
)

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
    member, count = _members(recordings)
    if count < 2:
        return {}  # one recording has no spread
    cell = member * classes + labels

    def summed(values: np.ndarray) -> np.ndarray:
        """Sums over the items of each recording and class, (recordings, classes)."""
        return np.bincount(cell, values, minlength=count * classes).reshape(count, classes)

    items, better, worse = summed(np.ones(len(labels))), summed(right), summed(losses)
    accuracies, means = [], []
    for drawn in _draws(count, seed):
        total = drawn @ items
        accuracies.append(np.nanmean(drawn @ better / np.where(total > 0, total, np.nan), axis=1))
        means.append((drawn @ worse).sum(1) / total.sum(1))
    return {"accuracy": _edges(accuracies), "log_loss": _edges(means)}


def multi_label_intervals(
    probabilities: np.ndarray, labels: np.ndarray, recordings: Sequence[str], *, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the metrics of multi_label.py; the mean average precision of a draw is that over the classes
    which the draw has.

    Args:
        probabilities: (n, classes).
        labels: which item has which class, bool (n, classes).
        recordings, seed: as of metric_intervals, and so is what there are none of.
    """
    member, count = _members(recordings)
    if count < 2:
        return {}
    ranked = [Ranked.of(probabilities[:, n], labels[:, n]) for n in np.flatnonzero(labels.any(axis=0)).tolist()]
    losses = np.bincount(member, binary_cross_entropies(probabilities, labels))
    precisions, means = [], []
    for drawn in _draws(count, seed):
        times = drawn.T[member].astype(np.float32)  # (n, draws); whole numbers, and so are all sums of them
        by_class = np.stack([each.average_precisions(times) for each in ranked])
        precisions.append(np.nanmean(by_class[:, np.isfinite(by_class).any(axis=0)], axis=0))
        means.append(drawn @ losses / times.sum(axis=0))
    found = {MEAN_AVERAGE_PRECISION: _edges(precisions), CROSS_ENTROPY: _edges(means)}
    return {name: (low, high) for name, (low, high) in found.items() if low < high}


def _members(recordings: Sequence[str] | np.ndarray) -> tuple[np.ndarray, int]:
    """The number of the recording of each item, and how many there are."""
    _, member = np.unique(np.asarray(recordings), return_inverse=True)
    return member, int(member.max()) + 1


def _draws(count: int, seed: int) -> Iterator[np.ndarray]:
    """How often each recording is in each draw, (AT_ONCE, count), until there are DRAWS of them."""
    g = np.random.default_rng(seed)
    for _ in range(DRAWS // AT_ONCE):
        yield g.multinomial(count, np.full(count, 1 / count), size=AT_ONCE)


def _edges(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """The percentiles between which LEVEL of the draws are."""
    low, high = np.percentile(np.concatenate(values), [100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2]).tolist()
    return low, high
