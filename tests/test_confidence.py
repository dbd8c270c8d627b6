"""How sure a network is: what is fitted to which clips, and what the curve of coverage and accuracy says."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run
from conftest import fit_norms
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from data.errors import UserError
from data.files import file_sha256
from data.front_ends import FrontEnd, build_front_end
from data.scenes import ClipSet
from data.waves import WaveStore
from experiments.datasets.datamodule import DataModule
from experiments.evaluation.confidence import (
    LEAST_COVERAGE,
    chosen_row,
    curve,
    curve_rows,
    curve_scores,
    point_at,
    point_of,
    threshold_scores,
)
from experiments.inference.classifier import load_classifier
from experiments.quantization.checks import require_valid
from experiments.quantization.confidence import Fitted, check_confidence, confidence_scores, fit_confidence
from experiments.settings.parts import Quantize
from experiments.training import checkpoint
from students.cp_mobile import cp_mobile
from students.quantize.answer import ONE, Confidence, exponentials, probabilities
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.read import read_tflite

MEL = {"mels": 64, "hop": 1000}
SPREAD = 8.0  # of the logits: some answers are sure

answers = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30)


@given(answers, st.floats(0, 1))
def test_a_curve_is_counted_at_each_threshold(found: list, aim: float) -> None:
    """Oracle: every threshold tried, and its answers counted one by one."""
    sure, right = np.array([c for c, _ in found], np.uint16), np.array([r for _, r in found])
    expected = {}
    for least in {c for c, _ in found}:
        rights = [r for c, r in found if c >= least]
        expected[least] = (len(rights) / len(found), sum(rights) / len(rights))
    points = curve(sure, right)
    assert {p.least: (p.coverage, p.accuracy) for p in points} == expected
    assert [p.least for p in points] == sorted(expected, reverse=True)
    for share in (0.1, 0.5, 0.9, 1.0):
        assert point_at(points, share).least == max(n for n, (c, _) in expected.items() if c >= share - 1e-9)
    allowed = {n: a for n, (c, a) in expected.items() if c >= LEAST_COVERAGE}
    chosen = point_of(points, aim)
    if any(a >= aim for a in allowed.values()):
        assert chosen.least == min(n for n, a in allowed.items() if a >= aim)
    else:
        assert chosen.accuracy == max(allowed.values())


def test_rows_are_read_back_from_the_scores() -> None:
    """Oracle: four clips by hand: of the surest half one is right, of all three; a threshold that nothing reaches has
    no accuracy; scores without a curve have no rows."""
    sure, right = np.array([30, 20, 10, 5], np.uint16), np.array([True, False, True, True])
    scores = curve_scores(sure, right, 100)
    rows = curve_rows(scores)
    assert [row.coverage for row in rows] == [0.25, 0.25, 0.5, 0.5, 0.5, 0.75, 0.75, 1, 1, 1]
    assert rows[3] == (0.2, 0.5, 0.5)
    assert rows[-1] == (0.05, 1.0, 0.75)
    assert chosen_row(scores) is None
    assert chosen_row(threshold_scores(sure, right, 31, 100, "confidence")) == (0.31, 0.0, None)
    assert chosen_row(threshold_scores(sure, right, 10, 100, "confidence")) == (0.1, 0.75, pytest.approx(2 / 3))
    assert curve_rows({"test/accuracy": 0.5}) == []


@pytest.fixture(scope="module")
def front_end(miniature_waves: WaveStore) -> FrontEnd:
    return build_front_end(miniature_waves.sample_rate, MEL)


@pytest.fixture(scope="module")
def train(miniature: ClipSet, miniature_waves: WaveStore, front_end: FrontEnd) -> torch.Tensor:
    """Log-mels of some train clips."""
    return DataModule(miniature, miniature_waves, None).spectrograms(front_end, "train", 64, 0)


def network(seed: int, spectrograms: torch.Tensor) -> torch.nn.Module:
    """An untrained one."""
    torch.manual_seed(seed)
    return fit_norms(cp_mobile(size="6k"), spectrograms, SPREAD)


def labelled_by(
    one: Callable[[torch.Tensor], torch.Tensor],
    clips: ClipSet,
    waves: WaveStore,
    front_end: FrontEnd,
    temperature: float,
) -> DataModule:
    """The clips with scenes that are drawn by the probabilities that a network gives them at a temperature."""
    with torch.no_grad():
        shares = torch.softmax(one(front_end(waves.read(np.arange(len(clips.clips))))).double() / temperature, 1)
    scenes = torch.multinomial(shares, 1, generator=torch.Generator().manual_seed(0))[:, 0].tolist()
    named = [clip._replace(scene=clips.scenes[scene]) for clip, scene in zip(clips.clips, scenes, strict=True)]
    return DataModule(replace(clips, clips=named), waves, None)


@pytest.fixture(scope="module")
def data(miniature: ClipSet, miniature_waves: WaveStore, front_end: FrontEnd, train: torch.Tensor) -> DataModule:
    return labelled_by(network(0, train), miniature, miniature_waves, front_end, 1.5)


@pytest.fixture(scope="module")
def integers(train: torch.Tensor) -> IntegerNetwork:
    return calibrate(fold(network(0, train)), [train])


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """By trying temperatures 0.1 % apart."""
    tried = np.exp(np.arange(np.log(0.05), np.log(20), 0.001))
    losses = [-log_softmax(logits / t, axis=1)[np.arange(len(labels)), labels].mean() for t in tried]
    return float(tried[int(np.argmin(losses))])


@pytest.mark.slow  # trains and quantises
def test_a_temperature_that_chance_may_have_brought_is_left_at_1(
    integers: IntegerNetwork, miniature: ClipSet, miniature_waves: WaveStore, front_end: FrontEnd
) -> None:
    """Oracle: the log likelihood of the labels, written out, at the best temperature of those tried: at most one nat
    more than at 1 for labels that were drawn at 1, and more for those that were drawn at 3."""
    for drawn_at, is_worth_it in ((1.0, False), (3.0, True)):
        data = labelled_by(integers.logits, miniature, miniature_waves, front_end, drawn_at)
        rows = data.clips.indices("validation")
        logits, labels = integers.logits(front_end(data.store.read(rows))).numpy(), data.clips.labels[rows]
        best = best_temperature(logits, labels)
        losses = [-log_softmax(logits / t, axis=1)[np.arange(len(labels)), labels].sum() for t in (1, best)]
        assert (losses[0] - losses[1] > 1) == is_worth_it
        found = fitted(Quantize(), integers, data, front_end, Path("nowhere"), data.fingerprint["clips"]).confidence
        assert found.temperature == (pytest.approx(best, rel=2e-3) if is_worth_it else 1)


def fitted(
    own: Quantize, integers: IntegerNetwork, data: DataModule, front_end: FrontEnd, path: Path, trained_on: str
) -> Fitted:
    return fit_confidence(own, integers, path, trained_on, data, front_end, 0)


def test_a_network_that_did_not_hear_the_validation_clips_is_fitted_to_its_own_answers(
    integers: IntegerNetwork, data: DataModule, front_end: FrontEnd, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: temperatures tried one by one on the validation clips' logits; the accuracy of the answers above the
    threshold counted clip by clip, and below the aim with any lower one; what cannot be reached is said."""
    rows, clips = data.clips.indices("validation"), data.fingerprint["clips"]
    logits, labels = integers.logits(front_end(data.store.read(rows))).numpy(), data.clips.labels[rows]
    plain, given, nowhere = Quantize(), Quantize(threshold=0.25), Path("nowhere/checkpoint")
    found = fitted(plain, integers, data, front_end, nowhere, clips)
    assert found.clips == len(rows)
    assert found.confidence.temperature == pytest.approx(best_temperature(logits, labels), rel=2e-3)
    assert found.confidence.threshold is None
    assert fitted(given, integers, data, front_end, nowhere, clips) == found._replace(
        confidence=replace(found.confidence, threshold=0.25)
    )
    q = integers.output.quantize(torch.from_numpy(logits)).numpy()
    sure = probabilities(q, exponentials(integers.output.scale, found.confidence.temperature)).max(axis=1)
    right = logits.argmax(axis=1) == labels

    def accuracy(least: int) -> float:
        return float(right[sure >= least].mean())

    aim = accuracy(0) + 0.02
    chosen = fitted(Quantize(answered_accuracy=aim), integers, data, front_end, nowhere, clips).confidence
    assert 0 < chosen.least < ONE
    assert accuracy(chosen.least) >= aim
    assert all(accuracy(each) < aim for each in set(sure.tolist()) if each < chosen.least)
    assert not caplog.text
    assert fitted(Quantize(answered_accuracy=0.0), integers, data, front_end, nowhere, clips).confidence.threshold == 0
    fitted(Quantize(answered_accuracy=1.0), integers, data, front_end, nowhere, clips)
    assert "quantize.answered_accuracy=1 is more than any threshold gives on the validation clips" in caplog.text


def test_a_network_that_heard_them_is_fitted_to_answers_of_its_first_phase(
    integers: IntegerNetwork,
    miniature: ClipSet,
    miniature_waves: WaveStore,
    front_end: FrontEnd,
    train: torch.Tensor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Oracle: temperatures tried one by one on the logits of the first phase's network. Without that network, or if it
    is another one's, nothing is fitted, which is said, and a threshold that is to be chosen is refused before."""
    other = network(1, train)
    data = labelled_by(other, miniature, miniature_waves, front_end, 0.7)
    blueprint = checkpoint.Blueprint(
        "cp_mobile", {"size": "6k"}, MEL, data.clips.scenes, front_end.sample_rate, data.fingerprint["clips"]
    )
    all_trained = data.with_all_trained.fingerprint["clips"]
    folder, first = tmp_path / "student/mine", tmp_path / "student/mine.held_out"
    folder.mkdir(parents=True)
    first.mkdir()
    checkpoint.save(first / "checkpoint.safetensors", other, blueprint)
    path = folder / "checkpoint.safetensors"
    checkpoint.save(path, network(2, train), replace(blueprint, clips=all_trained))
    inputs = {"first_phase": file_sha256(first / "checkpoint.safetensors")}
    (folder / "run.json").write_text(json.dumps({"settings": {}, "inputs": inputs, "sources": []}))
    rows = data.clips.indices("validation")
    with torch.no_grad():
        logits = integers.output.dequantize(integers.output.quantize(other(front_end(data.store.read(rows)))))
    choosing = Quantize(answered_accuracy=float((logits.argmax(1).numpy() == data.clips.labels[rows]).mean()))
    check_confidence(choosing, path, data)
    found = fitted(choosing, integers, data, front_end, path, all_trained)
    expected = best_temperature(logits.numpy(), data.clips.labels[rows])
    assert found.confidence.temperature == pytest.approx(expected, rel=2e-3)
    assert found.clips == len(rows)
    assert not caplog.text

    (folder / "run.json").write_text(json.dumps({"settings": {}, "inputs": {}, "sources": []}))
    own = Quantize(threshold=0.5)
    assert fitted(own, integers, data, front_end, path, all_trained) == (Confidence(1.0, 0.5), 0)
    assert "was trained on other splits, maybe on the validation clips: probabilities are not calibrated" in caplog.text
    check_confidence(own, path, data)
    with pytest.raises(UserError, match=r"which chooses the threshold, needs answers to validation clips by a network"):
        check_confidence(choosing, path, data)
    with caplog.at_level(logging.INFO):
        assert fitted(own, integers, data.with_all_trained, front_end, path, all_trained).clips == 0
    assert "no clips are held out" in caplog.text
    with pytest.raises(UserError, match=r"chooses the threshold, needs validation clips"):
        check_confidence(choosing, path, data.with_all_trained)


def test_what_a_confidence_is_worth_is_measured_on_the_test_split(
    integers: IntegerNetwork, data: DataModule, front_end: FrontEnd
) -> None:
    """Oracle: log loss in float64 and the shares counted clip by clip; all clips are answered at the end of the curve,
    which is the plain accuracy."""
    rows = data.clips.indices("test")
    logits, labels = integers.logits(front_end(data.store.read(rows))).numpy(), data.clips.labels[rows]
    scores = confidence_scores(Fitted(Confidence(1.5, 0.4), 7), integers.output, logits, data)
    every = log_softmax(logits.astype(np.float64) / 1.5, axis=1)
    assert scores["confidence/log_loss"] == pytest.approx(-every[np.arange(len(rows)), labels].mean())
    sure, right = np.exp(every.max(axis=1)), logits.argmax(axis=1) == labels
    assert scores["confidence/threshold"] == pytest.approx(0.4, abs=1 / ONE)
    assert 0 < scores["confidence/coverage"] == (sure >= 0.4).mean() < 1
    assert scores["confidence/accuracy"] == right[sure >= 0.4].mean()
    assert scores["confidence/at_100/accuracy"] == right.mean()
    assert (scores["confidence/temperature"], scores["confidence/clips"]) == (1.5, 7)


def test_settings_that_contradict_each_other_are_refused() -> None:
    """Oracle: the messages."""
    with pytest.raises(UserError, match=r"threshold=0\.5 is a threshold, and quantize\.answered_accuracy=0\.9 chooses"):
        require_valid(Quantize(threshold=0.5, answered_accuracy=0.9))
    for own, key in ((Quantize(bits="16f", threshold=0.5), "th"), (Quantize(bits="16f", answered_accuracy=0.5), "an")):
        with pytest.raises(UserError, match=rf"bits=16f stores floats, which have no quantize\.{key}"):
            require_valid(own)


@pytest.mark.slow  # trains and quantises
def test_the_command_writes_what_it_says(trained: Path, miniature: ClipSet) -> None:
    """Oracle: the file's own metadata, and the scores; the same command reuses the run, and another threshold, which
    would be another result, is refused."""
    arguments = ["stage=quantize", f"data.root={miniature.root}", "name=sure", "quantize.clips=32", "tracking=none"]
    arguments += ["checkpoint=runs/student/first/checkpoint.safetensors"]
    done = run(trained, *arguments, "quantize.threshold=0.15")
    assert done.returncode == 0, done.stderr
    folder = trained / "runs/quantize/sure"
    said, scores = read_tflite(folder / "model.tflite")[1], json.loads((folder / "score.json").read_text())
    temperature = scores["confidence/temperature"]
    assert said["confidence"] == {"temperature": temperature, "threshold": 0.15, "clips": 120}
    assert load_classifier(folder / "model.tflite").confidence == Confidence(temperature, 0.15)
    words = " ".join(done.stdout.split())
    assert "threshold 0.150" in words
    assert f"fitted to {scores['confidence/clips']:.0f}" in words
    assert "the result is reused" in run(trained, *arguments, "quantize.threshold=0.15").stdout
    other = run(trained, *arguments, "quantize.threshold=0.2")
    assert other.returncode == 1
    assert "quantize.threshold" in other.stderr
