"""What the parts of a system declare: networks their family, citation and pretraining; front ends and data sets theirs.

Conventions: a builder is found by the name in a run's settings; one that is not installed is an error, so that nothing
is left out of a description silently.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from data.errors import UserError
from data.front_ends import DEFAULT, FrontEndEntry, front_ends
from data.readers import Reader, reader_of
from experiments.runs.reader import RunFiles
from students import find_student
from students.entry import Student
from teachers import find_teacher
from teachers.entry import Teacher

AUGMENTS = {"teacher": "teacher.augment.", "student": "student.augment.", "quantize": "augment."}  # by stage
BEGINNINGS = ("teacher.weights", "teacher.start")
NO_RESPONSES = hashlib.sha256(b"").hexdigest()  # their fingerprint where there are none, see datasets/datamodule.py

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


def has_responses(run: RunFiles) -> bool:
    """Whether a run's clips were filtered with impulse responses, of whomever."""
    probability = run.settings.get(f"{AUGMENTS.get(run.stage, '')}impulse_p")
    return bool(probability) and run.inputs.get("impulses", NO_RESPONSES) != NO_RESPONSES


def is_pretrained(run: RunFiles) -> bool:
    """Whether a run's teacher started from weights that were trained before, by others or in another run."""
    return bool(run.settings["teacher.pretrained"] or any(run.settings.get(key) for key in BEGINNINGS))


def _find(find: Callable[[str], Entry], run: RunFiles, key: str) -> Entry:
    try:
        return find(str(run.settings[key]))
    except UserError as error:
        raise UserError(f"{run.folder} cannot be described: {error}") from None
