"""The checkpoint of an earlier training that a teacher or a student begins with: `teacher.start`, `student.weights`."""

import dataclasses
from pathlib import Path

from data.errors import UserError
from experiments.datasets.datamodule import DataModule
from experiments.runs.layout import CHECKPOINT, first_phase_of
from experiments.settings.shared import Settings
from experiments.stages.whereabouts import layout_of
from experiments.training.checkpoint import load_teacher
from experiments.training.pretrained import STUDENT, TEACHER, Kind


def beginning_of(settings: Settings, kind: Kind) -> Path | None:
    """The file, named by itself or by the folder of its run; None: the network begins otherwise.

    Raises:
        UserError: it is the one that the run itself writes.
    """
    named = settings.student.weights if kind is STUDENT else settings.teacher.start
    if named is None:
        return None
    path, own = Path(named), layout_of(settings).folder(kind.word)
    path = path / CHECKPOINT if path.is_dir() else path
    if path.resolve().parent in [each.resolve() for each in (own, first_phase_of(own))]:
        raise UserError(f"{kind.key}={named} is of this run itself: choose another name=...")
    return path


def as_begun(settings: Settings) -> Settings:
    """The settings of a teacher as they are with teacher.start, which takes the place of published weights.

    Raises:
        UserError: these are given too.
    """
    teacher = settings.teacher
    if teacher.start is None:
        return settings
    given = {"teacher.weights": teacher.weights, "teacher.pretrained": teacher.pretrained}
    if twice := [f"{key}={value}" for key, value in given.items() if value and key in settings.given]:
        raise UserError(
            f"teacher.start={teacher.start} and {', '.join(twice)} are two beginnings of one teacher: give one of them"
        )
    return dataclasses.replace(settings, teacher=dataclasses.replace(teacher, pretrained=False, weights=None))


def require_unheard(settings: Settings, data: DataModule) -> None:
    """Check that the teacher that those of teacher.folds begin with was not trained on these train clips.

    Raises:
        UserError: it was.
    """
    if (start := beginning_of(settings, TEACHER)) is None:
        return
    _, found = load_teacher(start)
    if found.clips in (data.fingerprint["clips"], data.with_all_trained.fingerprint["clips"]):
        raise UserError(
            f"teacher.folds={settings.teacher.folds} wants teachers that have not heard the clips they answer to, and "
            f"teacher.start={settings.teacher.start} was trained on all of them: leave one of the two out"
        )
