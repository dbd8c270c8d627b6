"""The log-mel front end against physics and a slow float64 reference."""

import math

import numpy as np
import pytest
import torch

from data.errors import UserError
from data.front_ends import build_front_end
from data.front_ends.log_mel import LogMel


def kaldi_mel(hertz: np.ndarray | float) -> np.ndarray:
    return 1127.0 * np.log(1 + np.asarray(hertz) / 700.0)


def reference(wave: np.ndarray, *, rate: int, window: int, hop: int, fft: int, mels: int, high: float) -> np.ndarray:
    """The same definition written out in float64: frames by hand, Kaldi's triangles (mel-feature.cc) by hand."""
    x = wave[1:] - 0.97 * wave[:-1]
    x = np.pad(x, fft // 2, mode="reflect")
    hann = np.zeros(fft)
    start = (fft - window) // 2
    hann[start : start + window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / (window - 1))
    frames = 1 + (len(x) - fft) // hop
    power = np.stack([np.abs(np.fft.rfft(x[i * hop : i * hop + fft] * hann)) ** 2 for i in range(frames)], axis=1)
    edges = np.linspace(kaldi_mel(0.0), kaldi_mel(high), mels + 2)
    bins = kaldi_mel(np.arange(fft // 2) * rate / fft)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.maximum(0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)))
    mel = triangles @ power[:-1]
    return (np.log(mel + 1e-5) + 4.5) / 5


@pytest.mark.parametrize(
    "settings",
    [
        {"window": 3072, "hop": 500, "fft": 4096, "mels": 256},
        {"window": 800, "hop": 320, "fft": 1024, "mels": 128},
    ],
)
def test_it_equals_the_definition_in_float64(settings: dict) -> None:
    """Oracle: the reference above. Tolerance 1e-4 of a log-mel unit."""
    wave = np.random.default_rng(0).standard_normal(32_000) * 0.1
    ours = LogMel(**settings)(torch.from_numpy(wave).float()[None])[0, 0]
    np.testing.assert_allclose(ours.numpy(), reference(wave, rate=32_000, high=15_500, **settings), atol=1e-4)


@pytest.mark.parametrize(("hop", "frames"), [(500, 64), (750, 43), (320, 100)])
def test_a_second_has_the_published_number_of_frames(hop: int, frames: int) -> None:
    """Oracle: 64 frames for the student, because pre-emphasis drops a sample; 100 for PaSST; 1 + 31999 // hop."""
    front_end = LogMel(hop=hop)
    assert front_end(torch.zeros(1, 32_000)).shape == (1, 1, 256, frames)
    assert front_end.frames(32_000) == frames


@pytest.mark.parametrize("hertz", [440.0, 1000.0, 4000.0, 12_000.0])
def test_a_tone_peaks_in_its_band(hertz: float) -> None:
    """Oracle: the band whose centre is nearest on the mel scale, within one band."""
    wave = torch.sin(2 * math.pi * hertz * torch.arange(32_000) / 32_000)[None]
    peak = int(LogMel()(wave)[0, 0, :, 32].argmax())
    centres = np.linspace(kaldi_mel(0.0), kaldi_mel(15_500.0), 258)[1:-1]
    assert abs(peak - int(np.abs(centres - kaldi_mel(hertz)).argmin())) <= 1


def test_ten_times_the_amplitude_adds_ln_100_fifths() -> None:
    """Oracle: log(100 x) = log 100 + log x; loud noise is far above the floor. Tolerance 1e-3."""
    wave = torch.randn(1, 32_000, generator=torch.Generator().manual_seed(0))
    front_end = LogMel(mels=64)
    difference = front_end(10 * wave) - front_end(wave)
    torch.testing.assert_close(difference, torch.full_like(difference, math.log(100) / 5), atol=1e-3, rtol=0)


def test_the_band_edge_moves_only_when_training(generator: torch.Generator) -> None:
    """Oracle: without a generator two calls are equal; with one, some of ten differ and each upper edge is in its
    range."""
    front_end, wave = LogMel(), torch.randn(1, 32_000, generator=generator)
    clean = front_end(wave)
    assert torch.equal(front_end(wave), clean)
    moved = [front_end(wave, generator) for _ in range(10)]
    assert any(not torch.equal(m, clean) for m in moved)
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(32_000) / 32_000)[None]
    peaks = {int(front_end(tone, generator)[0, 0, :, 30].argmax()) for _ in range(10)}
    # 15.0 to 16.0 kHz: the mel range changes by 2 %, a tone at band 77 moves by at most two bands.
    assert max(peaks) - min(peaks) <= 2


def test_the_band_edge_moves_in_twenty_equal_steps_around_its_place(generator: torch.Generator) -> None:
    """Oracle: front ends of the 21 fixed edges from 15 to 16 kHz, chosen by torch.randint with an equal generator."""
    small = {"fft": 1024, "window": 800, "mels": 32}
    wave = torch.randn(1, 4_000, generator=generator)
    fixed = torch.cat([LogMel(**small, high=edge, edge_jitter=0.0)(wave) for edge in np.linspace(15_000, 16_000, 21)])
    moving, twin = LogMel(**small), torch.Generator().set_state(generator.get_state())
    for step in torch.stack([torch.randint(21, (), generator=twin) for _ in range(100)]):
        assert torch.equal(moving(wave, generator)[0], fixed[step])


def test_a_frame_depends_on_the_samples_of_its_extent() -> None:
    """Oracle: autograd: the samples with a gradient are those of the extent but the first and the last, because the
    symmetric Hann window ends in zeros; one sample more than the window, because of the pre-emphasis."""
    front_end = LogMel(fft=1024, window=800, hop=320, mels=32)
    wave = torch.randn(1, 4_000, generator=torch.Generator().manual_seed(0), requires_grad=True)
    front_end(wave)[0, 0, :, 5].sum().backward()
    touched = wave.grad[0].nonzero().flatten()
    start, end = front_end.extent(5)
    assert end - start == 801
    assert (touched[0] - 1, touched[-1] + 2) == (start, end)


def test_without_pre_emphasis_no_sample_is_dropped() -> None:
    """Oracle: x[t] - 0 x[t-1] is x[t]: the front end with the filter on a clip that begins with a sample of silence,
    filtered back beforehand (y[t] = x[t] + 0.97 y[t-1]), which leaves x itself; 51 frames of 20 ms, by 1 + n // hop."""
    small = {"sample_rate": 16_000, "fft": 1024, "window": 640, "hop": 320, "mels": 32, "high": 7_000.0}
    wave = 0.1 * torch.randn(16_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    raised = [0.0]
    for sample in wave.tolist():
        raised.append(sample + 0.97 * raised[-1])
    found = LogMel(**small, pre_emphasis=0.0)(wave.float()[None])
    assert found.shape[-1] == LogMel(**small, pre_emphasis=0.0).frames(16_000) == 51
    torch.testing.assert_close(found, LogMel(**small)(torch.tensor([raised])), atol=1e-4, rtol=0)
    start, end = LogMel(**small, pre_emphasis=0.0).extent(5)
    assert end - start == 640
    with pytest.raises(UserError, match=r"pre_emphasis=1\.0 must be from 0 to 0.99"):
        build_front_end(16_000, {**small, "pre_emphasis": 1.0})


def test_nothing_of_it_is_stored_in_checkpoints() -> None:
    """Oracle: its settings rebuild it: no entry."""
    assert not LogMel().state_dict()


@pytest.mark.parametrize(
    ("least", "wrong"), [({"window": 2}, {"window": 0}), ({"hop": 1}, {"hop": 0}), ({"mels": 4}, {"mels": 3})]
)
def test_the_least_sizes_are_accepted_and_smaller_ones_refused(least: dict, wrong: dict) -> None:
    """Oracle: a second's frames and bands, by the formula; the message."""
    small = {"fft": 256, "window": 256, "mels": 8, "hop": 4000}
    front_end = LogMel(**{**small, **least})
    hop, mels = least.get("hop", 4000), least.get("mels", 8)
    assert front_end(torch.zeros(1, 8_000)).shape == (1, 1, mels, 1 + 7_999 // hop)
    with pytest.raises(UserError, match=r"must be from (1 to 65536|4 to 1024)"):
        build_front_end(32_000, {**small, **wrong})


def test_the_defaults_are_those_of_the_published_recipe() -> None:
    """Oracle: Schmid et al., 2023: 32 kHz, windows of 3,072 samples every 500, transforms of 4,096, 256 bands up to
    15.5 kHz, whose edge moves by 1,000 Hz."""
    front_end = LogMel()
    found = (front_end.sample_rate, len(front_end.window), front_end.hop, front_end.fft, front_end.mels)
    assert found == (32_000, 3072, 500, 4096, 256)
    assert (front_end.low, front_end.high, front_end.edge_jitter) == (0, 15_500, 1000)


def test_impossible_bands_are_refused() -> None:
    """Oracle: an upper edge that jitters over half of the sample rate."""
    with pytest.raises(UserError, match="half of sample_rate"):
        LogMel(high=16_000)
    with pytest.raises(UserError, match="half of sample_rate"):
        LogMel(high=15_501.0)  # the jittered edge goes above it
    with pytest.raises(UserError, match="longer than fft"):
        LogMel(window=5000)
    with pytest.raises(UserError, match="fft=4095, which must be even"):
        LogMel(fft=4095)
    with pytest.raises(UserError, match="low=-1"):
        LogMel(low=-1.0)
    with pytest.raises(UserError, match="low=15000"):
        LogMel(low=15_000.0)  # the jittered edge comes down to it
    LogMel(high=15_500.0, low=14_999.0)


@pytest.mark.parametrize("some", [{"hop": 1}, {"mels": 1024, "fft": 65_536}])
def test_spectra_that_would_fill_the_memory_are_refused(some: dict) -> None:
    """Oracle: by hand: a transform of 4,096 at each of 32,000 samples is 131,072,000 values a second, and 1,024 bands
    of 65,536 are 67,108,864; at most 2^24, sixty-four times the default, are computed."""
    with pytest.raises(UserError, match=r"131,072,000|67,108,864"):
        LogMel(**some)
    LogMel(**{key: 8 if key == "hop" else value // 4 for key, value in some.items()}, window=512)
