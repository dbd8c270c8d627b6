"""What a search makes of a student's settings, and which of them it does not take."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from data.errors import UserError, listed
from experiments.search.space import Network, networks_of
from experiments.settings.search import Search
from experiments.settings.shared import Settings, StudentSettings
from students.scale import WIDEST


def as_student(student: StudentSettings, network: Network) -> StudentSettings:
    """A student's settings with the choices of a network. Masks of bands keep their share of all bands."""
    mel, before = {**student.mel, **network.mel}, student.mel.get("mels")
    augment, mels = student.augment, mel.get("mels")
    if isinstance(mels, int) and isinstance(before, int):
        augment = replace(augment, frequency_mask=augment.frequency_mask * mels // before)
    return replace(student, arguments={**student.arguments, **network.arguments}, mel=mel, augment=augment)


def require_searchable(settings: Settings) -> None:
    """Check that there is something to search, and that no setting asks for what a search does not do.

    Raises:
        UserError: there is one network, or settings do (all listed).
    """
    asked, student = settings.of(Search), settings.student
    given: Mapping[str, Any] = {
        "student.weights": student.weights,
        "student.prune": [*student.prune.targets],
        "student.size=widest": student.size == WIDEST,
        "student.distill.features": settings.distill != "none" and student.distill.features,
        "student.augment.crop": student.augment.crop,
        "fabric.devices": settings.fabric.processes > 1,
        "refit=true": settings.refit is True,
    }
    if problems := [key for key, value in given.items() if value]:
        raise UserError(
            f"the search trains students of many sizes, each once, on one device:\n{listed(problems)}\nleave "
            "these out, and train what it finds with them"
        )
    if len(networks_of(asked.arguments, asked.mel)) < 2:
        raise UserError(
            f"there is one network to search for student={student.builder}: name values to try, as "
            "+search.arguments.NAME=[A,B] of its arguments, or +search.mel.mels=[64,128] of its front end"
        )
