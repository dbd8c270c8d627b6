"""What the builders of a system's networks declare: family, citation, and what a teacher was trained on before.

Conventions: a builder is found by the name in a run's settings; one that is not installed is an error, so that nothing
is left out of a description silently.
"""

from collections.abc import Callable
from typing import TypeVar

from data.errors import UserError
from experiments.runs.reader import RunFiles
from students import find_student
from students.entry import Student
from teachers import find_teacher
from teachers.entry import Pretraining, Teacher

ARGUMENTS = "teacher.arguments."

Entry = TypeVar("Entry")


def student_of(run: RunFiles) -> Student:
    """The entry of a run's student.

    Raises:
        UserError: there is no such student.
    """
    return _find(find_student, run, "student.builder")


def teacher_of(run: RunFiles) -> Teacher:
    """The entry of a run's teacher.

    Raises:
        UserError: there is no such teacher.
    """
    return _find(find_teacher, run, "teacher.builder")


def pretraining_of(run: RunFiles) -> Pretraining:
    """What the weights were trained on that a run's teacher started from.

    Raises:
        UserError: there is no such teacher.
    """
    settings = run.settings.items()
    arguments = {key.removeprefix(ARGUMENTS): value for key, value in settings if key.startswith(ARGUMENTS)}
    pretrained, weights = run.settings["teacher.pretrained"], run.settings.get("teacher.weights")
    return teacher_of(run).pretraining(arguments, pretrained=pretrained, weights=weights)


def is_pretrained(run: RunFiles) -> bool:
    """Whether a run's teacher started from weights that were trained before."""
    return bool(run.settings["teacher.pretrained"] or run.settings.get("teacher.weights"))


def _find(find: Callable[[str], Entry], run: RunFiles, key: str) -> Entry:
    try:
        return find(str(run.settings[key]))
    except UserError as error:
        raise UserError(f"{run.folder} cannot be described: {error}") from None
