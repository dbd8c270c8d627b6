"""The description of a submitted system: the fields that the organisers ask for, and the defects they can have.

Conventions: fields are named by their dotted path. Accuracies are in percent, macro over all; log losses natural;
sizes and memory in bytes, energy in kWh, audio lengths in minutes. A text that does not apply is null. Results are
blocks of `overall`, `class_wise` and `device_wise`: one in 2023, one a train subset in 2024, one of the answers that
know the device and one of those that do not in 2025, whose figures may be null.
Source: the fields are those that the organisers' checkers of 2023 and 2024 require, see layout.py, and those of the
template of 2025, which https://github.com/wa976/dcase2025_task1_inference has filled in (.yaml); their ranges follow
from the task's rules, and some laws hold between the numbers.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from data.scenes import DEVICES, SCENES
from experiments.submission.layout import EDITIONS, YEAR
from experiments.submission.meta_values import (
    Check,
    abbreviation_wanted,
    authors_wanted,
    count_or_null,
    datasets_wanted,
    label_wanted,
    name_wanted,
    number_of,
    one_of,
    or_null,
    positive_wanted,
    rate_wanted,
    text_or_null,
    text_wanted,
)
from students.limits import LIMITS

WIDTH = 120  # characters of a line of comments
LEAST_BITS = 4  # of a stored parameter: the organisers and our files know none below
LEAST_MACS = 1000  # fewer are millions, or thousands, of them
ROUNDED = 0.1  # percentage points that a mean and its parts may differ by when each is rounded to a tenth
LOSS_ROUNDED = 0.01

OPTIONAL = ("system.energy_consumption.baseline_training",)  # which the organisers' checker does not ask for
SHARING = ("fully shared", "partially shared", "fully device-specific")

HEADER = """\
# Description of a system for DCASE Challenge Task 1. Accuracies in percent, log losses natural; total_model_size (all
# parameters) and memory_use (read as the largest sum of the activations alive at once, which no rule settles) in bytes;
# macs of one clip of 1 second; energy in kWh by codecarbon.
"""
LATER_HEADER = """\
# Description of a system for DCASE Challenge Task 1. Accuracies in percent, log losses natural; total_model_size (all
# parameters of the largest network that is used at a time) in bytes; macs of one clip of 1 second.
"""


class Defect(NamedTuple):
    """What is wrong, in words, and where: a dotted path, of which there may be only the beginning."""

    path: str
    text: str


def meta_text(meta: Mapping[str, Any], notes: Sequence[str], year: int = YEAR) -> str:
    """The YAML file; the notes are of its metrics and energy, in sentences without an end."""
    fields = yaml.dump(dict(meta), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    header = HEADER if EDITIONS[year].asks_energy else LATER_HEADER
    comments = "".join(_comment(f"{note}.") for note in notes)
    return f"{header}{comments}{fields}"


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, WIDTH - 4, break_on_hyphens=False, break_long_words=False)
    return "".join(f"# {'  ' * bool(number)}{line}\n" for number, line in enumerate(lines))


def meta_defects(meta: Any, label: str, year: int = YEAR) -> list[Defect]:
    """What is wrong with the description of the system of that label, by the task of a year."""
    if not isinstance(meta, Mapping):
        return [Defect("", "it is no mapping with the blocks submission, system and results")]
    found, missing = [], {}
    for path, check in FIELDS[year].items():
        gap, value = follow(meta, path)
        if gap == path in OPTIONAL:
            continue
        if gap is not None:
            missing[gap] = Defect(gap, f"{gap} is missing")
        elif (wanted := check(value)) is not None:
            found.append(Defect(path, f"{path} must be {wanted}, not {_short(value)}"))
    found = [*missing.values(), *found]
    stated = follow(meta, "submission.label")[1]
    if isinstance(stated, str) and stated != label:
        found.append(Defect("submission.label", f"submission.label is {_short(stated)}, its folder is named {label}"))
    return found or [Defect("", law) for law in _contradictions(meta, year)]


def results_of(meta: Mapping, year: int) -> dict[str, Any]:
    """The blocks of results of a description, by their path in it."""
    return {path: follow(meta, path)[1] for path in BLOCKS[year]}


class _Dumper(yaml.SafeDumper):
    """That writes out what is there twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def follow(meta: Mapping, path: str) -> tuple[str | None, Any]:
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


def _contradictions(meta: Mapping, year: int) -> list[str]:
    """The laws that a description with every field breaks."""
    complexity, found = meta["system"]["complexity"], []
    for path, block in results_of(meta, year).items():
        found += _contradictions_of(block, "" if year == YEAR else f"{path}: ")
    if complexity.get("total_parameters_non_zero", 0) > complexity["total_parameters"]:
        found.append("system.complexity: there are more parameters that are not zero than parameters")
    if 8 * complexity["total_model_size"] < LEAST_BITS * complexity["total_parameters"]:
        found.append(f"system.complexity: total_model_size is below {LEAST_BITS} bits a parameter; is it in bytes?")
    return found


def _contradictions_of(block: Mapping, at: str) -> list[str]:
    """Those of a block of results; what is null contradicts nothing."""
    found, overall = [], block["overall"]
    accuracies = [block["class_wise"][scene]["accuracy"] for scene in SCENES]
    if None not in (*accuracies, overall["accuracy"]):
        mean = sum(accuracies) / len(SCENES)
        if abs(mean - overall["accuracy"]) > ROUNDED:
            found.append(
                f"{at}overall accuracy is {overall['accuracy']}, the mean of the class-wise ones is {mean:.2f}"
            )
    for part, members in (("class_wise", SCENES), ("device_wise", DEVICES)):
        losses = [block[part][member]["logloss"] for member in members]
        if None in (*losses, overall["logloss"]):
            continue
        if not min(losses) - LOSS_ROUNDED <= overall["logloss"] <= max(losses) + LOSS_ROUNDED:
            found.append(f"{at}overall logloss, {overall['logloss']}, is not between the least and largest of {part}")
    known = [value for part in PARTS if (value := follow(block, f"{part}.accuracy")[1]) is not None]
    if known and 0 < max(known) <= 1:
        found.append(f"{at}no accuracy is above 1: are they in percent?")
    return found


FIGURES = {"accuracy": number_of(0, 100), "logloss": number_of(0)}
PARTS = ["overall", *(f"class_wise.{scene}" for scene in SCENES), *(f"device_wise.{device}" for device in DEVICES)]
RESULTS = "results.development_dataset"
BLOCKS = {  # of results, by year
    2023: (RESULTS,),
    2024: tuple(f"{RESULTS}.split_{subset}" for subset in EDITIONS[2024].subsets),
    2025: (f"{RESULTS}.device_specific", f"{RESULTS}.general"),
}
_ALWAYS: Mapping[str, Check] = {
    "submission.label": label_wanted,
    "submission.name": name_wanted,
    "submission.abbreviation": abbreviation_wanted,
    "submission.authors": authors_wanted,
    "system.description.input_sampling_rate": rate_wanted,
    "system.description.acoustic_features": text_wanted,
    "system.description.data_augmentation": text_or_null,
    "system.description.machine_learning_method": text_wanted,
    "system.description.external_data_usage": text_or_null,
    "system.description.complexity_management": text_or_null,
    "system.description.pipeline": text_wanted,
    "system.description.framework": text_wanted,
    "system.complexity.total_model_size": number_of(1, LIMITS["parameter_bytes"]),
    "system.complexity.total_parameters": number_of(1, whole=True),
    "system.complexity.macs": number_of(LEAST_MACS, LIMITS["macs"], whole=True),
    "system.external_datasets": datasets_wanted,
    "system.source_code": text_or_null,
}
_OF_YEAR: Mapping[int, Mapping[str, Check]] = {
    2023: {
        "system.description.embeddings": text_or_null,
        "system.description.ensemble_method_subsystem_count": count_or_null,
        "system.description.decision_making": text_or_null,
        "system.complexity.total_parameters_non_zero": number_of(0, whole=True),
        "system.complexity.memory_use": number_of(1),
        "system.energy_consumption.training": positive_wanted,
        "system.energy_consumption.inference": positive_wanted,
        "system.energy_consumption.baseline_training": or_null(positive_wanted),
        "system.energy_consumption.baseline_inference": positive_wanted,
    },
    2024: {
        "system.description.split_adaptations": text_or_null,
        "system.description.system_adaptations": text_or_null,
    },
    2025: {
        "system.inference_code": text_wanted,
        "system.description.device_information": text_or_null,
        "system.description.num_models_at_inference": number_of(1, whole=True),
        "system.description.model_weight_sharing": or_null(one_of(*SHARING)),
    },
}
FIELDS: Mapping[int, Mapping[str, Check]] = {
    year: {
        **_ALWAYS,
        **_OF_YEAR[year],
        **{
            f"{block}.{part}.{name}": or_null(check) if year == 2025 else check
            for block in BLOCKS[year]
            for part in PARTS
            for name, check in FIGURES.items()
        },
    }
    for year in EDITIONS
}
