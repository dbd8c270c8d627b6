"""The log-mel spectrogram of torchaudio_log_mel.py in integers, with which devices compute it.

Conventions: those of integer_log_mel.py, without pre-emphasis: a clip is taken to begin with a sample of silence, which
the filter would drop, and the filter's factor is 0. It is no kind of its own: students are trained with floats.
"""

import torch

from data.errors import UserError
from data.front_ends import DECIBEL
from data.front_ends.integer_log_mel import SIZES, IntegerLogMel
from data.front_ends.torchaudio_log_mel import TorchaudioLogMel
from data.ranges import Bands, Hertz, Rate, Samples

HTK, BREAK = 2595.0, 700.0  # of the scale of mels: HTK log10(1 + f / BREAK)


class IntegerTorchaudioLogMel(IntegerLogMel):
    """Log-mel spectrogram of a batch of waves, computed in integers; arguments and errors as of TorchaudioLogMel.

    Raises:
        UserError: also if the transform is not one of SIZES.
    """

    decibel = DECIBEL
    emphasis, lead = 0, 1
    shift, stretch = 0.0, 1.0

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
        torch.nn.Module.__init__(self)
        if fft not in SIZES:
            raise UserError(f"fft={fft} must be one of {', '.join(map(str, SIZES))}: the transform is one in integers")
        floats = TorchaudioLogMel(
            sample_rate=sample_rate, window=window, hop=hop, fft=fft, mels=mels, low=low, high=high
        )
        self._fill(floats, torch.hann_window(window, dtype=torch.float64), _places(floats))


def _places(floats: TorchaudioLogMel) -> torch.Tensor:
    """Where each bin lies between the corners of the triangles, which are 0, 1, ..., mels + 1, float64: from one corner
    to the next in proportion to the frequency. Bins below and above all corners lie outside."""
    edges = HTK * torch.log10(1 + torch.tensor([floats.low, floats.high], dtype=torch.float64) / BREAK)
    scale = torch.linspace(float(edges[0]), float(edges[1]), floats.mels + 2, dtype=torch.float64)
    corners = BREAK * (10 ** (scale / HTK) - 1)
    frequencies = torch.arange(floats.fft // 2, dtype=torch.float64) * (floats.sample_rate / floats.fft)
    lower = torch.searchsorted(corners, frequencies, right=True) - 1
    inside = lower.clamp(0, floats.mels)
    shares = (frequencies - corners[inside]) / (corners[inside + 1] - corners[inside])
    return torch.where(lower == inside, inside + shares, lower.double())
