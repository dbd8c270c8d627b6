"""Reading sound files: one reader, one resampler, every oddity counted."""

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from data.audio import LOUDEST, decode, read_audio
from data.errors import UserError
from data.pcm24 import read_pcm24
from data.ranges import RATES
from data.sound_files import FORMATS
from data.waves import read_pieces


def noise(path: Path, seconds: float = 1.0, *, rate: int = 44_100, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)
    soundfile.write(path, samples, rate, "FLOAT")
    return samples


def test_a_file_is_resampled_as_soxr_does(tmp_path: Path) -> None:
    """Oracle: soxr.resample of the same samples, to the last bit, also for the second file of a resampler."""
    for seed in range(3):
        samples = noise(tmp_path / "x.wav", seed=seed)
        expected = soxr.resample(samples, 44_100, 32_000, "HQ")
        np.testing.assert_array_equal(read_audio(tmp_path / "x.wav", 32_000), expected)


@pytest.mark.parametrize("channels", [1, 2])
def test_plain_24_bit_files_are_read_as_soundfile_reads_them(tmp_path: Path, channels: int) -> None:
    """Oracle: soundfile, to the last bit, at both ends of the range; a file cut in mid-sample is left to the others,
    which refuse it."""
    integers = np.random.default_rng(0).integers(-(2**23), 2**23, (44_100, channels))
    integers[:3] = [[-(2**23)], [2**23 - 1], [-1]]
    soundfile.write(tmp_path / "x.wav", (integers * 256).astype(np.int32), 44_100, "PCM_24")
    expected, _ = soundfile.read(tmp_path / "x.wav", dtype="float32", always_2d=True)
    samples, rate = read_pcm24(tmp_path / "x.wav", None)
    np.testing.assert_array_equal(samples, expected)
    assert rate == 44_100
    (tmp_path / "x.wav").write_bytes((tmp_path / "x.wav").read_bytes()[:-50_000])
    assert read_pcm24(tmp_path / "x.wav", None) is None
    with pytest.raises(UserError, match="is cut short"):
        read_audio(tmp_path / "x.wav", 44_100)


@pytest.mark.slow  # thousands of damaged files
def test_spoilt_24_bit_files_are_read_as_soundfile_reads_them_or_not_at_all(tmp_path: Path) -> None:
    """Oracle: soundfile, on 3,000 files with up to three wrong bytes in the header, or with another chunk before it."""
    random = np.random.default_rng(0)
    path = tmp_path / "x.wav"
    soundfile.write(path, random.uniform(-0.5, 0.5, 300), 44_100, "PCM_24")
    whole = path.read_bytes()
    files = [whole[:12] + b"LIST" + struct.pack("<I", size) + b"x" * 10 + whole[12:] for size in (10, 9, 100_000)]
    for _ in range(3_000):
        spoilt = bytearray(whole)
        for place in random.integers(0, 44, random.integers(1, 4)):
            spoilt[place] = random.integers(256)
        files.append(bytes(spoilt))
    taken = 0
    for content in files:
        path.write_bytes(content)
        if (found := read_pcm24(path, None)) is not None:
            expected, rate = soundfile.read(path, dtype="float32", always_2d=True)
            np.testing.assert_array_equal(found[0], expected)
            assert found[1] == rate
            taken += 1
    path.write_bytes(whole)
    assert read_pcm24(path, None) is not None
    assert taken < 1_000


def test_clips_are_scaled_by_their_own_peak(tmp_path: Path) -> None:
    """Oracle: the resampled signal; half a step of rounding, where a step is the clip's peak / 32767."""
    soundfile.write(tmp_path / "quiet.wav", 1e-4 * np.sin(np.arange(44_100) / 7), 44_100, "PCM_24")
    noise(tmp_path / "loud.wav")
    paths = [tmp_path / "quiet.wav", tmp_path / "loud.wav"]
    decoded = decode(paths, 32_000, 1.0)
    for wave, scale, path in zip(decoded.wave, decoded.scale, paths, strict=True):
        assert np.abs(wave.astype(int)).max() == 32_767
        np.testing.assert_allclose(wave * scale, read_audio(path, 32_000), atol=0.501 * scale)


def test_a_long_file_begins_like_the_whole_of_it(tmp_path: Path) -> None:
    """Oracle: the whole file resampled and cut; only the end may hear the cut, 0.1 s behind it, below 16 bit."""
    samples = noise(tmp_path / "long.wav", 5.0)
    decoded = decode([tmp_path / "long.wav"], 32_000, 2.0)
    expected = soxr.resample(samples, 44_100, 32_000, "HQ")[:64_000]
    np.testing.assert_allclose(decoded.wave[0] * decoded.scale[0], expected, atol=2**-15)


def test_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Oracle: the same files decoded by one thread."""
    paths = [tmp_path / f"{n}.wav" for n in range(24)]
    for n, path in enumerate(paths):
        noise(path, 0.2 + 0.05 * (n % 3), rate=(44_100, 48_000, 32_000)[n % 3], seed=n)
    parts = [paths[n : n + 4] for n in range(0, 24, 4)] * 4

    def waves(part: list[Path]) -> np.ndarray:
        return decode(part, 32_000, 0.25).wave.copy()

    with ThreadPoolExecutor(4) as pool:
        for threaded, part in zip(pool.map(waves, parts), parts, strict=True):
            np.testing.assert_array_equal(threaded, waves(part))


def test_odd_files_are_brought_into_form_and_counted(tmp_path: Path) -> None:
    """Oracle: a short stereo file at 48 kHz, a long one and a silent one, made by hand."""
    stereo = np.stack([np.full(24_000, 0.4), np.full(24_000, 0.2)], axis=1)
    soundfile.write(tmp_path / "short.wav", stereo, 48_000, "PCM_24")
    soundfile.write(tmp_path / "long.flac", np.full(88_200, 0.1), 44_100, "PCM_24")
    soundfile.write(tmp_path / "silent.wav", np.zeros(44_100), 44_100, "PCM_16")
    decoded = decode([tmp_path / name for name in ("short.wav", "long.flac", "silent.wav")], 32_000, 1.0)
    waves = decoded.wave * decoded.scale[:, None]
    assert waves[0, 8_000] == pytest.approx(0.3, abs=1e-3)
    assert np.abs(waves[0, 16_100:]).max() == 0
    assert waves[1, 16_000] == pytest.approx(0.1, abs=1e-3)
    assert not waves[2].any()
    assert decoded.oddities == {
        "had several channels and were mixed down": 1,
        "were shorter than a clip and padded with silence": 1,
        "were longer than a clip and cut": 1,
        "are silent": 1,
    }
    assert decoded.rates == {44_100: 2, 48_000: 1}


def test_a_peak_that_is_mere_rounding_is_silence(tmp_path: Path) -> None:
    """Oracle: float samples too small for a scale of their own in float32, which would wrap around in int16."""
    soundfile.write(tmp_path / "x.wav", np.full(44_100, 3e-39), 32_000, "FLOAT")
    assert not decode([tmp_path / "x.wav"], 32_000, 1.0).wave.any()


def integers_as_floats(path: Path, peak: float = 5_000) -> None:
    soundfile.write(path, np.random.default_rng(0).uniform(-peak, peak, 44_100), 44_100, "FLOAT")


def integers_as_16_bits(path: Path) -> bytes:
    soundfile.write(path, np.zeros(44_100), 44_100)
    return path.read_bytes()


SPOILT = {
    "text": (lambda path: path.write_bytes(b"this is no audio"), "cannot be read as audio"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as audio"),
    "missing": (lambda path: None, "cannot be read as audio"),
    "no samples": (lambda path: soundfile.write(path, np.zeros(0), 44_100), "holds no samples"),
    "not a number": (lambda path: soundfile.write(path, [0.0, np.nan], 44_100, "FLOAT"), "values that are not numbers"),
    "infinite": (lambda path: soundfile.write(path, [0.0, -np.inf], 44_100, "FLOAT"), "values that are not numbers"),
    "integers as floats": (integers_as_floats, f"more than {LOUDEST:g} times full scale"),
    "quiet integers as floats": (
        lambda path: soundfile.write(path, np.random.default_rng(0).normal(0, 200, 44_100), 44_100, "FLOAT"),
        "more than 32 times full scale: floats must be from -1 to 1",
    ),
    "one value too large": (
        lambda path: soundfile.write(path, [0.0, -1.001 * LOUDEST], 44_100, "DOUBLE"),
        f"more than {LOUDEST:g} times full scale",
    ),
    "few integers as floats": (
        lambda path: soundfile.write(path, [0.0, 0.0, -3.0, 2.0], 44_100, "DOUBLE"),
        "whole numbers alone, up to 3: floats must be from -1 to 1",
    ),
    "cut short": (
        lambda path: path.write_bytes(integers_as_16_bits(path)[:-1001]),
        "it promises 44,100 samples and 43,599 are there",
    ),
    "a matrix": (lambda path: soundfile.write(path, np.zeros(99), 44_100, format="MAT5"), "a MAT5 file, not one of AI"),
    "too low a rate": (lambda path: soundfile.write(path, np.zeros(99), 999, "PCM_24"), "a rate of 999 Hz, not one"),
    "too high a rate": (lambda path: soundfile.write(path, np.zeros(99), 384_001), "a rate of 384001 Hz, not one"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_every_reader_refuses_the_same_files_with_the_same_words(tmp_path: Path, kind: str) -> None:
    """Oracle: fourteen kinds of file that break a rule; packing's, the whole-file and the any-length reader agree."""
    make, message = SPOILT[kind]
    path = tmp_path / "x.wav"
    make(path)
    (found,) = decode([path], 32_000, 1.0).failures
    assert "x.wav" in found
    assert message in found
    for read in (lambda: read_audio(path, 32_000), lambda: list(read_pieces(path, 32_000, 1.0))):
        with pytest.raises(UserError) as caught:
            read()
        assert str(caught.value) == found


def test_values_up_to_the_limit_and_rates_up_to_the_limits_are_read(tmp_path: Path) -> None:
    """Oracle: what was written; floats above full scale do occur, and clips are scaled by their peak."""
    samples = [0, LOUDEST, -LOUDEST, 0.25]
    soundfile.write(tmp_path / "x.wav", np.array(samples), 32_000, "FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "x.wav", 32_000), samples)
    for rate in (RATES.low, RATES.high):
        soundfile.write(tmp_path / "x.wav", np.full(rate, 0.25), rate, "PCM_24")
        assert read_audio(tmp_path / "x.wav", 8_000)[4_000] == pytest.approx(0.25, abs=1e-3)


def test_integers_stored_as_floats_and_divided_are_the_integers(shared_cases: Path, tmp_path: Path) -> None:
    """Oracle: the 16-bit file with the same sound; float / 32767 is what was meant. Tolerance two steps of 16 bits."""
    path = shared_cases / "float_int16_range" / "low0.wav"
    with pytest.raises(UserError, match=r"low0\.wav holds values .* more than 32 times full scale"):
        read_audio(path, 16_000)
    samples, rate = soundfile.read(path)
    soundfile.write(tmp_path / "x.wav", samples / 32_767, rate, "FLOAT")
    reference = read_audio(shared_cases / "float_int16_range" / "reference_low0_pcm16.wav", rate)
    np.testing.assert_allclose(read_audio(tmp_path / "x.wav", rate), reference, atol=2 / 32_768)


def test_every_format_is_read_by_every_reader(tmp_path: Path) -> None:
    """Oracle: soundfile wrote the tone. Tolerance 0.02 of full scale, which MP3 and Vorbis need."""
    tone = 0.5 * np.sin(np.arange(48_000) * 2 * np.pi * 440 / 48_000)
    for form, suffixes in FORMATS.items():
        path = tmp_path / f"x{suffixes[0]}"
        soundfile.write(path, tone, 48_000, format=form, endian="BIG" if form == "AU" else None)
        with soundfile.SoundFile(path) as file:
            assert file.format == form
        for found in (read_audio(path, 48_000), torch.cat(list(read_pieces(path, 48_000, 1.0)))[0].numpy()):
            np.testing.assert_allclose(found[:48_000], tone[: len(found)], atol=0.02)


def test_what_cannot_be_read_is_named_and_the_others_are_decoded(tmp_path: Path) -> None:
    """Oracle: five kinds of spoilt file, and a good one among them."""
    (tmp_path / "text.wav").write_bytes(b"this is no audio")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "headerless.raw").write_bytes(bytes(100))
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 44_100)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 44_100, "FLOAT")
    noise(tmp_path / "good.wav")
    spoilt = ["text.wav", "empty.wav", "headerless.raw", "none.wav", "nan.wav"]
    decoded = decode([tmp_path / name for name in [*spoilt[:3], "good.wav", *spoilt[3:]]], 32_000, 1.0)
    assert decoded.read == [3]
    assert decoded.wave.shape == (1, 32_000)
    assert len(decoded.failures) == len(spoilt)
    assert all(name in text for name, text in zip(spoilt, decoded.failures, strict=True))
    for name in spoilt:
        with pytest.raises(UserError, match=name):
            read_audio(tmp_path / name, 32_000)
