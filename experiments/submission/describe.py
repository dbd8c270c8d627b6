"""The description of a submitted system, from its runs: sizes, costs, training, data, energy and metrics.

Conventions: those of meta.py. What the runs know is taken from them; who submits and what it is called, from About.
Energy of training is that of the teachers, their logits, the student and its quantisation; not known if a part is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data.augmentation import descriptions
from data.readers import is_of_challenge
from data.resources import DATA, RESPONSES
from experiments.evaluation.official_test import extent, is_whole
from experiments.inference.clip_classifier import Classifier
from experiments.report.tables import metric_rows
from experiments.runs.lineage import PRETRAINED
from experiments.submission.about import About
from experiments.submission.builders import features_of, has_responses, is_pretrained, student_of
from experiments.submission.energy import FLOATS, energy_fields, energy_notes
from experiments.submission.lineage import WHOLE_BITS, Lineage
from experiments.submission.meta_values import ABBREVIATION, NAME
from experiments.submission.resources import Declared
from experiments.submission.results import results_block


@dataclass(frozen=True)
class System:
    """One of a package.

    Attributes:
        label: of the system.
        lineage: where it comes from; of several trainings, that on the largest train subset.
        meta: its description.
        trainings: where each of several trainings comes from, by percent of the train split.
        external: what others made that it was made with.
    """

    label: str
    lineage: Lineage
    meta: Mapping[str, Any]
    trainings: Mapping[int, Lineage] = field(default_factory=dict)
    external: Sequence[Declared] = ()


def description(
    lineage: Lineage, classifier: Classifier, about: About, label: str, external: Sequence[Declared]
) -> dict[str, Any]:
    """The content of the meta.yaml; a number that the runs lack is None.

    Args:
        lineage: where the system comes from.
        classifier: of its file.
        about: what no run knows.
        label: of the system; its last part is its number among `about.systems`.
        external: what others made that the system was made with.

    Raises:
        UserError: the builder of the student or of a teacher is not installed.
    """
    scores = lineage.quantized.scores
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
                "external_data_usage": _usage(lineage, external),
                "complexity_management": ", ".join(_management(lineage)) or None,
                "pipeline": ", ".join(_pipeline(lineage)),
                "framework": "pytorch",
            },
            "complexity": {
                "total_model_size": scores.get("parameter_bytes"),
                "total_parameters": scores.get("parameters"),
                "total_parameters_non_zero": classifier.non_zero,
                "memory_use": scores.get("peak_bytes"),
                "macs": scores.get("macs"),
            },
            "energy_consumption": energy_fields(lineage.energy),
            "external_datasets": external_datasets(external) or None,
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
    """The student's builder, the size that its training began with, and whether it was pruned."""
    settings = lineage.student.settings
    is_pruned = any(name.startswith("pruned_to.") for name in settings)
    return " ".join(filter(None, ("pruned" * is_pruned, settings["student.builder"], settings.get("student.size"))))


def augmentations(lineage: Lineage) -> list[str]:
    """What the student's training clips went through, in words; impulse responses only where there were some."""
    settings, prefix = dict(lineage.student.settings), "student.augment."
    if not has_responses(lineage.student):
        settings.pop(f"{prefix}impulse_p", None)
    return descriptions(settings, prefix=prefix)


def external_datasets(external: Sequence[Declared]) -> list[dict[str, Any]]:
    """As the organisers' template lists them: models and impulse responses among the data sets."""
    return [{key: getattr(each.resource, key) for key in ("name", "url", "total_audio_length")} for each in external]


def notes(lineage: Lineage, *, metered: bool = True) -> list[str]:
    """What the fields of a description cannot say, in sentences without an end: of how many clips its metrics are, and
    what energies are, if it has some."""
    scores = lineage.quantized.scores
    part = extent(scores) if is_of_challenge(lineage.kind) and not is_whole(scores) else None
    of = [f"results are of {part} of the official test split"] if part else []
    if lineage.float_bits and metered:
        of += ["of floats, memory_use is instead the largest input and output of one layer", FLOATS]
    return [*of, *(energy_notes(lineage.energy) if metered else [])]


def _usage(lineage: Lineage, external: Sequence[Declared]) -> str | None:
    words = ["pre-trained model"] if _is_pretrained(lineage) else []
    directly = any({RESPONSES, DATA} & {*each.whats} for each in external) or (external and not words)
    return ", ".join([*words, *(["directly"] if directly else [])]) or None


def _is_pretrained(lineage: Lineage) -> bool:
    began = bool(lineage.pretrained) or PRETRAINED in lineage.student.inputs
    return began or any(map(is_pretrained, lineage.teachers))


def _management(lineage: Lineage) -> list[str]:
    """Floats of 32 bits are what was trained: nothing was done to make them smaller."""
    stored = [] if lineage.float_bits == WHOLE_BITS else ["weight quantization"]
    return [*(["knowledge distillation"] if lineage.teachers else []), *stored]


def _pipeline(lineage: Lineage) -> list[str]:
    """In the order in which it happened; the student may have had no teachers until it was trained as integers."""
    steps = ["pretraining"] if _is_pretrained(lineage) else []
    distilled = ["knowledge distillation"] if lineage.teachers else []
    before = lineage.pretrained and not any(run.inputs.get("logits") for run in (lineage.student, lineage.quantized))
    steps += distilled if before else []
    steps += [] if lineage.student.inputs.get("logits") else ["training"]
    steps += [] if before else distilled
    if lineage.float_bits == WHOLE_BITS:
        return steps
    trained = lineage.quantized.settings["quantize.method"] == "qat"
    return [*steps, "quantization aware training" if trained else "weight quantization"]
