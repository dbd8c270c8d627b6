"""What speaks against a result: chance, one class for all clips, a log loss far above that of equal probabilities."""

import logging
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from data.errors import UserError
from data.scenes import ClipSet
from experiments.evaluation.doubts import accuracy_interval, doubts
from experiments.evaluation.evaluate import evaluate_and_save
from experiments.runs.layout import DOUBTS

SCENES = tuple("abcdefghij")
LABELS = np.arange(200) % 10
RECORDINGS = [f"r{number}" for number in range(200)]


def answers(classes: np.ndarray, sure: float = 0.55) -> np.ndarray:
    """Probabilities (n, 10) with `sure` at the class that is answered."""
    found = np.full((len(classes), 10), (1 - sure) / 9)
    found[np.arange(len(classes)), classes] = sure
    return found


def test_the_interval_is_that_of_clopper_and_pearson() -> None:
    """Oracle: scipy's exact binomial test."""
    for right, trials in ((0, 5), (5, 5), (3, 20), (37, 100)):
        exact = binomtest(right, trials).proportion_ci(0.95, "exact")
        assert accuracy_interval(right / trials, trials) == pytest.approx((exact.low, exact.high))


def test_good_results_raise_no_doubt() -> None:
    """Oracle: accuracy 1, and 3 of 10 right, which is above chance by the interval: 60 of 200 is 24 to 37 %."""
    assert doubts(answers(LABELS), LABELS, RECORDINGS, SCENES) == []
    some = np.where(np.arange(200) % 10 < 3, LABELS, (LABELS + 1 + np.arange(200) // 10 % 8) % 10)
    assert doubts(answers(some), LABELS, RECORDINGS, SCENES) == []


def test_one_class_for_all_clips_is_named_with_its_share() -> None:
    """Oracle: all 200 answers are c; its accuracy is that of chance, 10 %."""
    found = doubts(answers(np.full(200, 2)), LABELS, RECORDINGS, SCENES)
    assert found[0] == "100 % of 200 clips are answered 'c'"
    assert "accuracy 10.0 % is not above chance, which is 10.0 % of 10 classes" in found[1]
    assert len(found) == 2


def test_answers_at_random_are_not_above_chance() -> None:
    """Oracle: answers drawn without a look at the labels."""
    drawn = np.random.default_rng(0).integers(10, size=200)
    (found,) = doubts(answers(drawn), LABELS, RECORDINGS, SCENES)
    assert "is not above chance" in found


def test_a_log_loss_far_above_ln_10_is_said() -> None:
    """Oracle: 40 % wrong with a probability of 1e-15 each is 0.4 * 34.5 = 13.8 nats, 6 times ln 10; the accuracy, 60 %,
    is well above chance."""
    wrong = np.arange(200) % 5 < 2
    found = doubts(answers((LABELS + wrong) % 10, sure=1.0), LABELS, RECORDINGS, SCENES)
    assert found == [
        f"log loss {0.4 * -math.log(1e-15):.2f} is far above 2.30, that of equal probabilities for all 10 classes"
    ]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_clips_raise_no_doubt(count: int) -> None:
    """Oracle: by the exact interval, 0 of 3 right is compatible with 71 %."""
    labels = LABELS[:count]
    assert doubts(answers((labels + 1) % 10, sure=1.0), labels, RECORDINGS[:count], SCENES) == []


def test_clips_of_one_recording_are_one_trial() -> None:
    """Oracle: 200 clips of two recordings are two trials: 0 of 2 right is compatible with 84 %; but that all are
    answered alike is seen."""
    found = doubts(answers(np.full(200, 2)), LABELS, ["x"] * 100 + ["y"] * 100, SCENES)
    assert found == ["100 % of 200 clips are answered 'c'"]


def test_a_doubt_is_said_once_and_kept_with_the_run(
    miniature: ClipSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: one warning with the class and what to look at, and the same in doubts.txt; none for good answers."""
    rows = miniature.indices("test")
    with caplog.at_level(logging.WARNING):
        evaluate_and_save(miniature, answers(miniature.labels[rows]), tmp_path)
        assert caplog.records == []
        assert not (tmp_path / DOUBTS).exists()
        evaluate_and_save(miniature, answers(np.full(len(rows), 3)), tmp_path)
    (record,) = caplog.records
    assert repr(miniature.scenes[3]) in record.getMessage()
    assert "learning rate" in record.getMessage()
    assert repr(miniature.scenes[3]) in (tmp_path / DOUBTS).read_text()


def test_answers_that_are_no_numbers_are_refused(miniature: ClipSet, tmp_path: Path) -> None:
    """Oracle: the message, with the number of clips; no table is written."""
    rows = miniature.indices("test")
    probabilities = answers(miniature.labels[rows])
    probabilities[:2] = np.nan
    with pytest.raises(UserError, match=f"the answers to 2 of {len(rows)} test clips are no numbers"):
        evaluate_and_save(miniature, probabilities, tmp_path)
    assert not list(tmp_path.iterdir())
