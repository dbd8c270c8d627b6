"""The specialize stage: a trained student gets tensors of each recording device, which that device's clips alone train.

Conventions: each device's training is a run of its own, <name>.device0, ..., in the alphabetical order of the devices;
its checkpoint is the whole network of that device, for quantize, say. The stage's own checkpoint has the shared tensors
once and a set for each device. The device of a clip is what the data set says; of one that was not trained on, the
clips are answered by the general student.
"""

import copy
import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from data.augmentation import Augmentation
from data.errors import UserError
from data.files import file_sha256
from data.front_ends import FrontEnd, build_front_end
from data.settings import identity_of
from experiments.datasets.datamodule import DataModule, prepare
from experiments.distributed.fabric import computing, exchange, launch, make_fabric
from experiments.distributed.processes import is_first
from experiments.evaluation.devices import compared
from experiments.evaluation.evaluate import evaluate_and_save, split_metrics
from experiments.report.publish import finish, is_done
from experiments.report.tables import devices_table
from experiments.runs.layout import CHECKPOINT, DEVICE, SCORES
from experiments.runs.lineage import SETS, digests_of
from experiments.runs.reader import read_energy, read_scores
from experiments.settings.parts import Recipe
from experiments.settings.shared import Settings
from experiments.settings.stages import Specialize
from experiments.stages.context import new_run, renamed, require_within_limits, trained_identity
from experiments.stages.fitting import fitted_identity, fitted_recipe, with_fitted_augmentation
from experiments.stages.same_data import as_trained_on, at_rate_of
from experiments.stages.training import require_trainable, targets_of, trainer_of, without_features
from experiments.stages.whereabouts import layout_of
from experiments.training import checkpoint
from experiments.training.devices import (
    Weights,
    cost_of_sets,
    names_of_set,
    parameters_of_set,
    predict_by_device,
    set_of,
    train_only,
)
from experiments.training.distillation import Targets, student_loss
from students.complexity import torch_complexity

FEWEST = 2  # clips of a device in each process, which BatchNorm needs

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    own = settings.of(Specialize)
    layout_of(renamed(settings, f"{DEVICE}99")).folder("specialize")
    student_loss(settings.student.distill)
    if own.fit.layer_decay != 1 or own.fit.frozen_layers:
        raise UserError("specialize.layers says what is trained: leave fit.layer_decay and fit.frozen_layers out")
    require_trainable(settings, "specialize", own.fit, _augmentation(settings), None)


def run(settings: Settings) -> None:
    """Train a set of tensors for each device; write the checkpoint with all of them, and scores with and without the
    device; print the table."""
    settings = without_features(settings)
    path = Path(settings.checkpoint) if settings.checkpoint else layout_of(settings).existing("student", CHECKPOINT)
    network, blueprint = checkpoint.load_student(path)
    settings = at_rate_of(blueprint, settings)
    first_data = prepare(settings.data, settings.cache_folder)
    data = _trained_on(path, blueprint, first_data)
    settings = with_fitted_augmentation(settings, "student", data)
    counts = Counter(data.clips.clips[row].device for row in data.clips.indices("train"))
    if len(counts) < 2:
        raise UserError(
            f"the specialize stage needs clips of several devices, and all train clips of {data.clips.name} are of "
            f"{next(iter(counts))}: the student is of that device already"
        )
    front_end = build_front_end(blueprint.sample_rate, blueprint.mel)
    shape, own = data.spectrogram_shape(front_end), settings.of(Specialize)
    require_trainable(settings, "specialize", own.fit, _augmentation(settings), shape)
    names = names_of_set(network, own.layers, shape)
    fewest = FEWEST * settings.fabric.processes
    devices = [device for device, count in sorted(counts.items()) if count >= fewest]
    for device in sorted(counts.keys() - {*devices}):
        log.warning("device %s has fewer than %d train clips: the general student answers for it", device, fewest)
    cost = cost_of_sets(torch_complexity(network, shape), len(devices) * parameters_of_set(network, names))
    what = f"the student with the sets of {len(devices)} devices"
    remedy = "take a smaller student, or smaller sets (specialize.layers=norm or classifier)"
    require_within_limits(cost, what, remedy, settings.limits)
    task = _Task(settings, data, path, network, blueprint, front_end, targets_of(settings, data, first_data), names)

    sets = {device: _set_of_device(task, number, device) for number, device in enumerate(devices)}
    layouts = [layout_of(renamed(settings, f"{DEVICE}{number}")) for number in range(len(devices))]
    made = [layout.folder("specialize") / CHECKPOINT for layout in layouts]
    inputs = {**task.inputs, SETS: digests_of(made)}
    this = new_run(settings, "specialize", depends_on=task.depends_on(), inputs=inputs, sources=[*task.sources, *made])
    if not is_done(this, CHECKPOINT):
        this.external = []
        launch(make_fabric(settings.fabric))  # unless a device's training has done so
        this.start()
        if is_first():
            described = replace(blueprint, devices=tuple(devices))
            checkpoint.save(this.folder / CHECKPOINT, network, described, list(sets.values()))
        scores = cost.metrics(stored=False) | _scores(task, sets, this.folder)
        if is_first():
            finish(this, scores)
    if is_first():
        Console().print(devices_table(read_scores(this.folder / SCORES)))
        log.info("%s", this.folder)


@dataclass(frozen=True)
class _Task:
    """A general student, and how it is trained on; `names` are those of the tensors that each device has."""

    settings: Settings
    data: DataModule
    path: Path
    network: nn.Module
    blueprint: checkpoint.Blueprint
    front_end: FrontEnd
    targets: Targets
    names: tuple[str, ...]

    @property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of what is read."""
        logits = self.targets.inputs if self.targets.paths else {}
        return {**self.data.fingerprint, "checkpoint": file_sha256(self.path), **logits}

    @property
    def sources(self) -> list[Path]:
        """Files of other runs."""
        return [self.path, *self.targets.paths]

    def depends_on(self) -> dict[str, Any]:
        """What of the settings all devices' results depend on."""
        settings = self.settings
        student = identity_of(settings.student)
        return {
            "specialize": trained_identity(settings.of(Specialize)),
            "student": {name: student[name] for name in ("augment", "distill")},
            "distill": settings.distill,
            "seed": settings.seed,
            "epochs": settings.epochs,
        }


def _trained_on(path: Path, blueprint: checkpoint.Blueprint, data: DataModule) -> DataModule:
    """The clips that a student was trained on: all train clips, if it was trained on those held out too.

    Raises:
        UserError: it was trained on none of both; clips that are held out here would be taken for unheard ones.
    """
    found = as_trained_on(path, blueprint, data)
    if blueprint.clips != found.fingerprint["clips"]:
        raise UserError(
            f"{path} was trained on other clips or splits, maybe on clips that are held out here: give the data "
            "settings that it was trained with"
        )
    return found


def _augmentation(settings: Settings) -> Augmentation:
    """The student's, without impulse responses: they would make another device's clips of a device's own."""
    return replace(settings.student.augment, impulse_p=0.0)


def _recipe(settings: Settings, part: DataModule) -> Recipe:
    """As it is used for the clips of one device: a batch has as many of them as it can, for BatchNorm's sake, and is
    not made smaller to have more steps in an epoch."""
    recipe, key = settings.of(Specialize).fit, "specialize.fit.batch_size"
    most = len(part.clips.indices("train")) // settings.fabric.processes * settings.fabric.processes
    recipe = replace(recipe, batch_size=min(recipe.batch_size, most))
    return fitted_recipe(replace(settings, given=settings.given | {key}), "specialize", recipe, part)


def _set_of_device(task: _Task, number: int, device: str) -> Weights:
    """The set of a device, trained now if it is not there."""
    settings, part = renamed(task.settings, f"{DEVICE}{number}"), task.data.of_device(device)
    own = settings.of(Specialize)
    recipe = _recipe(settings, part)
    fitted = fitted_identity(own.fit.lasting(settings.epochs), recipe) | computing(settings.fabric)
    depends_on = {**task.depends_on(), "device": device, "batch_size": recipe.batch_size, **fitted}
    this = new_run(settings, "specialize", depends_on=depends_on, inputs=task.inputs, sources=task.sources)
    path = this.folder / CHECKPOINT
    if is_done(this, CHECKPOINT):
        return set_of(checkpoint.load_student(path)[0], task.names)
    log.info("device %s: %d train clips, %s", device, len(part.clips.indices("train")), this.folder)
    this.external = []  # no impulse responses, see _augmentation
    torch.manual_seed(settings.seed)
    network = copy.deepcopy(task.network)
    train_only(network, task.names)
    network = trainer_of(settings, recipe, _augmentation(settings)).train(
        this,
        part,
        network,
        task.front_end,
        loss=student_loss(settings.student.distill, network),
        targets=task.targets.logits,
        target_shifts=task.targets.shifts,
    )
    # What the training has changed besides, such as the counters of BatchNorm, is as in the general student.
    found = set_of(network, task.names)
    network.load_state_dict({**task.network.state_dict(), **found})
    if is_first():
        checkpoint.save(path, network, task.blueprint)
        finish(this, read_energy(this.folder))
    exchange(make_fabric(settings.fabric), None)  # the others wait for the file
    return found


def _scores(task: _Task, sets: dict[str, Weights], folder: Path) -> dict[str, float]:
    """Metrics of each split that is scored, by the tensors of each clip's device, and by the general ones."""
    fabric, clips, scores = make_fabric(task.settings.fabric), task.data.clips, {}
    network, front_end = task.network.to(fabric.device), task.front_end.to(fabric.device)
    for split in clips.scored:
        unknown = sorted({clips.clips[row].device for row in clips.indices(split)} - sets.keys())
        if unknown:
            log.info("%s clips of %s are answered by the general student", split, ", ".join(unknown))
        special, general = (
            predict_by_device(network, some, front_end, task.data, split, fabric) for some in (sets, {})
        )
        if not is_first():
            continue
        own = split_metrics(clips, split, special) if split != "test" else evaluate_and_save(clips, special, folder)
        scores |= own | compared(clips, split, special, general)
    return scores
