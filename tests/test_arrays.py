"""Clips in memory: stored as the wave store stores them, and learned from without a data set on disk."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from data.arrays import WaveArrays
from data.audio import FULL_SCALE, read_audio
from data.errors import UserError
from data.front_ends import build_front_end
from data.scenes import ClipSet
from data.waves import WaveStore
from experiments.settings.shared import Distillation
from experiments.training.arrays import RECIPE, train_on_arrays
from students import build_student

RATE = 32_000
FREQUENCIES = (500, 3500)  # Hz, one a class
MEL = {"kind": "log_mel", "mels": 64, "fft": 1024, "window": 1024, "hop": 500}
SHORT = replace(RECIPE.lasting(15), batch_size=16, learning_rate=3e-3)


def make_tones(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Half a second each, classes in turn, of random phase and of a peak from 0.1 to 0.9: waves and labels."""
    random, labels = np.random.default_rng(seed), np.arange(count) % 2
    phase, peak = random.uniform(0, 2 * np.pi, (count, 1)), random.uniform(0.1, 0.9, (count, 1))
    turns = np.array(FREQUENCIES)[labels, None] * np.arange(RATE // 2) / RATE
    return (peak * np.sin(2 * np.pi * turns + phase)).astype(np.float32), labels


def make_student() -> nn.Module:
    torch.manual_seed(0)
    return build_student("cp_mobile", size="6k", classes=2)


def classify(network: nn.Module, waves: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        spectrograms = build_front_end(RATE, MEL)(torch.from_numpy(waves))
        return network(spectrograms.to(next(network.parameters()).device)).argmax(1).cpu().numpy()


def test_a_stored_value_is_wrong_by_half_a_step_at_most() -> None:
    """Oracle: the rounding law, a step being a clip's own peak over 32,767. Tolerance on top: the division and the
    product each round to 24 bits, which is 2^-9 steps at full scale."""
    random = np.random.default_rng(0)
    waves = random.uniform(-1, 1, (6, 1000)).astype(np.float32) * np.float32([[1], [0.3], [1e-2], [1e-4], [1e-6], [0]])
    given = waves.copy()
    store = WaveArrays(waves, RATE)
    steps = np.abs(given).max(1) / FULL_SCALE
    error = np.abs(store.read(np.arange(6)).numpy().astype(np.float64) - given)
    assert (error <= steps[:, None] * (0.5 + 2 * 2**-9)).all()
    assert np.abs(store.wave[:5]).max(1).tolist() == [FULL_SCALE] * 5
    np.testing.assert_array_equal(waves, given)
    assert (len(store), store.samples, store.sample_rate) == (6, 1000, RATE)


def test_clips_are_stored_as_on_disk(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: the wave store of the same sound files, in every integer and scale, whichever rows are read."""
    sounds = [read_audio(miniature.root / name, RATE) for name in miniature.filenames[:8]]
    store = WaveArrays(np.stack([sound[: miniature_waves.samples] for sound in sounds]), RATE)
    np.testing.assert_array_equal(store.wave, miniature_waves.wave[:8])
    np.testing.assert_array_equal(store.scale, miniature_waves.scale[:8])
    rows = np.array([5, 0, 5])
    assert torch.equal(store.read(rows), miniature_waves.read(rows))


def test_the_digest_is_of_the_content() -> None:
    """Oracle: equal clips have equal digests, also after others were stored; two steps in one sample change it."""
    waves, _ = make_tones(4, seed=0)
    first = WaveArrays(waves, RATE)
    changed = waves.copy()
    changed[2, 100] += 2 * first.scale[2]
    other = WaveArrays(changed, RATE)
    assert WaveArrays(waves, RATE).digest == first.digest != other.digest
    assert np.abs(first.wave.astype(int) - other.wave).sum() == 2


@pytest.mark.parametrize("shape", [(16,), (0, 16), (3, 0), (2, 3, 16)])
def test_waves_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    """Oracle: the message names the shape."""
    with pytest.raises(UserError, match=r"waves of the shape \(.*must be \(clips, samples\)") as caught:
        WaveArrays(np.zeros(shape), RATE)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize(("value", "named"), [(np.nan, "nan"), (np.inf, "inf"), (1.5, "1.5"), (-32_768, "32768")])
def test_values_that_are_no_sound_are_refused(value: float, named: str) -> None:
    """Oracle: one such value among good ones; the message names its magnitude. 1 and -1 themselves are allowed."""
    waves = np.zeros((2, 16))
    waves[0, :2] = 1, -1
    WaveArrays(waves, RATE)
    waves[1, 7] = value
    with pytest.raises(UserError, match=rf"\[-1, 1\].*largest magnitude is {named}"):
        WaveArrays(waves, RATE)


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    """Oracle: the messages."""
    waves, labels = make_tones(20, seed=0)
    with pytest.raises(UserError, match=r"20 waves, labels of the shape \(19,\)"):
        train_on_arrays(make_student(), waves, labels[1:])
    with pytest.raises(UserError, match=r"20 waves, labels of the shape \(20, 2\)"):
        train_on_arrays(make_student(), waves, np.eye(2)[labels])
    with pytest.raises(UserError, match="one of each a clip"):
        train_on_arrays(make_student(), waves, labels, logits=np.zeros((21, 2)))
    with pytest.raises(UserError, match="15 clips are left to train on, fewer than batch_size=16"):
        train_on_arrays(make_student(), waves, labels, validation=0.25, recipe=SHORT)


def test_two_tones_are_told_apart() -> None:
    """Oracle: tones of the same frequencies and other phases and levels: all 40 are classified right."""
    waves, labels = make_tones(80, seed=0)
    network = train_on_arrays(make_student(), waves, labels, mel=MEL, recipe=SHORT)
    unseen, expected = make_tones(40, seed=1)
    assert not network.training
    np.testing.assert_array_equal(classify(network, unseen), expected)


def test_without_weight_on_the_labels_a_student_answers_as_its_teacher() -> None:
    """Oracle: a teacher that says the opposite of every label. The last epoch is kept: the best one by the labels would
    be the least like the teacher."""
    waves, labels = make_tones(80, seed=0)
    logits = 10 * np.eye(2)[1 - labels]
    recipe = replace(SHORT, keep="last")
    distillation = Distillation(hard_weight=0.0)
    network = train_on_arrays(
        make_student(), waves, labels, logits=logits, mel=MEL, recipe=recipe, distillation=distillation
    )
    unseen, expected = make_tones(40, seed=1)
    np.testing.assert_array_equal(classify(network, unseen), 1 - expected)


def test_the_same_seed_gives_the_same_weights() -> None:
    """Oracle: bit equality of two trainings from the same initial weights, and another result with another seed."""
    waves, labels = make_tones(40, seed=0)
    recipe = replace(SHORT.lasting(2), keep="last")
    states = []
    for seed in (1, 1, 2):
        network = make_student()
        torch.manual_seed(len(states))  # what was drawn before must not matter
        states.append(train_on_arrays(network, waves, labels, mel=MEL, recipe=recipe, seed=seed).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])
