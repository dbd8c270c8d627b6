"""The runs that led to a model file, and what they cost in energy.

Conventions: those of writers.py and energy.py. The entry of a phase has kWh and seconds, both None where a part is not
known, `runs` (folder to kWh), `missing` and `lost` (in words), and `on`: the hardware, and how it was read. A run that
is not found, or that did not meter the phase, is named. What published weights cost, with which a teacher began, and
the average of an ensemble's files are not counted; each run is counted once.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from data.files import file_sha256
from data.resources import WEIGHTS
from experiments.runs.formats import Metered, not_metered
from experiments.runs.identity import flat
from experiments.runs.layout import CHECKPOINT, ENERGY, LOGITS, MODEL, first_phase_of, is_float
from experiments.runs.meter import LOGITS_PHASE, joined
from experiments.runs.phases import ALL
from experiments.runs.reader import read_phases
from experiments.runs.writers import Needed, all_written, inputs_of, needed, record_of, written

CALIBRATION = "held_out_logits"  # input: first phases' logits that weights or temperatures were fitted to
DATA = ("waves", "clips", "impulses", CALIBRATION)  # inputs of an ensemble that are no members

FIRST = "first_phase"  # input of a run with refit=true: the checkpoint of its first phase
SETS = "sets"  # input of a student with tensors of devices: the checkpoints of the devices' own trainings
PRETRAINED = "weights"  # input of a student that began with the checkpoint of another one, and of a teacher

OF_SUMS = ("kWh", "seconds", "estimated", "codecarbon", "on", "lost")
WHAT = {LOGITS_PHASE: "writing of logits", "quantize": "quantisation"}  # phases that are no trainings


def trainings(
    model: Path, metadata: Mapping[str, Any], runs: Path, name: str | None = None, foreign: Collection[str] = ()
) -> dict[str, Metered]:
    """The phases training/quantize (calibration, choice of bits, training as integers), training/specialize (of
    devices' tensors), training/student, training/teacher and training/logits (if there was a teacher), and
    training/all, their sum.

    Args:
        model: the file, of integers or floats.
        metadata: that of a file of integers.
        runs: the folder of all runs.
        name: of the runs that are preferred where nothing else tells; None: that of the model's folder.
        foreign: see pretrained_by; like published weights, their cost is not counted.
    """
    found: dict[str, Metered] = {}
    model = model.resolve()
    this = Needed(file_sha256(model), [model], name or model.parent.name)
    if is_float(model):  # of a student, or rounded to 16 bits, which costs nothing that a meter reads
        quantized, _, missing = written(runs / "quantize", CHECKPOINT, [this])
        readers = [each for folder in quantized for each in inputs_of(folder, "checkpoint")] or [this]
    else:
        quantized, missing = all_written(runs / "quantize", MODEL, [this])
        digest = str(metadata.get("checkpoint_sha256"))
        readers = [needed(folder, digest) for folder in quantized] or [Needed(digest, [], this.name)]
        found["training/quantize"] = entry_of("quantize", quantized, missing)
    devices, others, missing = written(runs / "specialize", CHECKPOINT, readers)
    if devices or missing:
        others += [each for folder in devices for each in inputs_of(folder, "checkpoint")]
        sets = [each for folder in devices for each in inputs_of(folder, SETS)]  # of a run with all devices
        parts, gone = all_written(runs / "specialize", CHECKPOINT, sets)
        devices = [*(folder for folder in devices if not inputs_of(folder, SETS)), *parts]
        found["training/specialize"] = entry_of("specialize", devices, [*missing, *gone])
    students, missing = all_written(runs / "student", CHECKPOINT, others)
    earlier, gone = pretrained_by(runs, students, foreign)
    found["training/student"] = entry_of("student", [*students, *earlier], [*missing, *gone])
    learners = [*quantized, *devices, *students, *earlier]
    teachers, missing = teachers_behind(runs, learners)
    begun, gone = pretrained_by(runs, teachers, foreign, stage="teacher")
    writers, unknown = writers_of_logits(runs, learners)
    own = [] if students else ["the student's teachers: its own run is not known"]
    if teachers or missing or own:
        trained = [each for each in (*teachers, *begun) if was_trained(each)]
        found["training/teacher"] = entry_of("teacher", trained, [*missing, *gone, *own])
        found["training/logits"] = entry_of(LOGITS_PHASE, writers, [*unknown, *own])
    return {**found, ALL: _sum(list(found.values()))}


def pretrained_by(
    runs: Path, latest: Sequence[Path], foreign: Collection[str] = (), stage: str = "student"
) -> tuple[list[Path], list[str]]:
    """The other runs whose checkpoints some students or teachers began with, those that these began with, and so on;
    and in words what was not found. Files of `teacher.weights` that no run wrote are somebody's, and not missing.

    Args:
        runs: the folder of all runs.
        latest: the folders of the runs to begin with, of a stage.
        foreign: fingerprints of checkpoints that are known to be of no run, and are not looked for.
        stage: student or teacher.
    """
    known = {folder.resolve() for folder in latest}
    found: list[Path] = []
    missing: list[str] = []
    while latest:
        begun = {folder: [each for each in _begun(folder) if each.digest not in foreign] for folder in latest}
        latest = []
        for folder, wanted in begun.items():
            folders, gone = all_written(runs / stage, CHECKPOINT, wanted)
            missing += gone if stage == "student" or _goes_on(folder) else []
            latest += [each for each in folders if each.resolve() not in known]
            known |= {each.resolve() for each in latest}
        found += latest
    return found, missing


def teachers_behind(runs: Path, learners: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The runs that trained the teachers of some runs, also those of an ensemble's members and of runs with
    `only=logits`, which use the checkpoint of another run, or else published weights: these runs are named themselves,
    and cost nothing; and in words what was not found.

    Args:
        runs: the folder of all runs.
        learners: the runs that learnt from logits.
    """
    folders, missing = writers_of_logits(runs, learners)
    untrained = [folder for folder in folders if not was_trained(folder)]
    checkpoints = [each for folder in untrained for each in inputs_of(folder, "checkpoint")]
    trained, gone = all_written(runs / "teacher", CHECKPOINT, checkpoints)
    own = [f for f in folders if f not in untrained or "checkpoint" not in record_of(f).inputs]  # of published weights
    found = {folder.resolve(): folder for folder in [*own, *trained]}
    return list(found.values()), [*missing, *gone]


def writers_of_logits(runs: Path, learners: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The runs of teachers that wrote the logits that some runs learnt from, each once; and in words what was not
    found."""
    logits = [each for folder in learners for each in inputs_of(folder, "logits")]
    ensembles, others, unclear = written(runs / "ensemble", LOGITS, logits)
    members = [each for folder in ensembles for name in record_of(folder).inputs for each in _member(folder, name)]
    folders, missing = all_written(runs / "teacher", LOGITS, [*others, *members])
    folders = [each for folder in folders for each in _fold_runs(folder) or [folder]]
    return list({folder.resolve(): folder for folder in folders}.values()), [*unclear, *missing]


def first_phase(folder: Path) -> Path | None:
    """The folder of the first phase of a run with refit=true; None: it is no such run, or what is there is another."""
    return first_phase_by(folder, record_of(folder).inputs)


def first_phase_by(folder: Path, inputs: Mapping[str, Any]) -> Path | None:
    """As first_phase, of a run with these inputs, which may have no record yet."""
    first, wanted = first_phase_of(folder), inputs.get(FIRST)
    path = first / CHECKPOINT
    return first if wanted is not None and path.is_file() and file_sha256(path) == wanted else None


def digests_of(paths: Sequence[Path]) -> str:
    """Fingerprints of some files, in their order, as one input of a run."""
    return " ".join(file_sha256(path) for path in paths)


def of_first_phases(paths: Sequence[Path]) -> list[Path]:
    """The files whose answers to the validation clips weights and temperatures are fitted to: of a teacher that was
    trained twice (refit=true) that of its first phase, which was not trained on these clips."""
    firsts = [first_phase(path.resolve().parent) for path in paths]
    return [path if first is None else first / path.name for path, first in zip(paths, firsts, strict=True)]


def _begun(folder: Path) -> list[Needed]:
    """The file that a run began with, unless it is known as somebody's."""
    uses = [use for use in record_of(folder).external or [] if use.what == WEIGHTS]
    return [] if uses and all(use.is_known for use in uses) else inputs_of(folder, PRETRAINED)


def _goes_on(folder: Path) -> bool:
    """Whether a teacher began with the checkpoint of another training, and not with published weights."""
    return flat(record_of(folder).settings).get("teacher.start") is not None


def _member(folder: Path, name: str) -> list[Needed]:
    """An input of an ensemble, if it is a member."""
    return [] if name in DATA else inputs_of(folder, name)


def was_trained(folder: Path) -> bool:
    """Whether a run is a training; one with `only=logits` applies weights that are there."""
    return "only" not in record_of(folder).settings


def _fold_runs(folder: Path) -> list[Path]:
    """Of a teacher of several folds (teacher.folds) the runs that trained them."""
    record = record_of(folder)
    return [path.parent for path in record.sources] if flat(record.settings).get("teacher.folds") else []


def first_phases(folder: Path) -> list[Path]:
    """The run that chose the number of steps of a run, if that was trained twice (refit=true)."""
    if not record_of(folder).settings.get("refit"):
        return []
    return [first_phase(folder) or first_phase_of(folder)]  # without it there, its cost is not known


def entry_of(phase: str, folders: Iterable[Path], missing: Iterable[str]) -> Metered:
    """What a phase of some runs cost together, each with its first phase, if it was trained twice."""
    every = {each.resolve(): each for folder in folders for each in (folder, *first_phases(folder))}
    found = {str(folder): read_phases(folder) for folder in every.values()}
    known = {folder: phases[phase] for folder, phases in found.items() if phase in phases}
    what = WHAT.get(phase, "training")
    missing = [*missing, *(_why(folder, what) for folder in found if folder not in known)]
    missing += [f"{folder}: {why}" for folder, part in known.items() for why in part.get("missing", [])]
    lost = [f"{folder}: {why}" for folder, part in known.items() for why in part.get("lost", [])]
    sums = _sum([not_metered()] if missing else list(known.values()))
    parts = {folder: part["kWh"] for folder, part in known.items()}
    return {**sums, "runs": parts, "missing": missing, **({"lost": lost} if lost else {})}


def _why(folder: str, what: str) -> str:
    """Why a run has no reading of something."""
    there = (Path(folder) / ENERGY).is_file() and not read_phases(Path(folder))
    return f"{folder}: its {ENERGY} is damaged" if there else f"{folder}: {what} not metered"


def _sum(parts: Sequence[Metered]) -> Metered:
    """The parts' costs together; None if one is not known."""
    together = reduce(joined, parts, {"kWh": 0, "seconds": 0, "estimated": False})
    return {key: together[key] for key in OF_SUMS if key in together}
