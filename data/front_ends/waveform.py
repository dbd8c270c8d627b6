"""The wave itself as the one band of a spectrogram: the input of networks that learn their own filters.

Conventions: waves are float (B, samples) in [-1, 1] at any rate; they are resampled to the network's rate on the device
and are (B, 1, 1, samples at that rate): a frame is a sample. Values are no logarithms.
Source: Aytar et al., "SoundNet", NIPS 2016, section 3.1.
"""

import math

import torch
from torch import nn

from data import bibliography
from data.front_ends import FrontEndEntry
from data.front_ends.resampling import resampler
from data.ranges import Rate


class Waveform(nn.Module):
    """A batch of waves at the rate of a network.

    Args:
        sample_rate: of the waves, Hz.
        rate: of the network, Hz.

    Raises:
        UserError: waves of this rate cannot be brought to the network's.
    """

    padding, decibel = "none", None
    mels, low = 1, 0.0

    def __init__(self, *, sample_rate: Rate = 32_000, rate: Rate = 16_000) -> None:
        super().__init__()
        self.sample_rate, self.rate, self.high = sample_rate, rate, rate / 2
        self.resample, self._spread = resampler(sample_rate, rate)

    def frames(self, samples: int) -> int:
        """Number of samples at the network's rate of a clip of so many samples."""
        return math.ceil(samples * self.rate / self.sample_rate)

    def extent(self, frame: int) -> tuple[int, int]:
        """Samples that a frame depends on: its own, and what the resampler's filter needs around it."""
        place = frame * self.sample_rate / self.rate
        return math.floor(place) - self._spread, math.ceil(place) + self._spread + 1

    def forward(self, waves: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """(B, samples) -> (B, 1, 1, frames), float32 whatever the precision around it; nothing here is random."""
        with torch.autocast(waves.device.type, enabled=False):
            return self.resample(waves.float())[:, None, None]


WAVEFORM = FrontEndEntry(
    build=Waveform,
    features="raw waveform",
    citation=bibliography.SOUNDNET,
)
