"""An ensemble: the weighted mean of several teachers' logits or probabilities.

Conventions: members are logits (M, N, classes) of M teachers for N clips; the ensemble's are logits (N, classes) again,
with which students learn as from one teacher. Weights are convex (M,): not negative, sum 1. A temperature divides a
member's logits before the mean. Temperatures and weights are fitted by log loss (natural logarithm) on clips that no
member was trained on.
Source: temperature: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2; mean of logits
and of probabilities as in the DCASE 2022 and 2023 winners' reports.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, logsumexp

from data.errors import unknown
from data.logits import convex

MEANS = ("logits", "probabilities")
HIGHEST_TEMPERATURE = 20.0  # temperatures are sought from its inverse to it
TINY = 1e-12  # of each weight while they are sought: they may not all be 0


def combine(members: np.ndarray, weights: Sequence[float] | np.ndarray, mean: str) -> np.ndarray:
    """The ensemble's logits (N, classes).

    Args:
        members: (M, N, classes).
        weights: (M,), convex.
        mean: of "logits", or of "probabilities" (whose logarithm is given).

    Raises:
        UserError: unknown mean, or weights that are not one a member, negative or all zero.
    """
    if mean not in MEANS:
        unknown("ensemble.mean", mean, MEANS)
    shares = convex("ensemble.weights", weights, len(members), of="member")
    if mean == "logits":
        return np.tensordot(shares, members, axes=1)
    return logsumexp(log_softmax(members.astype(np.float64), axis=2), axis=0, b=shares[:, None, None])


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which softmax(logits / temperature) has the lowest log loss.

    Args:
        logits: (n, classes).
        labels: class numbers (n,).
    """
    limit = np.log(HIGHEST_TEMPERATURE)
    found = minimize_scalar(lambda t: _loss(logits / np.exp(t), labels), bounds=(-limit, limit), method="bounded")
    return float(np.exp(found.x))


def fit_weights(members: np.ndarray, labels: np.ndarray, mean: str) -> np.ndarray:
    """The convex weights (M,) whose ensemble has the lowest log loss.

    The loss is a convex function of the weights for both means, so that the minimum found is the global one.

    Args:
        members: logits (M, n, classes).
        labels: class numbers (n,).
        mean: as of `combine`.
    """
    count = len(members)
    found = minimize(
        lambda w: _loss(combine(members, np.maximum(w, 0) + TINY, mean), labels),
        np.ones(count),  # equal; the constraint is met from the first step on
        method="SLSQP",
        bounds=[(0, None)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-10},
    )
    weights = np.where(found.x > 1e-6, found.x, 0)
    return weights / weights.sum()


def _loss(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(-log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean())
