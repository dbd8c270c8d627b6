"""What a student learns from: labels, and what its teachers wrote down of the clips."""

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn

from data.batches import Batch
from data.errors import UserError, unknown
from data.logits import BY_SHIFT, common_shifts, mean_logits
from experiments.datamodule import Prepared, warn_of_leaks
from experiments.runs.layout import logits_files, sha256
from experiments.training.loop import Loss
from students.distill import Features, distillation_loss, similarity_loss

DISTILL = ("kd", "none")
SHIFTS = ("mean", "nearest")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lessons:
    """Teachers' logits of all clips of a set.

    Attributes:
        paths: the files; none for a student that learns from labels alone.
        targets, shifts: what `Batches` takes.
    """

    paths: tuple[Path, ...] = ()
    targets: np.ndarray | None = None
    shifts: tuple[int, ...] | None = None

    @property
    def fingerprint(self) -> str:
        """Of the files' contents."""
        return " ".join(sha256(path) for path in self.paths)


def read_lessons(cfg: DictConfig, prepared: Prepared) -> Lessons:
    """The logits that `cfg.distill`, `cfg.logits` and `cfg.student.distill` name.

    Raises:
        UserError: unknown choices; and see data/logits.py.
    """
    if cfg.distill not in DISTILL:
        unknown("distill", cfg.distill, DISTILL)
    if cfg.distill == "none":
        return Lessons()
    clips, distill = prepared.clips, cfg.student.distill
    if distill.shifts not in SHIFTS:
        unknown("student.distill.shifts", distill.shifts, SHIFTS)
    paths = logits_files(cfg)
    plain = mean_logits(paths, clips.filenames, clips.scenes, distill.weights)
    warn_of_leaks(paths, prepared)
    if distill.shifts == "mean":
        return Lessons(tuple(paths), plain)
    shifts = common_shifts(paths)  # says what to do where there are none
    several = mean_logits(paths, clips.filenames, clips.scenes, distill.weights, BY_SHIFT)
    return Lessons(tuple(paths), several, shifts)


def student_loss(distill: Mapping[str, Any], network: nn.Module | None = None) -> Loss:
    """The loss of a batch, by the settings of `student.distill`.

    Args:
        distill: temperature, hard_weight, label_smoothing, similarity.
        network: whose features are compared with the teacher; None: without that term.

    Raises:
        UserError: a number is out of its range.
    """
    settings = {key: distill[key] for key in ("temperature", "hard_weight", "label_smoothing")}
    distillation_loss(torch.zeros(1, 2), None, torch.zeros(1, dtype=torch.int64), **settings)  # checks them
    if (similarity := distill["similarity"]) < 0:
        raise UserError(f"student.distill.similarity={similarity} must be at least 0")
    features = Features(network) if similarity and network is not None else None

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        value = distillation_loss(logits, batch.targets, batch.labels, **settings)
        if features is None or batch.targets is None:
            return value
        return value + similarity * similarity_loss(features(), batch.targets)

    return loss


def imitation_loss(original: nn.Module, network: nn.Module, temperature: float) -> Loss:
    """The loss of a network that is to answer as another one does, to the very pictures that it is shown.

    Args:
        original: in evaluation mode.
        network: which learns; its latest pictures are what the original is asked about.
        temperature: of both answers.
    """
    latest: list[torch.Tensor] = []
    original = copy.deepcopy(original)  # which goes to wherever the pictures are

    def keep(_: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        latest[:] = inputs

    network.register_forward_pre_hook(keep)

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            wanted = original.to(logits.device)(latest[0])
        return distillation_loss(logits, wanted, batch.labels, temperature=temperature, hard_weight=0.0)

    return loss
