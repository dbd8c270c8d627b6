"""Recipe and augmentation as they are used for the train clips of a data set, and the two phases of refit=true."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal

from data.errors import UserError
from data.files import file_sha256
from data.settings import identity_of
from experiments.datasets.datamodule import DataModule
from experiments.distributed.fabric import computing
from experiments.runs.layout import CHECKPOINT, FIRST_PHASE, first_phase_of
from experiments.runs.lineage import FIRST
from experiments.runs.reader import find_record, read_run
from experiments.settings.parts import Quantize, Recipe
from experiments.settings.shared import Settings, StudentSettings, TeacherSettings
from experiments.stages.context import renamed, trained_identity
from experiments.stages.whereabouts import layout_of
from experiments.training.budget import fitted, fitted_augmentation, refitted

REFIT = "refit=true, which chooses the number of steps,"

log = logging.getLogger(__name__)


def fitted_recipe(settings: Settings, stage: str, recipe: Recipe, data: DataModule, *, said: bool = True) -> Recipe:
    """A recipe as it is used for the train clips of a data set; see training/budget.py.

    Args:
        settings: the number of epochs, the devices, and what was given by hand.
        stage: that trains, in whose `fit` the recipe stands.
        recipe: of the settings.
        data: the data set.
        said: whether it is said that batches are smaller than asked for: once is enough.
    """
    prefix = f"{stage}.fit."
    given = {key.removeprefix(prefix) for key in settings.given if key.startswith(prefix)}
    clips = len(data.clips.indices("train"))
    used = fitted(recipe, clips, epochs=settings.epochs, devices=settings.fabric.processes, given=given)
    if said and used.batch_size < recipe.batch_size:
        asked = recipe.batch_size
        log.warning("batch_size %d is too large for %d train clips: using %d", asked, clips, used.batch_size)
    return used


def with_fitted_augmentation(settings: Settings, network: Literal["teacher", "student"], data: DataModule) -> Settings:
    """The settings, in which the augmentation of a teacher or a student is as it is used for the train clips of a data
    set; see training/budget.py."""
    group: TeacherSettings | StudentSettings = getattr(settings, network)
    seconds = group.augment.crop_seconds or settings.data.clip_seconds
    augmentation = fitted_augmentation(
        group.augment,
        len(data.clips.indices("train")),
        round(seconds * settings.data.sample_rate),
        exact=f"{network}.augment.roll" in settings.given,
    )
    changes: dict[str, Any] = {network: dataclasses.replace(group, augment=augmentation)}
    return dataclasses.replace(settings, **changes)


def what_is_trained(
    settings: Settings,
    stage: str,
    recipe: Recipe,
    data: DataModule,
    run: Callable[[Settings], None],
    settled: Callable[[int], int] = lambda epochs: 1,
) -> tuple[Recipe, DataModule]:
    """The recipe as it is used, and the data set whose train clips it is used on; with refit=true both are those of the
    second phase, and the first one, which is a run of its own, is over.

    Args:
        settings: of the command.
        stage: that trains, in whose `fit` the recipe stands.
        recipe: of the settings.
        data: the data set.
        run: of the stage; is given the command of the first phase.
        settled: from the number of epochs to the first one after which a network has its final size.

    Raises:
        UserError: refit=true has no clips to choose the number of steps by; or the folder holds a network that was
            trained once, found before a first phase is trained; or what the stage raises.
    """
    used = fitted_recipe(settings, stage, recipe, data, said=not settings.is_refitted)  # the first phase says it
    if not settings.is_refitted:
        return used, data
    data.require_validation(REFIT)
    folder = layout_of(settings).folder(stage)
    if (found := find_record(folder)) is not None and FIRST not in found.inputs and not settings.force:
        raise UserError(
            f"{folder} holds the result of one training, without refit=true: choose another name=..., give refit=false "
            "to reuse it, or replace it with force=true"
        )
    run(renamed(dataclasses.replace(settings, refit=False), FIRST_PHASE))
    first = first_phase_of(folder)
    train, held_out = (len(data.clips.indices(split)) for split in ("train", "validation"))
    log.info("refit on all %d train clips, with as many steps as were best in %s", train + held_out, first)
    history = read_run(first).history
    again = refitted(used, history, train, train + held_out, settled=settled(used.epochs))
    return again, data.with_all_trained


def training_identity(settings: Settings, recipe: Recipe, used: Recipe) -> dict[str, object]:
    """What a training depends on beside the network's own settings: seed, hardware, and the recipe as it is used.

    Args:
        settings: of the command.
        recipe: of the settings.
        used: that recipe, fitted to the clips.
    """
    found: dict[str, object] = {"seed": settings.seed, "epochs": settings.epochs, "batch_size": used.batch_size}
    if settings.is_refitted:
        found["refit"] = True
    # How many epochs a first phase chose is a result of it (see first_phase_inputs) and no setting.
    names = ("learning_rate",) if settings.is_refitted else ("epochs", "learning_rate")
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
    if not settings.is_refitted:
        return {}
    return {FIRST: file_sha256(first_phase_of(layout_of(settings).folder(stage)) / CHECKPOINT)}


def quantize_identity(settings: Settings) -> dict[str, Any]:
    """What of the settings integers depend on, besides the recipe that was fitted to the clips."""
    quantize = trained_identity(settings.of(Quantize))
    found: dict[str, Any] = {"quantize": quantize, "seed": settings.seed}
    del quantize["export"]  # on which nothing else depends
    if settings.of(Quantize).method == "ptq":
        del quantize["fit"]
        return found
    student = identity_of(settings.student)
    taught = {key: student[key] for key in ("augment", "distill")}
    return found | taught | {"learns_from": settings.distill, "epochs": settings.epochs, **computing(settings.fabric)}
