"""How much of each augmentation: the settings, kept free of heavy imports; what they do is in data/augment.py."""

from dataclasses import dataclass

from data.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How much of what.

    Attributes:
        crop: whether clips are replaced by random crops of their recordings (data/recordings.py), before all else.
        crop_seconds: length of the crops; None: of a clip.
        roll: largest shift, samples, either way.
        impulse_p: chance of a device-a clip to be filtered by an impulse response.
        mixstyle_p: chance of a batch to get Freq-MixStyle.
        mixstyle_alpha: mixing weights come from Beta(alpha, alpha).
        frequency_mask: largest width, bands.
        time_mask: largest width, frames.
        mixup_p: chance of a batch to be mixed, clip with clip, labels and all, after everything else.
        mixup_alpha: mixing weights come from Beta(alpha, alpha).
    """

    crop: bool = False
    crop_seconds: float | None = None
    roll: int = 0
    impulse_p: float = 0.0
    mixstyle_p: float = 0.0
    mixstyle_alpha: float = 0.3
    frequency_mask: int = 0
    time_mask: int = 0
    mixup_p: float = 0.0
    mixup_alpha: float = 0.3

    def __post_init__(self) -> None:
        if min(self.roll, self.frequency_mask, self.time_mask) < 0:
            raise UserError("augment.roll, augment.frequency_mask and augment.time_mask must be at least 0")
        for name in ("impulse_p", "mixstyle_p", "mixup_p"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"augment.{name}={getattr(self, name)} is a chance from 0 to 1")
        for name in ("mixstyle_alpha", "mixup_alpha"):
            if not getattr(self, name) > 0:
                raise UserError(f"augment.{name}={getattr(self, name)} must be above 0")
        if self.crop_seconds is not None and not (self.crop and self.crop_seconds > 0):
            raise UserError(f"augment.crop_seconds={self.crop_seconds} must be above 0 and needs augment.crop=true")
