"""The description of a submitted system, from its runs: sizes, costs, training, data, energy and figures.

Conventions: those of meta.py. What the runs know is taken from them; who submits and what it is called, from About.
Energy of training is that of the student, of its teachers and of training it as integers, as far as it was measured.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.scenes import DEVICES, SCENES
from experiments.recogniser import Recogniser
from experiments.run_files import RunFiles
from experiments.submission.about import About
from experiments.submission.lineage import Lineage
from experiments.submission.meta import ABBREVIATION
from students.quantize.integer import IntegerNetwork

AUGMENTATIONS = {  # setting -> the organisers' word
    "roll": "time rolling",
    "impulse_p": "device impulse response augmentation",
    "mixstyle_p": "freq-mixstyle",
    "frequency_mask": "frequency masking",
    "time_mask": "time masking",
    "mixup_p": "mixup",
    "crop": "random cropping",
}
METHODS = {"cp_mobile": "CNN", "baseline": "CNN", "cnn_gru": "CRNN"}
AUDIOSET = {"name": "AudioSet", "url": "https://research.google.com/audioset/", "total_audio_length": None}
IMAGENET = {"name": "ImageNet", "url": "https://www.image-net.org", "total_audio_length": None}
MICIRP = {"name": "MicIRP", "url": "http://micirp.blogspot.com", "total_audio_length": None}
PRETRAINED = {"passt": (AUDIOSET, IMAGENET), "ast": (AUDIOSET, IMAGENET), "timm": (IMAGENET,)}
NO_RESPONSES = hashlib.sha256(b"").hexdigest()  # their fingerprint where there are none, see prepare.py
PERCENT_DIGITS, LOSS_DIGITS = 2, 4


@dataclass(frozen=True)
class System:
    """One of a package: its label, where it comes from, and its description."""

    label: str
    lineage: Lineage
    meta: Mapping[str, Any]


def description(lineage: Lineage, recogniser: Recogniser, about: About, label: str) -> dict[str, Any]:
    """The content of the meta.yaml; a figure that the runs lack is None.

    Args:
        lineage: where the system comes from.
        recogniser: of its file.
        about: what no run knows.
        label: of the system; its last part is its number among `about.systems`.
    """
    scores, datasets = lineage.quantized.scores, external_datasets(lineage, about)
    builder = lineage.student.settings["student.builder"]
    named = about.systems[int(label.rsplit("_", 1)[1]) - 1] if about.systems else default_name(lineage)
    return {
        "submission": {"label": label, **named, "authors": about.authors},
        "system": {
            "description": {
                "input_sampling_rate": f"{recogniser.sample_rate / 1000:g}kHz",
                "acoustic_features": "log-mel energies",
                "embeddings": None,
                "data_augmentation": ", ".join(augmentations(lineage)) or None,
                "machine_learning_method": METHODS.get(builder, builder),
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
                "total_parameters_non_zero": _not_zero(recogniser.network),
                "memory_use": scores.get("peak_bytes"),
                "macs": scores.get("macs"),
            },
            "energy_consumption": {
                "training": training_kwh(lineage),
                "inference": lineage.energy.get("energy/inference/kWh"),
                "baseline_inference": lineage.energy.get("energy/baseline/kWh"),
            },
            "external_datasets": datasets or None,
            "source_code": about.source_code,
        },
        "results": {
            "development_dataset": {
                "overall": _figures(scores, ""),
                "class_wise": {scene: _figures(scores, f"/scene/{scene}") for scene in SCENES},
                "device_wise": {device: _figures(scores, f"/device/{device}") for device in DEVICES},
            }
        },
    }


def default_name(lineage: Lineage) -> dict[str, str]:
    """A system's name, after what it is, and its abbreviation, after its run."""
    run = lineage.quantized.name
    return {"name": f"{network_of(lineage)} ({run})", "abbreviation": run[:ABBREVIATION]}


def network_of(lineage: Lineage) -> str:
    """The student's builder and size."""
    settings = lineage.student.settings
    return " ".join(filter(None, (settings["student.builder"], settings.get("student.size"))))


def augmentations(lineage: Lineage) -> list[str]:
    """What the student's training clips went through, in words; impulse responses only where there were some."""
    settings = lineage.student.settings
    used = [key for key in AUGMENTATIONS if settings.get(f"student.augment.{key}")]
    return [AUGMENTATIONS[key] for key in used if key != "impulse_p" or _has_responses(lineage.student)]


def external_datasets(lineage: Lineage, about: About) -> list[Mapping[str, Any]]:
    """Of pretrained teachers and impulse responses, and those that the authors name; each name once."""
    found = [dataset for teacher in lineage.teachers for dataset in _pretrained_on(teacher)]
    students = [lineage.student] if lineage.student.settings.get("student.augment.impulse_p") else []
    teachers = [teacher for teacher in lineage.teachers if teacher.settings.get("teacher.augment.impulse_p")]
    if any(map(_has_responses, [*students, *teachers])) and lineage.data["kind"] != "synthetic":
        found.append(MICIRP)
    return list({dataset["name"]: dataset for dataset in [*found, *about.external_datasets]}.values())


def training_kwh(lineage: Lineage) -> float | None:
    """Of all trainings that led to the system, as far as they were measured; None if none was."""
    if (known := lineage.energy.get("energy/training/all/kWh")) is not None:
        return known
    runs = (lineage.quantized, lineage.student, *lineage.teachers)
    return sum(phase["kWh"] for run in runs for phase in run.energy.values()) or None


def _has_responses(run: RunFiles) -> bool:
    """Whether there were impulse responses to filter with."""
    return run.inputs.get("impulses", NO_RESPONSES) != NO_RESPONSES


def _figures(scores: Mapping[str, float], subset: str) -> dict[str, float | None]:
    accuracy, loss = scores.get(f"test/accuracy{subset}"), scores.get(f"test/log_loss{subset}")
    return {
        "accuracy": None if accuracy is None else round(100 * accuracy, PERCENT_DIGITS),
        "logloss": None if loss is None else round(loss, LOSS_DIGITS),
    }


def _not_zero(network: IntegerNetwork) -> int:
    weights = network.weights.values()
    return sum(int(np.count_nonzero(part)) for layer in weights for part in (layer.weight, layer.bias))


def _pretrained_on(teacher: RunFiles) -> tuple[Mapping[str, Any], ...]:
    """The data that others trained it on before; of weights from a file, its authors must say."""
    known = PRETRAINED.get(str(teacher.settings["teacher.builder"]), ())
    return known if teacher.settings["teacher.pretrained"] else ()


def _usage(lineage: Lineage, datasets: list[Mapping[str, Any]]) -> str | None:
    words = ["pre-trained model"] if any(map(_pretrained_on, lineage.teachers)) else []
    return ", ".join([*words, *(["directly"] if MICIRP in datasets else [])]) or ("directly" if datasets else None)


def _management(lineage: Lineage) -> list[str]:
    taught = ["knowledge distillation"] if lineage.student.settings["distill"] != "none" else []
    return [*taught, "weight quantization"]


def _pipeline(lineage: Lineage) -> list[str]:
    """In the order in which it happened."""
    before = ["pretraining"] if any(map(_pretrained_on, lineage.teachers)) else []
    taught = ["knowledge distillation"] if lineage.student.settings["distill"] != "none" else ["training"]
    if lineage.quantized.settings["quantize.method"] == "qat":
        return [*before, *taught, "quantization aware training"]
    return [*before, *taught, "weight quantization"]
