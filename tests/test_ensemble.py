"""Several teachers made one: laws, a grid, and members whose truth is known."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn import metrics

from data.errors import UserError
from teachers.ensemble import MEANS, combine, fit_temperature, fit_weights


@pytest.fixture
def members() -> tuple[np.ndarray, np.ndarray]:
    """Three members (3, 2000, 5) and labels (2000,): two that know something of their own, and noise."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 2000)
    knows = 1.5 * np.eye(5)[labels]
    members = rng.standard_normal((3, 2000, 5))
    members[:2] += knows
    members[2] *= 3
    return members, labels


def drawn(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels (n,) of the given probabilities (n, classes)."""
    return (probabilities.cumsum(1) > rng.random((len(probabilities), 1))).argmax(1)


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    return metrics.log_loss(labels, softmax(logits.astype(np.float64), axis=1), labels=range(logits.shape[1]))


def test_a_mean_is_what_its_name_says(members: tuple) -> None:
    """Oracle: NumPy's weighted mean of logits, and of scipy's softmax."""
    logits, _ = members
    for weights in ([1, 3, 0], [1, 0.02, 0.001]):
        np.testing.assert_allclose(combine(logits, weights, "logits"), np.average(logits, axis=0, weights=weights))
        expected = np.average(softmax(logits, axis=2), axis=0, weights=weights)
        np.testing.assert_allclose(softmax(combine(logits, weights, "probabilities"), axis=1), expected, rtol=1e-9)


@pytest.mark.parametrize("mean", MEANS)
def test_copies_of_one_member_are_that_member(members: tuple, mean: str) -> None:
    """Oracle: the member's own probabilities, whatever the weights."""
    one = members[0][:1].repeat(3, axis=0)
    np.testing.assert_allclose(log_softmax(combine(one, [0.2, 0.5, 0.3], mean), axis=1), log_softmax(one[0], axis=1))


def test_a_temperature_that_was_applied_is_found() -> None:
    """Oracle: labels drawn from the softmax of known logits, which are then multiplied: within 5 %, four standard
    errors for 20,000 clips."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.standard_normal((20_000, 10))
    labels = drawn(softmax(logits, axis=1), rng)
    for factor in (0.3, 1.0, 4.0):
        assert fit_temperature(factor * logits, labels) == pytest.approx(factor, rel=0.05)


def test_temperatures_end_at_twenty_and_its_inverse() -> None:
    """Oracle: by hand: for logits that are wrong more often than not the best temperature is infinite, for those that
    are always right 0: the ends 20 and 1 / 20 come out."""
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((1000, 5)), rng.integers(0, 5, 1000)
    misled = np.where(rng.random(1000) < 0.5, logits.argmin(1), labels)
    assert fit_temperature(logits, misled) == pytest.approx(20, rel=1e-3)
    assert fit_temperature(logits, logits.argmax(1)) == pytest.approx(1 / 20, rel=1e-3)


@pytest.mark.parametrize("mean", MEANS)
def test_a_small_true_share_is_found(mean: str) -> None:
    """Oracle: labels drawn from the mean of two known members with the weights 0.95 and 0.05: within 0.025, four
    standard errors for 8,000 clips."""
    rng = np.random.default_rng(0)
    members = 2 * rng.standard_normal((2, 8_000, 10))
    shares = np.array([0.95, 0.05])
    logits = np.tensordot(shares, members, axes=1)
    truth = softmax(logits, axis=1) if mean == "logits" else np.tensordot(shares, softmax(members, axis=2), axes=1)
    np.testing.assert_allclose(fit_weights(members, drawn(truth, rng), mean), shares, atol=0.025)


@pytest.mark.parametrize("mean", MEANS)
def test_fitted_weights_are_the_best_of_a_grid(members: tuple, mean: str) -> None:
    """Oracle: log loss (scikit-learn) over a grid of all weights in steps of 0.05; noise gets (nearly) nothing; no
    single member and no equal share is better."""
    logits, labels = members
    weights = fit_weights(logits, labels, mean)
    assert weights.sum() == pytest.approx(1)
    assert weights.min() >= 0
    assert weights[2] < 0.05
    steps = np.arange(0, 21) / 20
    grid = [(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-9]
    best = min(log_loss(combine(logits, np.maximum(w, 0), mean), labels) for w in grid)
    assert log_loss(combine(logits, weights, mean), labels) <= best + 1e-6


@pytest.mark.parametrize("mean", MEANS)
def test_a_single_member_has_all_the_weight(members: tuple, mean: str) -> None:
    """Oracle: arithmetic: one weight whose sum is 1."""
    assert fit_weights(members[0][:1], members[1], mean).tolist() == [1.0]


@pytest.mark.parametrize("weights", [[1, 1], [1, -1, 1], [0, 0, 0], [1, float("nan"), 1]])
def test_weights_that_are_none_are_refused(members: tuple, weights: list) -> None:
    """Oracle: the message."""
    with pytest.raises(UserError, match=r"must be 3 numbers, one a member"):
        combine(members[0], weights, "logits")
    with pytest.raises(UserError, match="choose one of: logits, probabilities"):
        combine(members[0], [1, 1, 1], "median")
