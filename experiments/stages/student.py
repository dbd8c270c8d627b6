"""The student stage: train a small network on labels and on its teachers' logits."""

import dataclasses
import logging

import torch
from torch import nn

from data.errors import UserError
from data.feature_targets import require_features
from data.files import file_sha256
from data.front_ends import FrontEnd, build_front_end
from data.logits import convex
from experiments.datasets.datamodule import DataModule, prepare, require_held_out
from experiments.distributed.fabric import exchange, make_fabric
from experiments.distributed.processes import is_first
from experiments.inference.features import channels_of
from experiments.inference.student_scores import BATCH, score_student
from experiments.report.publish import finish, is_done
from experiments.runs.layout import CHECKPOINT, first_phase_of, logits_files
from experiments.runs.lineage import PRETRAINED, of_first_phases
from experiments.runs.reader import read_energy
from experiments.runs.record import Run
from experiments.settings.parts import Paths
from experiments.settings.shared import Settings
from experiments.stages.beginning import beginning_of
from experiments.stages.context import new_run, require_names, trained_identity
from experiments.stages.external import uses_of_responses
from experiments.stages.fitting import (
    first_phase_inputs,
    training_identity,
    what_is_trained,
    with_fitted_augmentation,
)
from experiments.stages.pruning import Affordable, narrower, pruned_identity, require_prunable
from experiments.stages.training import (
    named_by_targets,
    require_trainable,
    spectrogram_shape,
    student_arguments,
    targets_of,
    trainer_of,
)
from experiments.stages.whereabouts import layout_of
from experiments.training import checkpoint
from experiments.training.distillation import CALIBRATED, Targets, by_targets, student_loss
from experiments.training.loop import Validate, by_labels
from experiments.training.pretrained import STUDENT, begin_from, read_pretrained
from experiments.training.projection import Projected
from students import build_student
from students.pruning import narrowed
from students.scale import WIDEST

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py. The network is built and counted for clips of the length that is asked for."""
    student = settings.student
    require_names(settings, "student")
    student_loss(student.distill)
    if settings.distill != "none" and settings.logits is None and student.distill.weights is not None:
        convex("student.distill.weights", student.distill.weights, 1, of="file")
    if settings.distill != "none" and student.distill.is_calibrated:
        require_held_out(settings.data, CALIBRATED)
    if student.fit.layer_decay != 1 or student.fit.frozen_layers:
        raise UserError("fit.layer_decay and fit.frozen_layers are for teachers that begin from published weights")
    if student.augment.crop:
        raise UserError("augment.crop=true is for teachers: a student's target logits are of whole clips")
    require_prunable(settings)
    shape = spectrogram_shape(settings, "student")
    require_trainable(settings, "student", student.fit, student.augment, shape)
    arguments = student_arguments(student, 10, shape)
    network = build_student(student.builder, **arguments)
    samples = round(settings.data.sample_rate * settings.data.clip_seconds)
    affordable = Affordable(settings, shape, samples, 10)
    if student.prune.targets:
        affordable.pruning(network, student.fit.epochs)
    else:
        affordable.require(network, said=False)
    path = beginning_of(settings, STUDENT)
    if path is not None and student.size != WIDEST:  # whose width depends on the classes, not yet known
        scenes = tuple(map(str, range(10)))
        wanted = checkpoint.Blueprint(student.builder, arguments, student.mel, scenes, settings.data.sample_rate, "")
        read_pretrained(path, wanted)
    if settings.distill != "none" and student.distill.features:
        channels_of(network, student.distill.layer, shape, "student.distill.layer")  # there is such a layer
        _require_features(settings)


def _require_features(settings: Settings) -> None:
    """Check that a file of logits has features, unless an earlier stage of the command writes it.

    Raises:
        UserError: none has.
    """
    if not {"teacher", "ensemble"} & {*settings.steps}:
        paths = logits_files(layout_of(settings), settings.logits)
        if all(path.is_file() for path in paths):  # others are named by their own check
            require_features(paths)


def run(settings: Settings) -> None:
    """Train the student and write checkpoint and scores."""
    first_data = named_by_targets(settings, prepare(settings.data, settings.cache_folder))

    def run_first(phase: Settings) -> None:
        run(dataclasses.replace(phase, logits=_logits_of_first_phase(settings)))

    recipe, data = what_is_trained(
        settings, "student", settings.student.fit, first_data, run_first, settings.student.prune.settled
    )
    settings = with_fitted_augmentation(settings, "student", data)
    student = settings.student
    clips, targets, weights = data.clips, targets_of(settings, data, first_data), beginning_of(settings, STUDENT)
    this = new_run(
        settings,
        "student",
        depends_on={
            "student": trained_identity(student),
            "distill": settings.distill,
            **training_identity(settings, student.fit, recipe),
            **pruned_identity(settings, is_final=clips.is_labelled),
        },
        inputs={
            **data.fingerprint,
            **targets.inputs,
            **({PRETRAINED: file_sha256(weights)} if weights else {}),
            **first_phase_inputs(settings, "student"),
        },
        sources=[*targets.paths, *([weights] if weights else [])],
    )
    if is_done(this, CHECKPOINT):
        return
    this.external = uses_of_responses(data, student.augment)

    front_end = build_front_end(settings.data.sample_rate, student.mel)
    shape = data.spectrogram_shape(front_end)
    arguments = student_arguments(student, len(clips.scenes), shape)
    if student.size == WIDEST:
        log.info("the widest within the limits: %s", arguments)
    torch.manual_seed(settings.seed)
    network = build_student(student.builder, **arguments)
    affordable = Affordable(settings, shape, data.store.samples, len(clips.scenes), is_final=clips.is_labelled)
    first = first_phase_of(layout_of(settings).folder("student")) / CHECKPOINT if settings.is_refitted else None
    if (pruning := affordable.pruning(network, recipe.epochs, first)) is None:
        affordable.require(network)
    cost, on_device = affordable.costs(network)

    blueprint = checkpoint.Blueprint(
        student.builder,
        arguments,
        student.mel,
        clips.scenes,
        settings.data.sample_rate,
        data.fingerprint["clips"],
        clip_seconds=settings.data.clip_seconds,
        is_multi_label=clips.is_multi_label,
    )
    if weights:
        begin_from(weights, network, blueprint, data.before)
    taught_by = [*(["labels"] if clips.is_labelled else []), *map(str, targets.paths)]
    log.info("student %s: %s", student.builder, ", ".join(taught_by))
    if settings.distill == "none" and "logits" in settings.given and "distill" not in settings.given:
        log.warning("student %s learns from labels alone, and logits= is not read: give distill=kd", student.builder)
    several = clips.is_multi_label
    validate = by_labels if clips.is_labelled else by_targets(student.distill.softness, is_multi_label=several)
    learner = network
    if targets.features is not None:
        learner = Projected(network, student.distill.layer, shape, targets.features.shape[1])
    trainer_of(settings, recipe, student.augment).train(
        this,
        data,
        learner,
        front_end,
        loss=student_loss(student.distill, network, is_multi_label=several),
        targets=targets.logits,
        target_shifts=targets.shifts,
        features=targets.features,
        validate=validate,
        pruning=pruning,
    )
    if pruning is not None:
        blueprint = dataclasses.replace(blueprint, arguments=narrower(arguments, network))
        cost, on_device = affordable.costs(narrowed(network, {}))
    if is_first():
        checkpoint.save(this.folder / CHECKPOINT, network, blueprint)
    scores = _evaluated(settings, this, data, network, front_end, targets, validate)
    if is_first():
        estimates = {} if isinstance(on_device, str) else on_device.metrics()
        finish(this, cost.metrics(stored=False) | estimates | read_energy(this.folder) | targets.metrics() | scores)
    exchange(make_fabric(settings.fabric), None)  # what comes next reads the run


def _evaluated(
    settings: Settings,
    this: Run,
    data: DataModule,
    network: nn.Module,
    front_end: FrontEnd,
    targets: Targets,
    validate: Validate,
) -> dict[str, float]:
    """Metrics of the clips held out and of the test split, whose tables are written; of clips without labels there is
    only how far the answers to those held out are from the targets."""
    fabric, clips = make_fabric(settings.fabric), data.clips
    if not clips.is_labelled:
        if not clips.has_validation:
            return {}
        held_out = data.batches(
            "validation",
            batch_size=BATCH,
            device=fabric.device,
            targets=targets.logits,
            target_shifts=targets.shifts,
        )
        scores = dict(validate(network, front_end, held_out, fabric))
        log.info("student: %s (%s)", ", ".join(f"{name} {value:.3f}" for name, value in scores.items()), this.folder)
        return scores
    return score_student(network, front_end, data, fabric, this.folder)


def _logits_of_first_phase(settings: Settings) -> Paths:
    """What the first of two phases learns from: the logits of the teachers' first phases, which were not trained on the
    clips that choose the number of steps; of other teachers those of the second phase."""
    if settings.distill == "none":
        return settings.logits
    paths = logits_files(layout_of(settings), settings.logits)
    return [str(first if first.is_file() else path) for path, first in zip(paths, of_first_phases(paths), strict=True)]
