"""The mel spectrogram that OpenL3 and EdgeL3 hear: kapre's, in decibels below the loudest value of a second.

Conventions: waves are float (B, samples) in [-1, 1] at any rate; they are resampled to 48 kHz on the device, completed
with zeros to whole seconds, and each second is computed by itself, with zeros before and behind it. Spectrograms are
(B, 1, 256, frames), low bands first, with 199 frames a second: power of periodic Hann windows of 2048 samples every
242, the first of which begins 982 samples before the second; 256 triangles in Hz of equal areas from 0 to 24,000 Hz,
whose corners are equally far apart on HTK's scale, 2595 log10(1 + f / 700). The lowest of them are narrower than a bin
of the transform: some hold none and are always silent. Values are 10 log10(sqrt(band)), at least -100, minus their
maximum over the second, at least -80: they are 0 where a second is loudest, and all of silence is 0. That range is
beyond single precision, so all of this is computed in double precision; for Apple's GPUs, which have none, on the CPU.
Source: kapre 0.1.4, time_frequency.py (Melspectrogram), backend.py and backend_keras.py (amplitude_to_decibel), with
the settings of edgel3/models.py of ksangeeta2429/edgel3 (htk, power 1, padding "same"); its setup.py requires this
version, and the README of marl/openl3 names it up to version 0.3. From 0.4 on (openl3/models.py, kapre 0.3.5) the
package openl3 computes another spectrogram for the same weights, with Slaney's scale, sums of magnitudes and zeros
behind the second alone.
"""

import math
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from data import bibliography
from data.front_ends import FrontEndEntry
from data.front_ends.resampling import resampler
from data.ranges import Rate

RATE = 48_000  # Hz; also the samples of a second
FFT, HOP, MELS = 2048, 242, 256
FRAMES = math.ceil(RATE / HOP)  # of a second
BEFORE = ((FRAMES - 1) * HOP + FFT - RATE) // 2  # zeros before a second; TensorFlow's SAME
FLOOR, RANGE = 1e-10, 80.0  # of an amplitude; decibels
assert (FRAMES, BEFORE) == (199, 982)


class L3Mel(nn.Module):
    """The mel spectrogram of a batch of waves.

    Args:
        sample_rate: of the waves, Hz.

    Raises:
        UserError: waves of this rate cannot be brought to RATE.
    """

    padding, decibel = "zeros", 0.5
    mels, low, high = MELS, 0.0, RATE / 2
    window: torch.Tensor
    bands: torch.Tensor

    def __init__(self, *, sample_rate: Rate = 32_000) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        resample, self._spread = resampler(sample_rate, RATE)
        self.resample = resample.double()
        self.register_buffer("window", torch.hann_window(FFT, dtype=torch.float64), persistent=False)
        self.register_buffer("bands", _bands(), persistent=False)

    def to(self, device: torch.device | str) -> Self:
        """Itself, moved to a device, unless that has no double precision."""
        return self if torch.device(device).type == "mps" else super().to(device)

    def frames(self, samples: int) -> int:
        """Number of frames of a clip of so many samples: 199 for each second that has begun."""
        return FRAMES * self._seconds(math.ceil(samples * RATE / self.sample_rate))

    def extent(self, frame: int) -> tuple[int, int]:
        """Samples that a frame depends on: its whole second, and what the resampler's filter needs around it."""
        second = frame // FRAMES
        return second * self.sample_rate - self._spread, (second + 1) * self.sample_rate + self._spread

    def forward(self, waves: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """(B, samples) -> (B, 1, 256, frames), float32 whatever the precision around it; nothing here is random."""
        with torch.autocast(waves.device.type, enabled=False):
            sound = self.resample(waves.to(self.window.device).double())
            whole = F.pad(sound, (0, self._seconds(sound.shape[1]) * RATE - sound.shape[1]))
            parts = [self._decibels(second) for second in whole.split(RATE, dim=1)]
            return torch.cat(parts, dim=2)[:, None].float().to(waves.device)

    @staticmethod
    def _seconds(samples: int) -> int:
        """Seconds that have begun, of samples at RATE; at least one."""
        return max(1, math.ceil(samples / RATE))

    def _decibels(self, second: torch.Tensor) -> torch.Tensor:
        """(B, RATE) -> (B, 256, 199)."""
        windows = F.pad(second, (BEFORE, BEFORE)).unfold(1, FFT, HOP) * self.window
        power = torch.view_as_real(torch.fft.rfft(windows)).square().sum(-1)
        decibels = 10 * (power @ self.bands).sqrt().clamp_min(FLOOR).log10()
        return (decibels - decibels.amax(dim=(1, 2), keepdim=True)).clamp_min(-RANGE).mT


def _bands() -> torch.Tensor:
    """Weights of the bins in each band, float64 (bins, bands)."""
    highest = 2595 * math.log10(1 + RATE / 2 / 700)
    corners = 700 * (10 ** (torch.linspace(0, highest, MELS + 2, dtype=torch.float64) / 2595) - 1)
    low, centre, high = corners[:-2], corners[1:-1], corners[2:]
    hertz = torch.arange(FFT // 2 + 1, dtype=torch.float64)[:, None] * RATE / FFT
    triangles = torch.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre)).clamp_min(0)
    return triangles * 2 / (high - low)


L3_MEL = FrontEndEntry(
    build=L3Mel,
    features="log-mel energies",
    citation=bibliography.OPENL3,
)
