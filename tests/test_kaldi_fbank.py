"""Kaldi's filter banks, as the published AST knows them."""

import numpy as np
import pytest
import torch
from transformers import ASTFeatureExtractor

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
