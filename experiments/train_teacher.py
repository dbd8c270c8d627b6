"""stage=teacher: train a large network, then let it write down what it thinks of every clip."""

import json
import logging
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.nn import functional as F

from data.batches import Batch
from data.errors import UserError
from data.front_end import FrontEnd, build_front_end
from data.logits import LogitsWriter
from experiments import checkpoint, fit
from experiments.prepare import Prepared, prepare
from experiments.runs import CHECKPOINT, LOGITS, Run, sha256
from teachers import build_teacher

LOGITS_BATCH = 64

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Train the teacher of `cfg.teacher` and write checkpoint, logits and scores."""
    prepared = prepare(cfg)
    teacher = OmegaConf.to_container(cfg.teacher, resolve=True)
    inputs = prepared.fingerprint
    if cfg.teacher.weights:
        inputs["weights"] = _fingerprint(cfg.teacher.weights)
    run = Run(
        cfg,
        "teacher",
        settings={"teacher": teacher, "seed": cfg.seed, "epochs": cfg.epochs, "precision": cfg.fabric.precision},
        inputs=inputs,
    )
    if run.is_done(CHECKPOINT, LOGITS):
        return

    torch.manual_seed(cfg.seed)
    arguments = {"classes": len(prepared.clips.scenes), **teacher["arguments"]}
    start = {"pretrained": cfg.teacher.pretrained, "weights": cfg.teacher.weights}
    network = build_teacher(cfg.teacher.builder, **arguments, **start)
    front_end = build_front_end(cfg.data.sample_rate, teacher["mel"])

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return F.cross_entropy(logits, batch.labels)

    network = fit.fit_part(cfg, cfg.teacher, prepared, network, front_end, run, loss=loss)

    path = run.folder / CHECKPOINT
    blueprint = checkpoint.Blueprint(
        cfg.teacher.builder,
        {**arguments, "pretrained": False},
        teacher["mel"],
        prepared.clips.scenes,
        cfg.data.sample_rate,
    )
    checkpoint.save(path, network, blueprint)
    identity = {
        "teacher": cfg.teacher.builder,
        "config": json.dumps(teacher),
        "weights": sha256(path),
        **prepared.fingerprint,
    }
    logits = write_logits(run, prepared, network, front_end, identity)
    scores = prepared.score_logits(logits)
    run.finish(scores)
    log.info(
        "teacher: test accuracy %.3f, log loss %.3f (%s)", scores["test/accuracy"], scores["test/log_loss"], run.folder
    )


def write_logits(
    run: Run, prepared: Prepared, network: nn.Module, front_end: FrontEnd, identity: dict[str, str]
) -> np.ndarray:
    """Logits of every clip of the set, clean, to logits.h5; returned as (N, classes)."""
    writer = LogitsWriter(run.folder / LOGITS, prepared.clips.filenames, prepared.clips.scenes, identity)
    device = next(network.parameters()).device
    todo = set(writer.missing.tolist())
    for batch in prepared.batches(None, batch_size=LOGITS_BATCH, device=device).in_order():
        if todo.intersection(batch.rows.tolist()):
            writer.fill(batch.rows.tolist(), fit.logits_of(network, front_end, batch).cpu().numpy())
    logits = writer.values()
    scores = prepared.score_logits(logits)
    writer.seal(validation_accuracy=scores["validation/accuracy"], test_accuracy=scores["test/accuracy"])
    return logits


def _fingerprint(path: str) -> str:
    """Of a file, or of all files of a folder."""
    files = sorted(file for file in Path(path).rglob("*") if file.is_file()) if Path(path).is_dir() else [path]
    try:
        return " ".join(sha256(file) for file in files)
    except OSError as error:
        raise UserError(f"teacher.weights={path} cannot be read: {error.strerror}") from error
