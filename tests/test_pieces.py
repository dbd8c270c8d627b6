"""Sounds of any length in clips: the same waves as the store's, and a message for every file that cannot be read."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data import pieces
from data.audio import LOUDEST
from data.errors import UserError
from data.scenes import ClipSet
from data.sound_files import SUFFIXES
from data.waves import WaveStore, read_pieces
from experiments.inference.server import LONGEST_SECONDS

RATE = 32_000


def read(sound: Path | bytes, **limits: object) -> np.ndarray:
    return torch.cat(list(read_pieces(sound, RATE, 1.0, **limits))).numpy()


def noise(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * rate), channels)).astype(np.float32)


def content(samples: np.ndarray, rate: int = 8_000, **form: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", "subtype": "FLOAT", **form})
    return file.getvalue()


def test_a_clip_of_the_data_set_is_what_the_store_holds(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: the wave store, to the last bit; from the path and from the bytes."""
    rows = np.arange(0, 520, 40)
    for row, expected in zip(rows, miniature_waves.read(rows).numpy(), strict=True):
        path = miniature.root / miniature.filenames[row]
        np.testing.assert_array_equal(read(path), expected[None])
        np.testing.assert_array_equal(read(path.read_bytes()), expected[None])


@pytest.mark.parametrize(
    ("form", "rate", "channels"),
    [("WAV", 44_100, 2), ("FLAC", 48_000, 1), ("OGG", 22_050, 2), ("MP3", 48_000, 2), ("AIFF", 32_000, 1)],
)
def test_a_long_sound_is_the_whole_one_in_clips(
    form: str, rate: int, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: soundfile and soxr on the whole file at once; tolerance half a step of 16 bits below the clip's peak, and
    rounding."""
    monkeypatch.setattr(pieces, "BLOCK_SECONDS", 2)
    soundfile.write(tmp_path / "x", noise(7, rate, channels), rate, format=form)
    samples, _ = soundfile.read(tmp_path / "x", dtype="float32", always_2d=True)
    mono = samples.mean(1)
    whole = mono if rate == RATE else soxr.resample(mono, rate, RATE, "HQ")
    expected = whole[: 7 * RATE].reshape(7, RATE)
    step = np.abs(expected).max(1, keepdims=True) / 32_767
    found = read(tmp_path / "x")
    assert found.shape == expected.shape
    assert (np.abs(found - expected) <= 0.51 * step).all()


@pytest.mark.parametrize(("seconds", "clips"), [(0.1, 1), (0.9, 1), (1.0, 1), (1.4, 1), (1.5, 2), (3.49, 3), (3.5, 4)])
def test_an_end_of_half_a_clip_counts(seconds: float, clips: int) -> None:
    """Oracle: the rule, counted by hand; the padding is silence, which a tone of constant height shows."""
    found = read(content(np.full(round(seconds * RATE), 0.25, np.float32), RATE))
    assert len(found) == clips
    given = round(min(seconds, clips) * RATE)
    np.testing.assert_allclose(found.ravel(), 0.25 * (np.arange(clips * RATE) < given), atol=1e-5)


def test_memory_does_not_depend_on_the_length(tmp_path: Path) -> None:
    """Oracle: tracemalloc, which counts what numpy allocates: 15 minutes are 115 MB as floats."""
    soundfile.write(tmp_path / "x.wav", noise(900, 8_000), 8_000, "PCM_16")
    tracemalloc.start()
    assert sum(len(waves) for waves in read_pieces(tmp_path / "x.wav", RATE, 1.0)) == 900
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6


GOOD = content(noise(2, 8_000), subtype="PCM_16")
SPOILT = {
    "empty": (b"", "cannot be read as audio"),
    "text": (b"hear me " * 100, "cannot be read as audio"),
    "a WAV without samples": (content(np.zeros(0)), "no samples"),
    "a bare header": (GOOD[:44], "is cut short or damaged: it promises 16,000 samples and 0 are there"),
    "half a header": (GOOD[:30], "cannot be read as audio"),
    "no numbers": (content(np.array([0.0, np.nan, 0.0])), "not numbers"),
    "infinite": (content(np.array([0.0, np.inf, 0.0])), "not numbers"),
    "louder than floats": (content(np.full((9, 2), 3e38)), "not numbers"),
    "integers as floats": (content(np.array([0.0, 20_000.0])), f"more than {LOUDEST:g} times full scale"),
    "too slow a rate": (content(np.zeros(50), 50), "a rate of 50 Hz, not one from 1000 to 384000"),
    "too long": (content(np.zeros(9_000 * 121, np.float32), 9_000, subtype="PCM_16"), "is longer than 120 s"),
    "another format": (content(np.zeros(50), format="PVF", subtype="PCM_16"), "a PVF file, not one of AIFF"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_what_is_no_sound_is_a_message(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """Oracle: twelve kinds of spoilt file, from memory and from disk; nothing else is printed or raised."""
    data, message = SPOILT[kind]
    (tmp_path / "x.wav").write_bytes(data)
    for sound, name in ((data, "the sound"), (tmp_path / "x.wav", "x.wav")):
        with pytest.raises(UserError, match=message) as caught:
            read(sound, longest=LONGEST_SECONDS)
        assert name in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_of_a_file_from_a_pipe_what_is_there_counts() -> None:
    """Oracle: the whole file's clips; the sizes that sox, arecord and ffmpeg write where they cannot go back."""
    whole = content(noise(3, RATE), RATE)
    expected = read(whole)
    at = whole.index(b"data") + 4
    for claimed in (0x7FFFF000, 0x80000000, 0xFFFFFFFF):
        streamed = whole[:at] + claimed.to_bytes(4, "little") + whole[at + 4 :]
        np.testing.assert_array_equal(read(streamed), expected)
    for claimed, message in ((len(whole), "is cut short"), (0, "384,000 bytes follow")):
        with pytest.raises(UserError, match=message):
            read(whole[:at] + claimed.to_bytes(4, "little") + whole[at + 4 :])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
@example(None)
def test_no_spoilt_sound_makes_it_stumble(capfd: pytest.CaptureFixture, data: st.DataObject | None) -> None:
    """Oracle: the law: whole clips of finite values within the limits, or a message, and nothing printed."""
    if data is None:
        spoilt = GOOD
    else:
        form = data.draw(
            st.sampled_from([("WAV", "PCM_16"), ("WAV", "MS_ADPCM"), ("FLAC", "PCM_16"), ("AIFF", "FLOAT")])
        )
        spoilt = bytearray(content(noise(0.2, 8_000), format=form[0], subtype=form[1]))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, 99) | st.integers(0, len(spoilt) - 1))
            length = data.draw(st.integers(0, 4))
            spoilt[at : at + length] = data.draw(st.binary(max_size=8))
        spoilt = bytes(spoilt)
    try:
        found = read(spoilt, longest=LONGEST_SECONDS)
    except UserError:
        pass
    else:
        assert found.shape[1:] == (RATE,)
        assert 1 <= len(found) <= LONGEST_SECONDS
        assert np.isfinite(found).all()
    assert "Traceback" not in capfd.readouterr().err


def test_suffixes_are_those_of_what_soundfile_writes(tmp_path: Path) -> None:
    """Oracle: soundfile, which writes a file of each name, chooses the format by it, and says which one it is."""
    for suffix in SUFFIXES:
        form = {".aif": "AIFF", ".aifc": "AIFF", ".oga": "OGG", ".opus": "OGG", ".snd": "AU", ".sph": "NIST"}.get(
            suffix
        )
        path = tmp_path / f"x{suffix}"
        soundfile.write(path, noise(1, 48_000), 48_000, format=form)
        assert read(path).shape == (1, RATE)
