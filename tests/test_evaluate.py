"""What is kept of a network's predictions for the test split."""

import csv
import dataclasses
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve

from data.errors import UserError
from data.scenes import SCENES, ClipSet
from experiments.evaluation.evaluate import evaluate_and_save, score_table, split_metrics
from experiments.evaluation.metrics import is_edge, metrics_under, reliability
from experiments.evaluation.predictions import predictions_text, read_predictions
from experiments.runs.formats import confusion_in


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


def as_csv_writes(rows: Iterable[Iterable[object]], separator: str) -> bytes:
    """What Python's csv module makes of rows, lines ending in LF."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def test_the_tables_bytes_are_those_of_the_csv_module(answers, miniature: ClipSet, tmp_path: Path) -> None:
    """Oracle: Python's csv module: numbers as Python writes them, probabilities with eight digits; names of clips and
    classes that need quotes, and a class that is called as a column is."""
    p, labels = answers
    scenes = (*('a "b"', "c\td", "e, f", "scene"), *SCENES[4:])
    names = dict(zip(SCENES, scenes, strict=True))
    odd = [clip._replace(filename=f'"{clip.filename}\t,', scene=names[clip.scene]) for clip in miniature.clips]
    clips = dataclasses.replace(miniature, clips=odd, scenes=scenes)
    evaluate_and_save(clips, p, tmp_path)
    tested = [odd[row].filename for row in miniature.indices("test")]
    table = [[name, scenes[row.argmax()], *(f"{x:.8g}" for x in row)] for name, row in zip(tested, p, strict=True)]
    expected = as_csv_writes([["filename", "scene_label", *scenes], *table], "\t")
    assert (tmp_path / "predictions.csv").read_bytes() == expected
    counts = metrics.confusion_matrix(labels, p.argmax(1), labels=range(10)).tolist()
    table = [["true scene", *scenes], *([scene, *row] for scene, row in zip(scenes, counts, strict=True))]
    assert (tmp_path / "confusion.csv").read_bytes() == as_csv_writes(table, ",")
    assert confusion_in(tmp_path / "confusion.csv") == (list(scenes), counts)
    bins = reliability(p, labels)
    assert (tmp_path / "reliability.csv").read_bytes() == as_csv_writes([bins[0]._fields, *bins], ",")


def test_a_class_that_is_called_as_a_column_is_refused(answers) -> None:
    """Oracle: the message; such a table could not be read."""
    p, names = answers[0], ["x.wav"] * len(answers[0])
    with pytest.raises(UserError, match="classes are named filename, scene_label, which are columns"):
        predictions_text(names, p, ("filename", "scene_label", *SCENES[2:]))


def test_a_table_is_scored_without_a_run(answers, miniature: ClipSet, tmp_path: Path) -> None:
    """Oracle: the metrics of the run that wrote the table, to the eight digits that it has; no file is added."""
    scores = evaluate_and_save(miniature, answers[0], tmp_path)
    found = score_table(str(tmp_path / "predictions.csv"), miniature)
    assert found == pytest.approx(scores, rel=1e-6)
    names = ["confusion.csv", "mistakes.json", "predictions.csv", "reliability.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


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


def test_metrics_have_intervals_where_they_are_asked_for(answers, miniature: ClipSet) -> None:
    """Oracle: the names: none is an edge of another without them, and the metrics are the same with them."""
    plain = split_metrics(miniature, "test", answers[0])
    assert not any(is_edge(name, plain) for name in plain)
    assert plain.items() <= split_metrics(miniature, "test", answers[0], detailed=True).items()


def test_doubts_are_written_beside_the_tables(miniature: ClipSet, tmp_path: Path) -> None:
    """Oracle: answers of one class alone, which are doubtful."""
    p = np.full((len(miniature.indices("test")), 10), 0.01)
    p[:, 3] = 0.91
    evaluate_and_save(miniature, p, tmp_path)
    assert (tmp_path / "doubts.txt").read_text().strip()
