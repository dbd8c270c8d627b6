"""Kaldi's log-mel filter banks, batched on the device: the input of the published AST and BEATs.

Conventions: waves are float (B, samples) in [-1, 1] at any rate; they are resampled to RATE on the device. Spectrograms
are (B, 1, mels, frames), low bands first, with frames = 1 + (samples at RATE - 400) // 160: windows of 25 ms every 10
ms that do not reach over the ends, so one second has 98. Values are (log mel - mean) / (2 std) with the mean and
deviation of AudioSet; energies below FLOOR count as FLOOR.
Source: Gong et al., "AST: Audio Spectrogram Transformer", Interspeech 2021, section 2.1 and its feature extractor;
filter banks as torchaudio.compliance.kaldi.fbank with a Hann window and no dither. microsoft/unilm, beats/BEATs.py at
commit c68101b, BEATs.preprocess: Kaldi's own window (Povey's) and samples of 16 bits.
"""

from typing import Annotated, Literal, TypeVar

import torch
from torch import nn
from torchaudio.compliance.kaldi import get_mel_banks

from data import bibliography
from data.front_ends import DECIBEL, FrontEndEntry
from data.front_ends.frames_16k import FFT, RATE, WINDOW, Frames16k
from data.ranges import Bands, Range, Rate

PRE_EMPHASIS = 0.97
LOWEST = 20.0  # Hz, edge of the lowest band
Values = TypeVar("Values", torch.Tensor, float)
MEAN, STD = -4.2677393, 4.5689974  # of AudioSet, as the published AST has them
FLOOR = torch.finfo(torch.float32).eps
POVEY = 0.85  # the power of a Hann window that Povey's is


class KaldiFbank(Frames16k):
    """Log-mel filter banks of a batch of waves.

    Args:
        sample_rate: of the waves, Hz.
        mels: number of bands, from LOWEST to half of RATE.
        mean, std: of the training data's values.
        scale: by which samples in [-1, 1] are multiplied.
        taper: the window.
    """

    window: torch.Tensor
    bands: torch.Tensor

    def __init__(
        self,
        *,
        sample_rate: Rate = 32_000,
        mels: Bands = 128,
        mean: Annotated[float, Range(-1000, 1000)] = MEAN,
        std: Annotated[float, Range(0, 1000, above=True)] = STD,
        scale: Annotated[float, Range(1, 32_768)] = 1.0,
        taper: Literal["hann", "povey"] = "hann",
    ) -> None:
        super().__init__(sample_rate)
        self.mels, self.mean, self.std, self.scale = mels, mean, std, scale
        self.low, self.high = LOWEST, RATE / 2
        self.decibel = normalised(DECIBEL, 0.0, std)
        banks, _ = get_mel_banks(mels, FFT, float(RATE), LOWEST, 0.0, 100.0, -500.0, 1.0)
        window = torch.hann_window(WINDOW, periodic=False) ** (POVEY if taper == "povey" else 1)
        self.register_buffer("window", window, persistent=False)
        # Kaldi leaves the Nyquist bin out.
        self.register_buffer("bands", nn.functional.pad(banks, (0, 1)), persistent=False)

    def forward(self, waves: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """(B, samples) -> (B, 1, mels, frames), float32 whatever the precision around it; nothing here is random."""
        with torch.autocast(waves.device.type, enabled=False):
            frames = self.windows(waves) * self.scale
            frames = frames - frames.mean(dim=2, keepdim=True)
            # The first sample of a frame has no predecessor: Kaldi takes the sample itself.
            before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
            power = torch.fft.rfft((frames - PRE_EMPHASIS * before) * self.window, FFT).abs().square()
            mel = (power @ self.bands.T).clamp_min(FLOOR).log()
            return normalised(mel, self.mean, self.std).transpose(1, 2)[:, None]


def normalised(mel: Values, mean: float = MEAN, std: float = STD) -> Values:
    """(log mel - mean) / (2 std)."""
    return (mel - mean) / (2 * std)


KALDI_FBANK = FrontEndEntry(
    build=KaldiFbank,
    features="log-mel energies",
    citation=bibliography.AST,
)
