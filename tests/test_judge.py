"""What is kept of a network's answers to the test split."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve

from data.scenes import SCENES, ClipSet
from experiments.evaluation.evaluate import evaluate_and_save
from experiments.evaluation.metrics import is_edge, metrics_under, reliability
from experiments.stages.score import read_predictions


@pytest.fixture
def answers(miniature: ClipSet) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the test clips, somewhat right, and the labels."""
    labels = miniature.labels[miniature.indices("test")]
    p = np.random.default_rng(0).dirichlet(np.ones(10), size=len(labels))
    p[np.arange(len(labels)), labels] += 0.2
    return p / p.sum(1, keepdims=True), labels


def test_the_tables_hold_what_was_answered(answers, miniature: ClipSet, tmp_path) -> None:
    """Oracle: our own reader of the challenge's tables, pandas, and scikit-learn's confusion matrix."""
    p, labels = answers
    scores = evaluate_and_save(miniature, p, tmp_path)
    names = [miniature.filenames[row] for row in miniature.indices("test")]
    np.testing.assert_allclose(read_predictions(tmp_path / "predictions.csv", names, SCENES), p, atol=1e-7)
    frame = pd.read_csv(tmp_path / "predictions.csv", sep="\t")
    assert list(frame.columns) == ["filename", "scene_label", *SCENES]
    assert frame["scene_label"].tolist() == [SCENES[n] for n in p.argmax(1)]
    counts = pd.read_csv(tmp_path / "confusion.csv", index_col="scene")
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(labels, p.argmax(1), labels=range(10)))
    bins = pd.read_csv(tmp_path / "reliability.csv")
    assert bins["items"].sum() == len(labels)
    error = (bins["items"] * (bins["accuracy"] - bins["confidence"]).abs()).sum() / len(labels)
    assert error == pytest.approx(scores["test/calibration_error"])


def test_every_share_lies_in_its_interval(answers, miniature: ClipSet, tmp_path) -> None:
    """Oracle: a bootstrap's percentiles lie around the figure, and the whole set's are narrower than a device's."""
    scores = evaluate_and_save(miniature, answers[0], tmp_path)
    edges = [name for name in scores if is_edge(name, scores)]
    assert {
        "test/accuracy/low",
        "test/log_loss/high",
        "test/accuracy/device/s6/low",
        "test/accuracy/scene/bus/high",
    } <= {*edges}
    for name in edges:
        figure, edge = name.rsplit("/", 1)
        assert (scores[name] <= scores[figure]) if edge == "low" else (scores[name] >= scores[figure])
    widths = {f: scores[f"test/{f}/high"] - scores[f"test/{f}/low"] for f in ("accuracy", "accuracy/device/s6")}
    assert 0 < widths["accuracy"] < widths["accuracy/device/s6"]


def test_a_class_may_be_called_low() -> None:
    """Oracle: by hand: an edge is one of a figure that is there."""
    scores = dict.fromkeys(("a/scene/low", "a/scene/low/low", "a/scene/low/high", "a/scene/high", "a", "a/low"), 0.0)
    assert metrics_under("a/", scores) == ["a/scene/low", "a/scene/high"]


def test_bins_of_confidence_are_those_of_scikit_learn() -> None:
    """Oracle: scikit-learn's calibration curve of the confidence, with equal bins that are closed above as ours."""
    g = np.random.default_rng(1)
    p, labels = g.dirichlet(np.ones(4), size=500), g.integers(0, 4, 500)
    share, mean = calibration_curve(p.argmax(1) == labels, p.max(1), n_bins=15)
    found = reliability(p, labels)
    np.testing.assert_allclose([b.accuracy for b in found], share)
    np.testing.assert_allclose([b.confidence for b in found], mean)
