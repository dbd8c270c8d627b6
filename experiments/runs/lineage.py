"""The trainings that led to a model file, and what they cost in energy.

Conventions: a run is found by the fingerprints of files: a run.json has those of the files that the run read, and the
run that wrote a file lies in runs/<stage>/<any name>. Equal trainings write equal bytes, and not at equal cost: of
several runs with the same file it is the one that the reader's run.json names, or else the one of the reader's name.
The entry of a stage has kWh and seconds, both None where a part is not known, `runs` (folder to kWh) and `missing` (in
words). Nothing is guessed: a run that is not found, or that metered nothing, is named. What published weights cost,
with which a teacher began, is not counted.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from data.files import file_sha256
from data.resources import WEIGHTS
from experiments.runs.formats import Metered, Record, not_metered
from experiments.runs.identity import flat
from experiments.runs.layout import CHECKPOINT, LOGITS, MODEL, first_phase_of
from experiments.runs.meter import joined
from experiments.runs.reader import find_record, read_phases

CALIBRATION = "held_out_logits"  # input: first phases' logits that weights or temperatures were fitted to
DATA = ("waves", "clips", "impulses", CALIBRATION)  # inputs of an ensemble that are no members
SHORT = 12  # digits of a fingerprint that are shown

FIRST = "first_phase"  # input of a run with refit=true: the checkpoint of its first phase
SETS = "sets"  # input of a student with tensors of devices: the checkpoints of the devices' own trainings
PRETRAINED = "weights"  # input of a student that began with the checkpoint of another one, and of a teacher


class Needed(NamedTuple):
    """A file that was read: its fingerprint, the paths of what the reader read from other runs, and its name."""

    digest: str
    sources: Sequence[Path]
    name: str


def trainings(
    model: Path, metadata: Mapping[str, Any], runs: Path, name: str | None = None, foreign: Collection[str] = ()
) -> dict[str, Metered]:
    """The phases training/quantize (if it trained), training/specialize (of devices' tensors), training/student and
    training/teacher (if there was one), and training/all, their sum.

    Args:
        model: the file.
        metadata: that of the file.
        runs: the folder of all runs.
        name: of the runs that are preferred where nothing else tells; None: that of the model's folder.
        foreign: see pretrained_by; like published weights, their cost is not counted.
    """
    found: dict[str, Metered] = {}
    model = model.resolve()
    this = Needed(file_sha256(model), [model], name or model.parent.name)
    quantized, missing = _all_written(runs / "quantize", MODEL, [this])
    trained = [folder for folder in quantized if flat(_record(folder).settings).get("quantize.method") == "qat"]
    if trained or missing:
        found["training/quantize"] = _entry("quantize", trained, missing)
    digest = str(metadata.get("checkpoint_sha256"))
    readers = [needed(folder, digest) for folder in quantized] or [Needed(digest, [], this.name)]
    devices, others, missing = written(runs / "specialize", CHECKPOINT, readers)
    if devices or missing:
        others += [each for folder in devices for each in _inputs(folder, "checkpoint")]
        sets = [each for folder in devices for each in _inputs(folder, SETS)]  # of a run with all devices
        parts, gone = _all_written(runs / "specialize", CHECKPOINT, sets)
        devices = [*(folder for folder in devices if SETS not in _record(folder).inputs), *parts]
        found["training/specialize"] = _entry("specialize", devices, [*missing, *gone])
    students, missing = _all_written(runs / "student", CHECKPOINT, others)
    earlier, gone = pretrained_by(runs, students, foreign)
    found["training/student"] = _entry("student", [*students, *earlier], [*missing, *gone])
    teachers, missing = teachers_behind(runs, [*trained, *devices, *students, *earlier])
    if not students:
        missing.append("the student's teachers: its own run is not known")
    if teachers or missing:
        found["training/teacher"] = _entry("teacher", teachers, missing)
    return {**found, "training/all": _sum(list(found.values()))}


def pretrained_by(
    runs: Path, latest: Sequence[Path], foreign: Collection[str] = (), stage: str = "student"
) -> tuple[list[Path], list[str]]:
    """The runs whose checkpoints some students or teachers began with, those that these began with, and so on; and in
    words what was not found.

    Args:
        runs: the folder of all runs.
        latest: the folders of the runs to begin with, of a stage.
        foreign: fingerprints of checkpoints that are known to be of no run, and are not looked for.
        stage: student or teacher.
    """
    found: dict[Path, Path] = {}
    missing: list[str] = []
    while latest:
        begun = [each for folder in latest for each in _begun(folder) if each.digest not in foreign]
        folders, gone = _all_written(runs / stage, CHECKPOINT, begun)
        missing += gone
        latest = [folder for folder in folders if folder.resolve() not in found]
        found |= {folder.resolve(): folder for folder in latest}
    return list(found.values()), missing


def teachers_behind(runs: Path, pupils: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The runs that trained the teachers of some runs, also those of an ensemble's members and of runs with
    `only=logits`, which use the checkpoint of another run, or else published weights: these runs are named themselves,
    and cost nothing; and those whose checkpoints these teachers began with; and in words what was not found.

    Args:
        runs: the folder of all runs.
        pupils: the runs that learnt from logits.
    """
    logits = [each for folder in pupils for each in _inputs(folder, "logits")]
    ensembles, others, unclear = written(runs / "ensemble", LOGITS, logits)
    members = [each for folder in ensembles for name in _record(folder).inputs for each in _member(folder, name)]
    folders, missing = _all_written(runs / "teacher", LOGITS, [*others, *members])
    folders = [each for folder in folders for each in _fold_runs(folder) or [folder]]
    untrained = [folder for folder in folders if not _was_trained(folder)]
    checkpoints = [each for folder in untrained for each in _inputs(folder, "checkpoint")]
    trained, gone = _all_written(runs / "teacher", CHECKPOINT, checkpoints)
    own = [f for f in folders if f not in untrained or "checkpoint" not in _record(f).inputs]  # of published weights
    found = {folder.resolve(): folder for folder in [*own, *trained]}
    earlier, _ = pretrained_by(runs, list(found.values()), stage="teacher")  # other files are somebody's
    found |= {folder.resolve(): folder for folder in earlier}
    return list(found.values()), [*unclear, *missing, *gone]


def first_phase(folder: Path) -> Path | None:
    """The folder of the first phase of a run with refit=true; None: it is no such run, or what is there is another."""
    record = find_record(folder)
    return None if record is None else first_phase_by(folder, record.inputs)


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


def needed(folder: Path, digest: str) -> Needed:
    """A file that a run read."""
    return Needed(digest, _record(folder).sources, folder.resolve().name)


def written(stage: Path, file: str, wanted: Iterable[Needed]) -> tuple[list[Path], list[Needed], list[str]]:
    """The finished runs of a stage that wrote some files; those of no run; and in words which could be of several."""
    folders: dict[Path, Path] = {}  # by their real place: paths may differ
    nowhere, unclear = [], []
    for each in dict.fromkeys((digest, tuple(sources), name) for digest, sources, name in wanted):
        found = _writers(stage, file, one := Needed(*each))
        if len(found) == 1:
            folders.setdefault(found[0].resolve(), found[0])
        elif found:
            names = ", ".join(str(folder) for folder in found)
            unclear.append(f"{names} have the same {file} {one.digest[:SHORT]}, and nothing tells which was used")
        else:
            nowhere.append(one)
    return list(folders.values()), nowhere, unclear


def _writers(stage: Path, file: str, wanted: Needed) -> list[Path]:
    """The run that wrote a file; several if nothing tells which of them."""
    named = [path for path in wanted.sources if path.name == file and path.parent.parent.name == stage.name]
    # A relative path is of the folder in which the reader ran, and the runs may have been moved since.
    elsewhere = [path for path in named if not path.is_absolute()]
    moved = [stage / path.parent.name / file for path in named]
    likely = [*(path for path in named if path.is_absolute()), *moved, *elsewhere, stage / wanted.name / file]
    for path in likely:
        if _wrote(path, wanted.digest):
            return [path.parent]
    return [path.parent for path in sorted(stage.glob(f"*/{file}")) if _wrote(path, wanted.digest)]


def _wrote(path: Path, digest: str) -> bool:
    return path.is_file() and find_record(path.parent) is not None and file_sha256(path) == digest


def _all_written(stage: Path, file: str, wanted: Iterable[Needed]) -> tuple[list[Path], list[str]]:
    """As `written`, with all that was not found in words."""
    folders, nowhere, unclear = written(stage, file, wanted)
    return folders, [*(f"no run in {stage} has the {file} {each.digest[:SHORT]}" for each in nowhere), *unclear]


def _inputs(folder: Path, name: str) -> list[Needed]:
    """The files of an input of a run, which may be several, separated by spaces."""
    return [needed(folder, digest) for digest in _record(folder).inputs.get(name, "").split()]


def _begun(folder: Path) -> list[Needed]:
    """The file that a run began with, unless it is known as somebody's."""
    uses = [use for use in _record(folder).external or [] if use.what == WEIGHTS]
    return [] if uses and all(use.is_known for use in uses) else _inputs(folder, PRETRAINED)


def _member(folder: Path, name: str) -> list[Needed]:
    """An input of an ensemble, if it is a member."""
    return [] if name in DATA else _inputs(folder, name)


def _entry(stage: str, folders: Iterable[Path], missing: Iterable[str]) -> Metered:
    """What a stage's trainings cost together, each with its first phase, if it was trained twice."""
    folders = [each for folder in folders for each in (folder, *_first_phase(folder)) if _was_trained(folder)]
    phases = {str(folder): read_phases(folder).get(stage) for folder in folders}
    known = {folder: phase for folder, phase in phases.items() if phase is not None}
    missing = [*missing, *(f"{folder} metered no training" for folder in phases if folder not in known)]
    missing += [f"{folder}: {why}" for folder, phase in known.items() for why in phase.get("missing", [])]
    sums = _sum([not_metered()] if missing else list(known.values()))
    return {**sums, "runs": {folder: phase["kWh"] for folder, phase in known.items()}, "missing": missing}


def _was_trained(folder: Path) -> bool:
    """Whether a run is a training; one with `only=logits` applies weights that are there."""
    return "only" not in _record(folder).settings


def _fold_runs(folder: Path) -> list[Path]:
    """Of a teacher of several folds (teacher.folds) the runs that trained them."""
    record = _record(folder)
    return [path.parent for path in record.sources] if flat(record.settings).get("teacher.folds") else []


def _first_phase(folder: Path) -> list[Path]:
    """The run that chose the number of steps of a run, if that was trained twice (refit=true)."""
    if not _record(folder).settings.get("refit"):
        return []
    return [first_phase(folder) or first_phase_of(folder)]  # without it there, its cost is not known


def _sum(parts: Sequence[Metered]) -> Metered:
    """The parts' costs together; None if one is not known."""
    together = reduce(joined, parts, {"kWh": 0, "seconds": 0, "estimated": False})
    return {key: together[key] for key in ("kWh", "seconds", "estimated")}


def _record(folder: Path) -> Record:
    """Of a run; an empty one if it is not finished, or damaged."""
    return find_record(folder) or Record({}, {}, [])
