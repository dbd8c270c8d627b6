"""What every front end must offer, and how one is added."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import data.front_ends
from data import registry
from data.errors import UserError
from data.front_ends import FrontEnd, FrontEndEntry, adapted, band_centres, build_front_end, front_ends
from data.front_ends.integer_log_mel import IntegerLogMel
from data.front_ends.kaldi_fbank import KaldiFbank
from data.front_ends.l3_mel import L3Mel
from data.front_ends.log_mel import LogMel
from data.front_ends.panns_mel import PannsMel
from data.front_ends.torchaudio_log_mel import TorchaudioLogMel
from data.front_ends.vggish_mel import VggishMel
from data.front_ends.waveform import Waveform
from data.front_ends.yamnet_mel import YamnetMel

OF_ANY_RATE = ("integer_log_mel", "log_mel", "torchaudio_log_mel")
KINDS = (*OF_ANY_RATE, "kaldi_fbank", "l3_mel", "panns_mel", "vggish_mel", "waveform", "yamnet_mel")
RATES = (16_000, 32_000, 44_100)

THROW_AWAY = '''
"""The loudness of the sound as the one band of a spectrogram: a throw-away example."""

import torch
from torch import nn

from data.front_ends import FrontEndEntry


class Loudness(nn.Module):
    mels, low, padding, decibel = 1, 0.0, "none", None

    def __init__(self, *, sample_rate: int, hop: int = 400) -> None:
        super().__init__()
        self.sample_rate, self.hop, self.high = sample_rate, hop, sample_rate / 2

    def frames(self, samples: int) -> int:
        return samples // self.hop

    def extent(self, frame: int) -> tuple[int, int]:
        return frame * self.hop, (frame + 1) * self.hop

    def forward(self, waves: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        return waves.unfold(1, self.hop, self.hop).square().mean(-1)[:, None, None]


LOUDNESS = FrontEndEntry(build=Loudness, features="loudness", citation="none")
'''


@pytest.fixture
def loudness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more module in the package, and nothing else."""
    (tmp_path / "loudness.py").write_text(THROW_AWAY)
    monkeypatch.setattr(data.front_ends, "__path__", [*data.front_ends.__path__, str(tmp_path)])
    registry.discover.cache_clear()
    yield
    registry.discover.cache_clear()
    sys.modules.pop("data.front_ends.loudness", None)


def waves(samples: int, count: int = 1) -> torch.Tensor:
    return torch.randn(count, samples, generator=torch.Generator().manual_seed(0)) / 10


def below_half(rate: int, kind: str) -> FrontEnd:
    """A front end of a kind, with bands that sound of a rate reaches."""
    settings = {"high": 7_000.0} if kind in OF_ANY_RATE else {"rate": min(rate, 32_000)} if kind == "panns_mel" else {}
    return build_front_end(rate, {"kind": kind, **settings})


@pytest.mark.usefixtures("loudness")
def test_a_new_front_end_is_one_module() -> None:
    """Oracle: a module written into the package by the test, which is built by its name and keeps the contract; its
    mean squares by hand."""
    assert set(front_ends()) == {*KINDS, "loudness"}
    front_end = build_front_end(32_000, {"kind": "loudness", "hop": 800})
    assert isinstance(front_end, FrontEnd)
    found = front_end(waves(2_000))
    expected = [waves(2_000)[0, start : start + 800].square().mean() for start in (0, 800)]
    torch.testing.assert_close(found, torch.tensor(expected)[None, None, None])
    assert front_end.frames(2_000) == found.shape[-1]
    with pytest.raises(UserError, match=r"choose one of: .*loudness"):
        build_front_end(32_000, {"kind": "mfcc"})


def test_front_ends_go_by_name() -> None:
    """Oracle: the classes, and the messages."""
    builds = (IntegerLogMel, LogMel, TorchaudioLogMel, KaldiFbank, L3Mel, PannsMel, VggishMel, Waveform, YamnetMel)
    expected = dict(zip(KINDS, builds, strict=True))
    assert {kind: entry.build for kind, entry in front_ends().items()} == expected
    assert all(isinstance(entry, FrontEndEntry) and entry.citation for entry in front_ends().values())
    assert isinstance(build_front_end(32_000, {"kind": "kaldi_fbank"}), KaldiFbank)
    assert build_front_end(32_000, {"mels": 64}).mels == 64
    with pytest.raises(
        UserError, match=r"choose one of: integer_log_mel, .*, torchaudio_log_mel, vggish_mel, waveform, yamnet_mel"
    ):
        build_front_end(32_000, {"kind": "mfcc"})
    with pytest.raises(UserError, match=r"front end kaldi_fbank: .*'hop'.* it takes sample_rate, mels, mean, std"):
        build_front_end(32_000, {"kind": "kaldi_fbank", "hop": 500})
    with pytest.raises(UserError, match=r"kaldi_fbank: std=0 must be above 0"):
        build_front_end(32_000, {"kind": "kaldi_fbank", "std": 0})


def test_another_kind_keeps_what_it_shares_with_the_recipe_s() -> None:
    """Oracle: by hand: of a recipe of log_mel torchaudio's takes all but the jitter, and has its own upper edge, and
    the integers have no jitter, unless these were given; filter banks of 25 ms have no hop, and 128 bands."""
    recipe = {"window": 3072, "hop": 750, "mels": 256, "high": 15_500.0, "edge_jitter": 1000.0}
    found = {kind: adapted({"kind": kind, **recipe}, ()) for kind in KINDS}
    assert found["log_mel"] == {"kind": "log_mel", **recipe}
    shared = {"window": 3072, "hop": 750, "mels": 256}
    assert found["torchaudio_log_mel"] == {"kind": "torchaudio_log_mel", **shared, "high": None}
    assert found["integer_log_mel"] == {"kind": "integer_log_mel", **recipe, "edge_jitter": 0.0}
    assert found["kaldi_fbank"] == {"kind": "kaldi_fbank", "mels": 128}
    assert all(found[kind] == {"kind": kind} for kind in KINDS[4:])
    given = {"kind": "torchaudio_log_mel", "high": 9_000.0, "edge_jitter": 3.0, "hop": 320}
    assert adapted(given, ("high", "edge_jitter")) == given  # which is refused when it is built
    assert adapted({"kind": "mfcc", "hop": 1}, ()) == {"kind": "mfcc", "hop": 1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", RATES)
def test_a_spectrogram_has_the_promised_form(kind: str, rate: int) -> None:
    """Oracle: the contract: the shape from `mels` and `frames`; float32 in any precision; each clip by itself; equal
    without a generator."""
    front_end = below_half(rate, kind)
    assert isinstance(front_end, FrontEnd)
    assert front_end.sample_rate == rate
    for samples in (rate, rate + 1, 3 * rate // 2 - 7):
        clips = waves(samples, 6)
        with torch.autocast("cpu", torch.bfloat16):
            found = front_end(clips)
        assert found.shape == (6, 1, front_end.mels, front_end.frames(samples))
        assert found.dtype == torch.float32
        assert torch.equal(found, front_end(clips))
        torch.testing.assert_close(found[3:4], front_end(clips[3:4]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "l3_mel"])  # of whole seconds: see test_l3.py
@pytest.mark.parametrize("rate", RATES)
def test_a_frame_depends_on_its_extent_and_on_nothing_else(kind: str, rate: int) -> None:
    """Oracle: other sound outside of the extent changes no value of the frame by more than rounding (1e-4 of a log-mel
    unit); other sound in the middle of it does, by a tenth of a unit, or of the waves' deviation. Without padding every
    frame's own samples lie within the clip."""
    front_end = below_half(rate, kind)
    clip, other = waves(rate), waves(2 * rate)[:, rate:]
    spectrogram, count = front_end(clip), front_end.frames(rate)
    spread = front_end.resample.width if front_end.padding == "none" and rate != 16_000 else 0
    for frame in (count // 3, count // 2):
        first, behind = front_end.extent(frame)
        assert 0 <= first < behind <= rate
        outside = other.clone()
        outside[:, first:behind] = clip[:, first:behind]
        torch.testing.assert_close(front_end(outside)[..., frame], spectrogram[..., frame], atol=1e-4, rtol=0)
        middle = clip.clone()
        middle[:, first + (behind - first) // 4 : behind - (behind - first) // 4] = 0
        least = 0.01 if front_end.decibel is None else 0.1
        assert (front_end(middle)[..., frame] - spectrogram[..., frame]).abs().max() > least
    first, behind = front_end.extent(0)[0], front_end.extent(count - 1)[1]
    if front_end.padding == "none":
        assert first == -spread
        assert behind <= rate + spread + 1
    else:
        assert first < 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_tone_at_a_band_s_centre_is_loudest_in_it(kind: str) -> None:
    """Oracle: physics, within one band; band centres ascend between the edges."""
    front_end = build_front_end(32_000, {"kind": kind})
    centres = band_centres(front_end)
    assert (np.diff([front_end.low, *centres, front_end.high]) > 0).all()
    for band in (front_end.mels // 2, front_end.mels * 3 // 4):
        tone = torch.sin(2 * torch.pi * centres[band] * torch.arange(32_000) / 32_000).float()[None]
        assert abs(int(front_end(tone)[0, 0, :, 20].argmax()) - band) <= 1


def test_rates_without_a_common_divisor_are_refused() -> None:
    """Oracle: by hand: 31,999 and 16,000 share none, and a filter has 31,999 x 16,000 values; 44,100 has 441 x 160."""
    with pytest.raises(UserError, match=r"sample_rate=31999 .* 511,984,000 values"):
        KaldiFbank(sample_rate=31_999)
    KaldiFbank(sample_rate=44_100)
