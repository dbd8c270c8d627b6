"""What it cost to train what is in a file: the runs that lead to it, found by their files' fingerprints, and their kWh.

Conventions: a stage's entry has kWh and seconds, both None where a part of it is not known, `runs` (folder to kWh) and
`missing` (in words). Nothing is guessed: a run that is not found, or that metered nothing, is named. Published weights
that a teacher began with cost what they cost elsewhere, and are not counted.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files import file_sha256
from experiments.runs.energy import Metered, read_phases
from experiments.runs.layout import CHECKPOINT, LOGITS, MODEL, RECORD

DATA = ("waves", "clips", "impulses")  # inputs of an ensemble that are no members
UNKNOWN: Metered = {"kWh": None, "seconds": None, "estimated": False}
SHORT = 12  # digits of a fingerprint that are shown


def trainings(model: Path, metadata: Mapping[str, Any], runs: Path) -> dict[str, Metered]:
    """The phases training/quantize (if it trained), training/student and training/teacher (if there was one), and
    training/all.

    Args:
        model: the file.
        metadata: what it says of itself.
        runs: the folder of all runs.
    """
    found: dict[str, Metered] = {}
    quantized, missing = _makers(runs / "quantize", MODEL, [file_sha256(model)])
    trained = [folder for folder in quantized if _record(folder)["settings"].get("quantize", {}).get("method") == "qat"]
    if trained or missing:
        found["training/quantize"] = _entry("quantize", trained, missing)
    students, missing = _makers(runs / "student", CHECKPOINT, [str(metadata.get("checkpoint_sha256"))])
    found["training/student"] = _entry("student", students, missing)
    teachers, missing = teachers_behind(runs, _inputs([*trained, *students], "logits"))
    if not students:
        missing.append("whoever taught the student, whose run is not known")
    if teachers or missing:
        found["training/teacher"] = _entry("teacher", teachers, missing)
    return {**found, "training/all": _sum(list(found.values()))}


def teachers_behind(runs: Path, logits: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The trainings behind some logits: of an ensemble's members, and of whom `only=logits` listened with."""
    ensembles, direct = written(runs / "ensemble", LOGITS, logits)
    members = [digest for folder in ensembles for name, digest in _record(folder)["inputs"].items() if name not in DATA]
    folders, missing = _makers(runs / "teacher", LOGITS, [*direct, *members])
    listeners = [folder for folder in folders if "only" in _record(folder)["settings"]]
    trained, unknown = _makers(runs / "teacher", CHECKPOINT, _inputs(listeners, "checkpoint"))
    return list(dict.fromkeys([*(f for f in folders if f not in listeners), *trained])), [*missing, *unknown]


def written(stage: Path, file: str, digests: Iterable[str]) -> tuple[list[Path], list[str]]:
    """The finished runs of a stage that wrote files of these fingerprints, and those that nobody wrote."""
    wanted = list(dict.fromkeys(digests))
    paths = sorted(stage.glob(f"*/{file}")) if wanted else []  # to read them takes a while
    folders = {file_sha256(path): path.parent for path in paths if _record(path.parent)}
    return [folders[digest] for digest in wanted if digest in folders], [d for d in wanted if d not in folders]


def _makers(stage: Path, file: str, digests: Iterable[str]) -> tuple[list[Path], list[str]]:
    """The finished runs of a stage that wrote files of these fingerprints, and in words what nobody wrote."""
    folders, missing = written(stage, file, digests)
    return folders, [f"no run in {stage} has the {file} {digest[:SHORT]}" for digest in missing]


def _inputs(folders: Iterable[Path], name: str) -> list[str]:
    """Fingerprints of what runs learnt from; there may be several under a name."""
    return [digest for folder in folders for digest in str(_record(folder)["inputs"].get(name, "")).split()]


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


def _record(folder: Path) -> Mapping[str, Any]:
    """What a run's result depends on; nothing for a run that is not finished, or damaged."""
    try:
        record = json.loads((folder / RECORD).read_text())
        return record if isinstance(record["settings"], dict) and isinstance(record["inputs"], dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
