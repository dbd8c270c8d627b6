"""Windows of 25 ms every 10 ms of sound at 16 kHz, which filter banks of speech recognition begin with.

Conventions: waves are float (B, samples) at any rate; they are resampled to RATE on the device. Windows do not reach
over the ends of a clip: there are 1 + (samples at RATE - 400) // 160 of them, 98 a second.
"""

import math

import torch
from torch import nn

from data.front_ends.resampling import resampler

RATE = 16_000  # Hz
WINDOW, HOP, FFT = 400, 160, 512  # samples at RATE


class Frames16k(nn.Module):
    """The common part of such front ends; see data/front_ends/__init__.py.

    Args:
        sample_rate: of the waves, Hz.

    Raises:
        UserError: waves of this rate cannot be brought to RATE.
    """

    padding = "none"

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.resample, self._spread = resampler(sample_rate, RATE)

    def frames(self, samples: int) -> int:
        """Number of frames of a clip of so many samples: 1 + (samples * RATE / sample_rate - 400) // 160."""
        return 1 + (math.ceil(samples * RATE / self.sample_rate) - WINDOW) // HOP

    def extent(self, frame: int) -> tuple[int, int]:
        """Samples that a frame depends on: a window, and what the resampler's filter needs around it."""
        ratio = self.sample_rate / RATE
        first, last = frame * HOP * ratio, (frame * HOP + WINDOW - 1) * ratio
        return math.floor(first) - self._spread, math.ceil(last) + self._spread + 1

    def windows(self, waves: torch.Tensor) -> torch.Tensor:
        """(B, samples) -> float32 (B, frames, WINDOW) of sound at RATE."""
        return self.resample(waves.float()).unfold(1, WINDOW, HOP)
