"""A sound of any length, from a file or from memory, in clips of equal length such as the wave store holds.

Conventions: clips are float32 (B, samples) in [-1, 1]. Every clip is scaled and rounded by itself as packing does it,
so that a file that is a clip gives the very wave that the store has of it. The end of a sound, if it is half a clip or
longer or all there is, is padded with silence as packing does it; if it is shorter it is left out. A sound is read and
resampled a block at a time: memory does not depend on its length.
"""

import io
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from data.audio import RESAMPLER, to_integers
from data.errors import UserError
from data.packing import RATES
from data.waves import to_float

BLOCK_SECONDS, BLOCK_VALUES = 32, 1 << 22  # of all channels, that are read at a time: the lower
SHORTEST_END = 0.5  # of a clip
LOUDEST = 1000.0  # times full scale; what is above, 16-bit integers stored as floats for one, has another unit
# Of the names of sounds in folders.
SUFFIXES = (".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".snd", ".w64", ".wav")


def read_pieces(
    sound: str | Path | bytes,
    sample_rate: int,
    seconds: float,
    *,
    formats: Collection[str] | None = None,
    longest: float | None = None,
) -> Iterator[torch.Tensor]:
    """Clips of `seconds` of a sound, in order, at most some BLOCK_SECONDS of them at a time.

    Args:
        sound: a file's path, or its content.
        sample_rate: Hz, of the clips.
        seconds: length of a clip.
        formats: soundfile's names of the formats that are accepted; None: all that can be read.
        longest: seconds; None: any length.

    Raises:
        UserError: it is no audio, or of another format, empty, too long, or holds values that are no samples.
    """
    name = "the sound" if isinstance(sound, bytes) else str(sound)
    length, rest, found = round(seconds * sample_rate), np.zeros(0, np.float32), 0
    for block in _resampled(sound, name, sample_rate, formats, longest):
        rest = np.concatenate([rest, block])
        whole = len(rest) // length
        if whole:
            yield _rounded(rest[: whole * length].reshape(whole, length))
        rest, found = rest[whole * length :], found + whole
    if len(rest) >= SHORTEST_END * length or (len(rest) and not found):
        yield _rounded(np.pad(rest, (0, length - len(rest)))[None])
    elif not found:
        raise UserError(f"{name} holds no samples")


def _rounded(clips: np.ndarray) -> torch.Tensor:
    """As the store gives them back; the clips are overwritten."""
    wave, scale, _ = to_integers(clips)
    return to_float(torch.from_numpy(wave), torch.from_numpy(scale))


def _resampled(
    sound: str | Path | bytes, name: str, sample_rate: int, formats: Collection[str] | None, longest: float | None
) -> Iterator[np.ndarray]:
    """Blocks of samples (T,) at the rate asked for, T >= 0."""
    try:
        # As bytes: soundfile cannot open a name that is no text.
        with soundfile.SoundFile(_Memory(sound) if isinstance(sound, bytes) else os.fsencode(sound)) as file:
            if formats is not None and file.format not in formats:
                raise UserError(f"{name} is a {file.format} file, not one of {', '.join(formats)}")
            rate = file.samplerate
            if not RATES[0] <= rate <= RATES[1]:
                raise UserError(f"{name} has a rate of {rate} Hz, not one from {RATES[0]} to {RATES[1]} Hz")
            if longest is not None and file.frames > longest * rate:
                raise UserError(f"{name} is longer than {longest:g} s, or does not say how long it is: cut it")
            yield from _blocks(file, name, sample_rate)
    except (soundfile.LibsndfileError, OSError, TypeError) as error:  # TypeError: headerless formats
        raise UserError(f"{name} cannot be read as audio ({getattr(error, 'error_string', error)})") from error


def _blocks(file: soundfile.SoundFile, name: str, sample_rate: int) -> Iterator[np.ndarray]:
    rate = file.samplerate
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality=RESAMPLER)
    frames = max(1, min(BLOCK_SECONDS * rate, BLOCK_VALUES // file.channels))
    while len(samples := file.read(frames, dtype="float32", always_2d=True)):
        if not np.abs(samples).max() <= LOUDEST:
            raise UserError(f"{name} holds values that are not numbers, or more than {LOUDEST:g} times full scale")
        mono = samples[:, 0] if file.channels == 1 else samples.mean(axis=1)
        yield mono if rate == sample_rate else stream.resample_chunk(mono)
    if rate != sample_rate:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


class _Memory(io.BytesIO):
    """Bytes as a file in which libsndfile may seek to where a spoilt header sends it: an exception in its callbacks
    would be printed, not raised."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = (0, self.tell(), len(self.getbuffer()))[whence]
        return super().seek(min(max(start + offset, 0), len(self.getbuffer())))
