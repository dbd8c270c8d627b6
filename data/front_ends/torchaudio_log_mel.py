"""The log-mel spectrogram that the baselines of DCASE Task 1 in 2024 and 2025 are trained on: torchaudio's.

Conventions: waves are float (B, samples) in [-1, 1], mirrored at both ends; spectrograms (B, 1, mels, frames), low
bands first, with frames = 1 + samples // hop: 65 a second at 32 kHz and hop 500, as nothing is filtered before. The
Hann window is periodic. Bands are triangles in Hz, whose corners are equally far apart on HTK's scale, 2595 log10(1 +
f / 700). Values are log(mel + 1e-5), in [-11.6, 11] or so: not scaled.
Source: the baseline of Schmid et al., "Data-Efficient Low-Complexity Acoustic Scene Classification in the DCASE 2024
Challenge", 2024; torchaudio.transforms.MelSpectrogram.
"""

import warnings
from functools import lru_cache

import torch
from torch import nn
from torchaudio.functional import melscale_fbanks

from data import bibliography
from data.errors import UserError
from data.front_ends import DECIBEL, FrontEndEntry
from data.front_ends.band_sums import Bands as BandWeights
from data.front_ends.band_sums import band_powers, grouped, in_parts, require_transform
from data.ranges import Bands, Hertz, Rate, Samples

FLOOR = 1e-5


class TorchaudioLogMel(nn.Module):
    """Log-mel spectrogram of a batch of waves.

    Args:
        sample_rate: Hz.
        window: length of the (periodic) Hann window, samples.
        hop: distance of two frames, samples.
        fft: length of the Fourier transform, samples, even, at least `window`.
        mels: number of bands.
        low: lower edge of the lowest band, Hz.
        high: upper edge of the highest band, Hz; None: half of the sample rate.

    Raises:
        UserError: see require_transform; or the bands leave the range of the sample rate.
    """

    padding, decibel = "reflect", DECIBEL
    window: torch.Tensor

    def __init__(
        self,
        *,
        sample_rate: Rate = 32_000,
        window: Samples = 3072,
        hop: Samples = 500,
        fft: Samples = 4096,
        mels: Bands = 256,
        low: Hertz = 0.0,
        high: Hertz | None = None,
    ) -> None:
        super().__init__()
        require_transform(window=window, hop=hop, fft=fft, mels=mels, sample_rate=sample_rate)
        high = sample_rate / 2 if high is None else high
        if not 0 <= low < high <= sample_rate / 2:
            raise UserError(
                f"bands from mel.low={low} to mel.high={high} must lie between 0 and half of sample_rate={sample_rate}"
            )
        self.sample_rate, self.hop, self.fft, self.mels = sample_rate, hop, fft, mels
        self.low, self.high = low, high
        self.register_buffer("window", torch.hann_window(window), persistent=False)

    def frames(self, samples: int) -> int:
        """Number of frames of a clip of so many samples: 1 + samples // hop."""
        return 1 + samples // self.hop

    def extent(self, frame: int) -> tuple[int, int]:
        """Samples that a frame depends on: half a window to either side."""
        start = frame * self.hop - self.fft // 2 + (self.fft - len(self.window)) // 2
        return start, start + len(self.window)

    def forward(self, waves: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """(B, samples) -> (B, 1, mels, frames), float32 whatever the precision around it; nothing here is random."""
        with torch.autocast(waves.device.type, enabled=False):
            bands = _bands(self.mels, self.fft, self.sample_rate, self.low, self.high, waves.device)
            mel = [band_powers(part, self.window, hop=self.hop, fft=self.fft, bands=bands) for part in in_parts(waves)]
            return (torch.cat(mel) + FLOOR).log().mT[:, None]

    @property
    def weights(self) -> torch.Tensor:
        """Of the bins in each band, float32 (bins, bands), as torchaudio stores them."""
        return _weights(self.mels, self.fft, self.sample_rate, self.low, self.high)


def _weights(mels: int, fft: int, sample_rate: int, low: float, high: float) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filterbank has all zero values")  # as the baselines have
        return melscale_fbanks(fft // 2 + 1, low, high, mels, sample_rate)


@lru_cache
@torch.inference_mode(False)  # or what is kept could not be used outside of it
def _bands(mels: int, fft: int, sample_rate: int, low: float, high: float, device: torch.device) -> BandWeights:
    return grouped(_weights(mels, fft, sample_rate, low, high).mT, device)


TORCHAUDIO_LOG_MEL = FrontEndEntry(
    build=TorchaudioLogMel,
    features="log-mel energies",
    citation=bibliography.BASELINE_2024,
)
