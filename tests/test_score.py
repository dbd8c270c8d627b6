"""Scores against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from data.scenes import DEVICE_GROUPS, DEVICES, SCENES
from experiments.evaluation.metrics import calibration_error, evaluate, log_loss, macro_accuracy, softmax


@pytest.fixture
def predictions() -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 300)
    return softmax(rng.standard_normal((300, 10)) * 2 + 2 * np.eye(10)[labels]), labels, list(rng.choice(DEVICES, 300))


def scores(predictions: tuple) -> dict[str, float]:
    return evaluate(*predictions, scenes=SCENES, device_groups=DEVICE_GROUPS)


def test_overall_figures_are_scikit_learns(predictions: tuple) -> None:
    """Oracle: balanced_accuracy_score and log_loss. Tolerance 1e-12."""
    probabilities, labels, _ = predictions
    assert macro_accuracy(probabilities, labels) == pytest.approx(
        metrics.balanced_accuracy_score(labels, probabilities.argmax(1)), abs=1e-12
    )
    assert log_loss(probabilities, labels) == pytest.approx(
        metrics.log_loss(labels, probabilities, labels=range(10)), abs=1e-12
    )


def test_subsets_are_scored_over_their_own_items(predictions: tuple) -> None:
    """Oracle: scikit-learn on the items of one scene, one device and one group."""
    probabilities, labels, devices = predictions
    found, devices = scores(predictions), np.array(devices)
    for name, subset in {
        "scene/park": labels == SCENES.index("park"),
        "device/s4": devices == "s4",
        "group/seen": np.isin(devices, ["s1", "s2", "s3"]),
    }.items():
        p, y = probabilities[subset], labels[subset]
        assert found[f"accuracy/{name}"] == pytest.approx(metrics.accuracy_score(y, p.argmax(1)))
        assert found[f"log_loss/{name}"] == pytest.approx(metrics.log_loss(y, p, labels=range(10)))
    assert len([name for name in found if name.startswith("accuracy")]) == 1 + 10 + 9 + 3


def test_perfect_and_worst_predictions_are_at_the_ends() -> None:
    """Oracle: accuracy 1 and loss 0; accuracy 0 and loss -ln(1e-15)."""
    labels = np.arange(10)
    perfect, worst = np.eye(10), np.roll(np.eye(10), 1, axis=1)
    assert (macro_accuracy(perfect, labels), log_loss(perfect, labels)) == (1.0, 0.0)
    assert macro_accuracy(worst, labels) == 0.0
    assert log_loss(worst, labels) == pytest.approx(-np.log(1e-15))


def test_a_class_or_device_that_does_not_occur_is_left_out() -> None:
    """Oracle: three items of two classes by hand: accuracies 1/2 and 1, macro 3/4."""
    probabilities = softmax(10 * np.eye(10)[[0, 1, 1]])
    found = evaluate(probabilities, np.array([0, 0, 1]), ["a", "a", "b"], scenes=SCENES, device_groups=DEVICE_GROUPS)
    assert found["accuracy"] == 0.75
    assert "accuracy/device/s1" not in found
    assert "accuracy/scene/tram" not in found


@pytest.mark.parametrize(
    ("probabilities", "labels"),
    [
        (np.full((2, 10), 0.2), np.array([0, 1])),
        (np.full((2, 10), 0.1), np.array([0])),
        (np.full((2, 10), np.nan), np.array([0, 1])),
        (np.full((2, 10), 0.1), np.array([0, 10])),
        (np.zeros((0, 10)), np.zeros(0, int)),
    ],
)
def test_ill_formed_predictions_raise(probabilities: np.ndarray, labels: np.ndarray) -> None:
    """Oracle: rows that do not sum to 1, unequal lengths, NaN, a class too many, nothing."""
    with pytest.raises(ValueError, match="must"):
        evaluate(probabilities, labels, ["a"] * len(labels), scenes=SCENES, device_groups=DEVICE_GROUPS)


def test_the_calibration_error_is_that_of_a_table_made_by_hand() -> None:
    """Oracle: two bins of ten: four clips at 0.65, of which one is right (gap 0.4), and one at 0.95 that is (0.05):
    (4 * 0.4 + 0.05) / 5. A perfect forecast of certainties has none."""
    sure = np.array([0.65, 0.65, 0.65, 0.65, 0.95])
    probabilities = np.stack([sure, 1 - sure], axis=1)
    labels = np.array([0, 1, 1, 1, 0])
    assert calibration_error(probabilities, labels, bins=10) == pytest.approx((4 * 0.4 + 0.05) / 5)
    assert calibration_error(np.eye(10), np.arange(10)) == 0
