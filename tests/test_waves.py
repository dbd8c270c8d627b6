"""Stored clips: what is read is the audio."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from data.packing import pack
from data.scenes import ClipSet, parse_filename
from data.waves import WaveStore

NAMES = [f"audio/tram-paris-{n}-{n}-0-a.wav" for n in range(4)]


@pytest.fixture
def tones(tmp_path: Path) -> ClipSet:
    """Four one-second tones of 1 kHz, the last one very quiet."""
    (tmp_path / "set" / "audio").mkdir(parents=True)
    t = np.arange(44_100) / 44_100
    for n, name in enumerate(NAMES):
        amplitude = 1e-4 if n == 3 else 0.5
        soundfile.write(tmp_path / "set" / name, amplitude * np.sin(2 * np.pi * 1000 * t + n), 44_100, "PCM_24")
    return ClipSet("tones", tmp_path / "set", [parse_filename(name) for name in NAMES])


def test_a_tone_is_stored_as_the_tone_sampled_at_the_new_rate(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: the sine itself at 32 kHz. Tolerance -60 dB of its amplitude and two steps of 24 bit,
    away from the resampler's edges."""
    store = WaveStore(pack(tones, tmp_path / "cache"))
    waves = store.read(np.arange(4)).numpy()
    t = np.arange(32_000) / 32_000
    for n, wave in enumerate(waves):
        amplitude = 1e-4 if n == 3 else 0.5
        expected = amplitude * np.sin(2 * np.pi * 1000 * t + n)
        np.testing.assert_allclose(wave[500:-500], expected[500:-500], atol=1e-3 * amplitude + 2**-22)


def test_rows_are_read_in_the_order_asked_for(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: the rows read one by one."""
    store = WaveStore(pack(tones, tmp_path / "cache"))
    rows = np.array([2, 0, 2])
    assert torch.equal(store.read(rows), torch.cat([store.read(rows[i : i + 1]) for i in range(3)]))


def test_a_copied_set_has_the_same_digest(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: the same bytes elsewhere, with other times of modification."""
    shutil.copytree(tones.root, tmp_path / "copy", copy_function=shutil.copyfile)
    first = WaveStore(pack(tones, tmp_path / "a"))
    second = WaveStore(pack(replace(tones, root=tmp_path / "copy"), tmp_path / "b"))
    assert first.digest == second.digest


def test_real_clips_are_packed_and_read(shared_data: Path, tmp_path: Path) -> None:
    """Oracle: each stored wave has the level of its file, within 5 % (resampling loses what lies above 16 kHz)."""
    root = shared_data / "tau22-mini"
    names = sorted(f"audio/{path.name}" for path in (root / "audio").glob("*.wav"))[:40]
    clips = ClipSet("real", root, [parse_filename(name) for name in names])
    waves = WaveStore(pack(clips, tmp_path)).read(np.arange(len(names)))
    for wave, name in zip(waves, names, strict=True):
        samples, _ = soundfile.read(root / name)
        assert wave.square().mean().sqrt().item() == pytest.approx(np.sqrt(np.square(samples).mean()), rel=0.05)
