"""What a value in the description of a system must be, if it is not: checks of texts, numbers, authors, data sets.

Conventions: a check is a function from a value of any type to None, if it is right, or to the words behind "must be".
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from experiments.submission.layout import LABEL_WORDS, team_of
from experiments.submission.resources import forbidden_among

ABBREVIATION, NAME, LONGEST = 10, 200, 2000  # characters
DATASETS = 100  # external ones
UNPRINTABLE = ("Cc", "Cs")  # control characters and, which YAML writes as "\\ud800", halves of characters
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
RATE = re.compile(r"[0-9]+(\.[0-9]+)? ?k?Hz", re.IGNORECASE)
HUGE = 1e100  # whole numbers of YAML may be larger than floats go

Check = Callable[[Any], str | None]


def text_wanted(value: Any, longest: int = LONGEST) -> str | None:
    """What a text must be, in words, if it is not: not empty, not too long, and without characters that move a
    terminal's cursor or are no characters."""
    whole = isinstance(value, str) and value.strip() and len(value) <= longest
    if whole and not any(unicodedata.category(c) in UNPRINTABLE and c not in "\n\t" for c in value):
        return None
    return f"a text of at most {longest} printable characters"


def system_wanted(value: Any) -> str | None:
    """What name and abbreviation of a system must be, if they are not."""
    wrong = [
        f"{key} must be {wanted}"
        for key, check in (("name", name_wanted), ("abbreviation", abbreviation_wanted))
        if (wanted := check(value.get(key) if isinstance(value, Mapping) else None)) is not None
    ]
    return ", ".join(wrong) or None


def authors_wanted(value: Any) -> str | None:
    """What a list of authors must be, if it is not."""
    words = "a list of authors with lastname, firstname, email and affiliation (institute, abbreviation; department "
    words += f"and location are texts or null; none longer than {NAME} characters), one of whom has corresponding: true"
    right = isinstance(value, list) and all(map(_is_author, value))
    return None if right and sum(author.get("corresponding") is True for author in value) == 1 else words


def datasets_wanted(value: Any) -> str | None:
    """What external data sets must be, if they are not: of that form, and none that the rules forbid."""
    words = f"null or a list of at most {DATASETS} data sets with name, url and total_audio_length (minutes, or null)"
    right = isinstance(value, list) and len(value) <= DATASETS and all(map(_is_dataset, value))
    return words if not right and value is not None else forbidden_among(value or [])


def baseline_energy_wanted(value: Any) -> str | None:
    """What a figure of the baseline that was measured elsewhere must be, if it is not."""
    words = "null, or training and inference (kWh above 0; one of them may be null) and hardware, a text"
    if value is None:
        return None
    if not isinstance(value, Mapping) or name_wanted(value.get("hardware")) is not None:
        return words
    kwh = [value[key] for key in ("training", "inference") if value.get(key) is not None]
    return None if kwh and all(positive_wanted(each) is None for each in kwh) else words


def _is_author(value: Any) -> bool:
    place = value.get("affiliation") if isinstance(value, Mapping) else None
    if not isinstance(place, Mapping):
        return False
    named = [*map(value.get, ("lastname", "firstname", "email")), *map(place.get, ("institute", "abbreviation"))]
    named += [part for part in map(place.get, ("department", "location")) if part is not None]
    return all(name_wanted(text) is None for text in named) and bool(EMAIL.fullmatch(value["email"]))


def _is_dataset(value: Any) -> bool:
    if not (
        isinstance(value, Mapping) and name_wanted(value.get("name")) is None and text_wanted(value.get("url")) is None
    ):
        return False
    length = value.get("total_audio_length", -1)
    return length is None or number_of(0)(length) is None


def text_or_null(value: Any) -> str | None:
    return None if value is None or (wanted := text_wanted(value)) is None else f"{wanted}, or null"


def name_wanted(value: Any) -> str | None:
    return text_wanted(value, NAME)


def label_wanted(value: Any) -> str | None:
    return None if isinstance(value, str) and team_of(value) else LABEL_WORDS


def abbreviation_wanted(value: Any) -> str | None:
    return text_wanted(value, ABBREVIATION)


def rate_wanted(value: Any) -> str | None:
    right = positive_wanted(value) is None or (text_wanted(value) is None and RATE.fullmatch(value))
    return None if right else "a number, or a text such as 44.1kHz"


def number_of(low: float, high: float = HUGE, *, whole: bool = False) -> Check:
    """A finite number, low <= number <= high."""
    words = f"a {'whole ' if whole else ''}number" + (
        f" from {low} to {high}" if high < HUGE else f" of at least {low}"
    )

    def check(value: Any) -> str | None:
        right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        return None if right and low <= value <= high else words

    return check


def positive_wanted(value: Any) -> str | None:
    return None if number_of(0)(value) is None and value > 0 else "a number above 0"


def count_or_null(value: Any) -> str | None:
    return None if value is None or number_of(1, whole=True)(value) is None else "a whole number of at least 1, or null"


def or_null(check: Check) -> Check:
    """A check that takes None too."""

    def wanted(value: Any) -> str | None:
        return None if value is None or (words := check(value)) is None else f"{words}, or null"

    return wanted


def one_of(*choices: str) -> Check:
    """A check for a word among some."""
    return lambda value: None if value in choices else f"one of {', '.join(choices)}"
