"""Calibrated answers in integers, against softmax and moving averages in floats."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from data.damage import WrongValueError
from students.quantize.answer import (
    LARGEST,
    MOST_SHIFT,
    ONE,
    UNCALIBRATED,
    UNKNOWN,
    Confidence,
    confidence_of,
    exponentials,
    known,
    probabilities,
    smoothed,
)


def some_logits(seed: int, clips: int, classes: int, bits: int = 8) -> np.ndarray:
    """Integers of the whole range in some clips, and near each other in the others."""
    g, half = np.random.default_rng(seed), 1 << (bits - 1)
    widths = g.integers(1, 2 * half + 1, (clips, 1))
    return (g.integers(-half, half, (clips, classes)) % widths + half - widths).clip(-half, half - 1)


@given(
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.floats(2**-10, 2, width=32),
    st.floats(0.05, 20),
    st.sampled_from([8, 12]),
)
def test_probabilities_are_those_of_softmax(
    seed: int, classes: int, scale: float, temperature: float, bits: int
) -> None:
    """Oracle: softmax in float64. An entry of the table is off by half of 1/LARGEST at most, the sum of the parts of m
    classes by m halves of it, and what is divided is rounded to half a step; the sum is at least LARGEST."""
    logits = some_logits(seed, 30, classes, bits)
    found = probabilities(logits, exponentials(scale, temperature, bits))
    expected = ONE * softmax(logits * (scale / temperature), axis=1)
    allowed = 0.5 + ONE / LARGEST * 0.5 * (1 + classes)
    assert np.abs(found - expected).max() <= allowed + 1e-6
    assert found.dtype == np.uint16


@given(st.integers(0, 10_000), st.integers(1, 40), st.floats(2**-10, 2, width=32), st.floats(0.05, 20))
def test_probabilities_sum_to_one_and_keep_the_order_of_the_logits(
    seed: int, classes: int, scale: float, temperature: float
) -> None:
    """Oracle: laws: half a step of rounding a class; a higher logit is never less probable, equal ones are equally
    probable; what is added to all logits changes nothing."""
    logits, table = some_logits(seed, 20, classes), exponentials(scale, temperature)
    found = probabilities(logits, table)
    assert np.abs(found.sum(axis=1, dtype=np.int64) - ONE).max() <= classes / 2
    for q, p in zip(logits, found.astype(int), strict=True):
        order = np.argsort(q)
        assert (np.diff(p[order]) >= 0).all()
        assert (np.diff(p[order])[np.diff(q[order]) == 0] == 0).all()
    np.testing.assert_array_equal(probabilities(logits - 1000, table), found)


def test_the_largest_values_have_32_bits() -> None:
    """Oracle: the products and sums of the definition, by hand, for as many classes as there may be; of that many equal
    classes none is probable, of one class alone it is certain."""
    assert LARGEST * ONE + LARGEST * LARGEST // 2 < 1 << 32
    assert ONE << MOST_SHIFT < 1 << 32
    equal = probabilities(np.zeros((1, LARGEST), np.int8), exponentials(0.1, 1.0))
    assert set(equal[0].tolist()) == {1}  # 0.50001 of a step
    assert probabilities(np.array([[-128]], np.int8), exponentials(0.1, 1.0)).tolist() == [[ONE]]


def test_the_table_is_that_of_the_exponential() -> None:
    """Oracle: the exponential in float64, and some entries by hand: e^-1 of 65,535 is 24,108.98, e^-2 is 8,869.2."""
    table = exponentials(0.5, 1.0)
    assert table[[0, 2, 4]].tolist() == [65_535, 24_109, 8_869]
    np.testing.assert_array_equal(table, np.floor(LARGEST * np.exp(-0.5 * np.arange(256)) + 0.5))
    assert table[-1] == 0
    np.testing.assert_array_equal(exponentials(1.0, 2.0), table)
    assert len(exponentials(0.5, 1.0, 16)) == 65_536


@given(st.integers(0, 10_000), st.integers(0, MOST_SHIFT))
def test_an_average_is_the_exponential_one(seed: int, shift: int) -> None:
    """Oracle: p += (q - p) / 2^shift in float64 from the first clip on: the average never lags by more than what is cut
    off its sum, below two steps; a shift of 0 gives the clips themselves."""
    clips = np.random.default_rng(seed).integers(0, ONE + 1, (50, 3)).astype(np.uint16)
    found, mean = smoothed(clips, shift), clips[0].astype(float)
    for number, latest in enumerate(clips.astype(float)):
        mean += (latest - mean) / 2**shift
        assert np.abs(found[number] - mean).max() < 2
    np.testing.assert_array_equal(smoothed(clips, 0), clips)
    assert smoothed(clips[:0], shift).shape == (0, 3)


def test_an_average_arrives_at_what_stays() -> None:
    """Oracle: laws: the average of equal clips is that clip from the first one on, and becomes it after others, from
    above and from below, with no step left."""
    stays = np.array([0, 1, 12_345, ONE], np.uint16)
    np.testing.assert_array_equal(smoothed(np.tile(stays, (5, 1)), 6), np.tile(stays, (5, 1)))
    after = np.concatenate([np.array([[ONE, 0, ONE, 0]], np.uint16), np.tile(stays, (1500, 1))])
    np.testing.assert_array_equal(smoothed(after, 6)[-1], stays)


def test_answers_below_the_threshold_are_unknown() -> None:
    """Oracle: by hand: 0.6 is 19,660.8 steps, 19,661; a probability of exactly the threshold is known; without one
    every answer is."""
    least = Confidence(threshold=0.6).least
    assert least == 19_661
    found = np.array([[19_660, 13_108], [19_661, 13_107], [0, ONE]], np.uint16)
    assert known(np.array([0, 0, 1]), found, least).tolist() == [UNKNOWN, 0, 1]
    assert UNCALIBRATED.least == 0
    assert known(np.array([0, 0, 1]), found, UNCALIBRATED.least).tolist() == [0, 0, 1]
    assert Confidence(threshold=1.0).least == ONE


def test_what_is_near_chance_is_not_sure() -> None:
    """Oracle: by hand: the threshold where there is one, and else twice chance: of ten classes 0.2, 6,553.6 steps, and
    of 50 0.04, 1,310.72; of two classes 0.75, and one class is always sure."""
    assert [UNCALIBRATED.least_sure(classes) for classes in (50, 10, 3, 2, 1)] == [1311, 6554, 21_845, 24_576, ONE]
    assert Confidence(threshold=0.6).least_sure(10) == 19_661
    assert Confidence(threshold=0.0).least_sure(10) == 0


def test_what_metadata_say_is_read_back_or_refused(tmp_path: Path) -> None:
    """Oracle: the confidence that was described; without any, temperature 1 and no threshold; the messages."""
    for each in (Confidence(1.7, 0.55), Confidence(0.3), UNCALIBRATED):
        assert confidence_of({"confidence": {**each.described(), "clips": 5}, "scenes": []}) == each
    assert confidence_of({"scenes": []}) == Confidence(1.0, None)
    for said, message in (
        (3, "its confidence is 3, not a mapping"),
        ({"threshold": 0.5}, "the temperature of its confidence is null, not a number above 0 and at most 1000"),
        ({"temperature": 0, "threshold": None}, "the temperature of its confidence is 0, not"),
        ({"temperature": "1"}, "the temperature of its confidence is 1, not a number"),
        ({"temperature": True}, "the temperature of its confidence is true, not a number"),
        ({"temperature": 1, "threshold": 1.5}, "the threshold of its confidence is 1.5, not a number from 0 to 1, or"),
    ):
        with pytest.raises(WrongValueError, match=message):
            confidence_of({"confidence": said})
