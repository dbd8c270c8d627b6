"""From a clip's integer logits to a calibrated answer, in integers alone: what a device computes, in every bit.

Conventions: logits are the integers (n, classes) of one tensor; their zero point does not matter. Probabilities are
uint16 (n, classes) in steps of 1 / ONE: softmax(logits / temperature), of which a table holds
LARGEST * exp(-distance * scale / temperature) for each distance from the highest logit. They are rounded to the nearest
step, so that those of a clip sum to ONE within half a step a class, and they have the order of the logits. No sum or
product is longer than 32 bits. An answer is the number of a class, or UNKNOWN.
Source: temperature: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Annotated, Any

import numpy as np

from data.damage import WrongValueError
from data.ranges import Probability, Range, described, fits, shortened

ONE = 1 << 15
LARGEST = (1 << 16) - 1  # of the table; times ONE, and half of a sum of it, it has 32 bits
UNKNOWN = -1
DIGITS = 25  # of the exponentials before they are rounded: the same integers on every machine
MOST_SHIFT = 16  # of a moving average: ONE times 2 to it has 32 bits
NAME = "confidence"  # of the metadata of a model

Temperature = Annotated[float, Range(0, 1000, above=True)]


@dataclass(frozen=True)
class Confidence:
    """How sure the answers of a model are.

    Attributes:
        temperature: by which logits are divided.
        threshold: a probability from 0 to 1: less probable answers are UNKNOWN; None: no answer is.
    """

    temperature: float = 1.0
    threshold: float | None = None

    @property
    def least(self) -> int:
        """The threshold in steps of 1 / ONE, nearest; 0 if there is none."""
        return 0 if self.threshold is None else int(self.threshold * ONE + 0.5)

    def least_sure(self, classes: int) -> int:
        """The probability that a person may call sure, in steps of 1 / ONE: the threshold, or, without one, twice
        chance, which is 1 / classes, and of two classes the middle between chance and 1."""
        if self.threshold is not None:
            return self.least
        return int(min(2 / classes, (1 + 1 / classes) / 2) * ONE + 0.5)

    def described(self) -> dict[str, float | None]:
        """As metadata have it under NAME."""
        return asdict(self)


UNCALIBRATED = Confidence()


def confidence_of(metadata: Mapping[str, Any]) -> Confidence:
    """What the metadata of a model say under NAME; those of earlier versions say nothing: UNCALIBRATED.

    Raises:
        WrongValueError: they say what cannot be.
    """
    if (found := metadata.get(NAME)) is None:
        return UNCALIBRATED
    if not isinstance(found, Mapping):
        raise WrongValueError(f"its {NAME} is {shortened(found)}, not a mapping")
    kinds = {"temperature": Temperature, "threshold": Probability | None}
    for name, kind in kinds.items():
        if not fits(kind, found.get(name)):
            raise WrongValueError(f"the {name} of its {NAME} is {shortened(found.get(name))}, not {described(kind)}")
    return Confidence(*(found[name] for name in kinds))


def exponentials(scale: float, temperature: float, bits: int = 8) -> np.ndarray:
    """The table: LARGEST * exp(-distance * scale / temperature), rounded, int64 (2^bits,).

    Args:
        scale: of the logits.
        temperature: above 0.
        bits: of the logits.
    """
    table = np.zeros(1 << bits, np.int64)
    with localcontext(Context(prec=DIGITS)):
        step = Decimal(scale) / Decimal(temperature)
        for distance in range(len(table)):
            value = LARGEST * (-distance * step).exp()
            table[distance] = int(value.to_integral_value(ROUND_HALF_UP))
            if not table[distance]:
                break
    return table


def probabilities(logits: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Probabilities uint16 (n, classes) of integer logits (n, classes).

    Args:
        logits: of as many bits as the table is for.
        table: see exponentials.
    """
    values = logits.astype(np.int64)
    parts = table[values.max(axis=1, keepdims=True) - values]
    sums = parts.sum(axis=1, keepdims=True)
    return ((parts * ONE + sums // 2) // sums).astype(np.uint16)


def smoothed(found: np.ndarray, shift: int) -> np.ndarray:
    """The moving average of the probabilities (n, classes) of clips that follow each other, after each of them.

    Of the average, p += (q - p) / 2^shift with the probabilities q of the next clip, `shift` more bits are kept than it
    has, so that nothing is lost by rounding: what stays the same becomes the average. It begins with the first clip.

    Args:
        found: uint16 (n, classes).
        shift: from 0, the latest clip alone, to MOST_SHIFT.
    """
    out = np.empty_like(found)
    sums = found[:1].sum(axis=0, dtype=np.int64) << shift
    for number, latest in enumerate(found):
        sums += latest - (sums >> shift)  # the first time by nothing
        out[number] = sums >> shift
    return out


def known(scenes: np.ndarray, found: np.ndarray, least: int) -> np.ndarray:
    """Answers int64 (n,): the scenes whose probability is not below the threshold, UNKNOWN instead of the others.

    Args:
        scenes: a class of each clip, (n,).
        found: probabilities uint16 (n, classes).
        least: the threshold, in steps of 1 / ONE.
    """
    return np.where(found[np.arange(len(scenes)), scenes] < least, UNKNOWN, scenes)
