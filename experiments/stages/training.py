"""What the stages that train have in common: the trainer and the student that the settings describe."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Literal

import torch

from data.augmentation import Augmentation
from data.errors import UserError
from data.files import file_sha256
from data.front_ends import build_front_end
from data.logits_file import open_logits
from data.settings import POOLED
from experiments.datasets.datamodule import DataModule
from experiments.distributed.fabric import computing
from experiments.runs.layout import CHECKPOINT, FIRST_PHASE, first_phase_of, logits_files
from experiments.runs.lineage import FIRST
from experiments.runs.reader import read_run
from experiments.settings.parts import Recipe
from experiments.settings.shared import Settings, StudentSettings
from experiments.stages.context import layout_of, renamed
from experiments.training.budget import fitted, refitted
from experiments.training.distillation import Targets, read_targets
from experiments.training.trainer import Trainer
from students.scale import WIDEST, widest_arguments

REFIT = "refit=true, which chooses the number of steps,"

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


def fitted_recipe(settings: Settings, stage: str, recipe: Recipe, data: DataModule) -> Recipe:
    """A recipe as it is used for the train clips of a data set; see training/budget.py.

    Args:
        settings: the number of epochs, the devices, and what was given by hand.
        stage: that trains, in whose `fit` the recipe stands.
        recipe: of the settings.
        data: the data set.
    """
    prefix = f"{stage}.fit."
    given = {key.removeprefix(prefix) for key in settings.given if key.startswith(prefix)}
    clips = len(data.clips.indices("train"))
    return fitted(recipe, clips, epochs=settings.epochs, devices=settings.fabric.processes, given=given)


def what_is_trained(
    settings: Settings, stage: str, recipe: Recipe, data: DataModule, run: Callable[[Settings], None]
) -> tuple[Recipe, DataModule]:
    """The recipe as it is used, and the data set whose train clips it is used on; with refit=true both are those of the
    second phase, and the first one, which is a run of its own, is over.

    Args:
        settings: of the command.
        stage: that trains, in whose `fit` the recipe stands.
        recipe: of the settings.
        data: the data set.
        run: of the stage; is given the command of the first phase.

    Raises:
        UserError: refit=true has no clips to choose the number of steps by; or what the stage raises.
    """
    used = fitted_recipe(settings, stage, recipe, data)
    if not settings.refit:
        return used, data
    data.require_validation(REFIT)
    run(renamed(dataclasses.replace(settings, refit=False), FIRST_PHASE))
    first = first_phase_of(layout_of(settings).folder(stage))
    train, held_out = (len(data.clips.indices(split)) for split in ("train", "validation"))
    log.info("refit on all %d train clips, with as many steps as were best in %s", train + held_out, first)
    return refitted(used, read_run(first).history, train, train + held_out), data.with_all_trained


def training_identity(settings: Settings, recipe: Recipe, used: Recipe) -> dict[str, object]:
    """What a training depends on beside the network's own settings: seed, hardware, and the recipe as it is used.

    Args:
        settings: of the command.
        recipe: of the settings.
        used: that recipe, fitted to the clips.
    """
    found: dict[str, object] = {"seed": settings.seed, "epochs": settings.epochs, "batch_size": used.batch_size}
    if settings.refit:
        found["refit"] = True
    # How many epochs a first phase chose is a result of it (see first_phase_inputs) and no setting.
    names = ("learning_rate",) if settings.refit else ("epochs", "learning_rate")
    return found | fitted_identity(recipe.lasting(settings.epochs), used, names) | computing(settings.fabric)


def fitted_identity(
    asked: Recipe, used: Recipe, names: Sequence[str] = ("epochs", "learning_rate")
) -> dict[str, object]:
    """What fitting a recipe to the clips has changed of it, of these names; nothing if it has changed nothing, because
    runs of earlier versions know nothing of it."""
    changed = {name: getattr(used, name) for name in names if getattr(used, name) != getattr(asked, name)}
    return {"fitted": changed} if changed else {}


def first_phase_inputs(settings: Settings, stage: str) -> dict[str, str]:
    """The input that a run with refit=true has: the checkpoint of its first phase."""
    if not settings.refit:
        return {}
    return {FIRST: file_sha256(first_phase_of(layout_of(settings).folder(stage)) / CHECKPOINT)}


def named_by_targets(settings: Settings, data: DataModule) -> DataModule:
    """The data set; without labels its classes are those of the logits that a student learns from.

    Raises:
        UserError: there are no such logits.
    """
    if data.clips.is_labelled:
        return data
    first, *_ = logits_files(layout_of(settings), settings.logits)
    return data.with_classes(open_logits(first).scenes)


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
