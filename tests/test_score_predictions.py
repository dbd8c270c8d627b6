"""Scoring a table that somebody else wrote."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import metrics

from data.errors import UserError
from data.scenes import SCENES, ClipSet
from experiments.evaluation.metrics import confusion
from experiments.evaluation.predictions import read_predictions

NAMES = ["audio/a.wav", "audio/b.wav", "audio/c.wav"]


def table(names: list[str], probabilities: np.ndarray, *, label: bool = True) -> pd.DataFrame:
    """As the challenge wants it."""
    out = pd.DataFrame({"filename": names})
    if label:
        out["scene_label"] = [SCENES[n] for n in probabilities.argmax(1)]
    return out.join(pd.DataFrame(probabilities, columns=list(SCENES)))


@pytest.fixture
def probabilities() -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(10), size=3)


@pytest.mark.parametrize("separator", ["\t", ","])
def test_a_table_is_read_by_name(separator: str, tmp_path: Path, probabilities: np.ndarray) -> None:
    """Oracle: pandas wrote it, in another order, with names that lack the folder."""
    names = [Path(name).name for name in NAMES]
    frame = table(names, probabilities).sample(frac=1, random_state=1)
    frame.to_csv(tmp_path / "p.csv", sep=separator, index=False)
    found = read_predictions(tmp_path / "p.csv", NAMES, SCENES)
    np.testing.assert_allclose(found, probabilities, atol=1e-12)


def test_every_defect_is_named(tmp_path: Path, probabilities: np.ndarray) -> None:
    """Oracle: the messages, for what organisers would refuse."""

    def refused(frame: pd.DataFrame, message: str) -> None:
        frame.to_csv(tmp_path / "p.csv", sep="\t", index=False)
        with pytest.raises(UserError, match=message):
            read_predictions(tmp_path / "p.csv", NAMES, SCENES)

    good = table(NAMES, probabilities)
    refused(good[:2], r"audio/c\.wav|c\.wav: missing")
    refused(pd.concat([good, good[:1]]), r"a\.wav: there twice")
    refused(pd.concat([good, table(["z.wav"], probabilities[:1])]), r"z\.wav: no clip of the test split")
    refused(good.assign(**dict.fromkeys(SCENES, 0)), "a.wav: row 1: all probabilities are 0")
    for text, message in {
        "much": "'much' is no number",
        "": "'' is no number: every class needs a probability",
        "0,25": "'0,25' is no number: write a decimal point",
        "25 %": "'25 %' is no number: write 50 % as 0.5",
        "nan": "'nan' is no number: a training that diverged gives such",
        "-Infinity": "'-Infinity' is no number: a training that diverged",
        "1.000,5": "'1.000,5' is no number",
        "1e400": "1e400 is not between 0 and 1",
        "-0.1": "-0.1 is not between 0 and 1",
    }.items():
        refused(good.assign(tram=text), rf"c\.wav: row 3, column tram: {message}")
    refused(good.assign(scene_label="Bus"), "c.wav: row 3: scene_label 'Bus' is no scene")
    refused(good.drop(columns="tram"), "lacks the columns tram")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_spoilt_table_passes_or_crashes(tmp_path: Path, probabilities: np.ndarray, data: st.DataObject) -> None:
    """Oracle: pandas' own reading: what is accepted holds its numbers, each row divided by its sum, and all else is a
    message."""
    text = table(NAMES, probabilities, label=False).to_csv(sep="\t", index=False)
    at = data.draw(st.integers(0, len(text)))
    until = data.draw(st.integers(at, min(len(text), at + 30)))
    spoilt = text[:at] + data.draw(st.text(max_size=8)) + text[until:]
    (tmp_path / "p.csv").write_text(spoilt, encoding="utf-8", newline="")
    try:
        found = read_predictions(tmp_path / "p.csv", NAMES, SCENES)
    except UserError:
        return
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(1), 1)
    frame = pd.read_csv(tmp_path / "p.csv", sep="\t", dtype=str).rename(columns=str.strip)[list(SCENES)]
    read = frame.apply(pd.to_numeric, errors="coerce").dropna(how="all").to_numpy()  # rows are in the order of NAMES
    np.testing.assert_allclose(found, read / read.sum(1, keepdims=True))


def test_confusion_is_that_of_scikit_learn() -> None:
    """Oracle: scikit-learn."""
    g = np.random.default_rng(0)
    probabilities, labels = g.dirichlet(np.ones(4), size=50), g.integers(0, 4, 50)
    expected = metrics.confusion_matrix(labels, probabilities.argmax(1), labels=range(4))
    np.testing.assert_array_equal(confusion(probabilities, labels), expected)


@pytest.mark.slow  # some seconds
def test_a_table_becomes_scores(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: scikit-learn's balanced accuracy, log loss and confusion matrix of the same table; the same table again
    is no new result, another one under its name is refused."""
    rows = miniature.indices("test")
    labels = miniature.labels[rows]
    p = np.random.default_rng(1).dirichlet(np.ones(10), size=len(rows))
    p[np.arange(len(rows)), labels] += 0.2
    p /= p.sum(1, keepdims=True)
    table([miniature.filenames[row] for row in rows], p).to_csv(tmp_path / "p.csv", sep="\t", index=False)
    arguments = ["stage=score", "predictions=p.csv", f"data.root={miniature.root}", "tracking=none"]
    result = run(tmp_path, *arguments)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "runs/score/default"
    scores = json.loads((folder / "score.json").read_text())
    assert scores["test/accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, p.argmax(1)))
    assert scores["test/log_loss"] == pytest.approx(metrics.log_loss(labels, p, labels=range(10)))
    assert scores["test/accuracy/low"] < scores["test/accuracy"] < scores["test/accuracy/high"]
    counts = pd.read_csv(folder / "confusion.csv", index_col="scene")
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(labels, p.argmax(1), labels=range(10)))
    assert f"{100 * scores['test/accuracy']:.1f} %" in result.stdout
    assert "reused" in run(tmp_path, *arguments).stdout
    table([miniature.filenames[row] for row in rows], p[::-1]).to_csv(tmp_path / "p.csv", sep="\t", index=False)
    assert "other settings or inputs" in run(tmp_path, *arguments).stderr
