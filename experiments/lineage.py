"""From a quantised run back to the student it was made of, and to the teachers that the student learnt from.

Conventions: runs are found by content, not by name: a run.json holds the fingerprint of each file that the run read,
and the run that made the file lies in a folder beside, runs/<stage>/<any name>.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from data.errors import UserError
from experiments.energy import read_energy
from experiments.paths import CHECKPOINT, LOGITS, MODEL, RECORD, SCORES, sha256

CONFIG = "config.yaml"


@dataclass(frozen=True)
class Source:
    """A finished run.

    Attributes:
        folder: where it lies.
        settings, inputs: what its result depends on, see runs.py.
        scores: its figures.
    """

    folder: Path
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    scores: Mapping[str, float]

    @property
    def kwh(self) -> float:
        """Measured while it was trained; 0 where nothing was."""
        return sum(value for key, value in read_energy(self.folder).items() if key.endswith("/kWh"))


@dataclass(frozen=True)
class Lineage:
    """A quantised run, its student, and the teachers that can be found; `energy` are the figures of stage=energy."""

    quantized: Source
    student: Source
    teachers: tuple[Source, ...]
    energy: Mapping[str, float]
    config: Mapping[str, Any]

    @property
    def model(self) -> Path:
        """The file that is shipped."""
        return self.quantized.folder / MODEL


def read_lineage(folder: Path) -> Lineage:
    """Of runs/quantize/<name>.

    Raises:
        UserError: it is no finished quantized run with a model.tflite, or its student is gone.
    """
    quantized = _source(folder)
    if not (folder / MODEL).is_file():
        raise UserError(f"{folder} has no {MODEL}: only a run of stage=quantize that made integers can be submitted")
    runs = folder.resolve().parent.parent
    asked = quantized.inputs.get("checkpoint")
    students = [path.parent for path in runs.glob(f"student/*/{CHECKPOINT}") if sha256(path) == asked]
    if not students:
        raise UserError(f"{folder} was made of a student that is in none of {runs / 'student'}/*: restore it there")
    student = _source(students[0])
    energy = runs / "energy" / folder.name
    figures = _json(energy / SCORES) if (energy / RECORD).is_file() else {}
    config = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
    return Lineage(quantized, student, tuple(_teachers(runs, student)), figures, config)


def _teachers(runs: Path, pupil: Source) -> list[Source]:
    """Those whose logits it read, and those whose logits these were made of."""
    made = _makers(runs)
    read = [word for value in pupil.inputs.values() for word in value.split()]
    found = [_source(made[word]) for word in read if word in made]
    out: dict[Path, Source] = {}
    for source in found:
        members = _teachers(runs, source) if source.folder.parent.name == "ensemble" else [source]
        out |= {member.folder: member for member in members}
    return list(out.values())


@cache
def _makers(runs: Path) -> Mapping[str, Path]:
    """Fingerprint of each file of logits -> its run's folder."""
    files = [*runs.glob(f"teacher/*/{LOGITS}"), *runs.glob(f"ensemble/*/{LOGITS}")]
    return {sha256(path): path.parent for path in sorted(files) if (path.parent / RECORD).is_file()}


def _source(folder: Path) -> Source:
    record = _json(folder / RECORD)
    if not isinstance(record.get("settings"), Mapping) or not isinstance(record.get("inputs"), Mapping):
        raise UserError(
            f"{folder / RECORD} is damaged: it must hold settings and inputs; run the stage with force=true"
        )
    return Source(folder, record["settings"], record["inputs"], _json(folder / SCORES))


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: is {path.parent} the folder of a finished run?") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): run the stage again with force=true") from None
    if not isinstance(content, Mapping):
        raise UserError(f"{path} is damaged: it must be names with values; run the stage again with force=true")
    return content
