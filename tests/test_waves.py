"""Stored clips: what is read is the audio."""

import shutil
import zlib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
import torch

from data.errors import UserError
from data.packing import pack
from data.residency import resident
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


def flip(path: Path, column: str, row: int, byte: int = 0) -> None:
    """Another value in a column, one bit of it, as a failing disk would give it."""
    with h5py.File(path) as file:
        place = file[column].id.get_offset() + row * file[column][0].nbytes + byte
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("residency", ["disk", "memory"])
def test_a_wave_that_changed_on_the_disk_is_found_when_it_is_read(
    tones: ClipSet, tmp_path: Path, residency: str
) -> None:
    """Oracle: the clip whose sample was changed by hand, and no other; after packing again, an undisturbed store."""
    path, rows = pack(tones, tmp_path / "cache"), np.arange(4)
    expected = WaveStore(path).read(rows)
    flip(path, "wave", 2, byte=1000)
    store = WaveStore(path)
    assert torch.equal(store.read(np.array([0, 1, 3])), expected[[0, 1, 3]])
    with pytest.raises(UserError, match="1 wave") as caught:
        resident(store, rows, residency, "cpu").gather(torch.arange(4))
    assert [clip.filename in str(caught.value) for clip in tones.clips] == [False, False, True, False]
    assert "run the command again" in str(caught.value)
    assert torch.equal(WaveStore(pack(tones, tmp_path / "cache")).read(rows), expected)


def test_a_wave_is_compared_with_its_checksum_once(
    tones: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: counting: three rows read, two of them again with a new one: four checksums."""
    store = WaveStore(pack(tones, tmp_path / "cache"))
    compared, crc32 = [], zlib.crc32
    monkeypatch.setattr("data.waves.zlib.crc32", lambda wave: compared.append(wave) or crc32(wave))
    for rows in ([0, 1, 2], [2, 3, 1]):
        store.take(np.array(rows))
    assert len(compared) == 4


def test_a_scale_that_no_sound_has_is_refused_without_a_guard_too(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: by hand, in a store of an earlier version: a wave's largest integer is 32,767, and no sound goes beyond
    twice the 32 times full scale that a file may have, nor has a silent one the scale 0."""
    path = pack(tones, tmp_path / "cache")
    with h5py.File(path, "r+") as file:
        del file["guard"]
    for scale in (1e-9, 64 / 32_767, 0.0, -1e-5, 65 / 32_767, np.inf, np.nan):
        with h5py.File(path, "r+") as file:
            file["scale"][2] = scale
        with nullcontext() if 0 < scale <= 64 / 32_767 else pytest.raises(UserError, match="of 1 clip cannot be"):
            WaveStore(path)


def test_a_store_that_contradicts_itself_is_refused(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: the message, which shows the value, or says that the fingerprint is of other clips; whole seconds may be
    an integer."""
    path = pack(tones, tmp_path / "cache")
    wrong = [("sample_rate", "fast"), ("sample_rate", 32_000.0), ("clip_seconds", "long"), ("clip_seconds", -1.0)]
    wrong += [("clip_seconds", 0.5), ("sample_rate", 16_000), ("source", "0" * 64)]
    for name, value in wrong:
        with h5py.File(path, "r+") as file:
            before, file.attrs[name] = file.attrs[name], value
        with pytest.raises(UserError, match=r"it is of .* seconds at .* Hz|not those of its fingerprint"):
            WaveStore(path)
        with h5py.File(path, "r+") as file:
            file.attrs[name] = before
    with h5py.File(path, "r+") as file:
        file.attrs["clip_seconds"] = 1
    assert len(WaveStore(path)) == 4


@pytest.mark.parametrize("column", ["scale", "stamp", "checksum", "guard"])
def test_what_else_changed_on_the_disk_is_mended_by_packing(
    tones: ClipSet, tmp_path: Path, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the bytes of the undisturbed store, and the clip's name in the log."""
    path = pack(tones, tmp_path / "cache")
    before = path.read_bytes()
    flip(path, column, 1)
    with pytest.raises(UserError, match=r"scale, stamp or checksum of 1 clip.*delete it and pack"):
        WaveStore(path)
    assert pack(tones, tmp_path / "cache").read_bytes() == before
    assert tones.clips[1].filename in caplog.text
    assert tones.clips[0].filename not in caplog.text


def test_a_store_of_an_earlier_version_is_taken_as_it_is(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: a store without the column `guard`: its digest and its waves, and that it is not written to; and a clip
    of it that changed."""
    path = pack(tones, tmp_path / "cache")
    first, waves = WaveStore(path), WaveStore(path).read(np.arange(4))
    with h5py.File(path, "r+") as file:
        del file["guard"]
    before = path.read_bytes()
    store = WaveStore(pack(tones, tmp_path / "cache"))
    assert store.digest == first.digest
    assert torch.equal(store.read(np.arange(4)), waves)
    assert path.read_bytes() == before
    soundfile.write(tones.root / tones.clips[0].filename, np.full(44_100, 0.25), 44_100, "PCM_24")
    assert WaveStore(pack(tones, tmp_path / "cache")).read(np.array([0]))[0, 16_000].item() == pytest.approx(0.25, 1e-2)


def test_a_whole_cache_may_be_read_only(tones: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a folder in which nothing may be made, and a lock that would be."""
    path = pack(tones, tmp_path / "cache")
    monkeypatch.setattr("data.packing.os.access", lambda place, mode: place != path.parent)
    monkeypatch.setattr("data.packing.locked", None)
    assert pack(tones, tmp_path / "cache") == path


def test_real_clips_are_packed_and_read(shared_data: Path, tmp_path: Path) -> None:
    """Oracle: each stored wave has the level of its file, within 5 % (resampling loses what lies above 16 kHz)."""
    root = shared_data / "tau22-mini"
    names = sorted(f"audio/{path.name}" for path in (root / "audio").glob("*.wav"))[:40]
    clips = ClipSet("real", root, [parse_filename(name) for name in names])
    waves = WaveStore(pack(clips, tmp_path)).read(np.arange(len(names)))
    for wave, name in zip(waves, names, strict=True):
        samples, _ = soundfile.read(root / name)
        assert wave.square().mean().sqrt().item() == pytest.approx(np.sqrt(np.square(samples).mean()), rel=0.05)
