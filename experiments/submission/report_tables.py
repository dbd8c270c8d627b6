"""The tables of a submission's technical report, as rows of words: a column a system, or two.

Conventions: the first row is the header. Metrics are those of the descriptions (meta.py) and of the runs' score.json;
what was not measured, or does not apply, is a dash.
"""

from collections.abc import Callable, Sequence
from typing import Any

from data import bibliography
from data.readers import is_of_challenge
from data.scenes import DEVICE_GROUPS, DEVICES, SCENES
from experiments.evaluation.official_test import extent, is_whole
from experiments.report.numbers import nats
from experiments.report.scene_devices import SCENE_DEVICES, scene_device_rows
from experiments.report.tables import WHOLE, beside, metric_rows
from experiments.runs.reader import RunFiles
from experiments.submission.builders import dataset_of, features_of, student_of, teacher_of, unlisted_weights
from experiments.submission.describe import System, augmentations, network_of
from experiments.submission.layout import YEAR
from students.limits import LIMITS

Rows = list[list[str]]
DASH = "-"
MEL = "student.mel."
METHODS = {"ptq": "after training", "qat": "in training"}


def tables_of(systems: Sequence[System]) -> dict[str, list[tuple[str, Rows]]]:
    """All tables with their captions, by the section of the report that they belong to."""
    energies = "Energy in kWh by codecarbon; an estimate follows load and time, where a machine has no meter."
    return {
        "system": [("The systems.", overview(systems)), ("How they were trained.", training(systems))],
        "data": [("Which data the systems were trained on.", data(systems))],
        "results": [
            (f"Accuracy (%) and log loss on the development test split{_extent(systems)}.", metrics_by_subset(systems)),
            *(
                (f"{SCENE_DEVICES}, {_short(s)}.", scene_device_rows(s.lineage.quantized.scores))
                for s in systems
                if scene_device_rows(s.lineage.quantized.scores)
            ),
        ],
        "complexity": [("Costs, and the task's limits.", complexity(systems))],
        "energy": [(energies, energy(systems))],
    }


def _extent(systems: Sequence[System]) -> str:
    """Of how many of its clips the metrics are, where it is the challenge's split, and as far as it is known."""
    found = dict.fromkeys(extent(s.lineage.quantized.scores) for s in systems if is_of_challenge(s.lineage.kind))
    return "".join(f" ({each})" for each in found if each)


def overview(systems: Sequence[System]) -> Rows:
    """What each system is."""

    def mel(s: System) -> str:
        """The front end and its settings."""
        settings = {k.removeprefix(MEL): v for k, v in s.lineage.student.settings.items() if k.startswith(MEL)}
        words = [f"{key} {_word(value)}" for key, value in settings.items() if key != "kind" and value is not None]
        return ", ".join([features_of(s.lineage.student).features, *words])

    def teachers(s: System) -> str:
        found = [f"{t.settings['teacher.builder']} ({teacher_of(t).family}, {t.name})" for t in s.lineage.teachers]
        return ", ".join(found) or DASH

    def bits(s: System) -> str:
        activations = s.lineage.quantized.settings.get("quantize.activations", 8)
        return f"weights {' and '.join(map(str, s.lineage.bits))}, activations {activations}"

    return _rows(
        systems,
        {
            "label": lambda s: s.label,
            "name": lambda s: s.meta["submission"]["name"],
            "network": lambda s: network_of(s.lineage),
            "input": mel,
            "sampling rate": lambda s: s.meta["system"]["description"]["input_sampling_rate"],
            "bits": bits,
            "teachers": teachers,
            "pipeline": lambda s: s.meta["system"]["description"]["pipeline"],
        },
    )


def training(systems: Sequence[System]) -> Rows:
    """Recipe and distillation of each student."""

    def of(name: str, *asked: str) -> Callable[[System], str]:
        """What the recipe was fitted to the clips with, or else the first setting that is there."""
        return lambda s: _word(_first(s.lineage.student, (f"fitted.{name}", *asked, f"student.fit.{name}")))

    def epochs(s: System) -> str:
        """Of a refit how many there were: its first phase chose them, and they are no setting."""
        student = s.lineage.student
        chosen = student.settings.get("refit") and student.history
        return str(len(student.history)) if chosen else of("epochs", "epochs")(s)

    def taught(key: str) -> Callable[[System], str]:
        """Of the trainings with teachers: the student's, then that as integers, each value once."""

        def values(s: System) -> str:
            trainings = {"student.distill": s.lineage.student, "distill": s.lineage.quantized}
            found = [
                _word(run.settings.get(f"{at}.{key}")) for at, run in trainings.items() if run.inputs.get("logits")
            ]
            return ", then ".join(dict.fromkeys(found)) or DASH

        return values

    def begins(s: System) -> str:
        found = [f"{run.name} ({dataset_of(run.data).title})" for run in s.lineage.pretrained]
        return ", from ".join(found) or "random weights"

    def quantised(s: System) -> str:
        return METHODS.get(method := s.lineage.quantized.settings["quantize.method"], method)

    return _rows(
        systems,
        {
            "begins with": begins,
            "epochs": epochs,
            "batch size": of("batch_size", "batch_size"),
            "learning rate": of("learning_rate"),
            "weight decay": of("weight_decay"),
            "temperature": taught("temperature"),
            "weight of labels": taught("hard_weight"),
            "weight of features": taught("features"),
            "quantised": quantised,
        },
    )


def data(systems: Sequence[System]) -> Rows:
    """What each student and its teachers were trained on, and how the student's clips were changed."""

    def of(key: str) -> Callable[[System], str]:
        return lambda s: _word(s.lineage.data[key])

    def beyond(s: System) -> str:
        return ", ".join(dataset["name"] for dataset in s.meta["system"]["external_datasets"] or []) or DASH

    def held_out(s: System) -> str:
        share = of("validation_fraction")(s)
        return f"{share} to choose the steps, then none" if s.lineage.student.settings.get("refit") else share

    def unlisted(s: System) -> str:
        return ", ".join(dict.fromkeys(filter(None, map(unlisted_weights, s.lineage.teachers)))) or DASH

    return _rows(
        systems,
        {
            "data set": lambda s: dataset_of(s.lineage.data).title,
            "train subset (%)": of("subset"),
            "share of locations held out": held_out,
            "beyond it": beyond,
            f"weights not on the task's list of {YEAR}": unlisted,
            "augmentation": lambda s: ", ".join(augmentations(s.lineage)) or DASH,
        },
    )


def metrics_by_subset(systems: Sequence[System]) -> Rows:
    """Accuracy and log loss over all and by scene, device and group; two columns a system."""
    subsets = {"all (macro)": WHOLE}
    subsets |= {scene: f"scene/{scene}" for scene in SCENES}
    subsets |= {f"device {device}": f"device/{device}" for device in DEVICES}
    subsets |= {f"{group} devices": f"group/{group}" for group in DEVICE_GROUPS}
    scores = [s.lineage.quantized.scores for s in systems]
    metrics = [metric_rows(each) for each in scores]
    official = next((each for each in scores if is_whole(each)), {})
    published = ["baseline, published: %", "log loss"] if official else []
    rows = [["", *(cell for s in systems for cell in (f"{_short(s)}: %", "log loss")), *published]]
    for name, subset in subsets.items():
        found = [row.get(subset) for row in metrics]
        cells = [[f"{100 * row.accuracy:.1f}", nats(row.log_loss) or DASH] if row else [DASH, DASH] for row in found]
        known = [cell.removesuffix(" %") or DASH for cell in beside(official, subset)]
        rows.append([name, *(cell for pair in cells for cell in pair), *known])
    return rows


def complexity(systems: Sequence[System]) -> Rows:
    """Costs and their limits."""
    named = {
        "parameters": ("total_parameters", None),
        "of which not zero": ("total_parameters_non_zero", None),
        "bytes of parameters": ("total_model_size", LIMITS["parameter_bytes"]),
        "MACs a clip": ("macs", LIMITS["macs"]),
        "peak bytes of activations": ("memory_use", None),
    }
    rows = [["", *map(_short, systems), "limit"]]
    for name, (key, limit) in named.items():
        costs = [s.meta["system"]["complexity"][key] for s in systems]
        rows.append([name, *(f"{cost:,}" for cost in costs), DASH if limit is None else f"{limit:,}"])
    return rows


def energy(systems: Sequence[System]) -> Rows:
    """kWh of training and of inference, and the baseline's on the same machine; estimates are marked."""

    def of(phase: str) -> Callable[[System], str]:
        def word(s: System) -> str:
            estimated = s.lineage.energy.get(phase, {}).get("estimated")
            return _word(s.lineage.kwh(phase)) + (" (estimate)" if estimated else "")

        return word

    named = {
        "training": of("training/all"),
        "inference": of("inference"),
        "inference of the baseline": of("baseline"),
        "clips of inference": lambda s: _word(s.lineage.energy.get("inference", {}).get("clips")),
        "baseline / system": lambda s: _word(float(s.lineage.kwh("baseline") / s.lineage.kwh("inference"))),
    }
    return _rows(systems, named)


def references(systems: Sequence[System]) -> list[str]:
    """What the systems are made of, each once."""
    found = [*bibliography.ASKED_FOR]
    for s in systems:
        for dataset in map(dataset_of, [s.lineage.data, *(run.data for run in s.lineage.pretrained)]):
            found += [dataset.citation] if dataset.citation and not dataset.is_challenge else []  # its are there
        found.append(features_of(s.lineage.student).citation)
        found.append(student_of(s.lineage.student).citation)
        found += [teacher_of(teacher).citation for teacher in s.lineage.teachers]
        found += [bibliography.DISTILLATION] if s.lineage.teachers else []
    return list(dict.fromkeys([*found, bibliography.INTEGERS, bibliography.CODECARBON]))


def _short(s: System) -> str:
    """Labels are too long for the head of a column."""
    return f"system {s.label.rsplit('_', 1)[1]}"


def _rows(systems: Sequence[System], named: dict[str, Callable[[System], str]]) -> Rows:
    return [["", *map(_short, systems)], *([name, *map(word, systems)] for name, word in named.items())]


def _first(run: RunFiles, keys: Sequence[str]) -> Any:
    return next((run.settings[key] for key in keys if run.settings.get(key) is not None), None)


def _word(value: Any) -> str:
    if value is None:
        return DASH
    return f"{value:.4g}" if isinstance(value, float) else str(value)
