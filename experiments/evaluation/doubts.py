"""What speaks against a result: accuracy that guessing would reach too, one class for all clips, a log loss far above
that of equal probabilities.

Conventions: those of metrics.py. Clips of one recording are not independent: as many trials as there are recordings
are counted. Small test splits raise no doubt that they cannot support.
Source of the interval: Clopper & Pearson, "The use of confidence or fiducial limits illustrated in the case of the
binomial", Biometrika 1934.
"""

import math
from collections.abc import Sequence

import numpy as np

from experiments.evaluation.metrics import CLIP, log_loss, macro_accuracy

LEVEL = 0.95
NEARLY_ALL = 0.9  # of the clips of other classes that are answered by one class
OTHERS = 10  # clips of other classes; fewer say nothing
FAR = 2.0  # times the log loss of equal probabilities
RECORDINGS = 5  # whose log losses have a spread to judge by
REMEDY = (
    "look at the learning rate, the number of epochs and the labels, or, of an imported network, at its front end, "
    "strides and order of classes"
)


def doubts(
    probabilities: np.ndarray, labels: np.ndarray, recordings: Sequence[str], scenes: Sequence[str]
) -> list[str]:
    """What speaks against a result, a sentence each; none for most.

    Args:
        probabilities: (n, classes).
        labels: class numbers (n,).
        recordings: which recording each item is part of, (n,).
        scenes: names of the classes.
    """
    found = [
        _one_class(probabilities, labels, scenes),
        _at_chance(macro_accuracy(probabilities, labels), len(np.unique(labels)), len(set(recordings))),
        _far_from_prior(probabilities, labels, recordings),
    ]
    return [each for each in found if each is not None]


def accuracy_interval(accuracy: float, trials: int) -> tuple[float, float]:
    """Two-sided interval of a share of independent trials, by Clopper and Pearson."""
    from scipy.special import betaincinv

    right, tail = accuracy * trials, (1 - LEVEL) / 2
    low = 0.0 if right <= 0 else float(betaincinv(right, trials - right + 1, tail))
    high = 1.0 if right >= trials else float(betaincinv(right + 1, trials - right, 1 - tail))
    return low, high


def _one_class(probabilities: np.ndarray, labels: np.ndarray, scenes: Sequence[str]) -> str | None:
    answers = probabilities.argmax(axis=1)
    most = int(np.bincount(answers, minlength=len(scenes)).argmax())
    others = labels != most
    if others.sum() < OTHERS or (answers[others] == most).mean() < NEARLY_ALL:
        return None
    return f"{100 * (answers == most).mean():.0f} % of {len(labels)} clips are answered {scenes[most]!r}"


def _at_chance(accuracy: float, classes: int, recordings: int) -> str | None:
    """`classes`: those that occur; a network that answers one of them always has 1 / classes."""
    if classes < 2:
        return None
    low, high = accuracy_interval(accuracy, recordings)
    chance = 1 / classes
    # An interval that reaches up to a good result, as that of a few recordings does, says nothing.
    if low > chance or high > (1 + chance) / 2:
        return None
    return (
        f"accuracy {100 * accuracy:.1f} % is not above chance, which is {100 * chance:.1f} % of {classes} classes "
        f"(95 % interval of {recordings} recordings: {100 * low:.1f} to {100 * high:.1f} %)"
    )


def _far_from_prior(probabilities: np.ndarray, labels: np.ndarray, recordings: Sequence[str]) -> str | None:
    prior = math.log(probabilities.shape[1])
    losses = -np.log(np.clip(probabilities[np.arange(len(labels)), labels].astype(np.float64), CLIP, 1))
    _, member = np.unique(np.asarray(recordings), return_inverse=True)
    means = np.bincount(member, losses) / np.bincount(member)
    if len(means) < RECORDINGS or means.mean() - 2 * means.std(ddof=1) / math.sqrt(len(means)) < FAR * prior:
        return None
    return (
        f"log loss {log_loss(probabilities, labels):.2f} is far above {prior:.2f}, that of equal probabilities for all "
        f"{probabilities.shape[1]} classes"
    )
