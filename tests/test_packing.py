"""Packing clips: done once, by one process at a time, and never lost."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from data import decoding, locks, packing
from data.errors import UserError
from data.packing import is_current, pack, source_of
from data.scenes import ClipSet, parse_filename
from data.store import Store
from data.wave_file import WAVES, checks
from data.waves import WaveStore

NAMES = [f"audio/tram-paris-{n}-{n}-0-a.wav" for n in range(4)]
KILLS = 25
# Packs a set and kills itself at the n-th write, sync or rename of a row or a file, in the middle of the write.
SUICIDAL = """
import os, signal, sys
from pathlib import Path
root, cache, count, at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
from data import decoding, packing
from data.scenes import ClipSet, parse_filename
decoding.TASK, packing.COMMIT_SECONDS = 2, 0.004
calls = 0
def counted(function):
    def call(*arguments):
        global calls
        calls += 1
        if calls == at:
            if function is pwrite:
                pwrite(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2], arguments[2])
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call
pwrite = os.pwrite
os.pwrite, os.fsync = counted(os.pwrite), counted(os.fsync)
Path.replace = counted(Path.replace)
clips = [parse_filename(f"audio/tram-paris-{n}-{n}-0-a.wav") for n in range(count)]
packing.pack(ClipSet("kill", root, clips), cache, clip_seconds=0.05)
print(calls)
"""


def write_tones(root: Path, count: int = 4, seconds: float = 1.0) -> ClipSet:
    (root / "audio").mkdir(parents=True)
    clips = [parse_filename(f"audio/tram-paris-{n}-{n}-0-a.wav") for n in range(count)]
    t = np.arange(round(44_100 * seconds)) / 44_100
    for n, clip in enumerate(clips):
        soundfile.write(root / clip.filename, 0.5 * np.sin(2 * np.pi * (1000 + n) * t), 44_100, "PCM_24")
    return ClipSet("tones", root, clips)


def spoil(store: Store, row: int) -> None:
    """Another wave in a finished row, as if it had been packed."""
    values = {"wave": np.full((1, 32_000), 5, np.int16), "scale": np.full(1, 0.001), "stamp": store["stamp"][[row]]}
    store.fill([row], **values, **checks(**values))


@pytest.fixture
def tones(tmp_path: Path) -> ClipSet:
    return write_tones(tmp_path / "set")


def test_an_unchanged_source_is_not_packed_again_and_a_changed_one_is(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: the file's time of change, and a wave that became louder."""
    path = pack(tones, tmp_path / "cache")
    first, before = WaveStore(path), path.stat().st_mtime_ns
    assert WaveStore(pack(tones, tmp_path / "cache")).digest == first.digest
    assert path.stat().st_mtime_ns == before
    assert is_current(path, source_of(path), tones.root)
    assert not is_current(path, "another", tones.root)
    soundfile.write(tones.root / NAMES[0], np.full(44_100, 0.25), 44_100, "PCM_24")
    assert not is_current(path, source_of(path), tones.root)
    again = WaveStore(pack(tones, tmp_path / "cache"))
    assert again.digest != first.digest
    assert again.read(np.array([0]))[0, 16_000].item() == pytest.approx(0.25, abs=1e-3)


def test_only_what_is_not_done_is_decoded(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: a finished row is spoilt on purpose: it is kept, because it is done; an undone row is read anew."""
    path = pack(tones, tmp_path / "cache")
    store = Store(path, WAVES)
    spoil(store, 1)
    store.reset([2])
    assert not is_current(path, source_of(path), tones.root)
    with pytest.raises(UserError, match="unfinished"):
        WaveStore(path)
    waves = WaveStore(pack(tones, tmp_path / "cache")).read(np.array([1, 2]))
    assert (waves[0] == 5 * np.float32(0.001)).all()
    assert waves[1].abs().max() == pytest.approx(0.5, abs=1e-2)


@pytest.mark.parametrize("change", ["format", "length", "list", "cut", "text", "columns"])
def test_a_store_of_another_source_is_made_anew(
    tones: ClipSet, tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the waves of an undisturbed store, and the reason in the log."""
    caplog.set_level("INFO")
    expected = WaveStore(pack(tones, tmp_path / "undisturbed"))
    path = pack(tones, tmp_path / "cache", clip_seconds=0.5 if change == "length" else 1.0)
    if change == "format":
        with h5py.File(path, "r+") as file:
            file.attrs["format"] = "scenelet waves 0"
    elif change == "list":
        pack(replace(tones, clips=tones.clips[:2]), tmp_path / "cache")
    elif change == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif change == "columns":
        with h5py.File(path, "r+") as file:
            del file["stamp"]
    elif change == "text":
        path.write_text("no store")
    caplog.clear()
    again = WaveStore(pack(tones, tmp_path / "cache"))
    np.testing.assert_array_equal(again.wave, expected.wave)
    assert again.digest == expected.digest
    reasons = {"format": "scenelet waves 0", "length": "length", "list": "another list", "columns": "no stamp"}
    reason = reasons.get(change, "HDF5")
    assert reason in caplog.text


def test_all_missing_files_are_counted_and_twenty_shown(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: 30 names without files."""
    more = [parse_filename(f"audio/bus-paris-{n}-{n}-0-a.wav") for n in range(30)]
    with pytest.raises(UserError, match="30 of 34 audio files are missing") as caught:
        pack(replace(tones, clips=[*tones.clips, *more]), tmp_path / "cache")
    assert str(caught.value).count("audio/bus-paris") == 20
    assert "... and 10 more" in str(caught.value)
    assert not list(tmp_path.glob("cache/*.h5"))


def test_names_may_be_absolute_and_clips_of_several_rates(
    tones: ClipSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the same file under its relative and its absolute name; the rates counted by hand."""
    soundfile.write(tmp_path / "elsewhere.wav", np.full(24_000, 0.25), 48_000, "PCM_24")
    places = [tones.root / NAMES[0], tmp_path / "elsewhere.wav"]
    named = [tones.clips[0], *(tones.clips[0]._replace(filename=str(place)) for place in places)]
    store = WaveStore(pack(replace(tones, clips=named), tmp_path / "cache"))
    np.testing.assert_array_equal(store.wave[0], store.wave[1])
    assert store.read(np.array([2]))[0, 8_000].item() == pytest.approx(0.25, abs=1e-3)
    assert "several rates: 2 of 44100 Hz, 1 of 48000 Hz" in caplog.text


@pytest.mark.parametrize(
    "settings",
    [{"sample_rate": 0}, {"sample_rate": 10**9}, {"clip_seconds": 0.0}]
    + [{"clip_seconds": seconds} for seconds in (float("nan"), float("inf"), 1e6, -1.0)],
)
def test_a_length_or_rate_that_cannot_be_is_refused(tones: ClipSet, tmp_path: Path, settings: dict) -> None:
    """Oracle: the message, and that nothing is written."""
    with pytest.raises(UserError, match=f"data.{next(iter(settings))}=.* must be from"):
        pack(tones, tmp_path / "cache", **settings)
    assert not (tmp_path / "cache").exists()


def test_integers_stored_as_floats_are_named_and_the_others_are_kept(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: two of four files written as floats with a peak of 5,000; the rows of the other two."""
    for clip in tones.clips[:2]:
        soundfile.write(tones.root / clip.filename, 5_000 * np.sin(np.arange(44_100)), 44_100, "FLOAT")
    with pytest.raises(UserError, match="2 audio files are unreadable") as caught:
        pack(tones, tmp_path / "cache")
    assert [clip.filename in str(caught.value) for clip in tones.clips] == [True, True, False, False]
    assert str(caught.value).count("more than 32 times full scale") == 2
    assert list(Store(tmp_path / "cache" / "waves_32000.h5", WAVES).missing) == [0, 1]


def test_every_unreadable_file_is_named_and_the_others_are_kept(
    tones: ClipSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: two files spoilt by hand; after mending them nothing else is done again."""
    backup = {name: (tones.root / name).read_bytes() for name in NAMES[:2]}
    (tones.root / NAMES[0]).write_bytes(b"this is no audio")
    (tones.root / NAMES[1]).write_bytes(b"")
    soundfile.write(tones.root / NAMES[3], np.zeros(44_100), 44_100, "PCM_24")
    with pytest.raises(UserError, match="2 audio files are unreadable") as caught:
        pack(tones, tmp_path / "cache")
    assert "1 of 4 clips are silent" in caplog.text
    assert all(name in str(caught.value) for name in NAMES[:2])
    assert list(Store(tmp_path / "cache" / "waves_32000.h5", WAVES).missing) == [0, 1]
    for name, data in backup.items():
        (tones.root / name).write_bytes(data)
    # A finished row is spoilt on purpose: it stays so, because nothing but the mended files is read again.
    spoil(Store(tmp_path / "cache" / "waves_32000.h5", WAVES), 2)
    waves = WaveStore(pack(tones, tmp_path / "cache")).read(np.arange(4))
    assert waves[0].abs().max() == pytest.approx(0.5, abs=1e-2)
    assert waves[2].unique().numel() == 1


def test_a_disk_without_room_is_found_before_the_first_clip(
    tones: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: a disk that claims to have 1,000 bytes; the store of another length that is there stays whole."""
    path = pack(tones, tmp_path / "cache", clip_seconds=0.01)
    before = path.read_bytes()
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1_000, 0, 1_000))
    with pytest.raises(UserError, match=r"needs 0.0 GB and the disk has 0.0 GB: free space there"):
        pack(tones, tmp_path / "cache")
    assert path.read_bytes() == before


def test_a_disk_that_fills_up_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: an operating system that has no room for the 11th wave and any later one; an undisturbed store."""
    tones = write_tones(tmp_path / "set", 40, 0.05)
    expected = pack(tones, tmp_path / "undisturbed", clip_seconds=0.05).read_bytes()
    monkeypatch.setattr(decoding, "TASK", 1)
    pwrite, room = os.pwrite, iter(range(10))

    def filling_up(descriptor: int, data: bytes, place: int) -> int:
        if len(data) > 1000 and next(room, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(descriptor, data, place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", filling_up)
        with pytest.raises(UserError, match=r"No space left on device.*; finished clips are kept"):
            pack(tones, tmp_path / "cache", clip_seconds=0.05)
    assert 30 <= len(Store(tmp_path / "cache" / "waves_32000.h5", WAVES).missing) < 40
    assert pack(tones, tmp_path / "cache", clip_seconds=0.05).read_bytes() == expected


def suicidal(root: Path, cache: Path, count: int, at: int) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", SUICIDAL, str(root), str(cache), str(count), str(at)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)


@pytest.mark.slow  # kills many processes: seven seconds
def test_a_packing_that_is_killed_again_and_again_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    """Oracle: an undisturbed store, byte for byte (waves, scales, names and everything else); and that no clip which
    was finished before a kill is unfinished after it."""
    count = 600
    write_tones(tmp_path / "set", count, 0.05)
    total = int(suicidal(tmp_path / "set", tmp_path / "undisturbed", count, 0).stdout.split()[-1])
    expected = (tmp_path / "undisturbed" / "waves_32000.h5").read_bytes()
    path, rng, finished = tmp_path / "cache" / "waves_32000.h5", random.Random(0), set()
    for left in range(KILLS, 0, -1):
        # Anywhere in the laying out of the file or in the next of the clips that are to be left for later kills.
        share = 3 + total * (count - len(finished)) // count // left
        assert (
            suicidal(tmp_path / "set", tmp_path / "cache", count, rng.randint(1, share)).returncode == -signal.SIGKILL
        )
        if path.exists():
            done = set(np.flatnonzero(Store(path, WAVES)["done"]))
            assert finished <= done
            finished = done
    assert 0 < len(finished) < count
    assert suicidal(tmp_path / "set", tmp_path / "cache", count, 0).returncode == 0
    assert path.read_bytes() == expected
    assert not list(path.parent.glob("*.tmp"))


def test_two_processes_at_once_make_one_whole_store(tmp_path: Path) -> None:
    """Oracle: an undisturbed store, byte for byte."""
    write_tones(tmp_path / "set", 300, 0.05)
    suicidal(tmp_path / "set", tmp_path / "undisturbed", 300, 0)
    command = [sys.executable, "-c", SUICIDAL, str(tmp_path / "set"), str(tmp_path / "cache"), "300", "0"]
    both = [subprocess.Popen(command, cwd=Path(__file__).parent.parent) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    names = [tmp_path / folder / "waves_32000.h5" for folder in ("undisturbed", "cache")]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_a_process_that_waits_says_so(tones: ClipSet, tmp_path: Path) -> None:
    """Oracle: another process that gives the lock up only once the message has come."""
    path = pack(tones, tmp_path / "cache")
    hold = f"import filelock, time\nwith filelock.FileLock({str(path) + '.lock'!r}):\n print(1, flush=True)\n input()"
    holder = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    holder.stdout.readline()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(locks.log, "info", lambda *_: holder.communicate("\n"))
            pack(tones, tmp_path / "cache")
    finally:
        holder.kill()
    assert holder.wait() == 0
