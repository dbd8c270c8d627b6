"""A sound file, or its content in memory, that is open for reading: whole, of a known format and rate, or refused."""

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from data.completeness import Memory, refuse_cut, require_whole
from data.errors import UserError
from data.files import at_once
from data.mpeg import Data, behind_tags
from data.ranges import RATES
from data.scratch import scratch
from data.sound_files import FORMATS


def name_of(sound: str | Path | bytes) -> str:
    """What a file, or its content, is called in messages."""
    return "the sound" if isinstance(sound, bytes) else str(sound)


class Sound:
    """A sound file that is open.

    Attributes:
        rate: Hz.
        frames: number of samples, of each channel.
        channels: number of channels.
    """

    def __init__(self, file: soundfile.SoundFile, name: str, *, least: int) -> None:
        self.rate, self.frames, self.channels = file.samplerate, file.frames, file.channels
        self._file, self._name, self._least, self._found = file, name, least, 0

    def read(self, count: int) -> np.ndarray:
        """The next samples, float32 (T, channels), T <= count; overwritten by the thread's next call.

        Raises:
            UserError: there are fewer than the file says.
        """
        samples = self._file.read(out=scratch("file", (count, self.channels), np.float32))
        self._found += len(samples)
        if len(samples) < count and self._found < self._least:
            refuse_cut(self._name, self._found, self._least)
        return samples


@contextmanager
def opened(sound: str | Path | bytes) -> Iterator[Sound]:
    """Open a sound file, or its content, to read from it.

    Raises:
        UserError: it is missing, no audio, of another format or rate, cut short; or, while it is read, damaged.
    """
    name = name_of(sound)
    try:
        with (
            _content(sound) as data,
            # As bytes: soundfile cannot open a name that is no text.
            soundfile.SoundFile(Memory(data) if isinstance(data, bytes) else os.fsencode(sound)) as file,
        ):
            if file.format not in FORMATS:
                raise UserError(f"{name} is a {file.format} file, not one of {', '.join(FORMATS)}")
            require_rate(file.samplerate, name)
            yield Sound(file, name, least=require_whole(data, file, name))
    except (soundfile.LibsndfileError, OSError, TypeError) as error:  # TypeError: headerless formats
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
        raise UserError(f"{name} cannot be read as audio ({reason})") from error


@contextmanager
def _content(sound: str | Path | bytes) -> Iterator[Data]:
    """The bytes of a sound, from a file as a map.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(sound, bytes):
        yield sound[behind_tags(sound, 0) :]  # libsndfile does not find its place behind them in memory
        return
    with open(sound, "rb", opener=at_once) as raw:
        if not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
            raise OSError("it is no regular file")
        if not os.fstat(raw.fileno()).st_size:  # of which there is no map
            yield b""
        else:
            with mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data


def require_rate(rate: int, name: str) -> None:
    """Check a file's rate, Hz.

    Raises:
        UserError: it is not within RATES.
    """
    if rate not in RATES:
        raise UserError(f"{name} has a rate of {rate} Hz, not one {RATES}")
