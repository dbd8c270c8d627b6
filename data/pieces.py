"""A sound of any length, from a file or from memory, in clips of equal length such as the wave store holds.

Conventions: clips are int16 (B, samples) with a scale each, as in the store. Every clip is scaled and rounded by itself
as packing does it, so that a file that is a clip gives the very wave that the store has of it. The end of a sound, if
it is half a clip or longer or all there is, is padded with silence as packing does it; if it is shorter it is left out.
A sound is read and resampled a block at a time: memory does not depend on its length.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr

from data.audio import RESAMPLER, resample, to_integers, to_mono
from data.errors import UserError
from data.pcm24 import read_pcm24
from data.sound import name_of, opened, require_rate

BLOCK_SECONDS, BLOCK_VALUES = 32, 1 << 22  # of all channels, that are read at a time: the lower
SHORTEST_END = 0.5  # of a clip
SHORT_BYTES = 1 << 20  # of a file that may be read at once


class Pieces(NamedTuple):
    """Clips as they are stored: int16 (B, samples), overwritten by the thread's next call; scales, float32 (B,); and
    how many clips are silent."""

    wave: np.ndarray
    scale: np.ndarray
    silent: int


def cut(
    sound: str | Path | bytes,
    sample_rate: int,
    seconds: float,
    *,
    longest: float | None = None,
    count: int | None = None,
) -> Iterator[Pieces]:
    """Clips of `seconds` of a sound, in order, as they are stored; at most some BLOCK_SECONDS of them at a time.

    Args:
        sound: a file's path, or its content.
        sample_rate: Hz, of the clips.
        seconds: length of a clip.
        longest: seconds; None: any length.
        count: of count_pieces; it decides instead of the length of the end, which rounding may change by a sample,
            whether the end is a clip. None: nobody has counted.

    Raises:
        UserError: it is empty, too long, or breaks the rules of data/audio.py.
    """
    name = name_of(sound)
    length, rest, found = round(seconds * sample_rate), np.zeros(0, np.float32), 0
    for block in _resampled(sound, name, sample_rate, longest):
        rest = np.concatenate([rest, block])
        whole = len(rest) // length
        if whole:
            yield Pieces(*to_integers(rest[: whole * length].reshape(whole, length)))
        rest, found = rest[whole * length :], found + whole
    if not found and not len(rest):
        raise UserError(f"{name} holds no samples")
    if len(rest) >= SHORTEST_END * length or not found if count is None else found < count:
        yield Pieces(*to_integers(np.pad(rest, (0, length - len(rest)))[None]))


def count_pieces(path: str | Path, seconds: float) -> int:
    """How many clips of `seconds` a file is cut into, by its header: no samples are read.

    Raises:
        UserError: it is empty, or breaks the rules of data/audio.py.
    """
    with opened(path) as file:
        frames, length = file.frames, seconds * file.rate
    if not frames:
        raise UserError(f"{path} holds no samples")
    whole = int(frames // length)
    return max(1, whole + (frames - whole * length >= SHORTEST_END * length))


def _resampled(sound: str | Path | bytes, name: str, sample_rate: int, longest: float | None) -> Iterator[np.ndarray]:
    """Blocks of samples (T,) at the rate asked for, T >= 0."""
    if not isinstance(sound, bytes) and longest is None and (short := _short(sound, name, sample_rate)) is not None:
        yield short
        return
    with opened(sound) as file:
        if longest is not None and file.frames > longest * file.rate:
            raise UserError(f"{name} is longer than {longest:g} s: cut it")
        stream = soxr.ResampleStream(file.rate, sample_rate, 1, dtype="float32", quality=RESAMPLER)
        frames = max(1, min(BLOCK_SECONDS * file.rate, BLOCK_VALUES // file.channels, file.frames))
        while len(samples := file.read(frames)):
            mono = to_mono(samples, name)
            yield mono if file.rate == sample_rate else stream.resample_chunk(mono)
        if file.rate != sample_rate:
            yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _short(path: str | Path, name: str, sample_rate: int) -> np.ndarray | None:
    """All samples of a short file of the challenge's format, twice as fast; None for any other file."""
    try:
        found = read_pcm24(path, None) if os.path.getsize(path) <= SHORT_BYTES else None
    except OSError:
        return None
    if found is None:
        return None
    samples, rate = found
    require_rate(rate, name)
    mono = to_mono(samples, name)
    return mono if rate == sample_rate else resample(mono, rate, sample_rate)
