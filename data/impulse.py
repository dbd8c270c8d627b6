"""Measured impulse responses of microphones, as one array, and which collection they are of.

Conventions: responses are float32 (R, L), at the waves' sample rate, cut to RESPONSE_SECONDS with a short fade and
scaled to unit energy, so that on average a response filters a clip without changing its level (MicIRP's peak at 1
would add some 6 dB). A response is recognised by its samples at its own rate: whatever its file is called, and
whatever else stands in it.
Source: MicIRP (Xaudia, Creative Commons); use in Morocutti et al., "Device-Robust Acoustic Scene Classification via
Impulse Response Augmentation", EUSIPCO 2023.
"""

import hashlib
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.audio import read_audio
from data.errors import UserError, counted
from data.resources import MICIRP, RESPONSES, Use
from data.sound import opened
from data.sound_files import list_sounds
from data.tables import read_table

# 99.9 % of the energy of every MicIRP response lies in its first 20 ms.
RESPONSE_SECONDS = 0.1
FADE_SECONDS = 0.01
MICIRP_TABLE = Path(__file__).parent / "micirp.csv"  # name and fingerprint of each of its files
NAMED = 3  # files of a folder that are named


def read_impulses(folder: str | Path, sample_rate: int) -> np.ndarray:
    """Read every sound file of a folder as an impulse response.

    Returns:
        float32 (R, round(RESPONSE_SECONDS * sample_rate)), in order of file name.

    Raises:
        UserError: the folder is missing, cannot be read or has no sound file, or a response is unreadable or silent.
    """
    paths = list_sounds(folder).sounds
    if not paths:
        raise UserError(
            f"data.impulses={folder} holds no sound files: point it at the MicIRP folder, or set it to null"
        )
    length, fade = round(RESPONSE_SECONDS * sample_rate), round(FADE_SECONDS * sample_rate)
    responses = np.zeros((len(paths), length), np.float32)
    for response, path in zip(responses, paths, strict=True):
        samples = read_audio(path, sample_rate)[:length]
        if len(samples) == length:
            samples[-fade:] *= np.linspace(1, 0, fade)
        if not (energy := float(np.square(samples).sum())):
            raise UserError(f"{path} is silent: an impulse response must not be; take it out of {folder}")
        response[: len(samples)] = samples / np.sqrt(energy)
    return responses


def uses_of_impulses(folder: str | Path) -> list[Use]:
    """What the impulse responses of a folder are: those of MicIRP, which may be a part of it, and those that are of no
    collection that is known here, if there are some.

    Raises:
        UserError: a file cannot be read.
    """
    known, unknown = dict[str, Path](), dict[str, Path]()
    for path in list_sounds(folder).sounds:
        digest = response_digest(path)
        (known if digest in _micirp() else unknown)[digest] = path
    found = [Use(RESPONSES, _named(folder, known.values()), _together(known), (MICIRP,))] if known else []
    if unknown:
        found.append(Use(RESPONSES, _named(folder, unknown.values()), _together(unknown), is_known=False))
    return found


def response_digest(path: Path) -> str:
    """SHA-256 of a sound file's rate (Hz, in decimal digits) and its samples (float32, the lowest byte first).

    Raises:
        UserError: it cannot be read.
    """
    with opened(path) as sound:
        rate = sound.rate
    return hashlib.sha256(str(rate).encode() + read_audio(path, rate).astype("<f4").tobytes()).hexdigest()


@lru_cache
def _micirp() -> frozenset[str]:
    return frozenset(read_table(MICIRP_TABLE, ["name", "sha256"])["sha256"])


def _together(digests: dict[str, Path]) -> str:
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def _named(folder: str | Path, paths: Collection[Path]) -> str:
    """Some files of a folder, in words."""
    names = sorted(path.name for path in paths)
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return f"{Path(folder).resolve().name}: {counted(len(names), 'file')}, {shown}"
