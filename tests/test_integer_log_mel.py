"""The log-mel in integers, as a device without floating point computes it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import UserError
from data.front_ends import build_front_end
from data.front_ends.integer_fft import HALF, ROOM, _transform, real_spectrum, twiddles
from data.front_ends.integer_log_mel import FLOOR, IntegerLogMel, as_samples
from data.front_ends.log_mel import LogMel

SIZES = (8, 64, 128, 4096, 8192)  # odd and even powers of two


def noise(count: int, samples: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, samples, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def integers_of(values: torch.Tensor, bits: int) -> torch.Tensor:
    return (values.double() * (2**bits - 1)).round().long()


@pytest.mark.parametrize("size", SIZES)
def test_the_spectrum_is_that_of_another_library(size: int) -> None:
    """Oracle: torch.fft in float64. Each halving of the size adds an error of at most two steps."""
    signal = integers_of(noise(3, size), ROOM)
    found = torch.complex(*(part.double() for part in real_spectrum(signal)))
    expected = torch.fft.rfft(signal.double())[:, : size // 2] * (2 / size)
    assert (found - expected).abs().max() < 2 * math.log2(size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_an_impulse_has_a_flat_spectrum(size: int, place: int) -> None:
    """Oracle: a law: the magnitudes of all bins are the impulse's height, here times 2 / size, wherever it is."""
    signal = torch.zeros(size, dtype=torch.long)
    signal[place] = 1 << 28
    re, im = (part.double() for part in real_spectrum(signal))
    torch.testing.assert_close(torch.hypot(re, im) / (2**29 / size), torch.ones(size // 2).double(), atol=1e-3, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 10**6), st.sampled_from(["sign", "tone", "square", "edge"]))
def test_no_bin_needs_more_bits_than_there_are(size: int, seed: int, kind: str) -> None:
    """Oracle: the bound that is promised, for the largest signals that are allowed: random signs, tones, square waves,
    and one loud half; and 32 bits for what the complex transform gives of the largest values that it may get."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(size).double()
    frequency = torch.rand((), generator=generator) * math.pi
    signal = {
        "sign": torch.randint(0, 2, (size,), generator=generator).double() * 2 - 1,
        "tone": torch.sin(frequency * time),
        "square": torch.sign(torch.sin(frequency * time + 0.1)),
        "edge": torch.where(time < size // 2, 1.0, -1.0),
    }[kind]
    for part in real_spectrum(integers_of(signal, ROOM)):
        assert part.abs().max() < 2 ** (ROOM + 1)
    largest = integers_of(signal, ROOM)
    for part in _transform((largest, largest.roll(1, -1))):
        assert part.abs().max() < 2**31


def test_twiddle_factors_have_32_bits() -> None:
    """Oracle: the range of int32, for quarters and, but for the first one, for halves; exp by hand at an eighth of a
    turn, and at half of one."""
    re, im = twiddles(1536, 2048, torch.device("cpu"))
    assert (int(re[0]), int(im[0])) == (1 << 30, 0)
    assert (int(re[256]), int(im[256])) == (759_250_125, -759_250_125)
    assert (int(re[1024]), int(im[1024])) == (-(1 << 30), 0)
    halves = torch.cat([part[1:] for part in twiddles(1025, 4096, torch.device("cpu"), unit=HALF)])
    assert -(1 << 31) == int(halves.min()) < int(halves.max()) < 1 << 31


@pytest.mark.parametrize("level", [0, -20, -40, -60])
@pytest.mark.parametrize("some", [{}, {"fft": 1024, "window": 800, "hop": 320, "mels": 64}])
def test_it_is_the_log_mel_of_floats(level: int, some: dict) -> None:
    """Oracle: log_mel of the same samples, from full scale to -60 dB: at most 0.005 apart, a third of a step of 8 bits
    over the range of a spectrogram, and a tenth of that in the mean."""
    waves = noise(2, 16_000) * 10 ** (level / 20)
    waves[1] = torch.sin(torch.arange(16_000) * 0.02) * waves[1]
    samples = as_samples(waves)
    found = IntegerLogMel(**some)(samples / 32_768)
    difference = (found - LogMel(**some, edge_jitter=0.0)(samples / 32_768)).abs()
    assert difference.max() < 0.005
    assert difference.mean() < 0.0005


def test_silence_is_the_floor() -> None:
    """Oracle: the logarithm of the floor by hand, within the table's rounding of 2^-16 and the floor's of 2^-15."""
    found = IntegerLogMel().integers(torch.zeros(1, 32_000, dtype=torch.int16))
    assert len(found.unique()) == 1
    assert int(found[0, 0, 0]) / 2**16 == pytest.approx(math.log2(FLOOR), abs=1e-4)


@pytest.mark.parametrize("wave", [torch.ones(1, 4000), -torch.ones(1, 4000), 9 * noise(1, 4000), noise(1, 4000).sign()])
def test_loud_and_clipped_waves_are_cut_off_at_full_scale(wave: torch.Tensor) -> None:
    """Oracle: int16, and the spectrogram of the wave that was cut off before."""
    samples = as_samples(wave)
    assert samples.dtype == torch.int16
    front_end = IntegerLogMel()
    assert torch.equal(front_end(wave), front_end(wave.clamp(-1, 32_767 / 32_768)))
    assert front_end(wave).isfinite().all()


def test_equal_samples_have_equal_bits_in_any_company() -> None:
    """Oracle: a clip alone, among others, as float64, and on one thread."""
    front_end, clips = IntegerLogMel(), noise(6, 8_000)
    found, threads = front_end(clips), torch.get_num_threads()
    assert torch.equal(found[4:5], front_end(clips[4:5]))
    assert torch.equal(found, front_end(clips.double()))
    torch.set_num_threads(1)
    try:
        assert torch.equal(found, front_end(clips))
    finally:
        torch.set_num_threads(threads)


def test_logarithms_are_those_of_floats() -> None:
    """Oracle: math.log2, within 2^-15, at the ends, at powers of two and beside them, and in between."""
    values = [1, 2, 3, 127, 128, 129, 2**20 - 1, 2**20, 2**20 + 1, 10**15, 2**40, 2**61, 2**62 - 1]
    found = IntegerLogMel()._log2(torch.tensor(values))
    for value, logarithm in zip(values, found.tolist(), strict=True):
        assert logarithm / 2**16 == pytest.approx(math.log2(value), abs=2**-15)


@pytest.mark.parametrize(
    ("mel", "message"),
    [
        ({"edge_jitter": 1000.0}, "bands in integers are fixed tables: set edge_jitter=0"),
        ({"fft": 3072}, "fft=3072 must be one of 64, 128, 256, 512, 1024, 2048, 4096, 8192"),
        ({"fft": 32, "window": 32}, "fft=32 must be one of"),
        ({"fft": 64, "window": 2, "mels": 4}, "window=2 is too short: it is 0 everywhere in integers"),
        ({"fft": 2048}, "window=3072 must not be longer than fft=2048"),
        ({"high": 20_000.0}, "must lie between 0 and half of sample_rate=32000"),
    ],
)
def test_what_it_cannot_represent_is_refused(mel: dict, message: str) -> None:
    """Oracle: one message that names the setting and what to do."""
    with pytest.raises(UserError, match=message):
        build_front_end(32_000, {"kind": "integer_log_mel", **mel})
