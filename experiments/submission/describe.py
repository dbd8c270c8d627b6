"""The description of a submitted system, from its runs: sizes, costs, training, data, energy and metrics.

Conventions: those of meta.py. What the runs know is taken from them; who submits and what it is called, from About.
Energy of training is that of the student, of all teachers and of training it as integers; not known if a part is not.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from data.augmentation import descriptions
from data.readers import is_of_challenge
from experiments.evaluation.official_test import extent, is_whole
from experiments.inference.classifier import Classifier
from experiments.report.tables import metric_rows
from experiments.runs.reader import RunFiles
from experiments.submission.about import About
from experiments.submission.builders import features_of, is_pretrained, pretraining_of, student_of
from experiments.submission.lineage import Lineage
from experiments.submission.meta_values import ABBREVIATION, NAME
from experiments.submission.results import results_block
from students.quantize.integer import IntegerNetwork

MICIRP = {"name": "MicIRP", "url": "http://micirp.blogspot.com", "total_audio_length": None}
NO_RESPONSES = hashlib.sha256(b"").hexdigest()  # their fingerprint where there are none, see datasets/datamodule.py


@dataclass(frozen=True)
class System:
    """One of a package.

    Attributes:
        label: of the system.
        lineage: where it comes from; of several trainings, that on the largest train subset.
        meta: its description.
        trainings: where each of several trainings comes from, by percent of the train split.
    """

    label: str
    lineage: Lineage
    meta: Mapping[str, Any]
    trainings: Mapping[int, Lineage] = field(default_factory=dict)


def description(lineage: Lineage, classifier: Classifier, about: About, label: str) -> dict[str, Any]:
    """The content of the meta.yaml; a number that the runs lack is None.

    Args:
        lineage: where the system comes from.
        classifier: of its file.
        about: what no run knows.
        label: of the system; its last part is its number among `about.systems`.

    Raises:
        UserError: the builder of the student or of a teacher is not installed.
    """
    scores, datasets = lineage.quantized.scores, external_datasets(lineage, about)
    named = about.systems[int(label.rsplit("_", 1)[1]) - 1] if about.systems else default_name(lineage)
    return {
        "submission": {"label": label, **named, "authors": about.authors},
        "system": {
            "description": {
                "input_sampling_rate": f"{classifier.sample_rate / 1000:g}kHz",
                "acoustic_features": features_of(lineage.student).features,
                "embeddings": None,
                "data_augmentation": ", ".join(augmentations(lineage)) or None,
                "machine_learning_method": student_of(lineage.student).family,
                "ensemble_method_subsystem_count": None,  # of the system; its teachers are not part of it
                "decision_making": None,
                "external_data_usage": _usage(lineage, datasets),
                "complexity_management": ", ".join(_management(lineage)),
                "pipeline": ", ".join(_pipeline(lineage)),
                "framework": "pytorch",
            },
            "complexity": {
                "total_model_size": scores.get("parameter_bytes"),
                "total_parameters": scores.get("parameters"),
                "total_parameters_non_zero": _not_zero(classifier.network),
                "memory_use": scores.get("peak_bytes"),
                "macs": scores.get("macs"),
            },
            "energy_consumption": {
                "training": lineage.kwh("training/all"),
                "inference": lineage.kwh("inference"),
                "baseline_inference": lineage.kwh("baseline"),
            },
            "external_datasets": datasets or None,
            "source_code": about.source_code,
        },
        "results": {
            "development_dataset": results_block(metric_rows(scores)),
        },
    }


def default_name(lineage: Lineage) -> dict[str, str]:
    """A system's name, after what it is, and its abbreviation, after its run."""
    run = lineage.quantized.name
    return {"name": f"{network_of(lineage)} ({run})"[:NAME], "abbreviation": run[:ABBREVIATION]}


def network_of(lineage: Lineage) -> str:
    """The student's builder and size."""
    settings = lineage.student.settings
    return " ".join(filter(None, (settings["student.builder"], settings.get("student.size"))))


def augmentations(lineage: Lineage) -> list[str]:
    """What the student's training clips went through, in words; impulse responses only where there were some."""
    settings, prefix = dict(lineage.student.settings), "student.augment."
    if not _has_responses(lineage.student):
        settings.pop(f"{prefix}impulse_p", None)
    return descriptions(settings, prefix=prefix)


def external_datasets(lineage: Lineage, about: About) -> list[Mapping[str, Any]]:
    """Of pretrained teachers and impulse responses, and those that the authors name; each name once."""
    found = [asdict(dataset) for teacher in lineage.teachers for dataset in pretraining_of(teacher).datasets]
    students = [lineage.student] if lineage.student.settings.get("student.augment.impulse_p") else []
    teachers = [teacher for teacher in lineage.teachers if teacher.settings.get("teacher.augment.impulse_p")]
    if any(map(_has_responses, [*students, *teachers])) and lineage.data["kind"] != "synthetic":
        found.append(MICIRP)
    return list({dataset["name"]: dataset for dataset in [*found, *about.external_datasets]}.values())


def notes(lineage: Lineage, *, metered: bool = True) -> str:
    """What the fields of a description cannot say: of how many clips its metrics are, and what energies are, if it has
    some."""
    scores = lineage.quantized.scores
    part = extent(scores) if is_of_challenge(lineage.kind) and not is_whole(scores) else None
    energies = energy_note(lineage) if metered else None
    return "; ".join(filter(None, [part and f"results are of {part} of the official test split", energies]))


def energy_note(lineage: Lineage) -> str:
    """Of how many clips the energy of inference is, and which energies are estimates."""
    phases = {"training": "training/all", "inference": "inference", "baseline_inference": "baseline"}
    estimated = [name for name, phase in phases.items() if lineage.energy.get(phase, {}).get("estimated")]
    clips = lineage.energy.get("inference", {}).get("clips")
    of = f"inference and baseline_inference are of {clips if clips else 'an unknown number of'} clips"
    how = f"estimates, as the machine had no meter of its processor: {', '.join(estimated)}"
    return f"{of}; {how if estimated else 'all energies are metered'}"


def _has_responses(run: RunFiles) -> bool:
    """Whether there were impulse responses to filter with."""
    return run.inputs.get("impulses", NO_RESPONSES) != NO_RESPONSES


def _not_zero(network: IntegerNetwork) -> int:
    weights = network.weights.values()
    return sum(int(np.count_nonzero(part)) for layer in weights for part in (layer.weight, layer.bias))


def _usage(lineage: Lineage, datasets: list[Mapping[str, Any]]) -> str | None:
    words = ["pre-trained model"] if _is_pretrained(lineage) else []
    return ", ".join([*words, *(["directly"] if MICIRP in datasets else [])]) or ("directly" if datasets else None)


def _is_pretrained(lineage: Lineage) -> bool:
    return bool(lineage.pretrained) or any(map(is_pretrained, lineage.teachers))


def _management(lineage: Lineage) -> list[str]:
    return [*(["knowledge distillation"] if lineage.teachers else []), "weight quantization"]


def _pipeline(lineage: Lineage) -> list[str]:
    """In the order in which it happened; the student may have had no teachers until it was trained as integers."""
    steps = ["pretraining"] if _is_pretrained(lineage) else []
    distilled = ["knowledge distillation"] if lineage.teachers else []
    before = lineage.pretrained and not any(run.inputs.get("logits") for run in (lineage.student, lineage.quantized))
    steps += distilled if before else []
    steps += [] if lineage.student.inputs.get("logits") else ["training"]
    steps += [] if before else distilled
    trained = lineage.quantized.settings["quantize.method"] == "qat"
    return [*steps, "quantization aware training" if trained else "weight quantization"]
