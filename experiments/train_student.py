"""stage=student: train a small network on labels and on what its teachers wrote down."""

import logging

import torch
from omegaconf import DictConfig, OmegaConf

from data.batches import Batch
from data.front_end import build_front_end
from data.logits import mean_logits
from experiments import checkpoint
from experiments.hardware import make_fabric
from experiments.predict import predict
from experiments.prepare import prepare
from experiments.runs import CHECKPOINT, Run, is_first, logits_files, sha256
from experiments.training import fit_part
from students import build_student
from students.complexity import torch_complexity
from students.distill import distillation_loss

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Train the student of `cfg.student` and write checkpoint and scores."""
    prepared = prepare(cfg)
    clips = prepared.clips
    paths = logits_files(cfg)
    targets = mean_logits(paths, clips.filenames, clips.scenes)
    student = OmegaConf.to_container(cfg.student, resolve=True)
    inputs = {**prepared.fingerprint, "logits": " ".join(sha256(path) for path in paths)}
    run = Run(
        cfg,
        "student",
        settings={"student": student, "seed": cfg.seed, "epochs": cfg.epochs, "precision": cfg.fabric.precision},
        inputs=inputs,
    )
    if run.is_done(CHECKPOINT):
        return

    torch.manual_seed(cfg.seed)
    size = {} if cfg.student.size is None else {"size": cfg.student.size}
    arguments = {"classes": len(clips.scenes), **size, **student["arguments"]}
    network = build_student(cfg.student.builder, **arguments)
    front_end = build_front_end(cfg.data.sample_rate, student["mel"])
    log.info("student %s learns from %s", cfg.student.builder, ", ".join(map(str, paths)))

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return distillation_loss(logits, batch.targets, batch.labels, **cfg.student.distill)

    network = fit_part(cfg, cfg.student, prepared, network, front_end, run, loss=loss, targets=targets)
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
    cost = torch_complexity(network, prepared.picture_shape(front_end))
    scores |= {"macs": cost.macs, "parameters": cost.parameters}
    run.finish(scores)
    log.info(
        "student: test accuracy %.3f, log loss %.3f (%s)", scores["test/accuracy"], scores["test/log_loss"], run.folder
    )
