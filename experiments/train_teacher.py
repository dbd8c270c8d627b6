"""stage=teacher: train a large network, then let it write down what it thinks of every clip."""

import json
import logging
from collections.abc import Callable

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.nn import functional as F

from data.augment import Augment
from data.errors import UserError
from data.logits import LogitsWriter
from data.mel import LogMel
from experiments import checkpoint, fit
from experiments.prepare import Prepared, prepare
from experiments.runs import Run, sha256
from experiments.score import evaluate, softmax
from teachers import build_teacher

CHECKPOINT, LOGITS = "checkpoint.safetensors", "logits.h5"
LOGITS_BATCH = 64

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Train the teacher of `cfg.teacher` and write checkpoint, logits and scores."""
    prepared = prepare(cfg)
    teacher = OmegaConf.to_container(cfg.teacher, resolve=True)
    inputs = prepared.fingerprint
    if cfg.teacher.weights:
        inputs["weights"] = _fingerprint(cfg.teacher.weights)
    run = Run(cfg, "teacher", settings={"teacher": teacher, "seed": cfg.seed, "epochs": cfg.epochs}, inputs=inputs)
    if run.is_done(CHECKPOINT, LOGITS):
        return

    torch.manual_seed(cfg.seed)
    arguments = {"classes": len(prepared.clips.scenes), **teacher["arguments"]}
    start = {"pretrained": cfg.teacher.pretrained, "weights": cfg.teacher.weights}
    network = build(build_teacher, cfg.teacher.builder, **arguments, **start)
    front_end = LogMel(sample_rate=cfg.data.sample_rate, **cfg.teacher.mel)
    network = train(cfg, cfg.teacher, prepared, network, front_end, run, loss=lambda y, b: F.cross_entropy(y, b.labels))

    path = run.folder / CHECKPOINT
    recipe = checkpoint.Recipe(
        cfg.teacher.builder,
        {**arguments, "pretrained": False},
        dict(cfg.teacher.mel),
        prepared.clips.scenes,
        cfg.data.sample_rate,
    )
    checkpoint.save(path, network, recipe)
    identity = {
        "teacher": cfg.teacher.builder,
        "config": json.dumps(teacher),
        "weights": sha256(path),
        **prepared.fingerprint,
    }
    logits = write_logits(run, prepared, network, front_end, identity)
    scores = score_logits(prepared, logits)
    run.finish(scores)
    log.info(
        "teacher: test accuracy %.3f, log loss %.3f (%s)", scores["test/accuracy"], scores["test/log_loss"], run.folder
    )


def train(
    cfg: DictConfig,
    part: DictConfig,
    prepared: Prepared,
    network: nn.Module,
    front_end: LogMel,
    run: Run,
    *,
    loss: fit.Loss,
    targets: np.ndarray | None = None,
) -> nn.Module:
    """Fit a network by the recipe of a part of the config (`cfg.teacher` or `cfg.student`); the run starts here.

    Everything that can be wrong with the settings is found before the run's folder is touched.
    """
    recipe = fit.Recipe(**part.fit).lasting(cfg.epochs)
    fabric = fit.make_fabric(cfg.fabric)
    size = fit.small_enough(recipe.batch_size, len(prepared.clips.indices("train")))
    train_clips = prepared.batches("train", batch_size=size, device=fabric.device, targets=targets)
    validation_clips = prepared.batches("validation", batch_size=size, device=fabric.device)
    run.start()
    return fit.fit(
        fabric,
        network,
        front_end,
        train_clips,
        validation_clips,
        loss=loss,
        recipe=recipe,
        augment=Augment(**part.augment),
        responses=prepared.responses,
        seed=cfg.seed,
        on_epoch=run.log,
    )


def build(builder: Callable[..., nn.Module], name: str, **arguments: object) -> nn.Module:
    """Call a registry's builder.

    Raises:
        UserError: it knows no such name or argument.
    """
    try:
        return builder(name, **arguments)
    except TypeError as error:
        raise UserError(f"{name}: {error}; its docstring lists the arguments") from error


def write_logits(
    run: Run, prepared: Prepared, network: nn.Module, front_end: LogMel, identity: dict[str, str]
) -> np.ndarray:
    """Logits of every clip of the set, clean, to logits.h5; returned as (N, classes)."""
    writer = LogitsWriter(run.folder / LOGITS, prepared.clips.filenames, prepared.clips.scenes, identity)
    device = next(network.parameters()).device
    todo = set(writer.missing.tolist())
    for batch in prepared.batches(None, batch_size=LOGITS_BATCH, device=device).in_order():
        if todo.intersection(batch.rows.tolist()):
            writer.fill(batch.rows, fit.logits_of(network, front_end, batch).cpu().numpy())
    logits = writer.values()
    scores = score_logits(prepared, logits)
    writer.seal(validation_accuracy=scores["validation/accuracy"], test_accuracy=scores["test/accuracy"])
    return logits


def score_logits(prepared: Prepared, logits: np.ndarray) -> dict[str, float]:
    """Figures of validation and test from the logits (N, classes) of all clips, as "<split>/<figure>"."""
    scores = {}
    for split in ("validation", "test"):
        rows = prepared.clips.indices(split)
        figures = score_split(prepared, split, softmax(logits[rows]))
        scores |= {f"{split}/{name}": value for name, value in figures.items()}
    return scores


def score_split(prepared: Prepared, split: str, probabilities: np.ndarray) -> dict[str, float]:
    """Figures of one split from its probabilities (n, classes), in its order."""
    rows, clips = prepared.clips.indices(split), prepared.clips
    devices = [clips.clips[row].device for row in rows]
    return evaluate(probabilities, clips.labels[rows], devices, scenes=clips.scenes, device_groups=clips.device_groups)


def _fingerprint(path: str) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise UserError(f"teacher.weights={path} cannot be read: {error.strerror}") from error
