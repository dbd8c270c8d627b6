"""Packing clips: what is stored is the audio, and every oddity is counted or refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from data.errors import UserError
from data.scenes import ClipSet, parse_filename
from data.store import Store
from data.waves import WaveStore, decode, pack, read_audio

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
    store = pack(tones, tmp_path / "cache")
    waves = store.read(np.arange(4)).numpy()
    t = np.arange(32_000) / 32_000
    for n, wave in enumerate(waves):
        amplitude = 1e-4 if n == 3 else 0.5
        expected = amplitude * np.sin(2 * np.pi * 1000 * t + n)
        np.testing.assert_allclose(wave[500:-500], expected[500:-500], atol=1e-3 * amplitude + 2**-22)


def test_rows_are_read_in_the_order_asked_for(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: the rows read one by one."""
    store = pack(tones, tmp_path / "cache")
    rows = np.array([2, 0, 2])
    assert torch.equal(store.read(rows), torch.cat([store.read(rows[i : i + 1]) for i in range(3)]))


def test_an_unchanged_source_is_not_packed_again_and_a_changed_one_is(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: the file's time of change, and a wave that became louder."""
    first = pack(tones, tmp_path / "cache")
    path = tmp_path / "cache" / "waves_32000.h5"
    before = path.stat().st_mtime_ns
    assert pack(tones, tmp_path / "cache").digest == first.digest
    assert path.stat().st_mtime_ns == before
    soundfile.write(tones.root / NAMES[0], np.full(44_100, 0.25), 44_100, "PCM_24")
    again = pack(tones, tmp_path / "cache")
    assert again.digest != first.digest
    assert again.read(np.array([0]))[0, 16_000].item() == pytest.approx(0.25, abs=1e-3)


def test_a_killed_packing_goes_on_where_it_was(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: a finished row is spoilt on purpose: it is kept, because it is done; an undone row is read anew."""
    pack(tones, tmp_path / "cache")
    path = tmp_path / "cache" / "waves_32000.h5"
    store = Store(path)
    store.fill([1], wave=np.full((1, 32_000), 5), scale=np.ones(1))
    store.reset([2])
    with pytest.raises(UserError, match="unfinished"):
        WaveStore(path)
    waves = pack(tones, tmp_path / "cache").read(np.array([1, 2]))
    assert (waves[0] == 5).all()
    assert waves[1].abs().max() == pytest.approx(0.5, abs=1e-2)


def test_a_copied_set_has_the_same_digest(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: the same bytes elsewhere, with other times of modification."""
    shutil.copytree(tones.root, tmp_path / "copy", copy_function=shutil.copyfile)
    first, second = pack(tones, tmp_path / "a"), pack(replace(tones, root=tmp_path / "copy"), tmp_path / "b")
    assert first.digest == second.digest


def test_all_missing_files_are_counted_and_twenty_shown(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: 30 names without files."""
    more = [parse_filename(f"audio/bus-paris-{n}-{n}-0-a.wav") for n in range(30)]
    with pytest.raises(UserError, match="30 of 34 audio files are missing") as caught:
        pack(replace(tones, clips=[*tones.clips, *more]), tmp_path / "cache")
    assert str(caught.value).count("audio/bus-paris") == 20
    assert "... and 10 more" in str(caught.value)
    assert not list(tmp_path.glob("cache/*.h5"))


def test_every_unreadable_file_is_named_and_the_others_are_kept(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: two files spoilt by hand; after mending them nothing else is done again."""
    backup = {name: (tones.root / name).read_bytes() for name in NAMES[:2]}
    (tones.root / NAMES[0]).write_bytes(b"this is no audio")
    (tones.root / NAMES[1]).write_bytes(b"")
    with pytest.raises(UserError, match="2 audio files are unreadable") as caught:
        pack(tones, tmp_path / "cache")
    assert all(name in str(caught.value) for name in NAMES[:2])
    assert list(Store(tmp_path / "cache" / "waves_32000.h5").missing) == [0, 1]
    for name, data in backup.items():
        (tones.root / name).write_bytes(data)
    # A finished row is spoilt on purpose: it stays so, because nothing but the mended files is read again.
    Store(tmp_path / "cache" / "waves_32000.h5").fill([2], wave=np.full((1, 32_000), 5))
    waves = pack(tones, tmp_path / "cache").read(np.arange(4))
    assert waves[0].abs().max() == pytest.approx(0.5, abs=1e-2)
    assert waves[2].unique().numel() == 1


def test_odd_files_are_brought_into_form_and_counted(
    tones: ClipSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: a short stereo file at 48 kHz, a long one and a silent one, made by hand."""
    stereo = np.stack([np.full(24_000, 0.4), np.full(24_000, 0.2)], axis=1)
    soundfile.write(tones.root / NAMES[0], stereo, 48_000, "PCM_24")
    soundfile.write(tones.root / NAMES[1], np.full(88_200, 0.1), 44_100, "PCM_24")
    soundfile.write(tones.root / NAMES[2], np.zeros(44_100), 44_100, "PCM_24")
    waves = pack(tones, tmp_path / "cache").read(np.arange(3))
    assert waves[0, 8_000].item() == pytest.approx(0.3, abs=1e-3)
    assert waves[0, 16_100:].abs().max() == 0
    assert waves.shape[1] == 32_000
    assert not waves[2].any()
    for text in ("1 of 4 clips had another rate", "1 of 4 clips had several channels", "1 of 4 clips were shorter"):
        assert text in caplog.text
    for text in ("1 of 4 clips were longer", "1 of 4 clips are silent"):
        assert text in caplog.text


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """Oracle: a float file with one NaN."""
    soundfile.write(tmp_path / "x.wav", np.array([0.0, np.nan]), 44_100, "FLOAT")
    with pytest.raises(UserError, match="not numbers"):
        read_audio(tmp_path / "x.wav", 32_000)


def test_quiet_clips_keep_their_bits(tones: ClipSet) -> None:
    """Oracle: at a common scale of 1/32767 an amplitude of 1e-4 has 7 levels; at its own it has hundreds."""
    quiet = decode(tones.root / NAMES[3], 32_000)
    assert np.abs(quiet.wave.astype(int)).max() == 32_767
    assert len(np.unique(quiet.wave)) > 100


def test_real_clips_are_packed_and_read(shared_data: Path, tmp_path: Path) -> None:
    """Oracle: each stored wave has the level of its file, within 5 % (resampling loses what lies above 16 kHz)."""
    root = shared_data / "tau22-mini"
    names = sorted(f"audio/{path.name}" for path in (root / "audio").glob("*.wav"))[:40]
    clips = ClipSet("real", root, [parse_filename(name) for name in names])
    waves = pack(clips, tmp_path).read(np.arange(len(names)))
    for wave, name in zip(waves, names, strict=True):
        samples, _ = soundfile.read(root / name)
        assert wave.square().mean().sqrt().item() == pytest.approx(np.sqrt(np.square(samples).mean()), rel=0.05)
