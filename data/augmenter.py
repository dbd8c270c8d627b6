"""Which augmentations there are, and the random choices that each of them makes for the clips of a batch.

Conventions: those of augment.py, which has what they do. Each augmentation is a class that says which settings it reads
(data/augmentation.py) and makes the random choices in front of them, with a generator on the device of the batch; STEPS
is the order in which they are applied. Random crops of recordings come before all of this, see data/recordings.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from data.augment import Mixing, compress, filter_augment, filter_by, freq_mixstyle, mask, time_roll
from data.augmentation import Augmentation
from data.errors import UserError


@dataclass(frozen=True)
class Sounds:
    """The waves of a batch, (B, samples), and what their augmentation needs or has done.

    Attributes:
        from_reference_device: which clips the reference device recorded, bool (B,).
        responses: impulse responses of devices, (R, L), or None.
        shifts: by how many samples each clip was rolled, int64 (B,); None: not at all.
        filtered: which clips were filtered by a response, bool (B,); None: there are none.
        sample_rate: Hz; None: not known, and needed by no augmentation that is on.
    """

    waves: torch.Tensor
    from_reference_device: torch.Tensor
    responses: torch.Tensor | None = None
    shifts: torch.Tensor | None = None
    filtered: torch.Tensor | None = None
    sample_rate: int | None = None


class Step:
    """One augmentation: it changes waves, or spectrograms, or mixes clips; the rest it leaves as it is.

    Attributes:
        switch: the setting that turns it on.
        reads: all settings that it reads.
        decibel: by how much the values of a log-mel rise with 1 dB; see FrontEnd.
    """

    switch: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]

    def __init__(self, settings: Augmentation, decibel: float | None = None) -> None:
        self.settings, self.decibel = settings, decibel

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
            return replace(sounds, filtered=chosen)
        waves = sounds.waves.index_copy(0, rows, filter_by(sounds.waves[rows], picks[rows]))
        return replace(sounds, waves=waves, filtered=chosen)


class Compression(Step):
    """Compress the dynamic range of clips that were filtered, as the data set's simulated devices do it, by parameters
    that are not published (DCASE 2023 Task 1, "Audio dataset"): here they are drawn for each clip."""

    switch, reads = "compress_p", ("compress_p", "compress_ratio", "compress_spread")

    def augment_waves(self, sounds: Sounds, generator: torch.Generator) -> Sounds:
        assert sounds.sample_rate is not None
        size = len(sounds.waves)
        simulated = sounds.from_reference_device if sounds.filtered is None else sounds.filtered
        chosen = simulated & (_uniform(size, generator) < self.settings.compress_p)
        ratios = 1 + (self.settings.compress_ratio - 1) * _uniform(size, generator)
        offsets = (2 * _uniform(size, generator) - 1) * self.settings.compress_spread
        if not len(rows := chosen.nonzero().flatten()):
            return sounds
        compressed = compress(sounds.waves[rows], offsets[rows], ratios[rows], sounds.sample_rate)
        return replace(sounds, waves=sounds.waves.index_copy(0, rows, compressed))


class FilterAugment(Step):
    """Filter every clip by random gains in random bands."""

    switch, reads = "filter_gain", ("filter_gain", "filter_bands", "filter_width", "filter_steps")

    def augment_spectrograms(self, spectrograms: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if self.decibel is None:
            raise UserError(
                f"augment.filter_gain={self.settings.filter_gain} dB needs log-mels, and this front end's values are "
                "no logarithms: set augment.filter_gain=0"
            )
        size, mels, most = len(spectrograms), spectrograms.shape[2], self.settings.filter_bands
        edges = _edges(mels, most, self.settings.filter_width, size, generator)
        gains = (2 * _uniform(size * (most + 1), generator) - 1).view(size, -1) * self.settings.filter_gain
        return filter_augment(spectrograms, edges, gains * self.decibel, steps=self.settings.filter_steps)


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


STEPS: tuple[type[Step], ...] = (
    Roll,
    ImpulseResponse,
    Compression,
    FilterAugment,
    FreqMixStyle,
    FrequencyMask,
    TimeMask,
    Mixup,
)


class Augmenter:
    """The augmentations, of all `steps` that there are, that some settings turn on; they are applied in order.

    Args:
        settings: how much of each.
        steps: all that there are.
        decibel: that of the front end which makes the spectrograms; None: they are no log-mels.
    """

    def __init__(
        self, settings: Augmentation, steps: Sequence[type[Step]] = STEPS, *, decibel: float | None = None
    ) -> None:
        self._steps = [step(settings, decibel) for step in steps if getattr(settings, step.switch)]

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


def _edges(mels: int, most: int, width: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Edges (size, most + 1) of 2 to `most` bands, at least `width` bins wide; those behind them are empty."""
    number = torch.arange(1, most + 1, device=generator.device)
    count = _integers(2, most + 1, size, generator)[:, None]
    slack = mels - count * width
    places = _uniform(size * most, generator).view(size, most).masked_fill(number >= count, 1.0).sort().values
    # Rounding may lead to slack + 1.
    inner = torch.minimum((places * (slack + 1)).long(), slack) + torch.minimum(number, count) * width
    return torch.nn.functional.pad(inner, (1, 0))


def _beta(alpha: float, size: int, generator: torch.Generator) -> torch.Tensor:
    """Draws from Beta(alpha, alpha): torch.distributions takes no generator, two gamma draws with one do."""
    first, second = torch._standard_gamma(
        torch.full((2, size), alpha, device=generator.device), generator=generator
    ).unbind()
    return first / (first + second).clamp_min(torch.finfo(torch.float32).tiny)
