"""From a log-mel in integers to the steps of 8 or 16 bits that a network of integers takes, without a float between.

Conventions: a step q stands for scale * (q - zero_point), a value of log_mel.py; logarithms are those of
IntegerLogMel.integers. The step is the nearest integer, halves up, of
(logarithm * ln 2 / 2^16 + SHIFT) / STRETCH / scale + zero_point,
but for the error of two constants, which is below 2^-20 of a step for any scale from 2^-8 to 1.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch

from data.errors import UserError
from data.front_ends import DEFAULT, FrontEnd, build_front_end
from data.front_ends.integer_log_mel import FRACTION, IntegerLogMel, as_samples
from data.front_ends.integer_torchaudio_log_mel import IntegerTorchaudioLogMel
from data.front_ends.log_mel import SHIFT, STRETCH
from data.registry import build

KIND, UNSCALED = "integer_log_mel", "torchaudio_log_mel"
WORD = 31  # bits of the multiplier, at most
MOST_SHIFT = 47  # with which the bias has 56 bits

Built = TypeVar("Built")


@dataclass(frozen=True)
class Steps:
    """clamp((logarithm * multiplier + bias) >> shift, low, high): a product of 32 and 32 bits, a sum of 64.

    Attributes:
        multiplier: below 2^31.
        bias: of 64 bits.
        shift: from 0 to 47.
        low, high: the range of a step.
    """

    multiplier: int
    bias: int
    shift: int
    low: int
    high: int

    def __call__(self, logarithms: torch.Tensor) -> torch.Tensor:
        """int8 or int16 steps, of int64 logarithms of any shape."""
        found = (logarithms * self.multiplier + self.bias >> self.shift).clamp(self.low, self.high)
        return found.to(torch.int8 if self.high < 1 << 7 else torch.int16)


def steps_of(
    scale: float, zero_point: int, low: int, high: int, offset: float = SHIFT, stretch: float = STRETCH
) -> Steps:
    """The constants for a network's input, by default of log_mel; `offset` and `stretch`: see IntegerLogMel.

    Raises:
        UserError: the scale is so small that they have no 32 bits.
    """
    slope = math.log(2) / 2**FRACTION / stretch / scale  # steps a unit of the logarithm
    mantissa, exponent = math.frexp(slope)
    if exponent > WORD:
        raise UserError(f"an input whose integers are {scale:g} apart is too fine for a log-mel in integers")
    shift = min(WORD - exponent, MOST_SHIFT)
    multiplier = min(round(math.ldexp(mantissa, exponent + shift)), (1 << WORD) - 1)
    bias = round(math.ldexp(offset / stretch / scale + zero_point + 0.5, shift))
    return Steps(multiplier, bias, shift, low, high)


def network_input(front_end: FrontEnd, waves: torch.Tensor) -> torch.Tensor:
    """What a network of integers is given of waves (B, samples), (B, 1, mels, frames): float log-mels, or of a log-mel
    in integers its int64 logarithms, of which a device makes steps."""
    if isinstance(front_end, IntegerLogMel):
        return front_end.integers(as_samples(waves))[:, None]
    return front_end(waves)


def integer_front_end(sample_rate: int, mel: Mapping[str, object]) -> IntegerLogMel:
    """The log-mel in integers with which a student of these settings is deployed: its own, or that of the same log_mel.

    Args:
        sample_rate: Hz.
        mel: `kind` and arguments of the front end that the student was trained with.

    Raises:
        UserError: there is none with these settings.
    """
    kind = mel.get("kind", DEFAULT)
    if kind == UNSCALED:
        arguments = {"sample_rate": sample_rate, **{name: mel[name] for name in mel if name != "kind"}}
        return _explained(lambda: build(f"front end {kind}", IntegerTorchaudioLogMel, arguments))
    if kind not in (DEFAULT, KIND):
        raise UserError(
            f"front end {kind} has no form in integers, with which devices compute it: train the student with "
            f"student.mel.kind={DEFAULT}, {UNSCALED} or {KIND}"
        )
    found = _explained(lambda: build_front_end(sample_rate, in_integers(mel)))
    assert isinstance(found, IntegerLogMel)
    return found


def _explained(built: Callable[[], Built]) -> Built:
    """What is built, with the error of a form in integers."""
    try:
        return built()
    except UserError as error:
        raise UserError(f"the front end has no form in integers, with which devices compute it: {error}") from error


def in_integers(mel: Mapping[str, object]) -> dict[str, object]:
    """The settings of the log-mel in integers that is computed in the place of a log_mel of these."""
    return {**mel, "kind": KIND, "edge_jitter": 0.0}  # which moves an edge in training alone
