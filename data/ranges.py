"""Which values settings and the arguments of builders may have: types of numbers with their ranges, and their check.

Conventions: a number's range is part of its type, Annotated[int, Range(1, 9)]; a number without one may be any finite
number. true and false are no numbers, and whole numbers are numbers too. Nothing heavy is imported.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from data.errors import UserError

LONGEST_WORDS = 200  # characters of a value in a message


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; the ends themselves are left out where `above` and `below` say so."""

    low: float
    high: float
    above: bool = False
    below: bool = False
    unit: str = ""

    def __contains__(self, number: float) -> bool:
        low = self.low < number if self.above else self.low <= number
        return low and (number < self.high if self.below else number <= self.high)

    def __str__(self) -> str:
        high = f"below {self.high}" if self.below else f"{'at most ' if self.above else ''}{self.high}"
        ends = f"above {self.low} and {high}" if self.above else f"from {self.low} to {high}"
        return f"{ends} {self.unit}".strip()


RATES = Range(1_000, 384_000, unit="Hz")
LONGEST = 600  # seconds; a clip is held in memory whole, by every thread that decodes
SEEDS = 2**63  # generators take 0 and whatever is below

Rate = Annotated[int, RATES]
Seconds = Annotated[float, Range(0, LONGEST, above=True, unit="seconds")]
Seed = Annotated[int, Range(0, SEEDS - 1)]
Probability = Annotated[float, Range(0, 1)]
Fraction = Annotated[float, Range(0, 1, above=True, below=True)]  # that leaves something on either side
Share = Annotated[float, Range(0, 1, below=True)]  # that may be none, and leaves something
Weight = Annotated[float, Range(0, 1_000_000)]
Classes = Annotated[int, Range(1, 10_000)]
Bands = Annotated[int, Range(4, 1024)]
Samples = Annotated[int, Range(1, 65_536)]  # of a window, a hop, a Fourier transform
Dropout = Annotated[float, Range(0, 1, below=True)]
Emphasis = Annotated[float, Range(0, 0.99)]  # of a filter that the integers of 16 bits have, too
Hertz = Annotated[float, Range(0, RATES.high / 2, unit="Hz")]
Depth = Annotated[int, Range(1, 200)]  # blocks of a network
Width = Annotated[int, Range(1, 4096)]
Heads = Annotated[int, Range(1, 256)]
Frames = Annotated[int, Range(1, 65_536)]
Patches = Annotated[int, Range(0, 10_000)]  # rows or columns that are left out
Fold = Annotated[int, Range(0, 10_000)] | str  # the name of one, which is most often a number
Channels = Annotated[int, Range(1, 512)]
Stride = Annotated[int, Range(1, 64)]
Factor = Annotated[float, Range(0, 100, above=True)]


def require_format(sample_rate: int, clip_seconds: float) -> None:
    """Check the rate (Hz) and the length (seconds) that clips are brought to.

    Raises:
        UserError: one is out of its range.
    """
    if not fits(Rate, sample_rate):
        raise UserError(f"data.sample_rate={sample_rate} must be {wanted(Rate, sample_rate)}")
    if not (fits(Seconds, clip_seconds) and clip_seconds * sample_rate >= 1):
        raise UserError(f"data.clip_seconds={clip_seconds} must be from one sample to {LONGEST} seconds")


def fits(kind: Any, value: Any) -> bool:
    """Whether a value is of a type: a number within its range, one of a Literal, a list or mapping whose values all
    are. Of types that are not known here every value is."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        ranges = [each for each in arguments[1:] if isinstance(each, Range)]
        return fits(arguments[0], value) and all(value in each for each in ranges)
    if origin in (Union, UnionType):
        return any(fits(each, value) for each in arguments)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in arguments)
    if kind in (None, NoneType):
        return value is None
    if kind in (bool, int):
        return type(value) is kind
    if kind is float:
        return type(value) in (int, float) and abs(value) < math.inf
    if kind is str:
        return isinstance(value, str)
    if _is_mapping(kind):
        key, inner = arguments or (Any, Any)
        return isinstance(value, Mapping) and all(fits(key, name) and fits(inner, value[name]) for name in value)
    if _is_list(kind):
        if origin is tuple and Ellipsis not in arguments:  # whose number of values counts
            return isinstance(value, list | tuple) and len(value) == len(arguments) and all(map(fits, arguments, value))
        inner = arguments[0] if arguments else Any
        return isinstance(value, list | tuple) and all(fits(inner, each) for each in value)
    return isinstance(value, kind) if isinstance(kind, type) and origin is None and kind is not Any else True


def wanted(kind: Any, value: Any) -> str:
    """What a value that does not fit a type must be: for a number out of its range that range alone, as in "must be
    from 1 to 9", else what the type's values are, and how a list of one is written."""
    for each in get_args(kind) if get_origin(kind) in (Union, UnionType) else [kind]:
        if _is_list(each) and fits(each, [value]):
            return f"{described(kind)}: [{shortened(value)}]"
        if get_origin(each) is Annotated and fits(get_args(each)[0], value):
            return ", ".join(str(one) for one in get_args(each)[1:] if isinstance(one, Range))
    return described(kind)


def described(kind: Any) -> str:
    """What the values of a type are, as in "must be a whole number from 1 to 9, or null"."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        of = {int: "a whole number", float: "a number"}.get(arguments[0], described(arguments[0]))
        return " ".join([of, *(str(each) for each in arguments[1:] if isinstance(each, Range))])
    if origin in (Union, UnionType):
        *rest, last = dict.fromkeys(described(each) for each in sorted(arguments, key=lambda each: each is NoneType))
        return f"{', '.join(rest)}, or {last}" if rest else last
    if origin is Literal:
        return ", ".join(in_words(each) for each in arguments)
    if _is_mapping(kind):
        return f"a mapping {{NAME: VALUE}}{_each(arguments[1:])}"
    if _is_list(kind):
        return f"a list{_each(arguments[:1])}"
    names = {NoneType: "null", None: "null", bool: "true or false", int: "a whole number", float: "a finite number"}
    return names.get(kind, "a text" if isinstance(kind, type) else "a value")


def in_words(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(in_words, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{in_words(inner)}' for key, inner in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def shortened(value: Any) -> str:
    """A value in words, cut off where it is too long for a message."""
    words = in_words(value)
    return words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}..."


def _is_mapping(kind: Any) -> bool:
    return (get_origin(kind) or kind) in (dict, Mapping)


def _is_list(kind: Any) -> bool:
    return (get_origin(kind) or kind) in (list, tuple, Sequence)


def _each(inner: Sequence[Any]) -> str:
    return f", each {described(inner[0])}" if inner and inner[0] is not Any else ""
