"""stage=student: train a small network on labels and on what its teachers wrote down."""

import logging
from collections.abc import Sequence

import torch
from omegaconf import DictConfig, OmegaConf

from data.errors import UserError, listed, unknown
from data.front_ends import build_front_end
from experiments import checkpoint
from experiments.energy import read_energy
from experiments.hardware import computing, make_fabric
from experiments.judge import judge
from experiments.paths import CHECKPOINT
from experiments.predict import predict
from experiments.prepare import prepare
from experiments.runs import Run, is_first
from experiments.teaching import read_lessons, student_loss
from experiments.training import batch_size, fit_part
from students import build_student
from students.complexity import Complexity, over_limits, torch_complexity
from students.scale import WIDEST, widest_arguments

ON_EXCESS = ("error", "warn")

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Train the student of `cfg.student` and write checkpoint and scores."""
    prepared = prepare(cfg)
    clips = prepared.clips
    lessons = read_lessons(cfg, prepared)
    student = OmegaConf.to_container(cfg.student, resolve=True)
    inputs = {**prepared.fingerprint, "logits": lessons.fingerprint}
    run = Run(
        cfg,
        "student",
        settings={
            "student": student,
            "distill": cfg.distill,
            "seed": cfg.seed,
            "epochs": cfg.epochs,
            "batch_size": batch_size(cfg, "student", prepared),
            **computing(cfg.fabric),
        },
        inputs=inputs,
        sources=lessons.paths,
    )
    if run.is_done(CHECKPOINT):
        return

    front_end = build_front_end(cfg.data.sample_rate, student["mel"])
    shape = prepared.picture_shape(front_end)
    arguments = _arguments(cfg, {"classes": len(clips.scenes), **student["arguments"]}, shape)
    torch.manual_seed(cfg.seed)
    network = build_student(cfg.student.builder, **arguments)
    cost = torch_complexity(network, shape)
    _require_limits(cfg, cost)

    log.info("student %s learns from labels%s", cfg.student.builder, "".join(f", {path}" for path in lessons.paths))
    network = fit_part(
        cfg,
        cfg.student,
        prepared,
        network,
        front_end,
        run,
        loss=student_loss(student["distill"], network),
        targets=lessons.targets,
        target_shifts=lessons.shifts,
    )
    blueprint = checkpoint.Blueprint(
        cfg.student.builder,
        arguments,
        student["mel"],
        clips.scenes,
        cfg.data.sample_rate,
        prepared.fingerprint["clips"],
    )
    if is_first():
        checkpoint.save(run.folder / CHECKPOINT, network, blueprint)
    fabric = make_fabric(cfg.fabric)
    held_out, tested = (
        predict(network, front_end, prepared.batches(split, batch_size=64, device=fabric.device), fabric)[0]
        for split in ("validation", "test")
    )
    scores = cost.figures() | read_energy(run.folder)
    if is_first():
        scores |= prepared.score("validation", held_out) | judge(clips, tested, run.folder)
        run.finish(scores)
        accuracy, loss = scores["test/accuracy"], scores["test/log_loss"]
        log.info("student: test accuracy %.3f, log loss %.3f (%s)", accuracy, loss, run.folder)


def _arguments(cfg: DictConfig, arguments: dict[str, object], shape: Sequence[int]) -> dict[str, object]:
    """What the student is built with: `size` is one of its own, or the widest for pictures of this shape."""
    if cfg.student.size == WIDEST:
        arguments = widest_arguments(cfg.student.builder, arguments, shape)
        log.info("the widest within the limits: %s", arguments)
        return arguments
    return arguments if cfg.student.size is None else {"size": cfg.student.size, **arguments}


def _require_limits(cfg: DictConfig, cost: Complexity) -> None:
    """Refuse a student over the limits of the task, or warn; see `limits` in conf/config.yaml."""
    if cfg.limits not in ON_EXCESS:
        unknown("limits", cfg.limits, ON_EXCESS)
    if not (excess := over_limits(cost)):
        return
    found = f"student {cfg.student.builder} is over the task's limits for one clip:\n{listed(excess)}"
    if cfg.limits == "error":
        raise UserError(
            f"{found}\nmake it smaller (student.size, student.arguments), or its pictures (student.mel.mels, "
            "student.mel.hop, data.clip_seconds); or train it all the same with limits=warn"
        )
    log.warning(found)
