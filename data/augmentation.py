"""The settings of augmentation: how much of what is done to training clips, and how a submission calls it.

Conventions: every field describes itself in its metadata: `about` says in one line what it is and in which unit; a
field that switches an augmentation on has its `word` too, as the organisers of DCASE Task 1 list augmentations. A
switch is off when it is 0 or false. What is done is in data/augmenter.py; this module imports nothing heavy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from data.errors import UserError
from data.ranges import LONGEST, RATES, Probability, Range, Seconds
from data.settings import require_valid
from data.settings import setting as declared

Alpha = Annotated[float, Range(0, 1000, above=True)]  # of a Beta distribution
Width = Annotated[int, Range(0, 1_000_000)]  # of a mask


def setting(default: Any, about: str, word: str | None = None, *, newer: bool = False) -> Any:
    """A field of such a dataclass, with its description and, if a switch, its word; `newer`: see data.settings."""
    found = declared(about, newer=newer, default=default)
    return found if word is None else field(default=default, metadata={**found.metadata, "word": word})


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How much of each augmentation; by default there is none.

    Raises:
        UserError: a value is out of range.
    """

    roll: Annotated[int, Range(0, LONGEST * RATES.high)] = setting(
        0, "largest shift in time, either way, samples", "time rolling"
    )
    roll_clips: Annotated[int, Range(1, 1_000_000_000)] | None = setting(
        None,
        "that roll is for: with fewer train clips it is larger, in proportion, up to half a clip, unless it is given",
        newer=True,
    )
    impulse_p: Probability = setting(
        0.0,
        "probability that a clip of the reference device is filtered by an impulse response",
        "device impulse response augmentation",
    )
    compress_p: Probability = setting(
        0.0,
        "probability that a clip filtered by an impulse response (without any: of the reference device) is compressed",
        "dynamic range compression",
        newer=True,
    )
    compress_ratio: Annotated[float, Range(1, 100)] = setting(
        5.0, "compression: largest ratio, drawn from 1 on", newer=True
    )
    compress_spread: Annotated[float, Range(0, 100)] = setting(
        10.0, "compression: how far the threshold is from a clip's level, either way at most, dB", newer=True
    )
    filter_gain: Annotated[float, Range(0, 100)] = setting(
        0.0, "FilterAugment: largest gain of a band, either way, dB", "FilterAugment", newer=True
    )
    filter_bands: Annotated[int, Range(2, 1_000)] = setting(
        5, "FilterAugment: largest number of bands, drawn from 2 on", newer=True
    )
    filter_width: Annotated[int, Range(1, 1_000_000)] = setting(
        6, "FilterAugment: smallest width of a band, in bands of the log-mel", newer=True
    )
    filter_steps: bool = setting(
        False, "FilterAugment: whether the gain is the same in all of a band, instead of lines", newer=True
    )
    mixstyle_p: Probability = setting(0.0, "probability that Freq-MixStyle is applied to a batch", "freq-mixstyle")
    mixstyle_alpha: Alpha = setting(0.3, "Freq-MixStyle's weights come from Beta(alpha, alpha)")
    frequency_mask: Width = setting(0, "largest width of the frequency mask, bands", "frequency masking")
    time_mask: Width = setting(0, "largest width of the time mask, frames", "time masking")
    mixup_p: Probability = setting(0.0, "probability that the clips of a batch are mixed, with their labels", "mixup")
    mixup_alpha: Alpha = setting(0.3, "mixup's weights come from Beta(alpha, alpha)")
    crop: bool = setting(
        False, "whether clips are replaced by random crops of their recordings, before all else", "random cropping"
    )
    crop_seconds: Seconds | None = setting(None, "length of the crops, seconds; null: that of a clip")

    def __post_init__(self) -> None:
        require_valid(self, "augment.")
        if self.crop_seconds is not None and not self.crop:
            raise UserError(f"augment.crop_seconds={self.crop_seconds} needs augment.crop=true")


def descriptions(
    settings: Mapping[str, Any], *, prefix: str = "", kind: type[Augmentation] = Augmentation
) -> list[str]:
    """The words of the augmentations that are on, in the order of the fields.

    Args:
        settings: flat, such as {"roll": 4000, "mixstyle_p": 0.4}, or the recorded settings of a run.
        prefix: of the names in there, such as "student.augment."; other names are passed over.
        kind: the dataclass whose fields are meant.
    """
    words = {each.name: each.metadata["word"] for each in fields(kind) if "word" in each.metadata}
    return [word for name, word in words.items() if settings.get(f"{prefix}{name}")]
