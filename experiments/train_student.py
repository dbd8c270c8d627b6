"""stage=student: train a small network on labels and on what its teachers wrote down."""

import logging

import torch
from omegaconf import DictConfig, OmegaConf
from torch.nn import functional as F

from data.batches import Batch
from data.errors import unknown
from data.front_end import build_front_end
from data.logits import mean_logits
from experiments import checkpoint
from experiments.energy import read_energy
from experiments.hardware import make_fabric
from experiments.predict import predict
from experiments.prepare import prepare, warn_of_leaks
from experiments.runs import CHECKPOINT, Run, is_first, logits_files, sha256
from experiments.training import fit_part
from students import build_student
from students.complexity import torch_complexity
from students.distill import distillation_loss

DISTILL = ("kd", "none")

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Train the student of `cfg.student` and write checkpoint and scores."""
    prepared = prepare(cfg)
    clips = prepared.clips
    if cfg.distill not in DISTILL:
        unknown("distill", cfg.distill, DISTILL)
    paths, targets = [], None
    if cfg.distill == "kd":
        paths = logits_files(cfg)
        targets = mean_logits(paths, clips.filenames, clips.scenes, cfg.student.distill.weights)
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
            "precision": cfg.fabric.precision,
        },
        inputs=inputs,
    )
    if run.is_done(CHECKPOINT):
        return

    torch.manual_seed(cfg.seed)
    size = {} if cfg.student.size is None else {"size": cfg.student.size}
    arguments = {"classes": len(clips.scenes), **size, **student["arguments"]}
    network = build_student(cfg.student.builder, **arguments)
    front_end = build_front_end(cfg.data.sample_rate, student["mel"])

    log.info("student %s learns from labels%s", cfg.student.builder, "".join(f", {path}" for path in paths))
    part = {key: value for key, value in student["distill"].items() if key != "weights"}
    distillation_loss(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), **part)  # checks them

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        if batch.targets is None:
            return F.cross_entropy(logits, batch.labels, label_smoothing=part["label_smoothing"])
        return distillation_loss(logits, batch.targets, batch.labels, **part)

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
    run.finish(scores | read_energy(run.folder))
    log.info(
        "student: test accuracy %.3f, log loss %.3f (%s)", scores["test/accuracy"], scores["test/log_loss"], run.folder
    )
