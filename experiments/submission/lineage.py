"""The runs that a submitted model was made from: the run that wrote it, its student and the teachers of both, and what
all of them cost.

Conventions: they are found by fingerprints, as in runs/lineage.py. Nothing is guessed: what is not found is an error.
What is submitted is the file of integers of a quantised run, or floats: of 16 bits of such a run, or of 32 bits, the
checkpoint of a student's run.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import UserError, listed
from data.files import file_sha256
from experiments.runs.formats import Metered
from experiments.runs.identity import IMPORTED
from experiments.runs.layout import CHECKPOINT, CONFIG, LAYERS, RECORD, is_float, model_in
from experiments.runs.lineage import first_phase, pretrained_by, teachers_behind, trainings
from experiments.runs.reader import RunFiles, find_record, is_run, read_run
from experiments.runs.relatives import measured_energy
from experiments.runs.writers import Needed, needed, written

NEEDED: Mapping[str, Mapping[str, type]] = {  # stage: setting -> type; what the description and the report are made of
    "quantize": {"quantize.method": str},
    "student": {"student.builder": str, "student.mel.kind": str},
    "teacher": {"teacher.builder": str, "teacher.pretrained": bool},
}
STUDENT = "student"
WHOLE_BITS, HALF_BITS = 32, 16  # of floats
AGAIN = "run its stage again with force=true"


@dataclass(frozen=True)
class Lineage:
    """Where a submitted system comes from.

    Attributes:
        quantized: the run that wrote the model and has its metrics; of floats of 32 bits the student's.
        student: the run that trained it.
        teachers: of the student, of those that it began with, and of training it as integers.
        energy: by phase: inference, baseline and baseline/training, as stage=energy states them for this very file;
            training/..., see runs/lineage.py.
        data: the settings of `data` that the student was trained with.
        kind: of the data set that the metrics are of.
        pretrained: the students that the student began with, the latest first.
        specialized: the run that gave the student tensors of devices; None: it has none.
        first_phases: those that chose the number of steps of the others (refit=true).
    """

    quantized: RunFiles
    student: RunFiles
    teachers: tuple[RunFiles, ...]
    energy: Mapping[str, Metered]
    data: Mapping[str, Any]
    kind: str
    pretrained: tuple[RunFiles, ...] = ()
    specialized: RunFiles | None = None
    first_phases: tuple[RunFiles, ...] = ()

    @property
    def runs(self) -> tuple[RunFiles, ...]:
        """All of them, the latest first."""
        special = () if self.specialized is None else (self.specialized,)
        student = () if self.student is self.quantized else (self.student,)
        return (self.quantized, *special, *student, *self.pretrained, *self.teachers, *self.first_phases)

    @property
    def model(self) -> Path:
        """The file that is shipped."""
        return model_in(self.quantized.folder)

    @property
    def float_bits(self) -> int | None:
        """Of each number, where floats are shipped; None: integers are."""
        if not is_float(self.model):
            return None
        return WHOLE_BITS if self.quantized.stage == STUDENT else HALF_BITS

    @property
    def bits(self) -> tuple[int, ...]:
        """Of the layers' weights, each width once; of integers."""
        return tuple(sorted({row["bits"] for row in self.quantized.layers}))

    def kwh(self, phase: str) -> float | None:
        """None if it is not known."""
        return self.energy.get(phase, {}).get("kWh")


def read_lineage(folder: Path, *, device_is_known: bool = False, foreign: Collection[str] = ()) -> Lineage:
    """Of runs/quantize/<name>, or of runs/student/<name>, whose floats of 32 bits are then submitted.

    Args:
        folder: the run's.
        device_is_known: whether the evaluation set says which device recorded a clip; without that a student with
            tensors of devices cannot be submitted.
        foreign: fingerprints of checkpoints of others, of which the user says what they are; like those of published
            weights, their costs are not counted.

    Raises:
        UserError: it is no finished run with a model, or not with the one that it wrote; of integers the layers.json,
            its student or a teacher is gone, or files are damaged.
    """
    stage = folder.resolve().parent.name
    if stage == "specialize":
        raise UserError(
            f"{folder} is a student with tensors of devices: quantise it for the package of 2025, or submit the "
            "general student that it goes on from"
        )
    if stage not in (STUDENT, "quantize") and is_run(folder):
        raise UserError(f"{folder} is a run of the {stage} stage: name one of the quantize or of the student stage")
    is_student = stage == STUDENT
    quantized = _run(folder, STUDENT if is_student else "quantize")
    model = model_in(folder)
    _require_written(model, device_is_known=device_is_known)
    if not (is_float(model) or quantized.layers):
        raise UserError(f"{folder} has no {LAYERS} with the bits of its layers: {AGAIN}")
    runs = folder.resolve().parent.parent
    checkpoint = file_sha256(model) if is_student else str(quantized.inputs.get("checkpoint", ""))
    asked = Needed(checkpoint, [model.resolve()], folder.name) if is_student else needed(folder, checkpoint)
    students, _, unclear = written(runs / STUDENT, CHECKPOINT, [asked])
    if unclear:
        raise UserError(f"{folder} was made of a student that is there twice, keep one:\n{listed(unclear)}")
    specialized = None if students else _specialized(folder, runs, checkpoint)
    if specialized is not None and device_is_known:
        general = [needed(specialized.folder, str(specialized.inputs.get("checkpoint", "")))]
        students, *_ = written(runs / STUDENT, CHECKPOINT, general)
    elif specialized is not None:
        raise UserError(
            f"{folder} was made of {specialized.folder}, a student with tensors of devices, and the evaluation set of "
            "2023 and 2024 names no device: quantise the general student that it goes on from, and submit that"
        )
    if not students:
        raise UserError(f"{folder} was made of a student that is in none of {runs / STUDENT}/*: restore it there")
    student = quantized if is_student else _run(students[0], STUDENT)
    earlier, _ = pretrained_by(runs, students)  # what is not found must be named, see declared.py
    own = [] if specialized is None else [specialized.folder]
    teachers, missing = teachers_behind(runs, [folder, *own, *students, *earlier])
    if missing:
        raise UserError(
            f"{folder} learnt from teachers that are gone, and what they had learnt from must be declared; restore "
            f"them:\n{listed(missing)}"
        )
    teachers += pretrained_by(runs, teachers, stage="teacher")[0]  # as of students
    pretrained = tuple(_run(each, STUDENT) for each in earlier)
    first_phases = list(filter(None, map(first_phase, [*students, *earlier, *teachers])))
    found = Lineage(
        quantized,
        student,
        tuple(_run(teacher, "teacher") for teacher in teachers),
        measured_energy(model) | trainings(model, {"checkpoint_sha256": checkpoint}, runs, foreign=foreign),
        _data(student),
        _data(quantized)["kind"],
        pretrained,
        specialized,
        tuple(map(read_run, first_phases)),
    )
    for each in found.runs:
        _data(each)  # which must be declared
    return found


def _require_written(model: Path, *, device_is_known: bool) -> None:
    """Check that a file can be submitted.

    Raises:
        UserError: it is not there, or not the one that its run wrote; or it holds floats, where an inference package is
            asked for.
    """
    folder, record = model.parent, find_record(model.parent)
    if not model.is_file():
        wanted = CHECKPOINT if folder.resolve().parent.name == STUDENT else model.name
        raise UserError(f"{folder} has no {wanted}: name a run of the quantize or of the student stage that has one")
    if is_float(model) and device_is_known:
        raise UserError(
            f"{folder} stores floats, and the inference package of this year holds files of integers: quantise the "
            "student to integers under another name, and submit that"
        )
    if record is not None and record.models.get(model.name) not in (None, file_sha256(model)):
        raise UserError(
            f"{model} is not the file that its run wrote, and the metrics of the run are of that one: restore it, or "
            "run the stage again with force=true"
        )


def _specialized(folder: Path, runs: Path, checkpoint: str) -> RunFiles | None:
    """The run of the specialize stage that wrote this checkpoint, or the training of one of its devices.

    Raises:
        UserError: there are several.
    """
    found, _, unclear = written(runs / "specialize", CHECKPOINT, [needed(folder, checkpoint)])
    if unclear:
        raise UserError(f"{folder} was made of a student that is there twice, keep one:\n{listed(unclear)}")
    return read_run(found[0]) if found else None


def _run(folder: Path, stage: str) -> RunFiles:
    """A run with the settings that are needed of one of its stage.

    Raises:
        UserError: it lacks some, or was imported.
    """
    run = read_run(folder)
    if IMPORTED in run.settings:
        raise UserError(
            f"{folder} was taken over from others: what it was trained on is not known here, and a submission must "
            "declare that; train it here, or write the package by hand"
        )
    wrong = [key for key, kind in NEEDED[stage].items() if not isinstance(run.settings.get(key), kind)]
    if wrong:
        raise UserError(f"{folder / RECORD} does not say {', '.join(wrong)}: {AGAIN}")
    return run


def _data(run: RunFiles) -> Mapping[str, Any]:
    """The settings of `data` that a run was asked for."""
    try:
        return {**run.data, **{key: run.data[key] for key in ("kind", "subset", "validation_fraction")}}
    except KeyError:
        raise UserError(f"{run.folder / CONFIG} does not say which data the run was of: {AGAIN}") from None
