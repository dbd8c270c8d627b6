"""The description of a submitted system: the fields that the organisers ask for, and the defects they can have.

Conventions: fields are named by their dotted path. Accuracies are in percent, macro over all; log losses natural;
sizes and memory in bytes, energy in kWh, audio lengths in minutes. A text that does not apply is null.
Source: the fields are those that the organisers' checker of 2023 requires, see layout.py; their ranges follow from
the task's rules, and some laws hold between the numbers.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import yaml

from data.scenes import DEVICES, SCENES
from experiments.submission.layout import LABEL_WORDS, team_of
from experiments.submission.resources import forbidden_among
from students.limits import LIMITS

ABBREVIATION, NAME, LONGEST = 10, 200, 2000  # characters
DATASETS = 100  # external ones
UNPRINTABLE = ("Cc", "Cs")  # control characters and, which YAML writes as "\\ud800", halves of characters
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
RATE = re.compile(r"[0-9]+(\.[0-9]+)? ?k?Hz", re.IGNORECASE)
LEAST_BITS = 4  # of a stored parameter: the organisers and our files know none below
LEAST_MACS = 1000  # fewer are millions, or thousands, of them
ROUNDED = 0.1  # percentage points that a mean and its parts may differ by when each is rounded to a tenth
LOSS_ROUNDED = 0.01
HUGE = 1e100  # whole numbers of YAML may be larger than floats go

Check = Callable[[Any], str | None]  # of a value: what it must be, if it is not

HEADER = """\
# Description of a system for DCASE Challenge Task 1. Accuracies in percent, log losses natural; total_model_size (all
# parameters) and memory_use (read as the largest sum of the activations alive at once, which no rule settles) in bytes;
# macs of one clip of 1 second; energy in kWh by codecarbon, inference and baseline_inference of the same clips on the
# same machine.
"""


class Defect(NamedTuple):
    """What is wrong, in words, and where: a dotted path, of which there may be only the beginning."""

    path: str
    text: str


def meta_text(meta: Mapping[str, Any], note: str) -> str:
    """The YAML file; the note is of its metrics and energy."""
    fields = yaml.dump(dict(meta), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return f"{HEADER}# {note}.\n{fields}"


def meta_defects(meta: Any, label: str) -> list[Defect]:
    """What is wrong with the description of the system of that label."""
    if not isinstance(meta, Mapping):
        return [Defect("", "it is no mapping with the blocks submission, system and results")]
    found, missing = [], {}
    for path, check in FIELDS.items():
        gap, value = _follow(meta, path)
        if gap is not None:
            missing[gap] = Defect(gap, f"{gap} is missing")
        elif (wanted := check(value)) is not None:
            found.append(Defect(path, f"{path} must be {wanted}, not {_short(value)}"))
    found = [*missing.values(), *found]
    stated = _follow(meta, "submission.label")[1]
    if isinstance(stated, str) and stated != label:
        found.append(Defect("submission.label", f"submission.label is {_short(stated)}, its folder is named {label}"))
    return found or [Defect("", law) for law in _contradictions(meta)]


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
        for key, check in (("name", _name), ("abbreviation", _abbreviation))
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


def _is_author(value: Any) -> bool:
    place = value.get("affiliation") if isinstance(value, Mapping) else None
    if not isinstance(place, Mapping):
        return False
    named = [*map(value.get, ("lastname", "firstname", "email")), *map(place.get, ("institute", "abbreviation"))]
    named += [part for part in map(place.get, ("department", "location")) if part is not None]
    return all(_name(text) is None for text in named) and bool(EMAIL.fullmatch(value["email"]))


def _is_dataset(value: Any) -> bool:
    if not (isinstance(value, Mapping) and _name(value.get("name")) is None and text_wanted(value.get("url")) is None):
        return False
    length = value.get("total_audio_length", -1)
    return length is None or _number(0)(length) is None


class _Dumper(yaml.SafeDumper):
    """That writes out what is there twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_or_null(value: Any) -> str | None:
    return None if value is None or (wanted := text_wanted(value)) is None else f"{wanted}, or null"


def _name(value: Any) -> str | None:
    return text_wanted(value, NAME)


def _label(value: Any) -> str | None:
    return None if isinstance(value, str) and team_of(value) else LABEL_WORDS


def _abbreviation(value: Any) -> str | None:
    return text_wanted(value, ABBREVIATION)


def _rate(value: Any) -> str | None:
    right = _positive(value) is None or (text_wanted(value) is None and RATE.fullmatch(value))
    return None if right else "a number, or a text such as 44.1kHz"


def _number(low: float, high: float = HUGE, *, whole: bool = False) -> Check:
    """A finite number, low <= number <= high."""
    words = f"a {'whole ' if whole else ''}number" + (
        f" from {low} to {high}" if high < HUGE else f" of at least {low}"
    )

    def check(value: Any) -> str | None:
        right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        return None if right and low <= value <= high else words

    return check


def _positive(value: Any) -> str | None:
    return None if _number(0)(value) is None and value > 0 else "a number above 0"


def _count_or_null(value: Any) -> str | None:
    return None if value is None or _number(1, whole=True)(value) is None else "a whole number of at least 1, or null"


def _follow(meta: Mapping, path: str) -> tuple[str | None, Any]:
    """Where the path ends early (the dotted part that is missing), or None and the value."""
    value, keys = meta, path.split(".")
    for depth, key in enumerate(keys, 1):
        if not isinstance(value, Mapping) or key not in value:
            return ".".join(keys[:depth]), None
        value = value[key]
    return None, value


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = "what is too long to show"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _contradictions(meta: Mapping) -> list[str]:
    """The laws that a description with every field breaks."""
    results, complexity = meta["results"]["development_dataset"], meta["system"]["complexity"]
    found, overall = [], results["overall"]
    mean = sum(results["class_wise"][scene]["accuracy"] for scene in SCENES) / len(SCENES)
    if abs(mean - overall["accuracy"]) > ROUNDED:
        found.append(f"overall accuracy is {overall['accuracy']}, the mean of the class-wise ones is {mean:.2f}")
    for part, members in (("class_wise", SCENES), ("device_wise", DEVICES)):
        losses = [results[part][member]["logloss"] for member in members]
        if not min(losses) - LOSS_ROUNDED <= overall["logloss"] <= max(losses) + LOSS_ROUNDED:
            found.append(f"overall logloss, {overall['logloss']}, is not between the least and largest of {part}")
    if complexity["total_parameters_non_zero"] > complexity["total_parameters"]:
        found.append("system.complexity: there are more parameters that are not zero than parameters")
    if 8 * complexity["total_model_size"] < LEAST_BITS * complexity["total_parameters"]:
        found.append(f"system.complexity: total_model_size is below {LEAST_BITS} bits a parameter; is it in bytes?")
    if 0 < max(_follow(results, f"{part}.accuracy")[1] for part in _PARTS) <= 1:
        found.append("no accuracy is above 1: are they in percent?")
    return found


_FIGURES = {"accuracy": _number(0, 100), "logloss": _number(0)}
_PARTS = ["overall", *(f"class_wise.{scene}" for scene in SCENES), *(f"device_wise.{device}" for device in DEVICES)]
FIELDS: Mapping[str, Check] = {
    "submission.label": _label,
    "submission.name": _name,
    "submission.abbreviation": _abbreviation,
    "submission.authors": authors_wanted,
    "system.description.input_sampling_rate": _rate,
    "system.description.acoustic_features": text_wanted,
    "system.description.embeddings": _text_or_null,
    "system.description.data_augmentation": _text_or_null,
    "system.description.machine_learning_method": text_wanted,
    "system.description.ensemble_method_subsystem_count": _count_or_null,
    "system.description.decision_making": _text_or_null,
    "system.description.external_data_usage": _text_or_null,
    "system.description.complexity_management": _text_or_null,
    "system.description.pipeline": text_wanted,
    "system.description.framework": text_wanted,
    "system.complexity.total_model_size": _number(1, LIMITS["parameter_bytes"]),
    "system.complexity.total_parameters": _number(1, whole=True),
    "system.complexity.total_parameters_non_zero": _number(0, whole=True),
    "system.complexity.memory_use": _number(1),
    "system.complexity.macs": _number(LEAST_MACS, LIMITS["macs"], whole=True),
    "system.energy_consumption.training": _positive,
    "system.energy_consumption.inference": _positive,
    "system.energy_consumption.baseline_inference": _positive,
    "system.external_datasets": datasets_wanted,
    "system.source_code": _text_or_null,
    **{f"results.development_dataset.{part}.{name}": check for part in _PARTS for name, check in _FIGURES.items()},
}
