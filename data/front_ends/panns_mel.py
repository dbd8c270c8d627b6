"""The log-mel spectrogram that PANNs were trained on: librosa's, in decibels.

Conventions: waves are float (B, samples) in [-1, 1] at any rate; they are resampled to the network's rate on the
device, and mirrored at both ends, so that frame i is centred on 10 i ms: 101 frames a second. Spectrograms are (B, 1,
64, frames), low bands first: power of periodic Hann windows of 32 ms every 10 ms, and triangles in Hz of equal areas
whose corners are equally far apart on Slaney's scale, which is linear below 1 kHz and logarithmic above. Values are
10 log10(band), at least SILENCE = -100 dB; the published networks scale them by BatchNorm.
Source: Kong et al., "PANNs", IEEE/ACM TASLP 2020, section II, and qiuqiangkong/audioset_tagging_cnn,
pytorch/models.py, classes Cnn14, Cnn14_16k and Cnn14_8k, whose front end is that of torchlibrosa 0.1.0.
"""

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import nn
from torchaudio.functional import melscale_fbanks

from data import bibliography
from data.front_ends import FrontEndEntry
from data.front_ends.band_sums import Bands as BandWeights
from data.front_ends.band_sums import band_powers, grouped, in_parts
from data.front_ends.resampling import resampler
from data.ranges import Rate

MELS, LOW = 64, 50.0
HIGHEST = {32_000: 14_000.0, 16_000: 8_000.0, 8_000: 4_000.0}  # upper edge of the highest band by the network's rate
WINDOW, HOP = 32, 10  # milliseconds
FLOOR = 1e-10
SILENCE = 10 * math.log10(FLOOR)
# Slaney's scale: so many Hz below CORNER are one mel; above it, 27 mels are a factor of 6.4.
STEP, CORNER, OCTAVE, FACTOR = 200 / 3, 1_000.0, 27, 6.4


class PannsMel(nn.Module):
    """Log-mel spectrogram of a batch of waves.

    Args:
        sample_rate: of the waves, Hz.
        rate: of the network, Hz.

    Raises:
        UserError: waves of this rate cannot be brought to the network's.
    """

    padding, decibel = "reflect", 1.0
    window: torch.Tensor

    def __init__(self, *, sample_rate: Rate = 32_000, rate: Literal[32_000, 16_000, 8_000] = 32_000) -> None:
        super().__init__()
        self.sample_rate, self.rate, self.mels, self.low, self.high = sample_rate, rate, MELS, LOW, HIGHEST[rate]
        self.fft, self.hop = WINDOW * rate // 1_000, HOP * rate // 1_000
        self.resample, self._spread = resampler(sample_rate, rate)
        self.register_buffer("window", torch.hann_window(self.fft), persistent=False)

    def frames(self, samples: int) -> int:
        """Number of frames of a clip of so many samples: 1 + (samples at the network's rate) // hop."""
        return 1 + math.ceil(samples * self.rate / self.sample_rate) // self.hop

    def extent(self, frame: int) -> tuple[int, int]:
        """Samples that a frame depends on: half a window to either side, and what the resampler's filter needs."""
        ratio, first = self.sample_rate / self.rate, frame * self.hop - self.fft // 2
        return math.floor(first * ratio) - self._spread, math.ceil((first + self.fft - 1) * ratio) + self._spread + 1

    def forward(self, waves: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """(B, samples) -> (B, 1, 64, frames), float32 whatever the precision around it; nothing here is random."""
        with torch.autocast(waves.device.type, enabled=False):
            bands, parts = _grouped(self.rate, waves.device), in_parts(self.resample(waves.float()))
            power = [band_powers(part, self.window, hop=self.hop, fft=self.fft, bands=bands) for part in parts]
            return (10 * torch.cat(power).clamp_min(FLOOR).log10()).mT[:, None]

    @property
    def centres(self) -> np.ndarray:
        """The middle of each band, Hz, float64 (64,)."""
        low, high = _mels(self.low), _mels(self.high)
        mels = np.linspace(low, high, MELS + 2)[1:-1]
        above = CORNER * FACTOR ** ((mels - CORNER / STEP) / OCTAVE)
        return np.where(mels < CORNER / STEP, STEP * mels, above)


def band_weights(rate: int) -> torch.Tensor:
    """Of the bins in each band, float32 (bins, 64), as the published files store them (`logmel_extractor.melW`)."""
    fft = WINDOW * rate // 1_000
    return melscale_fbanks(fft // 2 + 1, LOW, HIGHEST[rate], MELS, rate, norm="slaney", mel_scale="slaney")


def _mels(hertz: float) -> float:
    if hertz < CORNER:
        return hertz / STEP
    return CORNER / STEP + OCTAVE * math.log(hertz / CORNER, FACTOR)


@lru_cache
@torch.inference_mode(False)  # or what is kept could not be used outside of it
def _grouped(rate: int, device: torch.device) -> BandWeights:
    return grouped(band_weights(rate).mT, device)


PANNS_MEL = FrontEndEntry(
    build=PannsMel,
    features="log-mel energies",
    citation=bibliography.PANNS,
)
