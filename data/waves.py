"""Every clip once, resampled, in one file that is read as fast as memory.

Conventions: `wave` is int16 (N, samples) and `scale` float32 (N,); wave * scale is the signal in [-1, 1]. The scale
is each clip's own peak / 32767, because quiet 24-bit clips would lose bits at a common one. Key: filename. One
resampler for everything (soxr HQ): training and test clips that went through different ones differ by points of
accuracy.
"""

import hashlib
import logging
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from filelock import FileLock
from rich.progress import track

from data.errors import UserError, listed
from data.scenes import ClipSet
from data.store import Store, create

FORMAT = "scenelet waves 1"
CLIP_SECONDS = 1.0
SOURCE_RATE = 44_100
FULL_SCALE = 32_767
CHUNK = 256
RESAMPLER = "HQ"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decoded:
    """One clip as read: int16 samples, their scale, and what was unusual about the file."""

    wave: np.ndarray
    scale: float
    oddities: tuple[str, ...]


def read_audio(path: str | Path, sample_rate: int) -> tuple[np.ndarray, int, int]:
    """Read any file that soundfile reads, mixed down and resampled.

    Returns:
        (float64 samples of shape (T,), the file's own rate in Hz, the file's own channel count).

    Raises:
        UserError: the file is no audio, is empty, or holds values that are not numbers.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"{path} cannot be read as audio ({error})") from error
    if not len(samples):
        raise UserError(f"{path} holds no samples")
    if not np.isfinite(samples).all():
        raise UserError(f"{path} holds values that are not numbers")
    mono = samples.mean(axis=1)
    return (mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate, RESAMPLER)), rate, samples.shape[1]


def decode(path: str | Path, sample_rate: int) -> Decoded:
    """Read one clip, make it mono, `sample_rate` Hz and CLIP_SECONDS long, and store it as scaled int16."""
    mono, rate, channels = read_audio(path, sample_rate)
    length = round(CLIP_SECONDS * sample_rate)
    odd = {
        "had another rate and were resampled": rate != SOURCE_RATE,
        "had several channels and were mixed down": channels != 1,
        "were shorter than a clip and padded with silence": len(mono) < length,
        "were longer than a clip and cut": len(mono) > length,
        "are silent": not mono.any(),
    }
    mono = np.pad(mono[:length], (0, max(0, length - len(mono))))
    # Resampling may overshoot full scale; the clip is scaled by its own peak, so nothing clips.
    scale = np.float32(np.abs(mono).max() / FULL_SCALE) or np.float32(1 / FULL_SCALE)
    wave = np.clip(np.round(mono / scale), -FULL_SCALE, FULL_SCALE).astype(np.int16)
    return Decoded(wave, float(scale), tuple(text for text, true in odd.items() if true))


def pack(clips: ClipSet, folder: str | Path, *, sample_rate: int = 32_000) -> "WaveStore":
    """Decode every clip of a set into `folder/waves_<rate>.h5`, or go on with, or just open, the file that is there.

    A file of another source (other names, sizes, times, rate or format version) is made anew.

    Raises:
        UserError: wav files are missing or unreadable (all of them listed), or the disk is full. Finished clips are
        kept.
    """
    path = Path(folder) / f"waves_{sample_rate}.h5"
    digest = source_digest(clips, sample_rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if path.exists() and _digest_of(path) != digest:
            log.info("%s belongs to another source: it is made anew", path)
            path.unlink()
        if not path.exists():
            samples = round(CLIP_SECONDS * sample_rate)
            columns = {"wave": (np.int16, (samples,)), "scale": (np.float32, ())}
            create(path, clips.filenames, columns, {"format": FORMAT, "sample_rate": sample_rate, "digest": digest})
        _fill(Store(path), clips, sample_rate)
    return WaveStore(path)


def source_digest(clips: ClipSet, sample_rate: int) -> str:
    """Fingerprint of what a store is made from: names, sizes and modification times of the files, and the format.

    Raises:
        UserError: files are missing; all are counted and the first listed.
    """
    entries: dict[str, os.stat_result] = {}
    for folder in sorted({os.path.dirname(name) for name in clips.filenames}):
        if (clips.root / folder).is_dir():
            with os.scandir(clips.root / folder) as files:
                entries.update((os.path.join(folder, file.name), file.stat()) for file in files)
    if missing := [name for name in clips.filenames if name not in entries]:
        raise UserError(
            f"{len(missing)} of {len(clips.clips)} audio files are missing below {clips.root}:\n{listed(missing)}\n"
            "restore them, or take their rows out of meta.csv and the lists"
        )
    lines = [FORMAT, RESAMPLER, str(sample_rate), str(CLIP_SECONDS)]
    lines += [f"{name}\t{entries[name].st_size}\t{entries[name].st_mtime_ns}" for name in clips.filenames]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _digest_of(path: Path) -> str | None:
    try:
        return Store(path).attributes.get("digest")
    except UserError:
        return None


def _fill(store: Store, clips: ClipSet, sample_rate: int) -> None:
    missing = store.missing
    if not len(missing):
        return
    failures, oddities = [], Counter()

    def attempt(name: str) -> Decoded | UserError:
        try:
            return decode(clips.root / name, sample_rate)
        except UserError as error:
            return error

    chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
    with ThreadPoolExecutor() as pool:
        for rows in track(chunks, f"packing {len(missing)} clips"):
            results = list(pool.map(attempt, (store.filenames[row] for row in rows)))
            failures += [str(result) for result in results if isinstance(result, UserError)]
            good = [(row, result) for row, result in zip(rows, results, strict=True) if isinstance(result, Decoded)]
            if good:
                try:
                    waves, scales = np.stack([d.wave for _, d in good]), np.array([d.scale for _, d in good])
                    store.fill([row for row, _ in good], wave=waves, scale=scales)
                except OSError as error:
                    raise UserError(f"cannot write {store.path}: {error}; finished clips are kept") from error
            oddities.update(text for _, decoded in good for text in decoded.oddities)
    for text, count in oddities.items():
        log.warning("%d of %d clips %s", count, len(missing), text)
    if failures:
        raise UserError(
            f"{len(failures)} audio files are unreadable:\n{listed(failures)}\n"
            "fetch them again; the other clips are packed and kept"
        )


class WaveStore:
    """All clips of a set, ready to be read in any order.

    Attributes:
        sample_rate: Hz.
        samples: length of a clip.
        digest: fingerprint of the source.
        filenames: key of each row.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a finished store.

        Raises:
            UserError: it is missing, unfinished or of another format.
        """
        self._store = Store(Path(path))
        if (found := self._store.attributes.get("format")) != FORMAT:
            raise UserError(f"{path} has format {found!r}, not {FORMAT!r}: delete it and run stage=data again")
        self._store.require("wave", "scale")
        self.sample_rate = int(self._store.attributes["sample_rate"])
        self.samples = self._store["wave"].shape[1]
        self.digest = str(self._store.attributes["digest"])
        self.filenames = self._store.filenames

    def __len__(self) -> int:
        return len(self._store)

    def read(self, rows: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
        """Waves of the given rows: float32 of shape (len(rows), samples), in [-1, 1], on `device`."""
        wave = torch.from_numpy(self._store["wave"][rows]).to(device, non_blocking=True)
        scale = torch.from_numpy(self._store["scale"][rows]).to(device, non_blocking=True)
        return wave * scale[:, None]
