"""Waves of any rate, brought to the one rate that a published network knows, on the device."""

import math
from typing import cast

from torch import nn
from torchaudio.transforms import Resample

from data.errors import UserError

MOST_VALUES = 2**24  # of the resampler's filter: 44,100 Hz to 16,000 Hz has 70,560


def resampler(sample_rate: int, rate: int) -> tuple[nn.Module, int]:
    """A module that brings waves (B, samples) from one rate to another, both in Hz, and how many of their samples its
    filter reaches to either side.

    Raises:
        UserError: waves of this rate cannot be brought to the other.
    """
    if (kernel := sample_rate * rate // math.gcd(sample_rate, rate) ** 2) > MOST_VALUES:
        raise UserError(
            f"sample_rate={sample_rate} has no large divisor in common with {rate} Hz, to which waves are brought: "
            f"the filter would have {kernel:,} values, at most {MOST_VALUES:,} are computed; choose 44100 or 48000"
        )
    if sample_rate == rate:
        return nn.Identity(), 0
    resample = Resample(sample_rate, rate)
    return resample, cast(int, resample.width)
