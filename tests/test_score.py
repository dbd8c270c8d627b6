"""Scores against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from data.scenes import DEVICE_GROUPS, DEVICES, SCENES
from experiments.evaluation.metrics import (
    calibration_error,
    confusion,
    evaluate,
    log_loss,
    macro_accuracy,
    reliability,
    softmax,
)


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


WRONG = {
    "rows that sum to too much": (np.full((2, 10), 0.1001), np.array([0, 1]), "sum to 1"),
    "rows that sum to too little": (np.full((2, 10), 0.0999), np.array([0, 1]), "sum to 1"),
    "fewer labels than rows": (np.full((2, 10), 0.1), np.array([0]), "must be .n, classes. and .n,."),
    "labels as a table": (np.full((2, 10), 0.1), np.zeros((2, 1), int), "must be .n, classes. and .n,."),
    "one row that is no table": (np.full(10, 0.1), np.zeros(10, int), "must be .n, classes. and .n,."),
    "nothing": (np.zeros((0, 10)), np.zeros(0, int), "n > 0"),
    "a value that is no number": (np.full((2, 10), np.nan), np.array([0, 1]), "numbers from 0 to 1"),
    "a negative value": (np.array([[1.5, -0.5]]), np.array([0]), "numbers from 0 to 1"),
    "a class too many": (np.full((2, 10), 0.1), np.array([0, 10]), "from 0 to 9"),
    "a negative class": (np.full((2, 10), 0.1), np.array([-1, 9]), "from 0 to 9"),
}


@pytest.mark.parametrize("name", WRONG)
def test_ill_formed_predictions_raise(name: str) -> None:
    """Oracle: the message."""
    probabilities, labels, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        evaluate(probabilities, labels, ["a"] * len(labels), scenes=SCENES, device_groups=DEVICE_GROUPS)


def test_rows_may_be_rounded_and_classes_be_the_first_or_the_last() -> None:
    """Oracle: scikit-learn's accuracy of rows that sum to 1.00005 and 0.99995, as tables with few digits have them."""
    probabilities = np.array([[0.0, 1.00005], [0.99995, 0.0], [1.0, 0.0]])
    labels = np.array([1, 0, 1])
    found = evaluate(probabilities, labels, ["a"] * 3, scenes=SCENES[:2], device_groups=DEVICE_GROUPS)
    assert found["accuracy"] == metrics.balanced_accuracy_score(labels, probabilities.argmax(1))


def test_logits_of_ten_thousand_have_a_finite_loss() -> None:
    """Oracle: by hand: what is certain and right costs 0, what is certain and wrong -ln(1e-15) = 34.539, two equal
    logits ln 2."""
    logits = np.array([[1e4, 0.0], [1e4, 1e4], [-1e4, 1e4]])
    with np.errstate(all="raise", under="ignore"):
        losses = [log_loss(softmax(row[None]), np.array([0])) for row in logits]
    assert losses == pytest.approx([0, np.log(2), 34.538776], abs=1e-6)


def test_confidences_belong_to_the_bin_that_ends_with_them() -> None:
    """Oracle: Guo et al., section 2: bins (low, high]; four of them, whose edges are exact. A confidence of 1.00005 by
    rounding belongs to the last."""
    confidences = [0.5, 0.5 + 2**-20, 0.75, 0.75 + 2**-20, 1.0, 1.00005]
    probabilities = np.array([[c, 1 - c] for c in confidences])
    found = reliability(probabilities, np.array([0, 0, 1, 0, 0, 1]), bins=4)
    assert [(b.low, b.high, b.items) for b in found] == [(0.25, 0.5, 1), (0.5, 0.75, 2), (0.75, 1, 3)]
    assert [b.accuracy for b in found] == [1, 0.5, pytest.approx(2 / 3)]
    assert found[1].confidence == pytest.approx((0.5 + 2**-20 + 0.75) / 2)
    thirds = reliability(np.full((1, 3), 1 / 3), np.array([2]))  # the lowest confidence of three classes, of 15 bins
    assert [(b.low, b.high, b.accuracy) for b in thirds] == [(4 / 15, 5 / 15, 0)]


def test_the_first_bin_is_for_the_least_confident_of_many_classes() -> None:
    """Oracle: by hand: 1/20 for each of 20 classes is below 1/15, the end of the first bin of 15; one of three is
    right."""
    (found,) = reliability(np.full((3, 20), 1 / 20), np.array([0, 1, 2]))
    assert found == pytest.approx((0, 1 / 15, 3, 1 / 20, 1 / 3))


def test_confusions_are_scikit_learns(predictions: tuple) -> None:
    """Oracle: scikit-learn's confusion matrix, also where the last classes never occur."""
    probabilities, labels, _ = predictions
    for chosen in (labels < 10, labels < 4):
        found = confusion(probabilities[chosen], labels[chosen])
        expected = metrics.confusion_matrix(labels[chosen], probabilities[chosen].argmax(1), labels=range(10))
        np.testing.assert_array_equal(found, expected)


def test_the_calibration_error_is_that_of_a_table_made_by_hand() -> None:
    """Oracle: two bins of ten: four clips at 0.65, of which one is right (gap 0.4), and one at 0.95 that is (0.05):
    (4 * 0.4 + 0.05) / 5. A perfect forecast of certainties has none."""
    sure = np.array([0.65, 0.65, 0.65, 0.65, 0.95])
    probabilities = np.stack([sure, 1 - sure], axis=1)
    labels = np.array([0, 1, 1, 1, 0])
    assert calibration_error(probabilities, labels, bins=10) == pytest.approx((4 * 0.4 + 0.05) / 5)
    assert calibration_error(np.eye(10), np.arange(10)) == 0
