"""The trainings that led to a model file, and what they cost in energy.

Conventions: a run is found by the fingerprints of files: a run.json has those of the files that the run read, and the
run that wrote a file lies in runs/<stage>/<any name>. The entry of a stage has kWh and seconds, both None where a part
is not known, `runs` (folder to kWh) and `missing` (in words). Nothing is guessed: a run that is not found, or that
metered nothing, is named. What published weights cost, with which a teacher began, is not counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files import file_sha256
from experiments.runs.formats import Metered, Record
from experiments.runs.identity import flat
from experiments.runs.layout import CHECKPOINT, LOGITS, MODEL
from experiments.runs.reader import find_record, read_phases

DATA = ("waves", "clips", "impulses")  # inputs of an ensemble that are no members
UNKNOWN: Metered = {"kWh": None, "seconds": None, "estimated": False}
SHORT = 12  # digits of a fingerprint that are shown


def trainings(model: Path, metadata: Mapping[str, Any], runs: Path) -> dict[str, Metered]:
    """The phases training/quantize (if it trained), training/student and training/teacher (if there was one), and
    training/all, their sum.

    Args:
        model: the file.
        metadata: that of the file.
        runs: the folder of all runs.
    """
    found: dict[str, Metered] = {}
    quantized, missing = _writers(runs / "quantize", MODEL, [file_sha256(model)])
    trained = [folder for folder in quantized if flat(_record(folder).settings).get("quantize.method") == "qat"]
    if trained or missing:
        found["training/quantize"] = _entry("quantize", trained, missing)
    students, missing = _writers(runs / "student", CHECKPOINT, [str(metadata.get("checkpoint_sha256"))])
    found["training/student"] = _entry("student", students, missing)
    teachers, missing = teachers_behind(runs, _inputs([*trained, *students], "logits"))
    if not students:
        missing.append("the student's teachers: its own run is not known")
    if teachers or missing:
        found["training/teacher"] = _entry("teacher", teachers, missing)
    return {**found, "training/all": _sum(list(found.values()))}


def teachers_behind(runs: Path, logits: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The runs that trained the teachers of some logits, also of an ensemble's members and of runs with `only=logits`,
    which use the checkpoint of another run; and in words what was not found.

    Args:
        runs: the folder of all runs.
        logits: fingerprints of the files.
    """
    ensembles, direct = written(runs / "ensemble", LOGITS, logits)
    members = [digest for folder in ensembles for name, digest in _record(folder).inputs.items() if name not in DATA]
    folders, missing = _writers(runs / "teacher", LOGITS, [*direct, *members])
    untrained = [folder for folder in folders if "only" in _record(folder).settings]
    trained, unknown = _writers(runs / "teacher", CHECKPOINT, _inputs(untrained, "checkpoint"))
    return list(dict.fromkeys([*(f for f in folders if f not in untrained), *trained])), [*missing, *unknown]


def written(stage: Path, file: str, digests: Iterable[str]) -> tuple[list[Path], list[str]]:
    """The finished runs of a stage that wrote files of these fingerprints, and the fingerprints of no run's file."""
    wanted = list(dict.fromkeys(digests))
    paths = sorted(stage.glob(f"*/{file}")) if wanted else []  # to read them takes a while
    folders = {file_sha256(path): path.parent for path in paths if find_record(path.parent) is not None}
    return [folders[digest] for digest in wanted if digest in folders], [d for d in wanted if d not in folders]


def _writers(stage: Path, file: str, digests: Iterable[str]) -> tuple[list[Path], list[str]]:
    """As `written`, with what was not found in words."""
    folders, missing = written(stage, file, digests)
    return folders, [f"no run in {stage} has the {file} {digest[:SHORT]}" for digest in missing]


def _inputs(folders: Iterable[Path], name: str) -> list[str]:
    """The fingerprints that an input of some runs has, which may be several, separated by spaces."""
    return [digest for folder in folders for digest in _record(folder).inputs.get(name, "").split()]


def _entry(stage: str, folders: Iterable[Path], missing: Iterable[str]) -> Metered:
    """What a stage's trainings cost together."""
    phases = {str(folder): read_phases(folder).get(stage) for folder in folders}
    missing = [*missing, *(f"{folder} metered no training" for folder, phase in phases.items() if phase is None)]
    known = {folder: phase for folder, phase in phases.items() if phase is not None}
    sums = _sum([UNKNOWN] if missing else list(known.values()))
    return {**sums, "runs": {folder: phase["kWh"] for folder, phase in known.items()}, "missing": missing}


def _sum(parts: Sequence[Metered]) -> Metered:
    """The parts' costs together; None if one is not known."""
    sums = {key: None if None in (v := [part[key] for part in parts]) else sum(v) for key in ("kWh", "seconds")}
    return {**sums, "estimated": any(part["estimated"] for part in parts)}


def _record(folder: Path) -> Record:
    """Of a run; an empty one if it is not finished, or damaged."""
    return find_record(folder) or Record({}, {}, [])
