"""What a file of packed waves must be like, checked whenever one is opened.

Conventions: `waves_<rate>.h5` is a store (data/store.py) with the columns `wave` int16 (N, samples), `scale` float32,
`stamp` int64 (N, 2) (size and time of modification of the clip's file), `checksum` (CRC-32 of the wave) and `guard`
(CRC-32 of scale, stamp and checksum; files of earlier versions have none). Attributes: format, sample rate, seconds of
a clip, and the fingerprint of these and of the list of clips.
"""

import hashlib
import zlib
from pathlib import Path

import numpy as np

from data.audio import FULL_SCALE, LOUDEST, RESAMPLER
from data.errors import UserError, in_short
from data.layout import DONE, Kind
from data.ranges import require_format
from data.store import Store

FORMAT = "scenelet waves 2"
GUARD = "guard"  # a column
COLUMNS = {"scale": (np.float32, ()), "stamp": (np.int64, (2,)), "checksum": (np.uint32, ()), GUARD: (np.uint32, ())}
WAVES = Kind(
    FORMAT,
    {**COLUMNS, "wave": (np.int16, (None,))},
    "delete it and pack the data set again",
    optional=frozenset({GUARD}),
)
LARGEST_SCALE = 2 * LOUDEST / FULL_SCALE  # resampling overshoots by less


def open_waves(path: Path) -> Store:
    """Open a wave store, finished or not.

    Raises:
        UserError: it is missing, or is no such store, and what is wrong with it.
    """
    store = Store(path, WAVES)
    rate, seconds = _format(store)
    if (found := store.attributes.get("source")) != source_digest(store.filenames, rate, seconds):
        raise store.damaged(f"its clips, their rate or length are not those of its fingerprint, {in_short(found)}")
    if (samples := store["wave"].shape[1]) != round(seconds * rate):
        raise store.damaged(f"its waves have {samples} samples, not those of {seconds} s at {rate} Hz")
    return store


def _format(store: Store) -> tuple[int, float]:
    """The sample rate in Hz, and the seconds of a clip."""
    rate, seconds = store.attributes.get("sample_rate"), store.attributes.get("clip_seconds")
    try:
        if not isinstance(rate, int) or not isinstance(seconds, int | float):
            raise TypeError
        require_format(rate, seconds)
    except (TypeError, UserError):
        raise store.damaged(f"it is of {in_short(seconds)} seconds at {in_short(rate)} Hz") from None
    return rate, seconds


def source_digest(filenames: list[str], sample_rate: int, clip_seconds: float) -> str:
    """Fingerprint of what a store is for: the list of clips, the rate, the length and the format."""
    lines = [FORMAT, RESAMPLER, str(sample_rate), str(float(clip_seconds)), *filenames]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def checks(wave: np.ndarray, scale: np.ndarray, stamp: np.ndarray) -> dict[str, np.ndarray]:
    """The columns `checksum` and `guard` of some rows, uint32 (B,).

    Args:
        wave, scale, stamp: the other columns, int16 (B, samples), float32 (B,) and int64 (B, 2).
    """
    checksum = np.array([zlib.crc32(each) for each in wave], np.uint32)
    return {"checksum": checksum, GUARD: _guard(scale, stamp, checksum)}


def damaged_rows(store: Store) -> np.ndarray:
    """Finished rows whose scale, stamp or checksum cannot be what was written, int64; waves are checked when read."""
    scale = store["scale"]
    damaged = ~((scale > 0) & (scale <= LARGEST_SCALE))  # what is no number is neither
    if GUARD in store.columns:
        damaged |= store[GUARD] != _guard(scale, store["stamp"], store["checksum"])
    return np.flatnonzero((store[DONE] == 1) & damaged)


def _guard(scale: np.ndarray, stamp: np.ndarray, checksum: np.ndarray) -> np.ndarray:
    columns = scale.astype(np.float32)[:, None], stamp.astype(np.int64), checksum.astype(np.uint32)[:, None]
    rows = np.concatenate([column.view(np.uint8) for column in columns], axis=1)
    return np.array([zlib.crc32(row) for row in rows], np.uint32)
