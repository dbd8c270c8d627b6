"""What a class must survive: sounds moved in time, heard by another microphone, coloured like another clip, partly
hidden.

All functions are pure, work on whole batches on whatever device the batch is on, and take their randomness from a
generator on that device. Waves are (B, samples), log-mels (B, 1, mels, frames).
"""

from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len

from data.augmentation import Augmentation


def time_roll(waves: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Roll each wave by its own number of samples (B,), as torch.roll does: what leaves at the end enters at the
    start."""
    length = waves.shape[-1]
    source = (torch.arange(length, device=waves.device) - shifts[:, None]) % length
    return waves.gather(1, source)


def filter_by(waves: torch.Tensor, responses: torch.Tensor) -> torch.Tensor:
    """Convolve each wave with its own response (B, L), causally, cut to the wave's length."""
    length = waves.shape[-1]
    # A length with small factors: the FFT of 35,199 = 3 * 11,733 samples would take several times longer.
    padded = next_fast_len(length + responses.shape[-1] - 1, real=True)
    spectrum = torch.fft.rfft(waves, padded) * torch.fft.rfft(responses, padded)
    return torch.fft.irfft(spectrum, padded)[..., :length]


def freq_mixstyle(pictures: torch.Tensor, partners: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Give each picture part of another one's mean and deviation in every frequency band.

    Statistics are taken over (channel, time), carry no gradient, and are mixed as w * own + (1 - w) * partner's.
    Source: Kim et al., "Domain Generalization with Relaxed Instance Frequency-wise Normalization for Multi-device
    Acoustic Scene Classification", Interspeech 2022; Schmid et al., DCASE 2022 Task 1 report, "Freq-MixStyle".

    Args:
        pictures: (B, C, mels, frames).
        partners: (B,) the clip that each one is mixed with.
        weights: (B,) in [0, 1].
    """
    with torch.no_grad():
        mean = pictures.mean((1, 3), keepdim=True)
        deviation = (pictures.var((1, 3), keepdim=True, unbiased=False) + 1e-6).sqrt()
        w = weights.view(-1, 1, 1, 1)
        mixed_mean = w * mean + (1 - w) * mean[partners]
        mixed_deviation = w * deviation + (1 - w) * deviation[partners]
    return (pictures - mean) / deviation * mixed_deviation + mixed_mean


def mask(pictures: torch.Tensor, starts: torch.Tensor, widths: torch.Tensor, *, axis: int) -> torch.Tensor:
    """Set `widths` (B,) bands or frames from `starts` (B,) on to 0, which is about the mean of a log-mel, in each
    picture."""
    position = torch.arange(pictures.shape[axis], device=pictures.device)
    hidden = (position >= starts[:, None]) & (position < (starts + widths)[:, None])
    shape = [len(pictures), 1, 1, 1]
    shape[axis] = -1
    return pictures.masked_fill(hidden.view(shape), 0.0)


@dataclass(frozen=True)
class Mixing:
    """Mixup: each clip and its partner, seen as one.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, equation 1.

    Attributes:
        partners: (B,) the clip that each one is mixed with.
        weights: (B,) in [0, 1], its own share.
    """

    partners: torch.Tensor
    weights: torch.Tensor

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """w * own + (1 - w) * partner's, of (B, ...)."""
        w = self.weights.view(-1, *[1] * (values.ndim - 1))
        return w * values + (1 - w) * values[self.partners]


@dataclass(frozen=True)
class Augment:
    """The random choices in front of the functions above; how much of what is said by the settings."""

    settings: Augmentation

    def shifts(self, size: int, generator: torch.Generator) -> torch.Tensor | None:
        """By how many samples each of so many clips is rolled, int64 (B,); None: not at all."""
        return _integers(-self.settings.roll, self.settings.roll + 1, size, generator) if self.settings.roll else None

    def waves(
        self,
        waves: torch.Tensor,
        shifts: torch.Tensor | None,
        from_reference_device: torch.Tensor,
        responses: torch.Tensor | None,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Augment (B, samples).

        Args:
            waves: (B, samples).
            shifts: (B,), as `shifts` draws them, or None.
            from_reference_device: bool (B,).
            responses: (R, L), or None.
            generator: of all that is random.
        """
        if shifts is not None:
            waves = time_roll(waves, shifts)
        if self.settings.impulse_p and responses is not None:
            chosen = from_reference_device & (_uniform(len(waves), generator) < self.settings.impulse_p)
            picks = responses[_integers(0, len(responses), len(waves), generator)]
            # Unchosen clips are not filtered rather than filtered by an impulse: half of the batch costs half of the
            # time.
            rows = chosen.nonzero().flatten()
            if len(rows):
                waves = waves.index_copy(0, rows, filter_by(waves[rows], picks[rows]))
        return waves

    def pictures(self, pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Augment (B, 1, mels, frames)."""
        size = len(pictures)
        if self.settings.mixstyle_p and _uniform(1, generator).item() < self.settings.mixstyle_p:
            weights = _beta(self.settings.mixstyle_alpha, size, generator)
            partners = torch.randperm(size, generator=generator, device=generator.device)
            pictures = freq_mixstyle(pictures, partners, weights)
        for axis, widest in ((2, self.settings.frequency_mask), (3, self.settings.time_mask)):
            if widest:
                widths = _integers(0, min(widest, pictures.shape[axis]) + 1, size, generator)
                starts = (_uniform(size, generator) * (pictures.shape[axis] - widths + 1)).long()
                pictures = mask(pictures, starts, widths, axis=axis)
        return pictures

    def mixing(self, size: int, generator: torch.Generator) -> Mixing | None:
        """How to mix a batch of so many clips, or None: not at all."""
        if not self.settings.mixup_p or _uniform(1, generator).item() >= self.settings.mixup_p:
            return None
        partners = torch.randperm(size, generator=generator, device=generator.device)
        return Mixing(partners, _beta(self.settings.mixup_alpha, size, generator))


def _uniform(size: int, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(size, generator=generator, device=generator.device)


def _integers(low: int, high: int, size: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(low, high, (size,), generator=generator, device=generator.device)


def _beta(alpha: float, size: int, generator: torch.Generator) -> torch.Tensor:
    """Draws from Beta(alpha, alpha): torch.distributions takes no generator, two gamma draws with one do."""
    first, second = torch._standard_gamma(
        torch.full((2, size), alpha, device=generator.device), generator=generator
    ).unbind()
    return first / (first + second).clamp_min(torch.finfo(torch.float32).tiny)
