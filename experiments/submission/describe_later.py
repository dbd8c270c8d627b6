"""The descriptions of 2024 and 2025, made of that of 2023, which has other fields: see meta.py.

Conventions: those of describe.py. Costs of 2025 are those of the largest network that answers to a device, counted as
the organisers count a module of the inference package (torchinfo).
"""

from collections.abc import Mapping
from typing import Any

import torch

from data.scenes import PART_SECONDS
from experiments.inference.classifier import IntegerClassifier
from experiments.inference.clip_classifier import Classifier
from experiments.inference.device_models import DeviceModels
from experiments.report.tables import metric_rows
from experiments.submission.about import About
from experiments.submission.lineage import Lineage
from experiments.submission.meta import SHARING
from experiments.submission.results import results_block
from students.complexity import torch_complexity

ONLY_2023 = {
    "description": ("embeddings", "ensemble_method_subsystem_count", "decision_making"),
    "complexity": ("total_parameters_non_zero", "memory_use"),
}
SETS = {"norm": "device-specific normalization", "classifier": "device-specific classifier"}
STUDENT = "student."
COSTS = ("total_model_size", "total_parameters", "macs")


def as_2024(metas: Mapping[int, Mapping[str, Any]], trainings: Mapping[int, Lineage], about: About) -> dict[str, Any]:
    """The description of a system that was trained on several subsets of the train split.

    Args:
        metas, trainings: the description and the runs of each training, by percent of the train split.
        about: what no run knows.
    """
    meta = _without_2023(metas[max(metas)])
    system, each = meta["system"], [one["system"] for one in metas.values()]
    known = {cost: [one["complexity"][cost] for one in each] for cost in COSTS}
    system["complexity"] = {cost: None if None in values else max(values) for cost, values in known.items()}
    system["description"] |= {
        "split_adaptations": about.split_adaptations or _different(trainings),
        "system_adaptations": about.system_adaptations,
    }
    datasets = [dataset for one in each for dataset in one["external_datasets"] or []]
    system["external_datasets"] = list({dataset["name"]: dataset for dataset in datasets}.values()) or None
    blocks = {f"split_{subset}": one["results"]["development_dataset"] for subset, one in metas.items()}
    return {**meta, "results": {"development_dataset": blocks}}


def as_2025(meta: Mapping[str, Any], lineage: Lineage, classifier: Classifier, about: About) -> dict[str, Any]:
    """The description of a system that may have tensors of recording devices.

    Args:
        meta: its description of 2023.
        lineage, classifier: its runs, and that of its file.
        about: what no run knows.
    """
    assert isinstance(classifier, IntegerClassifier)  # read_lineage refuses floats where the device is known
    meta, sets, scores = _without_2023(meta), classifier.devices, lineage.quantized.scores
    clip = classifier.spectrograms(torch.zeros(1, round(PART_SECONDS * classifier.sample_rate)))
    costs = [torch_complexity(network, tuple(clip.shape)) for network in DeviceModels(classifier).model]
    layers = None if lineage.specialized is None else lineage.specialized.settings.get("specialize.layers")
    meta["system"]["description"] |= {
        "device_information": SETS.get(str(layers), "device-specific tensors") if sets else None,
        "num_models_at_inference": 1 + len(sets),
        "model_weight_sharing": SHARING[1 if sets else 0],
    }
    if sets:
        *steps, last = meta["system"]["description"]["pipeline"].split(", ")  # the last one makes integers
        meta["system"]["description"]["pipeline"] = ", ".join([*steps, "device-specific fine-tuning", last])
    meta["system"]["complexity"] = {
        "total_model_size": max(cost.parameter_bytes for cost in costs),
        "total_parameters": max(cost.parameters for cost in costs),
        "macs": max(cost.macs for cost in costs),
    }
    system = {"inference_code": about.inference_code, **meta["system"]}
    general = metric_rows(scores, "test/general" if sets else "test")
    blocks = {"device_specific": results_block(metric_rows(scores)), "general": results_block(general)}
    return {**meta, "system": system, "results": {"development_dataset": blocks}}


def _without_2023(meta: Mapping[str, Any]) -> dict[str, Any]:
    """A description without the fields that only 2023 asks for."""
    system = {
        block: {key: value for key, value in values.items() if key not in ONLY_2023[block]}
        if block in ONLY_2023
        else values
        for block, values in meta["system"].items()
        if block != "energy_consumption"
    }
    return {**meta, "system": system}


def _different(trainings: Mapping[int, Lineage]) -> str | None:
    """The settings in which the students of several trainings differ; None: in none."""
    settings = [lineage.student.settings for lineage in trainings.values()]
    names = sorted({name for each in settings for name in each if name.startswith(STUDENT)})
    different = [name for name in names if len({str(each.get(name)) for each in settings}) > 1]
    return f"other {', '.join(name.removeprefix(STUDENT) for name in different)}" if different else None
