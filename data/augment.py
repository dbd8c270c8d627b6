"""Augmentation of training clips: shifts in time, other microphones, other spectral statistics, masks, mixtures.

Conventions: waves are (B, samples), spectrograms log-mels (B, 1, mels, frames). The functions are pure and work on
whole batches on whatever device the batch is on. Each augmentation is a class that says which settings it reads
(data/augmentation.py) and makes the random choices in front of them, with a generator on that device; STEPS is the
order in which they are applied. Random crops of recordings come before all of this, see data/recordings.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

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


def freq_mixstyle(spectrograms: torch.Tensor, partners: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Give each spectrogram part of another one's mean and deviation in every frequency band.

    Statistics are taken over (channel, time), carry no gradient, and are mixed as w * own + (1 - w) * partner's.
    Source: Kim et al., "Domain Generalization with Relaxed Instance Frequency-wise Normalization for Multi-device
    Acoustic Scene Classification", Interspeech 2022; Schmid et al., DCASE 2022 Task 1 report, "Freq-MixStyle".

    Args:
        spectrograms: (B, C, mels, frames).
        partners: (B,) the clip that each one is mixed with.
        weights: (B,) in [0, 1].
    """
    with torch.no_grad():
        mean = spectrograms.mean((1, 3), keepdim=True)
        deviation = (spectrograms.var((1, 3), keepdim=True, unbiased=False) + 1e-6).sqrt()
        w = weights.view(-1, 1, 1, 1)
        mixed_mean = w * mean + (1 - w) * mean[partners]
        mixed_deviation = w * deviation + (1 - w) * deviation[partners]
    return (spectrograms - mean) / deviation * mixed_deviation + mixed_mean


def mask(spectrograms: torch.Tensor, starts: torch.Tensor, widths: torch.Tensor, *, axis: int) -> torch.Tensor:
    """Set `widths` (B,) bands or frames from `starts` (B,) on to 0, which is about the mean of a log-mel, in each
    spectrogram."""
    position = torch.arange(spectrograms.shape[axis], device=spectrograms.device)
    hidden = (position >= starts[:, None]) & (position < (starts + widths)[:, None])
    shape = [len(spectrograms), 1, 1, 1]
    shape[axis] = -1
    return spectrograms.masked_fill(hidden.view(shape), 0.0)


@dataclass(frozen=True)
class Mixing:
    """Mixup: a weighted mean of each clip and its partner.

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
class Sounds:
    """The waves of a batch, (B, samples), and what their augmentation needs or has done.

    Attributes:
        from_reference_device: which clips the reference device recorded, bool (B,).
        responses: impulse responses of devices, (R, L), or None.
        shifts: by how many samples each clip was rolled, int64 (B,); None: not at all.
    """

    waves: torch.Tensor
    from_reference_device: torch.Tensor
    responses: torch.Tensor | None = None
    shifts: torch.Tensor | None = None


class Step:
    """One augmentation: it changes waves, or spectrograms, or mixes clips; the rest it leaves as it is.

    Attributes:
        switch: the setting that turns it on.
        reads: all settings that it reads.
    """

    switch: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]

    def __init__(self, settings: Augmentation) -> None:
        self.settings = settings

    def augment_waves(self, sounds: Sounds, generator: torch.Generator) -> Sounds:
        """Augment waves (B, samples)."""
        return sounds

    def augment_spectrograms(self, spectrograms: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Augment spectrograms (B, 1, mels, frames)."""
        return spectrograms

    def draw_mixing(self, size: int, generator: torch.Generator) -> Mixing | None:
        """How to mix a batch of so many clips, labels and all; None: not at all."""
        return None


class Roll(Step):
    """Roll every clip in time."""

    switch, reads = "roll", ("roll",)

    def augment_waves(self, sounds: Sounds, generator: torch.Generator) -> Sounds:
        shifts = _integers(-self.settings.roll, self.settings.roll + 1, len(sounds.waves), generator)
        return replace(sounds, waves=time_roll(sounds.waves, shifts), shifts=shifts)


class ImpulseResponse(Step):
    """Filter clips of the reference device by impulse responses of other devices; source: see data/impulse.py."""

    switch, reads = "impulse_p", ("impulse_p",)

    def augment_waves(self, sounds: Sounds, generator: torch.Generator) -> Sounds:
        if sounds.responses is None:
            return sounds
        size = len(sounds.waves)
        chosen = sounds.from_reference_device & (_uniform(size, generator) < self.settings.impulse_p)
        picks = sounds.responses[_integers(0, len(sounds.responses), size, generator)]
        # Unchosen clips are not filtered rather than filtered by an impulse: half of the batch costs half of the time.
        rows = chosen.nonzero().flatten()
        if not len(rows):
            return sounds
        filtered = filter_by(sounds.waves[rows], picks[rows])
        return replace(sounds, waves=sounds.waves.index_copy(0, rows, filtered))


class FreqMixStyle(Step):
    """Mix the spectral statistics of the clips of a batch."""

    switch, reads = "mixstyle_p", ("mixstyle_p", "mixstyle_alpha")

    def augment_spectrograms(self, spectrograms: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if _uniform(1, generator).item() >= self.settings.mixstyle_p:
            return spectrograms
        weights = _beta(self.settings.mixstyle_alpha, len(spectrograms), generator)
        return freq_mixstyle(spectrograms, _permutation(len(spectrograms), generator), weights)


class _Mask(Step):
    axis: ClassVar[int]

    def augment_spectrograms(self, spectrograms: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        size, length = len(spectrograms), spectrograms.shape[self.axis]
        widths = _integers(0, min(getattr(self.settings, self.switch), length) + 1, size, generator)
        starts = (_uniform(size, generator) * (length - widths + 1)).long()
        return mask(spectrograms, starts, widths, axis=self.axis)


class FrequencyMask(_Mask):
    """Hide some neighbouring bands of every clip."""

    switch, reads, axis = "frequency_mask", ("frequency_mask",), 2


class TimeMask(_Mask):
    """Hide some neighbouring frames of every clip."""

    switch, reads, axis = "time_mask", ("time_mask",), 3


class Mixup(Step):
    """Mix the clips of a batch, after everything else."""

    switch, reads = "mixup_p", ("mixup_p", "mixup_alpha")

    def draw_mixing(self, size: int, generator: torch.Generator) -> Mixing | None:
        if _uniform(1, generator).item() >= self.settings.mixup_p:
            return None
        return Mixing(_permutation(size, generator), _beta(self.settings.mixup_alpha, size, generator))


STEPS: tuple[type[Step], ...] = (Roll, ImpulseResponse, FreqMixStyle, FrequencyMask, TimeMask, Mixup)


class Augmenter:
    """The augmentations, of all `steps` that there are, that some settings turn on; they are applied in order."""

    def __init__(self, settings: Augmentation, steps: Sequence[type[Step]] = STEPS) -> None:
        self._steps = [step(settings) for step in steps if getattr(settings, step.switch)]

    def augment_waves(self, sounds: Sounds, generator: torch.Generator) -> Sounds:
        """Augment the waves of a batch."""
        for step in self._steps:
            sounds = step.augment_waves(sounds, generator)
        return sounds

    def augment_spectrograms(self, spectrograms: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Augment the spectrograms of a batch, (B, 1, mels, frames)."""
        for step in self._steps:
            spectrograms = step.augment_spectrograms(spectrograms, generator)
        return spectrograms

    def draw_mixing(self, size: int, generator: torch.Generator) -> Mixing | None:
        """How to mix a batch of so many clips, labels and all; None: not at all."""
        found = [step.draw_mixing(size, generator) for step in self._steps]
        return next((mixing for mixing in found if mixing is not None), None)


def _uniform(size: int, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(size, generator=generator, device=generator.device)


def _integers(low: int, high: int, size: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(low, high, (size,), generator=generator, device=generator.device)


def _permutation(size: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randperm(size, generator=generator, device=generator.device)


def _beta(alpha: float, size: int, generator: torch.Generator) -> torch.Tensor:
    """Draws from Beta(alpha, alpha): torch.distributions takes no generator, two gamma draws with one do."""
    first, second = torch._standard_gamma(
        torch.full((2, size), alpha, device=generator.device), generator=generator
    ).unbind()
    return first / (first + second).clamp_min(torch.finfo(torch.float32).tiny)
