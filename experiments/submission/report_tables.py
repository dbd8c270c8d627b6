"""The tables of a submission's technical report, as rows of words: a column a system, or two.

Conventions: the first row is the header. Metrics are those of the descriptions (meta.py) and of the runs' score.json;
what was not measured, or does not apply, is a dash.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from data import bibliography
from data.readers import is_of_challenge
from experiments.runs.layout import FIRST_PHASE
from experiments.runs.lineage import PRETRAINED
from experiments.runs.reader import RunFiles
from experiments.submission.builders import dataset_of, features_of, student_of, teacher_of
from experiments.submission.describe import System, augmentations, network_of
from experiments.submission.energy import COPY, FLOATS, energy_words
from experiments.submission.layout import YEAR
from experiments.submission.lineage import Lineage
from experiments.submission.report_results import DASH, Measured, Rows, results
from experiments.submission.resources import resource_of
from students.limits import LIMITS

MEL = "student.mel."
METHODS = {"ptq": "after training", "qat": "in training"}


def tables_of(systems: Sequence[System]) -> dict[str, list[tuple[str, Rows]]]:
    """All tables with their captions, by the section of the report that they belong to."""
    energies = (
        f"Energy in kWh by codecarbon; an estimate follows load and time, where a machine has no meter; {COPY}. "
        "Inference is one pass over the clips, log-mel and network, of both in turns on one machine, unless given"
        f"{f'; {FLOATS}' if any(s.lineage.float_bits for s in systems) else ''}."
    )
    is_metered = all(s.lineage.kwh(phase) is not None for s in systems for phase in ("inference", "baseline"))
    trainings = {s.label: [_measured(s, each, f"on {n} %") for n, each in s.trainings.items()] for s in systems}
    measured = [_measured(s, s.lineage) for s in systems]
    return {
        "system": [("The systems.", overview(systems)), ("How they were trained.", training(systems))],
        "data": [
            ("Which data the systems were trained on.", data(systems)),
            ("External resources.", external_resources(systems)),
        ],
        "results": results(measured, {label: some for label, some in trainings.items() if some}),
        "complexity": [("Costs, and the task's limits.", complexity(systems))],
        "energy": [(energies, energy(systems))] if is_metered else [],
    }


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
        if s.lineage.float_bits:
            return f"floats of {s.lineage.float_bits}"
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
        return ", from ".join(found) or (
            "weights of others" if PRETRAINED in s.lineage.student.inputs else "random weights"
        )

    def quantised(s: System) -> str:
        method = s.lineage.quantized.settings.get("quantize.method")
        return DASH if s.lineage.float_bits else METHODS.get(str(method), _word(method))

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

    def held_out(s: System) -> str:
        share = of("validation_fraction")(s)
        return f"{share} to choose the steps, then none" if s.lineage.student.settings.get("refit") else share

    return _rows(
        systems,
        {
            "data set": lambda s: dataset_of(s.lineage.data).title,
            "train subset (%)": of("subset"),
            "share of locations held out": held_out,
            "augmentation": lambda s: ", ".join(augmentations(s.lineage)) or DASH,
        },
    )


def external_resources(systems: Sequence[System]) -> Rows:
    """What others made: a row a resource, with the runs that used it."""
    rows, runs = dict[str, list[str]](), dict[str, dict[str, None]]()
    for name, each in ((each.resource.name, each) for s in systems for each in s.external):
        listed = resource_of(name, each.resource.url) is not None
        shown = name if listed else f"{name} (not on the list of {YEAR})"
        rows[name] = [shown, each.resource.type, each.resource.url, each.resource.licence or "none stated"]
        runs.setdefault(name, {}).update(dict.fromkeys(each.runs))
    found = [[*row, ", ".join(_without_phases(runs[name])) or "as the authors say"] for name, row in rows.items()]
    return [["name", "type", "link", "licence", "used by"], *(found or [["none", *[DASH] * 4]])]


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
        costs = [s.meta["system"]["complexity"][key] for s in systems if key in s.meta["system"]["complexity"]]
        if not costs:
            continue
        rows.append([name, *(f"{cost:,}" for cost in costs), DASH if limit is None else f"{limit:,}"])
    return rows


def energy(systems: Sequence[System]) -> Rows:
    """kWh of each phase of training and of inference, the baseline's, and what they were metered on."""
    words = [energy_words(s.lineage.energy) for s in systems]
    names = dict.fromkeys(name for each in words for name in each)
    return [["", *map(_short, systems)], *([name, *(each.get(name, DASH) for each in words)] for name in names)]


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
    integers = [bibliography.INTEGERS] * any(s.lineage.float_bits is None for s in systems)
    return list(dict.fromkeys([*found, *integers, bibliography.CODECARBON]))


def _without_phases(runs: Collection[str]) -> list[str]:
    """Some runs without the first phases of those that are among them."""
    return [run for run in runs if not (run.endswith(FIRST_PHASE) and run.removesuffix(FIRST_PHASE) in runs)]


def _measured(s: System, lineage: Lineage, of: str = "") -> Measured:
    """The metrics of a system, or of a training of it."""
    return Measured(of or _short(s), lineage.quantized.scores, is_of_challenge(lineage.kind))


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
