"""From any sound file to samples at one rate: the only reader and the only resampler of the house.

Conventions: samples are float32 in [-1, 1], shape (T,), which holds 24-bit PCM exactly. One resampler for everything
(soxr HQ): training and test clips that went through different ones differ by points of accuracy.
"""

import math
import os
import struct
import threading
import wave
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from data.errors import UserError

RESAMPLER = "HQ"
FULL_SCALE = 32_767
PCM24_BYTES = 3
# RIFF, its size, WAVE, "fmt ", 16; format, channels, rate, bytes a second, bytes a frame, bits.
PCM24_HEADER = struct.Struct("<4sI4s4sIHHIIHH")
SILENCE = 1e-20  # peaks below this are rounding; their scale would be too
SPARE_SECONDS = 0.1  # read beyond the length asked for, so that the resampler's edge lies in what is cut off


class _Mine(threading.local):
    """What each thread keeps from one clip to the next."""

    def __init__(self) -> None:
        self.streams: dict[tuple[int, int], soxr.ResampleStream] = {}
        self.scratch: dict[str, np.ndarray] = {}


_mine = _Mine()


class _Audio(NamedTuple):
    """A file as read: float32 (T,) at the rate asked for, overwritten by the thread's next call; its rate, channels."""

    samples: np.ndarray
    rate: int
    channels: int


@dataclass(frozen=True)
class Decoded:
    """Clips as stored.

    Attributes:
        wave: int16 (B, samples); wave * scale is the signal. Overwritten by the thread's next call.
        scale: float32 (B,).
        read: which of the paths these are, (B,); the others failed.
        failures: why.
        oddities: what was unusual about the files, and how many were so.
        rates: how many files had which rate, Hz.
    """

    wave: np.ndarray
    scale: np.ndarray
    read: list[int]
    failures: list[str]
    oddities: Counter
    rates: Counter


def read_audio(path: str | Path, sample_rate: int) -> np.ndarray:
    """Read a whole file that soundfile can read: float32 (T,), mixed down and resampled.

    Raises:
        UserError: the file is no audio, is empty, or holds values that are not numbers.
    """
    return _read(path, sample_rate, None).samples.copy()


def _read(path: str | Path, sample_rate: int, seconds: float | None) -> _Audio:
    """As read_audio, but of a file longer than `seconds` only this much, and SPARE_SECONDS more, is read."""
    samples, rate = _read_pcm24(path, seconds) or _read_any(path, seconds)
    channels = samples.shape[1]
    if not len(samples):
        raise UserError(f"{path} holds no samples")
    mono = samples[:, 0] if channels == 1 else samples.mean(axis=1)
    return _Audio(mono if rate == sample_rate else _resample(mono, rate, sample_rate), rate, channels)


def _read_any(path: str | Path, seconds: float | None) -> tuple[np.ndarray, int]:
    """What soundfile reads: float32 (frames, channels), the rate in Hz."""
    try:
        with soundfile.SoundFile(path) as file:
            frames = _frames(file.frames, file.samplerate, seconds)
            samples, rate = file.read(out=_scratch("file", (frames, file.channels), np.float32)), file.samplerate
    except (soundfile.LibsndfileError, OSError, TypeError) as error:  # TypeError: headerless formats
        raise UserError(f"{path} cannot be read as audio ({error})") from error
    if samples.size and not np.isfinite(samples.max() - samples.min()):
        raise UserError(f"{path} holds values that are not numbers")
    return samples, rate


def _read_pcm24(path: str | Path, seconds: float | None) -> tuple[np.ndarray, int] | None:
    """As _read_any, bit for bit, for plain whole 24-bit WAV files, the data set's own format; None for all others.

    libsndfile takes a sample at a time and four times as long, a third of the time of packing.
    """
    try:
        with open(path, "rb") as raw:
            header = raw.read(PCM24_HEADER.size)
            if len(header) < PCM24_HEADER.size:
                return None
            riff, size, form, name, length, tag, channels, rate, byte_rate, align, bits = PCM24_HEADER.unpack(header)
            whole = size + 8 == os.fstat(raw.fileno()).st_size
            plain = (riff, form, name, length, tag, bits) == (b"RIFF", b"WAVE", b"fmt ", 16, 1, 8 * PCM24_BYTES)
            if not (whole and plain and rate and channels and align == channels * PCM24_BYTES):
                return None
            raw.seek(0)
            with wave.open(raw) as file:
                frames = _frames(file.getnframes(), rate, seconds)
                data = np.frombuffer(b"\0" + file.readframes(frames), np.uint8)
    except (wave.Error, EOFError, OSError, RuntimeError):
        return None  # soundfile reads it, or says what is wrong
    if byte_rate != rate * align or len(data) - 1 != frames * align:
        return None
    # Each sample as the upper three of four bytes; the lowest is the last of the sample before, and taken off.
    words = np.ndarray(frames * channels, "<i4", data, strides=(PCM24_BYTES,))
    samples = _scratch("file", (frames, channels), np.float32)
    samples[:] = (words & -256).reshape(frames, channels)
    samples *= np.float32(2**-31)
    return samples, rate


def _frames(there: int, rate: int, seconds: float | None) -> int:
    """How many frames of a file to read."""
    return there if seconds is None else min(there, math.ceil((seconds + SPARE_SECONDS) * rate))


def _resample(samples: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """As soxr.resample, which builds its filters anew each time and so takes nearly twice as long for a clip."""
    key = rate, sample_rate
    if key not in _mine.streams:
        _mine.streams[key] = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality=RESAMPLER)
    _mine.streams[key].clear()
    return _mine.streams[key].resample_chunk(samples, last=True)


def _scratch(name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An array of this thread's whose content lasts until the next call with the same name.

    New arrays of this size would cost a page fault every 4 kB, a tenth of the time of decoding.
    """
    size = math.prod(shape)
    if name not in _mine.scratch or _mine.scratch[name].size < size:
        _mine.scratch[name] = np.empty(size, dtype)
    return _mine.scratch[name][:size].reshape(shape)


def decode(paths: Sequence[str | Path], sample_rate: int, seconds: float) -> Decoded:
    """Read some clips, cut or pad them to `seconds`, and scale each one's own peak to the range of int16.

    Quiet 24-bit clips would lose bits at a common scale.
    """
    length, read, failures, oddities, rates = round(seconds * sample_rate), [], [], Counter(), Counter()
    block = _scratch("block", (len(paths), length), np.float32)
    for number, path in enumerate(paths):
        try:
            audio = _read(path, sample_rate, seconds)
        except UserError as error:
            failures.append(str(error))
            continue
        samples = audio.samples[:length]
        block[len(read), : len(samples)] = samples
        block[len(read), len(samples) :] = 0
        read.append(number)
        rates[audio.rate] += 1
        oddities["had several channels and were mixed down"] += audio.channels != 1
        oddities["were shorter than a clip and padded with silence"] += len(audio.samples) < length
        oddities["were longer than a clip and cut"] += len(audio.samples) > length
    block = block[: len(read)]
    integers, scale, silent = to_integers(block)
    oddities["are silent"] += silent
    return Decoded(integers, scale, read, failures, +oddities, rates)


def to_integers(block: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Clips float32 (B, samples), which are overwritten, as int16, each scaled by its own peak, the scales float32
    (B,), and how many clips are silent. The integers are overwritten by the thread's next call."""
    # All clips at once and in place: each of these calls hands Python's lock to another thread and back.
    peak = np.maximum(block.max(1), -block.min(1))
    silent = peak < SILENCE
    # Resampling may overshoot full scale; a clip is scaled by its own peak, so nothing clips: |x / scale| rounds to
    # FULL_SCALE at most.
    scale = np.where(silent, np.float32(1), peak) / np.float32(FULL_SCALE)
    block /= scale[:, None]
    integers = _scratch("wave", block.shape, np.int16)
    integers[:] = np.rint(block, out=block)
    return integers, scale, int(silent.sum())
