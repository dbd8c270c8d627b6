"""stage=student: train a small network on labels and on what its teachers wrote down."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from data.batches import Batch
from data.errors import UserError, listed, unknown
from data.front_end import build_front_end
from data.logits import BY_SHIFT, common_shifts, mean_logits
from experiments import checkpoint
from experiments.energy import read_energy
from experiments.fit import Loss
from experiments.hardware import computing, make_fabric
from experiments.paths import CHECKPOINT, logits_files, sha256
from experiments.predict import predict
from experiments.prepare import prepare, warn_of_leaks
from experiments.runs import Run, is_first
from experiments.training import fit_part
from students import build_student
from students.complexity import Complexity, over_limits, torch_complexity
from students.distill import Features, distillation_loss, similarity_loss
from students.scale import WIDEST, widest_arguments

DISTILL = ("kd", "none")
SHIFTS = ("mean", "nearest")
ON_EXCESS = ("error", "warn")

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Train the student of `cfg.student` and write checkpoint and scores."""
    prepared = prepare(cfg)
    clips = prepared.clips
    if cfg.distill not in DISTILL:
        unknown("distill", cfg.distill, DISTILL)
    paths, targets, shifted = [], None, None
    if cfg.distill == "kd":
        paths = logits_files(cfg)
        shifted = _shifts(cfg.student.distill.shifts, paths)
        column = BY_SHIFT if shifted else "logits"
        targets = mean_logits(paths, clips.filenames, clips.scenes, cfg.student.distill.weights, column)
        warn_of_leaks(paths, prepared)
    student = OmegaConf.to_container(cfg.student, resolve=True)
    inputs = {**prepared.fingerprint, "logits": " ".join(sha256(path) for path in paths)}
    run = Run(
        cfg,
        "student",
        settings={
            "student": student,
            "distill": cfg.distill,
            "seed": cfg.seed,
            "epochs": cfg.epochs,
            **computing(cfg.fabric),
        },
        inputs=inputs,
        sources=paths,
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

    log.info("student %s learns from labels%s", cfg.student.builder, "".join(f", {path}" for path in paths))
    loss = _loss(student["distill"], network)
    network = fit_part(
        cfg, cfg.student, prepared, network, front_end, run, loss=loss, targets=targets, target_shifts=shifted
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
    scores, fabric = {}, make_fabric(cfg.fabric)
    for split in ("validation", "test"):
        batches = prepared.batches(split, batch_size=64, device=fabric.device)
        figures = prepared.score(split, predict(network, front_end, batches, fabric)[0])
        scores |= {f"{split}/{name}": value for name, value in figures.items()}
    scores |= dataclasses.asdict(cost)
    run.finish(scores | read_energy(run.folder))
    log.info(
        "student: test accuracy %.3f, log loss %.3f (%s)", scores["test/accuracy"], scores["test/log_loss"], run.folder
    )


def _shifts(wanted: str, paths: Sequence[Path]) -> tuple[int, ...] | None:
    """The shifts whose logits are told apart; None: each clip has one target, whatever its shift."""
    if wanted not in SHIFTS:
        unknown("student.distill.shifts", wanted, SHIFTS)
    return common_shifts(paths) if wanted == "nearest" else None


def _loss(distill: Mapping[str, Any], network: nn.Module) -> Loss:
    """The loss of a batch, by the settings of `student.distill`."""
    settings = {key: distill[key] for key in ("temperature", "hard_weight", "label_smoothing")}
    distillation_loss(torch.zeros(1, 2), None, torch.zeros(1, dtype=torch.int64), **settings)  # checks them
    if (similarity := distill["similarity"]) < 0:
        raise UserError(f"distill.similarity={similarity} must be at least 0")
    features = Features(network) if similarity else None

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        value = distillation_loss(logits, batch.targets, batch.labels, **settings)
        if features is None or batch.targets is None:
            return value
        return value + similarity * similarity_loss(features(), batch.targets)

    return loss


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
