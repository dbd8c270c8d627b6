"""What the stages that train have in common: the trainer and the student that the settings describe."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from data.augmentation import Augmentation
from data.errors import UserError
from data.front_ends import build_front_end
from experiments.settings.parts import Recipe
from experiments.settings.shared import Settings, StudentSettings
from experiments.training.trainer import Trainer
from students.scale import WIDEST, widest_arguments


def trainer_of(
    settings: Settings, recipe: Recipe, augmentation: Augmentation, batch_size: int | None = None
) -> Trainer:
    """How a network is trained.

    Args:
        settings: hardware, seed, residency, and the number of epochs if it is not the recipe's.
        recipe, augmentation: of this network.
        batch_size: that fits the clips; None: the recipe's.
    """
    return Trainer(
        recipe=dataclasses.replace(recipe.lasting(settings.epochs), batch_size=batch_size or recipe.batch_size),
        augmentation=augmentation,
        hardware=settings.fabric,
        residency=settings.data.residency,
        seed=settings.seed,
    )


def spectrogram_shape(settings: Settings, mel: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """(1, 1, mels, frames) of a clip of the length that the settings ask for.

    Args:
        settings: of the command.
        mel: kind and arguments of the front end.

    Raises:
        UserError: there is no such front end, or clips are too short for it.
    """
    front_end = build_front_end(settings.data.sample_rate, mel)
    samples = round(settings.data.clip_seconds * settings.data.sample_rate)
    try:
        frames = front_end(torch.zeros(1, samples)).shape[-1]
    except (AssertionError, RuntimeError, ValueError):
        frames = 0
    if not frames:
        raise UserError(
            f"data.clip_seconds={settings.data.clip_seconds}: {samples} samples are too few for log-mels of {dict(mel)}"
        )
    return 1, 1, front_end.mels, frames


def student_arguments(student: StudentSettings, classes: int, shape: Sequence[int]) -> dict[str, object]:
    """What a student is built with: `size` is one of its own, or the widest for log-mels of this shape."""
    arguments = {"classes": classes, **student.arguments}
    if student.size == WIDEST:
        return widest_arguments(student.builder, arguments, shape)
    return arguments if student.size is None else {"size": student.size, **arguments}
