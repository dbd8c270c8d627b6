"""Metrics of answers to clips that may have several classes: mean average precision and binary cross-entropy.

Conventions: probabilities are float (n, classes), each class's by itself; labels bool (n, classes). Average precision
is that of each class, and its mean is over the classes that one of the clips has: of the others nothing can be
measured. The cross-entropy is the mean over clips and classes, in nats; no probability counts as less than LEAST.
Sources: Kong et al., "PANNs", IEEE/ACM TASLP 28, 2020, whose mAP, as that of other works on AudioSet, is this mean over
classes; https://github.com/fschmid56/EfficientAT, ex_audioset.py, `_test`.
"""

from collections.abc import Sequence

import numpy as np

from data.errors import UserError

LEAST = float(np.finfo(np.float64).eps)  # what 1 less a probability is computed to
MEAN_AVERAGE_PRECISION, CROSS_ENTROPY = "mean_average_precision", "binary_cross_entropy"
TITLES = {MEAN_AVERAGE_PRECISION: "mAP", CROSS_ENTROPY: "binary cross-entropy"}
BY_CLASS = "average_precision/scene/"  # what the names of single classes' metrics begin with


def metric_title(metric: str) -> str:
    """How a metric is called on a console and on pages: log_loss -> log loss, mean_average_precision -> mAP"""
    return TITLES.get(metric, metric.replace("_", " "))


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """The mean, over the clips of a class, of the precision among all clips that have at least the score of that clip.

    Args:
        scores: of the class, (n,).
        labels: whether a clip has it, bool (n,); one has.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], labels[order].cumsum()
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # no threshold divides equal scores
    precision, found = hits[last] / (last + 1), np.diff(hits[last], prepend=0)
    return float((precision * found).sum() / hits[-1])


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
    """Mean of -log(probability of what is so) over clips and classes."""
    right = np.where(labels, probabilities, 1 - probabilities)
    return float(-np.log(np.clip(right, LEAST, 1)).mean())


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
