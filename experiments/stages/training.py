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

MOST_VALUES = 1 << 24  # of one clip's log-mel: 64 MiB


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


def require_trainable(
    settings: Settings, stage: str, recipe: Recipe, augmentation: Augmentation, shape: Sequence[int] | None
) -> None:
    """Check what can be checked of a training without clips.

    Args:
        settings: of the command.
        stage: that trains, in whose `fit` the recipe stands.
        recipe, augmentation: of this network.
        shape: of a clip's log-mel, (1, 1, mels, frames); None: not known yet.

    Raises:
        UserError: the hardware is not there, or settings contradict each other; all of the latter are listed.
    """
    trainer_of(settings, recipe, augmentation).require_possible()
    if shape is not None:
        _require_masks(augmentation, shape, "teacher" if stage == "teacher" else "student")
    if recipe.warm_up > recipe.epochs:
        raise UserError(
            f"{stage}.fit.warm_up={recipe.warm_up:g} is longer than {stage}.fit.epochs={recipe.epochs}: lower it, or "
            f"shorten the whole recipe with epochs={recipe.epochs} instead"
        )


def _require_masks(augmentation: Augmentation, shape: Sequence[int], network: str) -> None:
    """Check the masks for log-mels of a shape, (1, 1, mels, frames).

    Raises:
        UserError: one could hide all of a log-mel; `network`, teacher or student, is for the message.
    """
    *_, mels, frames = shape
    masks = {"frequency_mask": (mels, "bands"), "time_mask": (frames, "frames")}
    problems = [
        f"{network}.augment.{name}={width} must be below {size}, the {what} of a log-mel: it could hide all of them"
        for name, (size, what) in masks.items()
        if (width := getattr(augmentation, name)) >= size
    ]
    if problems:
        raise UserError("\n".join(problems))


def spectrogram_shape(settings: Settings, mel: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """(1, 1, mels, frames) of a clip of the length that the settings ask for.

    Args:
        settings: of the command.
        mel: kind and arguments of the front end.

    Raises:
        UserError: there is no such front end, clips are too short for it, or log-mels would be too large to compute.
    """
    front_end = build_front_end(settings.data.sample_rate, mel)
    samples = round(settings.data.clip_seconds * settings.data.sample_rate)
    if (size := front_end.mels * front_end.frames(samples)) > MOST_VALUES:
        raise UserError(
            f"data.clip_seconds={settings.data.clip_seconds}: a log-mel of {samples} samples would have {size:,} "
            f"values, more than {MOST_VALUES:,}: take shorter clips, or fewer bands and a longer hop than {dict(mel)}"
        )
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
