"""What the stages that train have in common: the trainer and the student that the settings describe."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Literal

import torch

from data.augmentation import Augmentation
from data.errors import UserError
from data.front_ends import build_front_end
from data.logits_file import open_logits
from data.settings import POOLED
from experiments.datasets.datamodule import DataModule
from experiments.runs.layout import logits_files
from experiments.settings.parts import Recipe
from experiments.settings.shared import Settings, StudentSettings
from experiments.stages.labels import require_one_class
from experiments.stages.whereabouts import layout_of
from experiments.training.distillation import Targets, read_targets
from experiments.training.trainer import Trainer
from students.scale import WIDEST, widest_arguments

log = logging.getLogger(__name__)

MOST_VALUES = 1 << 24  # of one clip's log-mel: 64 MiB


def trainer_of(settings: Settings, recipe: Recipe, augmentation: Augmentation) -> Trainer:
    """How a network is trained.

    Args:
        settings: hardware, seed, residency.
        recipe: of this network, fitted to the clips (fitted_recipe).
        augmentation: of this network.
    """
    return Trainer(
        recipe=recipe,
        augmentation=augmentation,
        hardware=settings.fabric,
        residency=settings.data.residency,
        seed=settings.seed,
    )


def named_by_targets(settings: Settings, data: DataModule) -> DataModule:
    """The data set; without labels its classes are those of the logits that a student learns from.

    Raises:
        UserError: there are no such logits; or they are of several classes a clip, and settings need one.
    """
    if data.clips.is_labelled:
        return data
    path, *_ = logits_files(layout_of(settings), settings.logits)
    first = open_logits(path)
    if first.is_multi_label:
        require_one_class(settings, ["student"], str(path))
    return data.with_classes(first.scenes, is_multi_label=first.is_multi_label)


def targets_of(settings: Settings, data: DataModule, held_out: DataModule | None = None) -> Targets:
    """What a student learns beside the labels: its teachers' logits, and features if asked for; nothing with
    distill=none. `held_out` is as of read_targets.

    Raises:
        UserError: see read_targets.
    """
    if settings.distill == "none":
        return Targets()
    return read_targets(logits_files(layout_of(settings), settings.logits), data, settings.student.distill, held_out)


def without_features(settings: Settings) -> Settings:
    """The same command for a student that is trained while it is rounded, which learns labels and logits alone: the
    layer that projected its features to the teachers' is gone with the training before."""
    distill = settings.student.distill
    plain = dataclasses.replace(distill, features=0.0, layer=POOLED)
    return dataclasses.replace(settings, student=dataclasses.replace(settings.student, distill=plain))


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
    recipe = recipe.lasting(settings.epochs)
    trainer_of(settings, recipe, augmentation).require_possible()
    if shape is not None:
        _require_masks(augmentation, shape, "teacher" if stage == "teacher" else "student")
    if recipe.warm_up > recipe.epochs:
        raise UserError(
            f"{stage}.fit.warm_up={recipe.warm_up:g} is longer than {stage}.fit.epochs={recipe.epochs}: lower it, or "
            f"shorten the whole recipe with epochs={recipe.epochs} instead"
        )


def _require_masks(augmentation: Augmentation, shape: Sequence[int], network: str) -> None:
    """Check masks and filters for log-mels of a shape, (1, 1, mels, frames).

    Raises:
        UserError: one could hide all of a log-mel, or needs more bands; `network`, teacher or student, is for the
            message.
    """
    *_, mels, frames = shape
    masks = {"frequency_mask": (mels, "bands"), "time_mask": (frames, "frames")}
    problems = [
        f"{network}.augment.{name}={width} must be below {size}, the {what} of a log-mel: it could hide all of them"
        for name, (size, what) in masks.items()
        if (width := getattr(augmentation, name)) >= size
    ]
    count, width = augmentation.filter_bands, augmentation.filter_width
    if augmentation.filter_gain and count * width > mels:
        problems.append(
            f"{network}.augment.filter_bands={count} times filter_width={width} must be at most {mels}, the bands of "
            "a log-mel"
        )
    if problems:
        raise UserError("\n".join(problems))


def spectrogram_shape(settings: Settings, network: Literal["teacher", "student"]) -> tuple[int, int, int, int]:
    """(1, 1, mels, frames) of a clip of the length that the settings ask for, by the network's front end.

    Raises:
        UserError: there is no such front end, clips are too short for it, or log-mels would be too large to compute.
    """
    mel = getattr(settings, network).mel
    try:
        front_end = build_front_end(settings.data.sample_rate, mel)
    except UserError as error:
        raise UserError("\n".join(f"{network}.mel: {line}" for line in str(error).splitlines())) from error
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
