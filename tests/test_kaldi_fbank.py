"""Kaldi's filter banks, as the published AST knows them."""

import numpy as np
import pytest
import torch
from transformers import ASTFeatureExtractor

from data.errors import UserError
from data.front_ends import build_front_end
from data.front_ends.kaldi_fbank import KaldiFbank


@pytest.mark.parametrize("samples", [16_000, 16_123, 48_000])
def test_the_pictures_are_those_of_the_official_feature_extractor(samples: int) -> None:
    """Oracle: transformers' ASTFeatureExtractor, clip by clip, of noise of very different levels; within 1e-3."""
    waves = np.random.default_rng(0).uniform(-0.5, 0.5, (3, samples)).astype(np.float32)
    waves *= np.array([[1.0], [1e-2], [1e-4]], np.float32)
    front_end = KaldiFbank(sample_rate=16_000)
    official = ASTFeatureExtractor(max_length=front_end.frames(samples))
    found = front_end(torch.from_numpy(waves))
    assert found.shape == (3, 1, 128, front_end.frames(samples))
    for picture, wave in zip(found, waves, strict=True):
        expected = official(wave, sampling_rate=16_000, return_tensors="pt")["input_values"][0]
        torch.testing.assert_close(picture[0].T, expected, atol=1e-3, rtol=0)


def test_waves_of_another_rate_are_heard_the_same() -> None:
    """Oracle: the same chirp sampled at 32 and at 16 kHz, within 0.01 (one part in a hundred of a log-mel's range)
    away from the ends and in the bands that it touches."""

    def chirp(rate: int) -> torch.Tensor:
        t = torch.arange(rate, dtype=torch.float64) / rate
        return (0.5 * torch.sin(2 * torch.pi * (300 * t + 2000 * t.square()))).float()[None]

    found = KaldiFbank(sample_rate=32_000)(chirp(32_000))[0, 0]
    expected = KaldiFbank(sample_rate=16_000)(chirp(16_000))[0, 0]
    loud = expected > 0
    loud[:, :3] = loud[:, -3:] = False
    assert loud.sum() > 500
    torch.testing.assert_close(found[loud], expected[loud], atol=0.01, rtol=0)


def test_a_second_has_98_frames_at_any_rate() -> None:
    """Oracle: 1 + (16000 - 400) // 160."""
    for rate in (16_000, 32_000, 44_100):
        front_end = KaldiFbank(sample_rate=rate)
        assert front_end.frames(rate) == front_end(torch.zeros(1, rate)).shape[-1] == 98


def test_nothing_of_it_is_stored_in_checkpoints() -> None:
    """Oracle: its settings rebuild it: no entry, beside the filter of torchaudio's resampler."""
    assert not KaldiFbank(sample_rate=16_000).state_dict()
    assert list(KaldiFbank().state_dict()) == ["resample.kernel"]


def test_the_defaults_are_those_of_the_published_ast() -> None:
    """Oracle: Gong et al., 2021, and its feature extractor: 128 bands between 20 Hz and 8 kHz, and the mean and the
    deviation of AudioSet; clips have 32 kHz."""
    front_end, official = KaldiFbank(), ASTFeatureExtractor()
    assert (front_end.sample_rate, front_end.mels, front_end.low, front_end.high) == (32_000, 128, 20, 8_000)
    assert (front_end.mels, front_end.mean, front_end.std) == (official.num_mel_bins, official.mean, official.std)


def test_four_bands_and_small_deviations_are_enough() -> None:
    """Oracle: the form, and the message for less; halving the deviation doubles the values' distance from the mean."""
    wave = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    one, half = (KaldiFbank(sample_rate=16_000, mels=4, mean=0.0, std=std)(wave) for std in (1.0, 0.5))
    assert half.shape == (1, 1, 4, 98)
    torch.testing.assert_close(half, 2 * one)
    for wrong in ({"mels": 3}, {"std": 0.0}, {"std": -1.0}):
        with pytest.raises(UserError, match=r"must be (from 4 to 1024|above 0 and at most 1000)"):
            build_front_end(16_000, {"kind": "kaldi_fbank", **wrong})


def test_statistics_of_training_data_are_at_most_a_thousand() -> None:
    """Oracle: the ranges in words, and their ends, which are taken; log-mels are from -16 to 16."""
    for settings in ({"mean": -1000}, {"mean": 1000.0}, {"std": 1000.0}):
        build_front_end(16_000, {"kind": "kaldi_fbank", **settings})
    for settings in ({"mean": -1000.5}, {"mean": 1000.5}, {"std": 1000.5}):
        with pytest.raises(UserError, match=r"must be (from -1000 to|above 0 and at most) 1000"):
            build_front_end(16_000, {"kind": "kaldi_fbank", **settings})
