"""Measured impulse responses of microphones, as one array.

Conventions: responses are float32 (R, L), at the waves' sample rate, cut to RESPONSE_SECONDS with a short fade and
scaled to unit energy, so that on average a response filters a clip without changing its level (MicIRP's peak at 1
would add some 6 dB).
Source: MicIRP (Xaudia, Creative Commons); use in Morocutti et al., "Device-Robust Acoustic Scene Classification via
Impulse Response Augmentation", EUSIPCO 2023.
"""

from pathlib import Path

import numpy as np

from data.audio import read_audio
from data.errors import UserError
from data.sound_files import list_sounds

# 99.9 % of the energy of every MicIRP response lies in its first 20 ms.
RESPONSE_SECONDS = 0.1
FADE_SECONDS = 0.01


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
