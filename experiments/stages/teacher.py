"""The teacher stage: train a large network, then write its logits of every clip."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from data.errors import UserError
from data.files import file_sha256
from data.front_ends import FrontEnd, build_front_end
from data.logits_file import MULTI_LABEL, is_current
from experiments.datasets.datamodule import DataModule, prepare
from experiments.distributed.fabric import exchange, launch, make_fabric, precision_of
from experiments.distributed.processes import is_first
from experiments.evaluation.evaluate import in_words
from experiments.inference.features import channels_of
from experiments.inference.network import require_applicable
from experiments.inference.teacher_logits import evaluate_and_seal, require_room, shifts_of, write_logits
from experiments.report.publish import finish, is_done
from experiments.runs.claims import claim
from experiments.runs.layout import CHECKPOINT, LOGITS, RESUME, SCORES
from experiments.runs.lineage import PRETRAINED
from experiments.runs.reader import read_energy
from experiments.runs.record import Run
from experiments.settings.parts import Recipe
from experiments.settings.shared import Settings
from experiments.stages.beginning import as_begun, beginning_of, require_unheard
from experiments.stages.context import new_run, require_names, trained_identity
from experiments.stages.cross_fitting import cross_fit
from experiments.stages.external import files_of_weights, input_of_weights, uses_of_responses, uses_of_weights
from experiments.stages.fitting import (
    first_phase_inputs,
    training_identity,
    what_is_trained,
    with_fitted_augmentation,
)
from experiments.stages.freezing import frozen_part
from experiments.stages.published import answers_as_published, published_before, require_published
from experiments.stages.same_data import as_trained_on
from experiments.stages.training import require_trainable, spectrogram_shape, trainer_of
from experiments.stages.whereabouts import layout_of
from experiments.training import checkpoint
from experiments.training.losses import label_loss
from experiments.training.optimization import parameter_groups
from experiments.training.pretrained import TEACHER, begin_from, read_pretrained
from teachers import build_teacher, find_teacher
from teachers.layers import layers_of
from teachers.weights import read_weights

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py. The network is built once, without weights that are to be fetched."""
    require_names(settings, "teacher")
    shifts_of(settings.teacher.shifts, settings.teacher.augment.roll)
    if settings.only is not None:
        trainer_of(settings, settings.teacher.fit, settings.teacher.augment).require_possible()
        if answers_as_published(settings):
            require_published(settings)
        return
    settings = as_begun(settings)
    teacher, shape = settings.teacher, spectrogram_shape(settings, "teacher")
    require_trainable(settings, "teacher", teacher.fit, teacher.augment, shape)
    weights, entry = teacher.weights, find_teacher(teacher.builder)
    pretrained = teacher.pretrained and weights is None and entry.weights_by_hand  # which is refused
    if weights is not None and not entry.head_is_new:
        read_weights(files_of_weights(teacher)[-1])  # whether they have the classes of the data is not known yet
        weights = None
    arguments = {"classes": 10, **teacher.arguments}
    network = build_teacher(teacher.builder, **arguments, pretrained=pretrained, weights=weights)
    require_room(arguments, build_front_end(settings.data.sample_rate, teacher.mel), _longest(settings, 0))
    require_applicable(network, shape, teacher.builder)
    parameter_groups(layers_of(network), teacher.fit)
    frozen_part(settings, network, shape)
    if teacher.features is not None:
        channels_of(network, teacher.features, shape, "teacher.features")  # there is such a layer
    if start := beginning_of(settings, TEACHER):
        read_pretrained(start, _blueprint(settings, arguments, tuple(map(str, range(10)))), TEACHER)


def run(settings: Settings) -> None:
    """Train the teacher, unless it is trained already, and write checkpoint, logits and scores."""
    data = prepare(settings.data, settings.cache_folder)
    if settings.only:
        of = published_before if answers_as_published(settings) else _trained_before
        _write_logits(settings, *of(settings, data))
    elif settings.teacher.folds is not None:
        require_unheard(settings, data)
        cross_fit(as_begun(settings), data, _train_and_write)
    else:
        _train_and_write(as_begun(settings), data)


def _train_and_write(settings: Settings, data: DataModule) -> None:
    recipe, trained_on = what_is_trained(
        settings, "teacher", settings.teacher.fit, data, lambda phase: _train_and_write(phase, data)
    )
    fitted = with_fitted_augmentation(settings, "teacher", trained_on)
    _write_logits(settings, trained_on, *_trained(fitted, trained_on, recipe))


def _blueprint(settings: Settings, arguments: Mapping[str, object], scenes: tuple[str, ...]) -> checkpoint.Blueprint:
    """Of the teacher of some settings, trained on no clips yet."""
    teacher, rate = settings.teacher, settings.data.sample_rate
    return checkpoint.Blueprint(teacher.builder, {**arguments, "pretrained": False}, teacher.mel, scenes, rate, "")


def _longest(settings: Settings, samples: int) -> int:
    """Samples of the longest wave that the teacher is applied to: of a clip, or of a crop."""
    data, crop = settings.data, settings.teacher.augment.crop_seconds or 0
    return max(samples or round(data.clip_seconds * data.sample_rate), round(crop * data.sample_rate))


def _trained(settings: Settings, data: DataModule, recipe: Recipe) -> tuple[Run, Path]:
    """The run and its checkpoint, trained now if it is not there."""
    teacher, start = settings.teacher, beginning_of(settings, TEACHER)
    inputs = {**data.fingerprint, **first_phase_inputs(settings, "teacher"), **input_of_weights(teacher)}
    inputs |= {PRETRAINED: file_sha256(start)} if start else {}
    asked = trained_identity(dataclasses.replace(teacher, features=None))
    del asked["shifts"]  # which, like features, only the logits depend on
    depends_on = {"teacher": asked, **training_identity(settings, teacher.fit, recipe)}
    this = new_run(settings, "teacher", depends_on=depends_on, inputs=inputs, sources=[start] if start else [])
    path = this.folder / CHECKPOINT
    if is_done(this, CHECKPOINT):
        return this, path

    torch.manual_seed(settings.seed)
    arguments = {"classes": len(data.clips.scenes), **teacher.arguments}
    network = build_teacher(teacher.builder, **arguments, pretrained=teacher.pretrained, weights=teacher.weights)
    blueprint = _blueprint(settings, arguments, data.clips.scenes)
    blueprint = dataclasses.replace(
        blueprint, clips=data.fingerprint["clips"], is_multi_label=data.clips.is_multi_label
    )
    if start:
        begin_from(start, network, blueprint, data.before, TEACHER)
    this.external = uses_of_weights(teacher, arguments, network, inputs) + uses_of_responses(data, teacher.augment)
    front_end = build_front_end(settings.data.sample_rate, teacher.mel)
    require_room(arguments, front_end, _longest(settings, data.store.samples))
    frozen = frozen_part(settings, network, data.spectrogram_shape(front_end), data)
    network = trainer_of(settings, recipe, teacher.augment).train(
        this,
        data,
        network,
        front_end,
        loss=label_loss(is_multi_label=data.clips.is_multi_label),
        layers=layers_of,
        frozen=frozen,
    )
    if is_first():
        checkpoint.save(path, network, blueprint)
    exchange(make_fabric(settings.fabric), None)  # the others wait for the file
    return this, path


def _trained_before(settings: Settings, data: DataModule) -> tuple[DataModule, Run, Path]:
    """Of only=logits: the data set, divided as for the training if it is the run's own, the run to write to, and the
    checkpoint to apply.

    A teacher's own run stays what it says it is: logits of other data, or those of a job of a sweep, go to another.

    Raises:
        UserError: there is no such checkpoint, or the run's folder holds another training.
    """
    layout = layout_of(settings)
    path = Path(settings.checkpoint) if settings.checkpoint else layout.existing("teacher", CHECKPOINT)
    if not path.is_file():
        raise UserError(f"only=logits needs a trained teacher, and {path} does not exist: leave only=logits out")
    this = new_run(
        settings,
        "teacher",
        depends_on={"only": settings.only, "shifts": settings.teacher.shifts},
        inputs={**data.fingerprint, "checkpoint": file_sha256(path)},
        sources=[path],
    )
    if path.resolve().parent == this.folder.resolve():
        if not this.is_finished:
            raise UserError(f"{this.folder} is an unfinished run: run stage=teacher again, without only=logits")
        own = this.reopened()
        for divided in (data, data.with_all_trained):
            if divided.fingerprint.items() <= own.identity["inputs"].items():
                return divided, own, path
        raise UserError(
            f"{path} was trained on other clips, splits or waves: choose another name, and give checkpoint={path}"
        )
    if (this.folder / CHECKPOINT).exists() or (this.folder / RESUME).exists():
        raise UserError(f"{this.folder} holds a training of its own: choose another name for the logits of {path}")
    if not is_done(this, LOGITS):
        this.start(keeps_energy=True)
    return data, this, path


def _write_logits(settings: Settings, data: DataModule, run: Run, path: Path) -> None:
    """Write logits.h5 and the scores of a run, by the teacher of a checkpoint."""
    shifts = shifts_of(settings.teacher.shifts, settings.teacher.augment.roll)
    kept = {} if (layer := settings.teacher.features) is None else {"features": layer}
    identity: dict[str, Any] = {
        "weights": file_sha256(path),
        "waves": data.fingerprint["waves"],
        "clips": data.fingerprint["clips"],
        "settings": json.dumps({"shifts": shifts, "precision": precision_of(settings.fabric), **kept}),
    }
    target = run.folder / LOGITS
    if not settings.force and run.is_finished and (run.folder / SCORES).is_file() and is_current(target, identity):
        log.info("%s: waves, weights and settings are unchanged, the logits are reused", target)
        return
    claim(run.folder)
    network, blueprint = checkpoint.load_teacher(path)
    if not data.clips.is_labelled:
        data = data.with_classes(blueprint.scenes, is_multi_label=blueprint.is_multi_label)
    data = as_trained_on(path, blueprint, data, "train a teacher on it, or change the rate")
    front_end = _front_end(path, blueprint, data)
    identity |= {
        "teacher": blueprint.builder,
        "config": json.dumps(blueprint.described()),
        "trained_on": blueprint.clips,
        **({MULTI_LABEL: 1} if blueprint.is_multi_label else {}),
    }
    fabric = make_fabric(settings.fabric)
    launch(fabric)
    network, front_end = network.to(fabric.device, memory_format=torch.channels_last), front_end.to(fabric.device)
    if is_first():
        (run.folder / SCORES).unlink(missing_ok=True)  # they are of the logits that are replaced now
    writer = write_logits(fabric, target, data, network, front_end, identity=identity, shifts=shifts, layer=layer)
    if writer is not None:
        scores = evaluate_and_seal(writer, data.clips, run.folder)
        finish(run, scores | read_energy(run.folder))
        if scores:
            log.info("teacher: %s (%s)", in_words(scores), run.folder)
        else:
            counts = len(data.clips.clips), len(data.clips.scenes)
            log.info("teacher: logits of %d clips without labels, %d classes (%s)", *counts, target)
    exchange(fabric, None)  # what comes next reads the file


def _front_end(path: Path, blueprint: checkpoint.Blueprint, data: DataModule) -> FrontEnd:
    """That of a checkpoint, for the clips of a data set.

    Raises:
        UserError: the checkpoint takes shorter clips only.
    """
    if data.clips.is_labelled and blueprint.clips != data.fingerprint["clips"]:
        log.warning("%s was trained on other clips or splits, maybe on clips that are held out here", path)
    front_end = build_front_end(blueprint.sample_rate, blueprint.mel)
    require_room(blueprint.arguments, front_end, data.store.samples)
    return front_end
