"""From any sound file to samples at one rate: the rules for sound files, and the only resampler.

Conventions: samples are float32 in [-1, 1], shape (T,), which holds 24-bit PCM exactly. The rules are the same for
training, prediction and whatever else reads sound: a file is of one of FORMATS and has a rate of RATES; several
channels are averaged; values that are not numbers or are beyond LOUDEST are refused; of a file that was cut short, what
libsndfile finds counts, unless it calls the file damaged. One resampler for everything (soxr HQ): training and test
clips that went through different ones differ by points of accuracy.
"""

import io
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from data.errors import UserError
from data.pcm24 import frames_within, read_pcm24
from data.ranges import RATES
from data.scratch import scratch

FORMATS = {  # soundfile's name -> how names of such files end
    "AIFF": (".aif", ".aifc", ".aiff"),
    "AU": (".au", ".snd"),
    "CAF": (".caf",),
    "FLAC": (".flac",),
    "MP3": (".mp3",),
    "NIST": (".nist", ".sph"),
    "OGG": (".oga", ".ogg", ".opus"),
    "RF64": (".rf64",),
    "VOC": (".voc",),
    "W64": (".w64",),
    "WAV": (".wav",),
    "WAVEX": (".wav",),
}
SUFFIXES = tuple(sorted({suffix for suffixes in FORMATS.values() for suffix in suffixes}))
LOUDEST = 1000.0  # times full scale; what is above has another unit: 16-bit integers stored as floats, for one
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


def sounds_in(folder: str | Path) -> list[Path]:
    """The files of a folder whose names end like those of sounds, sorted, hidden ones left out."""
    files = (path for path in Path(folder).glob("*") if is_sound(path) and path.is_file())
    return sorted(path for path in files if not path.name.startswith("."))


def is_sound(path: Path) -> bool:
    """Whether a file's name ends like a sound's."""
    return path.suffix.lower() in SUFFIXES


def name_of(sound: str | Path | bytes) -> str:
    """What a file, or its content, is called in messages."""
    return "the sound" if isinstance(sound, bytes) else str(sound)


@contextmanager
def opened(sound: str | Path | bytes) -> Iterator[soundfile.SoundFile]:
    """Open a sound file, or its content, to read from it.

    Raises:
        UserError: it is missing, no audio, or of another format or rate; or, while it is read, damaged.
    """
    name = name_of(sound)
    try:
        # As bytes: soundfile cannot open a name that is no text.
        with soundfile.SoundFile(_Memory(sound) if isinstance(sound, bytes) else os.fsencode(sound)) as file:
            if file.format not in FORMATS:
                raise UserError(f"{name} is a {file.format} file, not one of {', '.join(FORMATS)}")
            _require_rate(file.samplerate, name)
            yield file
    except (soundfile.LibsndfileError, OSError, TypeError) as error:  # TypeError: headerless formats
        raise UserError(f"{name} cannot be read as audio ({getattr(error, 'error_string', error)})") from error


def to_mono(samples: np.ndarray, name: str) -> np.ndarray:
    """The mean over the channels, (T,), of samples (T, channels) as they were read.

    Raises:
        UserError: values are not numbers, or are so large that they must have another unit.
    """
    # Not-a-number is neither.
    if len(samples) and not (samples.max() <= LOUDEST and samples.min() >= -LOUDEST):
        raise UserError(
            f"{name} holds values that are not numbers, or more than {LOUDEST:g} times full scale: floats must be from "
            "-1 to 1 (divide 16-bit integers that were stored as floats by 32768)"
        )
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
        with opened(path) as file:
            shape = (frames_within(file.frames, file.samplerate, seconds), file.channels)
            found = file.read(out=scratch("file", shape, np.float32)), file.samplerate
    samples, rate = found
    _require_rate(rate, str(path))
    if not len(samples):
        raise UserError(f"{path} holds no samples")
    mono = to_mono(samples, str(path))
    return _Audio(mono if rate == sample_rate else _resample(mono, rate, sample_rate), rate, samples.shape[1])


def _require_rate(rate: int, name: str) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise UserError(f"{name} has a rate of {rate} Hz, not one from {RATES[0]} to {RATES[1]} Hz")


def _resample(samples: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
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


class _Memory(io.BytesIO):
    """Bytes as a file in which libsndfile may seek to where a damaged header sends it: an exception in its callbacks
    would be printed, not raised."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = (0, self.tell(), len(self.getbuffer()))[whence]
        return super().seek(min(max(start + offset, 0), len(self.getbuffer())))
