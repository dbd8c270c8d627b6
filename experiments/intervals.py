"""How sure a figure is: bootstrap over recordings, because the ten clips of one are no ten witnesses.

Conventions: what is drawn with replacement are whole recordings; an interval is between percentiles of the draws.
Both predictions of a difference are judged on the same draws (paired).
Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, sections 8.6 (clusters) and 13.3 (percentiles).
"""

from collections.abc import Sequence

import numpy as np

from experiments.score import CLIP

DRAWS = 2000
LEVEL = 0.95
AT_ONCE = 50  # draws; on 3,000 recordings of ten classes some megabytes


def difference_intervals(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, recordings: Sequence[str], *, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % intervals of first minus second, of "accuracy" (macro, over the classes that a draw has) and "log_loss".

    Args:
        first, second: probabilities (n, classes) of the same items.
        labels: class numbers (n,).
        recordings: which recording each item is part of, (n,).
        seed: of the draws.
    """
    _, member = np.unique(np.asarray(recordings), return_inverse=True)
    count, classes = int(member.max()) + 1, first.shape[1]
    cell = member * classes + labels

    def summed(values: np.ndarray) -> np.ndarray:
        """Sums over the items of each recording and class, (recordings, classes)."""
        return np.bincount(cell, values, minlength=count * classes).reshape(count, classes)

    items = summed(np.ones(len(labels)))
    better = summed((first.argmax(1) == labels).astype(float) - (second.argmax(1) == labels))
    worse = summed(_losses(first, labels) - _losses(second, labels))
    g = np.random.default_rng(seed)
    accuracies, losses = [], []
    for _ in range(DRAWS // AT_ONCE):
        drawn = g.multinomial(count, np.full(count, 1 / count), size=AT_ONCE)
        total = drawn @ items
        with np.errstate(invalid="ignore"):
            accuracies.append(np.nanmean(drawn @ better / np.where(total > 0, total, np.nan), axis=1))
        losses.append((drawn @ worse).sum(1) / total.sum(1))
    tails = [100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2]
    return {
        name: tuple(float(edge) for edge in np.percentile(np.concatenate(values), tails))
        for name, values in (("accuracy", accuracies), ("log_loss", losses))
    }


def _losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    right = probabilities.astype(np.float64)[np.arange(len(labels)), labels]
    return -np.log(np.clip(right, CLIP, 1))
