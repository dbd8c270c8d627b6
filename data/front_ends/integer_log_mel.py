"""The log-mel spectrogram of log_mel.py in integers alone, for devices without floats: equal bits on every machine.

Conventions: as in log_mel.py. Samples are int16, round(32768 * wave), cut off; all further values are integers of 32
bits, sums of the bands of 64. A frame's values are shifted left until the largest has integer_fft.ROOM bits, which
keeps the resolution of quiet sounds, and the shift is undone in the logarithm. What it gives is log2(mel + FLOOR), Q16;
`forward` scales it as log_mel does. int64 tensors compute it here; the width of each step is said where it is narrower.
"""

import math

import torch
from torch import nn
from torchaudio.compliance.kaldi import mel_scale, mel_scale_scalar

from data.errors import UserError
from data.front_ends import DECIBEL, FrontEndEntry, log_mel
from data.front_ends.integer_fft import ROOM, real_spectrum
from data.front_ends.log_mel import FLOOR, PRE_EMPHASIS, SHIFT, STRETCH, LogMel
from data.front_ends.torchaudio_log_mel import TorchaudioLogMel
from data.ranges import Bands, Emphasis, Hertz, Rate, Samples

FULL_SCALE = 1 << 15
UNIT = 1 << 15  # 1 in Q15
WINDOW_UNIT = 1 << 14  # of the window: Q14
HALF_WORD = 16  # bits that a product of 32 and 16 bits loses, and each bin's power before it is weighted
MOST_SHIFT = 16  # left, of a frame: a smallest sample has 13 bits
BINS_OF_TABLE = 128  # from 1 to 2, of the logarithm
FRACTION = 16  # bits of a logarithm behind the point
SIZES = tuple(1 << bits for bits in range(6, 14))  # of the transform
CLIPS_AT_ONCE = 4  # on a CPU: what is computed of them stays in its cache


class IntegerLogMel(nn.Module):
    """Log-mel spectrogram of a batch of waves, computed in integers.

    Args:
        sample_rate: Hz.
        window: length of the (symmetric) Hann window, samples.
        hop: distance of two frames, samples.
        fft: length of the Fourier transform, samples, a power of two from 64 to 8192, at least `window`.
        mels: number of bands.
        low: lower edge of the lowest band, Hz.
        high: upper edge of the highest band, Hz.
        edge_jitter: 0: a device's bands are fixed tables.
        pre_emphasis: a in x[t] - a x[t-1]; 0: nothing is filtered.

    Raises:
        UserError: see LogMel; or the transform is of another length, or the edge is to move.
    """

    padding, decibel = "reflect", DECIBEL / STRETCH
    emphasis: int  # Q15
    lead: int  # samples of silence that a clip is taken to begin with: where nothing is filtered, the one to be dropped
    shift, stretch = SHIFT, STRETCH  # of a natural logarithm, to a value
    window: torch.Tensor
    upper: torch.Tensor
    shares: torch.Tensor
    logarithms: torch.Tensor

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
        edge_jitter: Hertz = 0.0,
        pre_emphasis: Emphasis = PRE_EMPHASIS,
    ) -> None:
        super().__init__()
        if edge_jitter:
            raise UserError(
                f"edge_jitter={edge_jitter} moves the upper edge in training, and bands in integers are fixed tables: "
                "set edge_jitter=0"
            )
        if fft not in SIZES:
            raise UserError(f"fft={fft} must be one of {', '.join(map(str, SIZES))}: the transform is one in integers")
        floats = LogMel(
            sample_rate=sample_rate,
            window=window,
            hop=hop,
            fft=fft,
            mels=mels,
            low=low,
            high=high,
            edge_jitter=0.0,
            pre_emphasis=pre_emphasis,
        )
        self.emphasis, self.lead = round(pre_emphasis * UNIT), 1 - floats.dropped
        # Kaldi's triangles: between the centres of two neighbours, their weights add up to 1.
        frequencies = torch.arange(fft // 2, dtype=torch.float64) * (sample_rate / fft)
        lowest, highest = mel_scale_scalar(low), mel_scale_scalar(high)
        places = (mel_scale(frequencies) - lowest) / (highest - lowest) * (mels + 1)
        self._fill(floats, torch.hann_window(window, periodic=False, dtype=torch.float64), places)

    def _fill(self, floats: LogMel | TorchaudioLogMel, hann: torch.Tensor, places: torch.Tensor) -> None:
        """Make the tables.

        Args:
            floats: the same front end in floats.
            hann: its window, float64.
            places: of each bin between the middles of the bands, which are 1, 2, ..., float64.
        """
        self._as_floats, fft, window = floats, floats.fft, len(hann)
        self.sample_rate, self.hop, self.fft, self.mels = floats.sample_rate, floats.hop, fft, floats.mels
        self.low, self.high = floats.low, floats.high
        # Bits by which log2 of a band's sum is larger than that of its value: samples 15, emphasis 15, window 14 - 16,
        # transform 1 - log2(fft), all of it squared, less 16 bits of each bin's power; weights 15.
        self.offset = 2 * (29 - int(math.log2(fft))) - HALF_WORD + 15
        self.floor = round(FLOOR * 2**self.offset)
        before = (fft - window) // 2
        padded = torch.nn.functional.pad((hann * WINDOW_UNIT).round().long(), (before, fft - window - before))
        if not padded.any():
            raise UserError(f"window={window} is too short: it is 0 everywhere in integers")
        self.register_buffer("window", padded, persistent=False)
        upper = places.floor().long()  # of the two bands
        self.first, self.last = (int(inside) for inside in (upper.clamp(0, self.mels) == upper).nonzero()[[0, -1], 0])
        self.register_buffer("upper", upper[self.first : self.last + 1], persistent=False)
        shares = ((places - upper) * UNIT).round().long()[self.first : self.last + 1]
        self.register_buffer("shares", shares, persistent=False)
        steps = torch.arange(BINS_OF_TABLE + 1, dtype=torch.float64) / BINS_OF_TABLE
        table = ((1 + steps).log2() * 2**FRACTION).round().long()
        self.register_buffer("logarithms", table, persistent=False)

    def frames(self, samples: int) -> int:
        """Number of frames of a clip of so many samples, as of the same front end in floats."""
        return self._as_floats.frames(samples)

    def extent(self, frame: int) -> tuple[int, int]:
        """Samples that a frame depends on, as of the same front end in floats."""
        return self._as_floats.extent(frame)

    def forward(self, waves: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """(B, samples) -> (B, 1, mels, frames), float32; nothing here is random."""
        found = self.integers(as_samples(waves))
        return ((found * (math.log(2) / 2**FRACTION) + self.shift) / self.stretch).float()[:, None]

    def integers(self, samples: torch.Tensor) -> torch.Tensor:
        """log2(mel + FLOOR) as int64 (B, mels, frames), Q16, of int16 samples (B, n)."""
        some = CLIPS_AT_ONCE if samples.device.type == "cpu" else max(1, len(samples))
        return torch.cat([self._integers(part) for part in samples.split(some)])

    def _integers(self, samples: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.pad(samples.long(), (self.lead, 0))
        emphasised = (x[:, 1:] << 15) - self.emphasis * x[:, :-1]  # 32 bits
        half = self.fft // 2
        padded = torch.nn.functional.pad(emphasised.double(), (half, half), mode="reflect").long()  # exact: 32 bits
        frames = padded.unfold(-1, self.fft, self.hop) * self.window >> HALF_WORD  # (B, frames, fft), 29 bits
        shift = _left_shift(frames)
        re, im = real_spectrum(frames << shift)
        bins = slice(self.first, self.last + 1)
        power = re[..., bins] ** 2 + im[..., bins] ** 2 >> HALF_WORD  # of 61 bits, 45 left
        # With a place on either side for the neighbours that the outermost bands do not have.
        mel = torch.zeros(*power.shape[:-1], self.mels + 2, dtype=torch.long, device=power.device)
        risen = power * self.shares
        mel.index_add_(-1, self.upper + 1, risen)
        mel.index_add_(-1, self.upper, (power << 15) - risen)
        mel = mel[..., 1:-1]
        return (self._log2(mel + (self.floor << 2 * shift)) - (self.offset + 2 * shift << FRACTION)).mT

    def _log2(self, values: torch.Tensor) -> torch.Tensor:
        """Logarithm to base 2 of integers from 1 to 2^62, Q16: by a table, and along straight lines in between."""
        exponent, rest = torch.zeros_like(values), values
        for bits in (32, 16, 8, 4, 2, 1):
            is_large = rest >= 1 << bits
            exponent, rest = exponent + bits * is_large, torch.where(is_large, rest >> bits, rest)
        fraction = ((values << 62 - exponent) >> 62 - 23) - (1 << 23)  # 7 bits of the table, 16 between its values
        place, between = fraction >> FRACTION, fraction & (1 << FRACTION) - 1
        low, high = self.logarithms[place], self.logarithms[place + 1]
        return (exponent << FRACTION) + low + ((high - low) * between >> FRACTION)


def as_samples(waves: torch.Tensor) -> torch.Tensor:
    """Waves in [-1, 1] as int16: all clips by the same scale, and cut off beyond it."""
    return (waves.double() * FULL_SCALE).round().clamp(-FULL_SCALE, FULL_SCALE - 1).short()


def _left_shift(frames: torch.Tensor) -> torch.Tensor:
    """By how much the values (..., n) may be shifted left to have ROOM bits, at most MOST_SHIFT: (..., 1)."""
    largest = (frames ^ frames >> 63).amax(-1, keepdim=True)  # a negative value -v counts as v - 1, which has its bits
    shift = torch.zeros_like(largest)
    for by in range(1, MOST_SHIFT + 1):
        shift += largest < 1 << ROOM - by
    return shift


INTEGER_LOG_MEL = FrontEndEntry(
    build=IntegerLogMel,
    features=log_mel.LOG_MEL.features,
    citation=log_mel.LOG_MEL.citation,
)
