"""From a quantised run back to the student it was made of, and to the teachers that the student learnt from.

Conventions: runs are found by content, not by name: a run.json holds the fingerprint of each file that the run read,
and the run that made the file lies in a folder beside, runs/<stage>/<any name>.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data.errors import UserError
from experiments.paths import CHECKPOINT, MODEL
from experiments.run_files import RunFiles, is_run, read_run
from experiments.training_energy import teachers_behind, written


@dataclass(frozen=True)
class Lineage:
    """Where a submitted system comes from.

    Attributes:
        quantized, student: the runs.
        teachers: those that can be found.
        energy: the figures of stage=energy; none where it did not run.
        data: the settings of `data` that the quantised run was asked for.
    """

    quantized: RunFiles
    student: RunFiles
    teachers: tuple[RunFiles, ...]
    energy: Mapping[str, float]
    data: Mapping[str, Any]

    @property
    def model(self) -> Path:
        """The file that is shipped."""
        return self.quantized.folder / MODEL

    @property
    def bits(self) -> tuple[int, ...]:
        """Of the layers' weights, each width once."""
        return tuple(sorted({row["bits"] for row in self.quantized.layers}))


def read_lineage(folder: Path) -> Lineage:
    """Of runs/quantize/<name>.

    Raises:
        UserError: it is no finished quantized run with a model.tflite, its student is gone, or files are damaged.
    """
    quantized = read_run(folder)
    if not (folder / MODEL).is_file():
        raise UserError(f"{folder} has no {MODEL}: only a run of stage=quantize that made integers can be submitted")
    runs = folder.resolve().parent.parent
    students, _ = written(runs / "student", CHECKPOINT, [quantized.inputs.get("checkpoint", "")])
    if not students:
        raise UserError(f"{folder} was made of a student that is in none of {runs / 'student'}/*: restore it there")
    student = read_run(students[0])
    teachers, _ = teachers_behind(runs, student.inputs.get("logits", "").split())
    energy = runs / "energy" / folder.name
    figures = read_run(energy).scores if is_run(energy) else {}
    return Lineage(
        quantized, student, tuple(map(read_run, teachers)), figures, yaml.safe_load(quantized.config)["data"]
    )
