"""From any sound file to samples at one rate: the rules for sound files, and the only resampler.

Conventions: samples are float32 in [-1, 1], shape (T,), which holds 24-bit PCM exactly. The rules are the same for
training, prediction and whatever else reads sound: a file is of one of FORMATS and has a rate of RATES; several
channels are averaged; values that are not numbers, are beyond LOUDEST, or are integers stored as floats are refused; so
is a file that was cut short (data/completeness.py). One resampler for everything (soxr HQ): training and test
clips that went through different ones differ by points of accuracy.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr

from data.errors import UserError
from data.pcm24 import frames_within, read_pcm24
from data.scratch import scratch
from data.sound import opened, require_rate

# Times full scale, 30 dB above it: no mix of floats goes so far, and of integers of 16 bits that were stored as floats
# what is below has no peak beyond -60 dB of their full scale.
LOUDEST = 32.0
FLOATS = "floats must be from -1 to 1 (divide 16-bit integers that were stored as floats by 32768)"
RESAMPLER = "HQ"
FULL_SCALE = 32_767
SILENCE = 1e-20  # peaks below this are rounding; their scale would be too
SPARE_SECONDS = 0.1  # read beyond the length asked for, so that the resampler's edge lies in what is cut off


class _Resamplers(threading.local):
    def __init__(self) -> None:
        self.of_rates: dict[tuple[int, int], soxr.ResampleStream] = {}


_mine = _Resamplers()


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
    oddities: Counter[str]
    rates: Counter[int]


def to_mono(samples: np.ndarray, name: str) -> np.ndarray:
    """The mean over the channels, (T,), of samples (T, channels) as they were read.

    Raises:
        UserError: values are not numbers, or are so large that they must have another unit.
    """
    # Not-a-number is neither.
    peak = max(samples.max(), -samples.min()) if len(samples) else 0.0
    if not peak <= LOUDEST:
        raise UserError(
            f"{name} holds values that are not numbers, or more than {LOUDEST:g} times full scale: {FLOATS}"
        )
    if peak > 1 and (samples == np.rint(samples)).all():
        raise UserError(f"{name} holds whole numbers alone, up to {peak:g}: {FLOATS}")
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)


def read_audio(path: str | Path, sample_rate: int) -> np.ndarray:
    """Read a whole sound file: float32 (T,), mixed down and resampled.

    Raises:
        UserError: the file is no audio, is empty, or breaks another of the rules above.
    """
    return _read(path, sample_rate, None).samples.copy()


def _read(path: str | Path, sample_rate: int, seconds: float | None) -> _Audio:
    """As read_audio, but of a file longer than `seconds` only this much is read."""
    if (found := read_pcm24(path, seconds)) is None:
        with opened(path) as sound:
            found = sound.read(frames_within(sound.frames, sound.rate, seconds)), sound.rate
    samples, rate = found
    require_rate(rate, str(path))
    if not len(samples):
        raise UserError(f"{path} holds no samples")
    mono = to_mono(samples, str(path))
    return _Audio(mono if rate == sample_rate else resample(mono, rate, sample_rate), rate, samples.shape[1])


def resample(samples: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """As soxr.resample, which builds its filters anew each time and so takes nearly twice as long for a clip."""
    key = rate, sample_rate
    if key not in _mine.of_rates:
        _mine.of_rates[key] = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality=RESAMPLER)
    _mine.of_rates[key].clear()
    return _mine.of_rates[key].resample_chunk(samples, last=True)


def decode(paths: Sequence[str | Path], sample_rate: int, seconds: float) -> Decoded:
    """Read some clips, cut or pad them to `seconds`, and scale each one's own peak to the range of int16.

    Quiet 24-bit clips would lose bits at a common scale.
    """
    length = round(seconds * sample_rate)
    read: list[int] = []
    failures: list[str] = []
    oddities: Counter[str] = Counter()
    rates: Counter[int] = Counter()
    block = scratch("block", (len(paths), length), np.float32)
    for number, path in enumerate(paths):
        try:
            audio = _read(path, sample_rate, seconds + SPARE_SECONDS)
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
    integers, scale, silent = to_integers(block[: len(read)])
    oddities["are silent"] += silent
    return Decoded(integers, scale, read, failures, +oddities, rates)


def to_integers(block: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Clips as they are stored: float32 (B, samples), which are overwritten, as int16, each scaled by its own peak.

    Returns:
        int16 (B, samples), overwritten by the thread's next call; the scales, float32 (B,); how many clips are silent.
    """
    # All clips at once and in place: each of these calls hands Python's lock to another thread and back.
    peak = np.maximum(block.max(1), -block.min(1))
    silent = peak < SILENCE
    # Resampling may overshoot full scale; a clip is scaled by its own peak, so nothing clips: |x / scale| rounds to
    # FULL_SCALE at most.
    scale = np.where(silent, np.float32(1), peak) / np.float32(FULL_SCALE)
    block /= scale[:, None]
    integers = scratch("wave", block.shape, np.int16)
    integers[:] = np.rint(block, out=block)
    return integers, scale, int(silent.sum())
