"""The student stage: train a small network on labels and on its teachers' logits."""

import dataclasses
import logging
from collections.abc import Sequence

import torch

from data.errors import UserError, listed, unknown
from data.front_ends import build_front_end
from experiments.datasets.datamodule import prepare
from experiments.distributed.fabric import computing, make_fabric
from experiments.distributed.processes import is_first
from experiments.evaluation.evaluate import evaluate_and_save, split_metrics
from experiments.inference.network import predict
from experiments.report.publish import finish, is_done
from experiments.runs.layout import CHECKPOINT, logits_files
from experiments.runs.reader import read_energy
from experiments.settings.shared import Settings
from experiments.stages.context import layout_of, new_run
from experiments.training import checkpoint
from experiments.training.distillation import Targets, read_targets, require_choice, student_loss
from experiments.training.trainer import Trainer
from students import build_student
from students.complexity import torch_complexity
from students.limits import Complexity, over_limits
from students.scale import WIDEST, widest_arguments

ON_EXCESS = ("error", "warn")
BATCH = 64  # clips whose logits are computed at once

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py. The network is built and counted for clips of the length that is asked for."""
    student = settings.student
    layout_of(settings).folder("student")
    require_choice(settings.distill)
    student_loss(student.distill)
    _trainer(settings, student.fit.batch_size).require_possible()
    if student.fit.layer_decay != 1 or student.fit.frozen_layers:
        raise UserError("fit.layer_decay and fit.frozen_layers are for teachers that begin from published weights")
    if student.augment.crop:
        raise UserError("augment.crop=true is for teachers: a student's target logits are of whole clips")
    front_end = build_front_end(settings.data.sample_rate, student.mel)
    samples = round(settings.data.clip_seconds * settings.data.sample_rate)
    shape = 1, 1, front_end.mels, front_end.frames(samples)
    network = build_student(student.builder, **_arguments(settings, 10, shape))
    _require_limits(settings, torch_complexity(network, shape), said=False)


def run(settings: Settings) -> None:
    """Train the student and write checkpoint and scores."""
    data = prepare(settings.data, settings.cache_folder)
    student, clips = settings.student, data.clips
    targets = Targets()
    if settings.distill != "none":
        targets = read_targets(logits_files(layout_of(settings), settings.logits), data, student.distill)
    exact = "student.fit.batch_size" in settings.given
    batch_size = data.batch_size(student.fit.batch_size, settings.fabric.processes, exact=exact)
    this = new_run(
        settings,
        "student",
        depends_on={
            "student": dataclasses.asdict(student),
            "distill": settings.distill,
            "seed": settings.seed,
            "epochs": settings.epochs,
            "batch_size": batch_size,
            **computing(settings.fabric),
        },
        inputs={**data.fingerprint, "logits": targets.fingerprint},
        sources=targets.paths,
    )
    if is_done(this, CHECKPOINT):
        return

    front_end = build_front_end(settings.data.sample_rate, student.mel)
    shape = data.spectrogram_shape(front_end)
    arguments = _arguments(settings, len(clips.scenes), shape)
    torch.manual_seed(settings.seed)
    network = build_student(student.builder, **arguments)
    cost = torch_complexity(network, shape)
    _require_limits(settings, cost)

    log.info("student %s: labels%s", student.builder, "".join(f", {path}" for path in targets.paths))
    network = _trainer(settings, batch_size).train(
        this,
        data,
        network,
        front_end,
        loss=student_loss(student.distill, network),
        targets=targets.logits,
        target_shifts=targets.shifts,
    )
    blueprint = checkpoint.Blueprint(
        student.builder, arguments, student.mel, clips.scenes, settings.data.sample_rate, data.fingerprint["clips"]
    )
    if is_first():
        checkpoint.save(this.folder / CHECKPOINT, network, blueprint)
    fabric = make_fabric(settings.fabric)
    held_out, tested = (
        predict(network, front_end, data.batches(split, batch_size=BATCH, device=fabric.device), fabric)[0]
        for split in ("validation", "test")
    )
    if is_first():
        scores = cost.metrics() | read_energy(this.folder)
        scores |= split_metrics(clips, "validation", held_out) | evaluate_and_save(clips, tested, this.folder)
        finish(this, scores)
        accuracy, log_loss = scores["test/accuracy"], scores["test/log_loss"]
        log.info("student: test accuracy %.3f, log loss %.3f (%s)", accuracy, log_loss, this.folder)


def _trainer(settings: Settings, batch_size: int) -> Trainer:
    return Trainer(
        recipe=dataclasses.replace(settings.student.fit.lasting(settings.epochs), batch_size=batch_size),
        augmentation=settings.student.augment,
        hardware=settings.fabric,
        residency=settings.data.residency,
        seed=settings.seed,
    )


def _arguments(settings: Settings, classes: int, shape: Sequence[int]) -> dict[str, object]:
    """What the student is built with: `size` is one of its own, or the widest for log-mels of this shape."""
    student = settings.student
    arguments = {"classes": classes, **student.arguments}
    if student.size == WIDEST:
        arguments = widest_arguments(student.builder, arguments, shape)
        log.info("the widest within the limits: %s", arguments)
        return arguments
    return arguments if student.size is None else {"size": student.size, **arguments}


def _require_limits(settings: Settings, cost: Complexity, *, said: bool = True) -> None:
    """Refuse a student over the limits of the task, or, with limits=warn, only say so (once, where it is trained)."""
    if settings.limits not in ON_EXCESS:
        unknown("limits", settings.limits, ON_EXCESS)
    if not (excess := over_limits(cost)):
        return
    found = f"student {settings.student.builder} is over the task's limits for one clip:\n{listed(excess)}"
    if settings.limits == "error":
        raise UserError(
            f"{found}\nmake it smaller (student.size, student.arguments), or its log-mels (student.mel.mels, "
            "student.mel.hop, data.clip_seconds); or train it all the same with limits=warn"
        )
    if said:
        log.warning(found)
