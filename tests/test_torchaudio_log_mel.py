"""The log-mel of the baselines of 2024 and 2025 against torchaudio's, and against the definition in float64."""

import warnings

import numpy as np
import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from data.errors import UserError
from data.front_ends.integer_log_mel import as_samples
from data.front_ends.integer_steps import integer_front_end
from data.front_ends.torchaudio_log_mel import TorchaudioLogMel
from experiments.quantization.checks import deployed_mel
from experiments.run import resolve
from experiments.settings.parts import Quantize

SMALL = {"fft": 512, "window": 400, "hop": 160, "mels": 32}


def noise(samples: int, count: int = 1) -> torch.Tensor:
    return torch.randn(count, samples, generator=torch.Generator().manual_seed(0)) / 10


def by_hand(wave: np.ndarray, *, rate: int, window: int, hop: int, fft: int, mels: int) -> np.ndarray:
    """The definition written out: mirrored frames, a periodic Hann window, triangles in Hz between the corners that
    HTK's scale has."""
    x = np.pad(wave, fft // 2, mode="reflect")
    hann = np.zeros(fft)
    start = (fft - window) // 2
    hann[start : start + window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    corners = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), mels + 2) / 2595) - 1)
    hertz = np.arange(fft // 2 + 1) * rate / fft
    found = np.empty((mels, 1 + len(wave) // hop))
    for frame in range(found.shape[1]):
        power = np.abs(np.fft.rfft(x[frame * hop : frame * hop + fft] * hann)) ** 2
        for band in range(mels):
            low, middle, high = corners[band : band + 3]
            weights = np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)).clip(0)
            found[band, frame] = np.log(weights @ power + 1e-5)
    return found


@pytest.mark.parametrize(
    "settings", [{}, SMALL, {"sample_rate": 16_000, "low": 50.0, "high": 7_000.0, **SMALL}], ids=["default", "s", "low"]
)
def test_values_are_those_of_torchaudio(settings: dict) -> None:
    """Oracle: torchaudio's MelSpectrogram with its own defaults, and log(x + 1e-5); tolerance 1e-5 nats."""
    front_end = TorchaudioLogMel(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty bands, which ours does not say again
        theirs = MelSpectrogram(
            sample_rate=front_end.sample_rate,
            n_fft=front_end.fft,
            win_length=len(front_end.window),
            hop_length=front_end.hop,
            n_mels=front_end.mels,
            f_min=front_end.low,
            f_max=settings.get("high"),
        )
    waves = noise(front_end.sample_rate, 6)
    torch.testing.assert_close(front_end(waves), (theirs(waves) + 1e-5).log()[:, None], atol=1e-5, rtol=0)


def test_values_are_those_of_the_definition() -> None:
    """Oracle: the definition in float64, by hand; tolerance 1e-3 nats, of float32 in the quietest bands."""
    found = TorchaudioLogMel(sample_rate=16_000, **SMALL)(noise(4_000))[0, 0]
    np.testing.assert_allclose(found, by_hand(noise(4_000)[0].double().numpy(), rate=16_000, **SMALL), atol=1e-3)


def test_the_defaults_are_those_of_the_baselines() -> None:
    """Oracle: the settings of the baselines of 2024 and 2025, as they are published: 256 bands, 65 frames a second."""
    front_end = TorchaudioLogMel()
    assert (front_end.sample_rate, len(front_end.window), front_end.hop, front_end.fft) == (32_000, 3072, 500, 4096)
    assert (front_end.mels, front_end.low, front_end.high) == (256, 0, 16_000)
    assert front_end(noise(32_000)).shape == (1, 1, 256, 65)
    mel = resolve(["student", "student.mel.kind=torchaudio_log_mel"]).student.mel
    assert {**mel, "high": mel["high"] or 16_000} == {
        **{"kind": "torchaudio_log_mel", "window": 3072, "hop": 500, "fft": 4096},
        **{"mels": 256, "low": 0, "high": 16_000},
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"window": 5000}, "window=5000 must not be longer than fft=4096"),
        ({"high": 16_001.0}, "half of sample_rate=32000"),
        ({"low": 16_000.0}, "low=16000.0 to mel.high=16000.0"),
        ({"hop": 1}, "131,072,000 values a second"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict, said: str) -> None:
    """Oracle: the message."""
    with pytest.raises(UserError, match=said):
        TorchaudioLogMel(**wrong)


@pytest.mark.parametrize("level", [0, -20, -40, -60])
@pytest.mark.parametrize("some", [{}, {**SMALL, "low": 50.0, "high": 14_000.0}], ids=["default", "small"])
def test_its_form_in_integers_has_its_values(level: int, some: dict) -> None:
    """Oracle: the floats of the same samples, from full scale to -60 dB: at most 0.003 nats apart, a twentieth of a
    step of 8 bits over the range of a spectrogram, and a tenth of that in the mean."""
    waves = noise(16_000, 2) * 10 ** (1 + level / 20)
    waves[1] *= torch.sin(torch.arange(16_000) * 0.02)
    waves = as_samples(waves) / 32_768
    found = integer_front_end(32_000, {"kind": "torchaudio_log_mel", **some})
    difference = (found(waves) - TorchaudioLogMel(**some)(waves)).abs()
    assert difference.max() < 0.003
    assert difference.mean() < 0.0003


def test_what_integers_cannot_represent_is_refused() -> None:
    """Oracle: the messages of what deploys a student, and of what would score it as a device does."""
    with pytest.raises(UserError, match=r"no form in integers, .* fft=3000 must be one of 64, 128"):
        integer_front_end(32_000, {"kind": "torchaudio_log_mel", "fft": 3000, "window": 3000})
    with pytest.raises(UserError, match=r"no form in integers, .*'edge_jitter'"):
        integer_front_end(32_000, {"kind": "torchaudio_log_mel", "edge_jitter": 0.0})
    with pytest.raises(UserError, match=r"quantize.front_end=integer: .* torchaudio_log_mel yet: leave it out"):
        deployed_mel(Quantize(front_end="integer"), 32_000, {"kind": "torchaudio_log_mel"})
