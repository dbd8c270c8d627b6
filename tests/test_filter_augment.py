"""FilterAugment: random gains of random bands of a log-mel."""

import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pytest
import torch

from data.augment import filter_augment
from data.augmentation import Augmentation, descriptions
from data.augmenter import Augmenter
from data.errors import UserError
from data.front_ends import build_front_end
from data.settings import identity_of

MELS, DECIBEL = 64, 0.5


def filters(settings: Augmentation, clips: int = 200, seed: int = 0) -> torch.Tensor:
    """What is added to each clip, (clips, MELS), in dB."""
    added = Augmenter(settings, decibel=DECIBEL).augment_spectrograms(
        torch.zeros(clips, 1, MELS, 3), torch.Generator().manual_seed(seed)
    )
    assert torch.equal(added, added[..., :1].expand_as(added))
    return added[:, 0, :, 0] / DECIBEL


def test_gains_are_lines_between_the_edges_or_steps() -> None:
    """Oracle: numpy.interp between the edges, and, by hand, the gain of the lower edge; the last band of the second
    clip is empty. Tolerance 1e-6 of gains of some dB."""
    edges = torch.tensor([[0, 3, 5, 10], [0, 4, 10, 10]])
    gains = torch.tensor([[1.0, -2.0, 3.0, 0.5], [-1.0, 2.0, 4.0, 9.0]])
    x = torch.randn(2, 1, 10, 4, generator=torch.Generator().manual_seed(0))
    lines = filter_augment(x, edges, gains) - x
    expected = [np.interp(np.arange(10), [0, 3, 5, 10], gains[0]), np.interp(np.arange(10), [0, 4, 10], gains[1, :3])]
    for clip, values in enumerate(expected):
        np.testing.assert_allclose(lines[clip, 0], np.repeat(values[:, None], 4, axis=1), atol=1e-6)
    steps = filter_augment(x, edges, gains, steps=True) - x
    by_hand = torch.tensor([[1.0] * 3 + [-2.0] * 2 + [3.0] * 5, [-1.0] * 4 + [2.0] * 6])
    torch.testing.assert_close(steps, by_hand[:, None, :, None].expand_as(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("steps", [True, False])
def test_equal_gains_make_a_clip_louder_and_none_changes_nothing(steps: bool) -> None:
    """Oracle: the law: a constant added to all bands; with 0 dB the same bits."""
    x = torch.randn(2, 1, 10, 4, generator=torch.Generator().manual_seed(0))
    edges = torch.tensor([[0, 3, 5, 10], [0, 4, 10, 10]])
    assert torch.equal(filter_augment(x, edges, torch.full((2, 4), 2.5), steps=steps), x + 2.5)
    assert torch.equal(filter_augment(x, edges, torch.zeros(2, 4), steps=steps), x)
    off = Augmenter(Augmentation(filter_gain=0.0), decibel=DECIBEL)
    assert off.augment_spectrograms(x, torch.Generator().manual_seed(0)) is x


def test_bands_and_gains_are_drawn_within_the_settings_for_each_clip() -> None:
    """Oracle: where a step changes: 2 to 4 bands, each of 7 bins at least, all numbers of bands about equally often
    (200 clips, a third each within 0.1); gains within +-6 dB that reach 5 either way; no two clips alike."""
    found = filters(Augmentation(filter_gain=6.0, filter_bands=4, filter_width=7, filter_steps=True))
    widths = []
    for clip in found:
        edges = [0, *(clip.diff().abs() > 1e-6).nonzero()[:, 0].add(1).tolist(), MELS]
        widths.append(np.diff(edges))
    counts = np.bincount([len(each) for each in widths], minlength=5)
    np.testing.assert_allclose(counts / len(found), [0, 0, 1 / 3, 1 / 3, 1 / 3], atol=0.1)
    assert min(map(min, widths)) == 7
    assert max(map(max, widths)) == MELS - 7
    assert 5 < found.max() <= 6
    assert -6 <= found.min() < -5
    assert len(found.unique(dim=0)) == len(found)


def test_bands_may_fill_a_log_mel_to_the_last_bin() -> None:
    """Oracle: by hand: four bands of 16 bins in 64 are at 0, 16, 32 and 48, wherever two or three may lie."""
    found = filters(Augmentation(filter_gain=6.0, filter_bands=4, filter_width=16, filter_steps=True))
    edges = [(clip.diff().abs() > 1e-6).nonzero()[:, 0].add(1).tolist() for clip in found]
    four = [each for each in edges if len(each) == 3]
    assert four
    assert all(each == [16, 32, 48] for each in four)


def test_the_generator_alone_decides() -> None:
    """Oracle: equal bits with equal seeds, other ones with another."""
    settings = Augmentation(filter_gain=6.0)
    assert torch.equal(filters(settings), filters(settings))
    assert not torch.equal(filters(settings), filters(settings, seed=1))


@pytest.mark.parametrize("mel", [{}, {"kind": "kaldi_fbank", "mels": 40, "std": 2.0}, {"kind": "yamnet_mel"}])
def test_a_decibel_is_what_a_louder_sound_adds(mel: Mapping[str, object]) -> None:
    """Oracle: the same noise, ten times the amplitude, which is 20 dB: every value rises by 20 decibels of the front
    end, but for the constant that it adds within the logarithm (1 % of them)."""
    front_end = build_front_end(32_000, mel)
    noise = torch.randn(1, 32_000, generator=torch.Generator().manual_seed(0))
    rise = front_end(10 * noise) - front_end(noise)
    torch.testing.assert_close(rise, torch.full_like(rise, 20 * front_end.decibel), rtol=0.01, atol=0)


def test_values_that_are_no_logarithms_cannot_be_filtered_so() -> None:
    """Oracle: the message."""
    augmenter = Augmenter(Augmentation(filter_gain=6.0), decibel=None)
    with pytest.raises(UserError, match=r"augment.filter_gain=6.0 dB needs log-mels.*set augment.filter_gain=0"):
        augmenter.augment_spectrograms(torch.zeros(2, 1, MELS, 3), torch.Generator())


def test_a_submission_calls_it_by_its_name_and_earlier_runs_know_nothing_of_it() -> None:
    """Oracle: the word, by hand; the record of a run without it has none of its settings."""
    assert descriptions(asdict(Augmentation(filter_gain=6.0))) == ["FilterAugment"]
    assert "filter" not in json.dumps(identity_of(Augmentation(roll=4000)))
    assert identity_of(Augmentation(filter_gain=6.0))["filter_gain"] == 6.0
