"""What the parts of a system declare: networks their family, citation and pretraining; front ends and data sets theirs.

Conventions: a builder is found by the name in a run's settings; one that is not installed is an error, so that nothing
is left out of a description silently.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from data.errors import UserError
from data.front_ends import DEFAULT, FrontEndEntry, front_ends
from data.readers import Reader, reader_of
from experiments.runs.reader import RunFiles
from experiments.submission.layout import YEAR
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


def features_of(run: RunFiles) -> FrontEndEntry:
    """The entry of the front end that a run's student was trained with.

    Raises:
        UserError: there is no such front end.
    """
    kind = str(run.settings.get("student.mel.kind", DEFAULT))
    if kind not in front_ends():
        raise UserError(f"{run.folder}: its front end {kind!r} is not installed; there are {', '.join(front_ends())}")
    return front_ends()[kind]


def dataset_of(data: Mapping[str, Any]) -> Reader:
    """The reader of the data set that some `data` settings name.

    Raises:
        UserError: there is no such reader.
    """
    return reader_of(str(data["kind"]))


def pretraining_of(run: RunFiles) -> Pretraining:
    """What the weights were trained on that a run's teacher started from.

    Raises:
        UserError: there is no such teacher.
    """
    settings = run.settings.items()
    arguments = {key.removeprefix(ARGUMENTS): value for key, value in settings if key.startswith(ARGUMENTS)}
    pretrained, weights = run.settings["teacher.pretrained"], run.settings.get("teacher.weights")
    return teacher_of(run).pretraining(arguments, pretrained=pretrained, weights=weights)


def unlisted_weights(run: RunFiles) -> str | None:
    """What is to be said of weights that the challenge's list of allowed external resources does not name; None: of a
    run's teacher there is nothing to be said.

    Raises:
        UserError: there is no such teacher.
    """
    since = pretraining_of(run).listed_since
    if since is None or since <= YEAR:
        return None
    return f"{run.settings['teacher.builder']} (listed from {since} on)"


def is_pretrained(run: RunFiles) -> bool:
    """Whether a run's teacher started from weights that were trained before."""
    return bool(run.settings["teacher.pretrained"] or run.settings.get("teacher.weights"))


def _find(find: Callable[[str], Entry], run: RunFiles, key: str) -> Entry:
    try:
        return find(str(run.settings[key]))
    except UserError as error:
        raise UserError(f"{run.folder} cannot be described: {error}") from None
