"""The log-mel spectrogram of the 2023 winners, for teachers and students, and of others by its arguments.

Conventions: waves are float (B, samples) in [-1, 1]; spectrograms (B, 1, mels, frames), low bands first, with frames
= 1 + (samples - 1) // hop: the pre-emphasis filter x[t] - 0.97 x[t-1] drops one sample, so that a 1-second clip at 32
kHz and hop 500 has 64 frames and not 65; without it they are 1 + samples // hop. What is filtered is mirrored at both
ends of the clip, so that frame i is centred on sample i * hop. Values are (log(mel + 1e-5) + 4.5) / 5, roughly in
[-1.4, 2].
Source: Koutini et al., "Efficient Training of Audio Transformers with Patchout", Interspeech 2022, section 4 (front
end), as used by Schmid et al., DCASE 2023 Task 1. Mel bands as in Kaldi (torchaudio.compliance.kaldi).
"""

from functools import lru_cache

import torch
from torch import nn
from torchaudio.compliance.kaldi import get_mel_banks

from data import bibliography
from data.errors import UserError
from data.front_ends import DECIBEL, FrontEndEntry
from data.front_ends.band_sums import Bands as BandWeights
from data.front_ends.band_sums import band_powers, grouped, in_parts, require_transform
from data.ranges import Bands, Emphasis, Hertz, Rate, Samples

PRE_EMPHASIS = 0.97
FLOOR = 1e-5
SHIFT, STRETCH = 4.5, 5.0
JITTER_STEPS = 20  # distinct upper edges that the band-edge jitter chooses from


class LogMel(nn.Module):
    """Log-mel spectrogram of a batch of waves.

    Args:
        sample_rate: Hz.
        window: length of the (symmetric) Hann window, samples.
        hop: distance of two frames, samples.
        fft: length of the Fourier transform, samples, even, at least `window`.
        mels: number of bands.
        low: lower edge of the lowest band, Hz.
        high: upper edge of the highest band, Hz.
        edge_jitter: width in Hz of the interval around `high` in which the edge moves when a generator is given
            (training); all clips of a batch share it.
        pre_emphasis: a in x[t] - a x[t-1]; 0: nothing is filtered.

    Raises:
        UserError: see require_transform; or the bands leave the range of the sample rate.
    """

    padding, decibel = "reflect", DECIBEL / STRETCH
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
        high: Hertz = 15_500.0,
        edge_jitter: Hertz = 1000.0,
        pre_emphasis: Emphasis = PRE_EMPHASIS,
    ) -> None:
        super().__init__()
        require_transform(window=window, hop=hop, fft=fft, mels=mels, sample_rate=sample_rate)
        if not 0 <= low < high - edge_jitter / 2 <= high + edge_jitter / 2 <= sample_rate / 2:
            raise UserError(
                f"bands from mel.low={low} to mel.high={high} +- {edge_jitter / 2} Hz (half of mel.edge_jitter) must "
                f"lie between 0 and half of sample_rate={sample_rate}"
            )
        self.sample_rate, self.hop, self.fft, self.mels = sample_rate, hop, fft, mels
        self.low, self.high, self.edge_jitter = low, high, edge_jitter
        self.pre_emphasis, self.dropped = pre_emphasis, int(pre_emphasis > 0)
        self.register_buffer("window", torch.hann_window(window, periodic=False), persistent=False)

    def frames(self, samples: int) -> int:
        """Number of frames of a clip of so many samples: 1 + (samples - 1) // hop, or 1 + samples // hop."""
        return 1 + (samples - self.dropped) // self.hop

    def extent(self, frame: int) -> tuple[int, int]:
        """Samples that a frame depends on: half a window to either side, and one more for a pre-emphasis."""
        start = frame * self.hop - self.fft // 2 + (self.fft - len(self.window)) // 2
        return start, start + len(self.window) + self.dropped

    def forward(self, waves: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """(B, samples) -> (B, 1, mels, frames), float32 whatever the precision around it."""
        with torch.autocast(waves.device.type, enabled=False):
            high = self._upper_edge(generator)
            bands = _bands(self.mels, self.fft, self.sample_rate, self.low, high, waves.device)
            return torch.cat([self._spectrogram(part, bands) for part in in_parts(waves)])

    def _spectrogram(self, waves: torch.Tensor, bands: BandWeights) -> torch.Tensor:
        if self.dropped:
            waves = waves[:, 1:] - self.pre_emphasis * waves[:, :-1]
        mel = band_powers(waves, self.window, hop=self.hop, fft=self.fft, bands=bands)
        return (((mel + FLOOR).log() + SHIFT) / STRETCH).mT[:, None]

    def _upper_edge(self, generator: torch.Generator | None) -> float:
        """Hz; of the highest band."""
        if generator is None or not self.edge_jitter:
            return self.high
        step = int(torch.randint(JITTER_STEPS + 1, (), generator=generator, device=generator.device))
        return self.high + self.edge_jitter * (step / JITTER_STEPS - 0.5)


@lru_cache  # the 21 edges of some front ends
@torch.inference_mode(False)  # or what is kept could not be used outside of it
def _bands(mels: int, fft: int, sample_rate: int, low: float, high: float, device: torch.device) -> BandWeights:
    """Kaldi's triangles."""
    banks, _ = get_mel_banks(mels, fft, float(sample_rate), low, high, 100.0, -500.0, 1.0)  # without the Nyquist bin
    return grouped(banks, device)


LOG_MEL = FrontEndEntry(
    build=LogMel,
    features="log-mel energies",
    citation=bibliography.PASST,
)
