"""Every clip once, resampled, in one file that is read as fast as memory.

Conventions: `wave` is int16 (N, samples) and `scale` float32 (N,); wave * scale is the signal in [-1, 1]. The scale
is each clip's own peak / 32767, because quiet 24-bit clips would lose bits at a common one. Key: filename. One
resampler for everything (soxr HQ): training and test clips that went through different ones differ by points of
accuracy.
"""

import hashlib
import logging
import os
import zlib
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
COLUMNS = {"scale": (np.float32, ()), "stamp": (np.int64, (2,)), "checksum": (np.uint32, ())}
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

    A file of another list of clips, rate or format version is made anew; in a file of the same list, only the clips
    whose wav files changed (size or time of modification) are decoded again.

    Raises:
        UserError: wav files are missing or unreadable (all of them listed), or the disk is full. Finished clips are
        kept.
    """
    if sample_rate < 1:
        raise UserError(f"data.sample_rate={sample_rate} must be at least 1 Hz")
    path = Path(folder) / f"waves_{sample_rate}.h5"
    stamps, source = read_stamps(clips), source_digest(clips, sample_rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if path.exists() and _source_of(path) != source:
            log.info("%s belongs to another source: it is made anew", path)
            path.unlink()
        if not path.exists():
            samples = round(CLIP_SECONDS * sample_rate)
            attributes = {"format": FORMAT, "sample_rate": sample_rate, "source": source}
            create(path, clips.filenames, {**COLUMNS, "wave": (np.int16, (samples,))}, attributes)
        store = Store(path)
        store.reset(np.flatnonzero((store["stamp"] != stamps).any(axis=1)))
        _fill(store, clips, sample_rate, stamps)
    return WaveStore(path)


def read_stamps(clips: ClipSet) -> np.ndarray:
    """Size and time of modification (ns) of each clip's file, int64 (N, 2).

    Raises:
        UserError: files are missing; all are counted and the first listed.
    """
    stamps, missing = np.zeros((len(clips.clips), 2), np.int64), []
    for row, name in enumerate(clips.filenames):
        try:
            status = os.stat(clips.root / name)
            stamps[row] = status.st_size, status.st_mtime_ns
        except OSError:
            missing.append(name)
    if missing:
        raise UserError(
            f"{len(missing)} of {len(clips.clips)} audio files are missing below {clips.root}:\n{listed(missing)}\n"
            "restore them, or take their rows out of meta.csv and the lists"
        )
    return stamps


def source_digest(clips: ClipSet, sample_rate: int) -> str:
    """Fingerprint of what a store is for: the list of clips, the rate and the format."""
    lines = [FORMAT, RESAMPLER, str(sample_rate), str(CLIP_SECONDS), *clips.filenames]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _source_of(path: Path) -> str | None:
    try:
        return Store(path).attributes.get("source")
    except UserError:
        return None


def _fill(store: Store, clips: ClipSet, sample_rate: int, stamps: np.ndarray) -> None:
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
                    done = [row for row, _ in good]
                    store.fill(
                        done,
                        wave=np.stack([d.wave for _, d in good]),
                        scale=np.array([d.scale for _, d in good]),
                        stamp=stamps[done],
                        checksum=np.array([zlib.crc32(d.wave) for _, d in good]),
                    )
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
        digest: fingerprint of the content.
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
        self._store.require("wave", *COLUMNS)
        self.sample_rate = int(self._store.attributes["sample_rate"])
        self.samples = self._store["wave"].shape[1]
        # Of what is stored, not of when: a copied data set has the same digest.
        content = [self._store.attributes["source"].encode(), self._store["scale"].tobytes()]
        self.digest = hashlib.sha256(b"".join([*content, self._store["checksum"].tobytes()])).hexdigest()
        self.filenames = self._store.filenames

    def __len__(self) -> int:
        return len(self._store)

    def read(self, rows: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
        """Waves of the given rows: float32 of shape (len(rows), samples), in [-1, 1], on `device`."""
        wave = torch.from_numpy(self._store["wave"][rows]).to(device, non_blocking=True)
        scale = torch.from_numpy(self._store["scale"][rows]).to(device, non_blocking=True)
        return wave * scale[:, None]
