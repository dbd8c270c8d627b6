"""Log-mel spectrograms in whole patches of 0.96 s, which VGGish and YAMNet hear: what the two have in common.

Conventions: waves are float (B, samples) in [-1, 1] at any rate; they are resampled to 16 kHz on the device.
Spectrograms are (B, 1, 64, frames), low bands first: magnitudes (not power) of periodic Hann windows of 25 ms every
10 ms, 64 bands from 125 to 7500 Hz, log(band + offset). A patch has PATCH = 96 frames. Frames behind the last whole
patch are left out: of the 98 frames of a second, frames 0 to 95 remain, which are the samples 0 to 15,599 at 16 kHz. A
clip that is shorter than a patch keeps its frames.
Source: TensorFlow models, research/audioset/vggish and research/audioset/yamnet; the mel matrix is that of
tf.signal.linear_to_mel_weight_matrix: triangles on the scale 1127 ln(1 + f / 700), as Kaldi has them.
"""

import torch
from torchaudio.compliance.kaldi import get_mel_banks

from data.front_ends import DECIBEL
from data.front_ends.frames_16k import FFT, RATE, WINDOW, Frames16k
from data.ranges import Rate

PATCH = 96  # frames
MELS, LOW, HIGH = 64, 125.0, 7500.0


class PatchMel(Frames16k):
    """The log-mel spectrogram of a batch of waves.

    Args:
        sample_rate: of the waves, Hz.

    Attributes:
        patch_hop: frames from one patch to the next.
        offset: what is added to a band before the logarithm.
    """

    decibel = DECIBEL / 2  # of magnitudes
    patch_hop: int
    offset: float
    window: torch.Tensor
    bands: torch.Tensor

    def __init__(self, *, sample_rate: Rate = 32_000) -> None:
        super().__init__(sample_rate)
        self.mels, self.low, self.high = MELS, LOW, HIGH
        banks, _ = get_mel_banks(MELS, FFT, float(RATE), LOW, HIGH, 100.0, -500.0, 1.0)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        # Kaldi leaves the Nyquist bin out, which lies above HIGH.
        self.register_buffer("bands", torch.nn.functional.pad(banks, (0, 1)), persistent=False)

    def frames(self, samples: int) -> int:
        """Number of frames of a clip of so many samples: of whole patches; of a shorter clip all that there are."""
        found = super().frames(samples)
        return found if found < PATCH else found - (found - PATCH) % self.patch_hop

    def forward(self, waves: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """(B, samples) -> (B, 1, 64, frames), float32 whatever the precision around it; nothing here is random."""
        with torch.autocast(waves.device.type, enabled=False):
            windows = self.windows(waves)[:, : max(0, self.frames(waves.shape[1]))]
            magnitudes = torch.fft.rfft(windows * self.window, FFT).abs()
            return (magnitudes @ self.bands.T + self.offset).log().transpose(1, 2)[:, None]
