"""Metrics of answers to clips that may have several classes: mean average precision and binary cross-entropy.

Conventions: probabilities are float (n, classes), each class's by itself; labels bool (n, classes). Average precision
is that of each class, and its mean is over the classes that one of the clips has: of the others nothing can be
measured. The cross-entropy is the mean over clips and classes, in nats; no probability counts as less than LEAST.
Sources: Kong et al., "PANNs", IEEE/ACM TASLP 28, 2020, whose mAP, as that of other works on AudioSet, is this mean over
classes; https://github.com/fschmid56/EfficientAT, ex_audioset.py, `_test`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data.errors import UserError

LEAST = float(np.finfo(np.float64).eps)  # what 1 less a probability is computed to
MEAN_AVERAGE_PRECISION, CROSS_ENTROPY = "mean_average_precision", "binary_cross_entropy"
TITLES = {MEAN_AVERAGE_PRECISION: "mAP", CROSS_ENTROPY: "binary cross-entropy"}
BY_CLASS = "average_precision/scene/"  # what the names of single classes' metrics begin with


def metric_title(metric: str) -> str:
    """How a metric is called on a console and on pages: log_loss -> log loss, mean_average_precision -> mAP"""
    return TITLES.get(metric, metric.replace("_", " "))


class Ranked(NamedTuple):
    """The clips by their score of a class, the highest first, in groups of equal scores, which no threshold divides; of
    clips behind the last one that has the class nothing depends on.

    Attributes:
        order: rows of the clips.
        starts: where in `order` the clips begin that are counted with a group in which a clip has the class.
        hits: rows of the clips that have the class, in the same order.
        first_hits: where in `hits` those of a group begin.
    """

    order: np.ndarray
    starts: np.ndarray
    hits: np.ndarray
    first_hits: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, labels: np.ndarray) -> "Ranked":
        """The clips of a class that one of them has.

        Args:
            scores: of the class, (n,).
            labels: whether a clip has it, bool (n,).
        """
        order = np.argsort(-scores, kind="stable")
        ranked, has = scores[order], labels[order]
        last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        group = np.searchsorted(last, np.flatnonzero(has))
        groups, first_hits = np.unique(group, return_index=True)
        ends = last[groups] + 1
        return cls(order[: ends[-1]], np.append(0, ends[:-1]), order[has], first_hits)

    def average_precisions(self, times: np.ndarray) -> np.ndarray:
        """The mean, over the clips of the class, of the precision among all clips that have at least the score of that
        clip, (draws,); NaN where none of them is drawn.

        Args:
            times: how often each clip counts, (n, draws).
        """
        clips = np.add.reduceat(times[self.order], self.starts, axis=0).cumsum(axis=0, dtype=np.float64)
        found = np.add.reduceat(times[self.hits], self.first_hits, axis=0).astype(np.float64)
        hits = found.cumsum(axis=0)
        precision = hits / np.maximum(clips, 1)
        return (precision * found).sum(axis=0) / np.where(hits[-1] > 0, hits[-1], np.nan)


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """That of a class, each clip once; see Ranked."""
    return float(Ranked.of(scores, labels).average_precisions(np.ones((len(scores), 1)))[0])


def average_precisions(probabilities: np.ndarray, labels: np.ndarray) -> dict[int, float]:
    """That of each class that a clip has, by its number.

    Raises:
        UserError: no clip has a class.
    """
    found = {
        number: average_precision(probabilities[:, number], labels[:, number])
        for number in np.flatnonzero(labels.any(axis=0)).tolist()
    }
    if not found:
        raise UserError(f"none of these {len(labels)} clips has a class: their answers cannot be measured")
    return found


def mean_average_precision(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean of average_precisions."""
    return float(np.mean([*average_precisions(probabilities, labels).values()]))


def binary_cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean of binary_cross_entropies."""
    return float(binary_cross_entropies(probabilities, labels).mean())


def binary_cross_entropies(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each clip the mean of -log(probability of what is so) over classes, (n,)."""
    right = np.where(labels, probabilities, 1 - probabilities)
    return -np.log(np.clip(right, LEAST, 1)).mean(axis=1)


def evaluate_multi_label(
    probabilities: np.ndarray, labels: np.ndarray, scenes: Sequence[str], *, detailed: bool = False
) -> dict[str, float]:
    """Both metrics by name, and with `detailed` the average precision of each class that a clip has, as
    average_precision/scene/<class>.

    Args:
        probabilities, labels: see above.
        scenes: the classes.
        detailed: also those of each class.

    Raises:
        UserError: no clip has a class.
    """
    by_class = average_precisions(probabilities, labels)
    found = {
        MEAN_AVERAGE_PRECISION: float(np.mean([*by_class.values()])),
        CROSS_ENTROPY: binary_cross_entropy(probabilities, labels),
    }
    return found | ({f"{BY_CLASS}{scenes[n]}": value for n, value in by_class.items()} if detailed else {})
