"""What a student is trained on: labels, and its teachers' logits."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from data.batches import Batch
from data.files import file_sha256
from data.logits import BY_SHIFT, common_shifts, mean_logits
from experiments.datasets.datamodule import DataModule, warn_of_leaks
from experiments.settings.parts import Distillation
from experiments.training.loop import Loss
from students.distill import Features, distillation_loss, require_in_range, similarity_loss

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Targets:
    """Teachers' logits of all clips of a set.

    Attributes:
        paths: the files; none for a student that is trained on labels alone.
        logits: (N, classes), or (N, shifts, classes); None without files.
        shifts: samples, of the logits' second axis.
    """

    paths: tuple[Path, ...] = ()
    logits: np.ndarray | None = None
    shifts: tuple[int, ...] | None = None

    @property
    def fingerprint(self) -> str:
        """Of the files' contents."""
        return " ".join(file_sha256(path) for path in self.paths)


def read_targets(paths: Sequence[Path], data: DataModule, distillation: Distillation) -> Targets:
    """The logits of some files for the clips of a data set, averaged over the files.

    Raises:
        UserError: a file is missing, unfinished, or of other clips or scenes; see data/logits.py.
    """
    clips = data.clips
    plain = mean_logits(paths, clips.filenames, clips.scenes, distillation.weights)
    warn_of_leaks(paths, data)
    if distillation.shifts == "mean":
        return Targets(tuple(paths), plain)
    shifts = common_shifts(paths)  # says what to do where there are none
    several = mean_logits(paths, clips.filenames, clips.scenes, distillation.weights, BY_SHIFT)
    return Targets(tuple(paths), several, shifts)


def student_loss(distillation: Distillation, network: nn.Module | None = None) -> Loss:
    """The loss of a batch: cross-entropy with the labels, divergence from the teachers' logits, and the
    similarity-preserving term.

    Args:
        distillation: temperature and weights.
        network: whose features are compared with the teacher's logits; None: without that term.

    Raises:
        UserError: a number is out of its range.
    """
    temperature, hard_weight = distillation.temperature, distillation.hard_weight
    smoothing, similarity = distillation.label_smoothing, distillation.similarity

    def plain(logits: torch.Tensor, targets: torch.Tensor | None, labels: torch.Tensor) -> torch.Tensor:
        return distillation_loss(
            logits, targets, labels, temperature=temperature, hard_weight=hard_weight, label_smoothing=smoothing
        )

    require_in_range(temperature, hard_weight, smoothing)  # before the training
    features = Features(network) if similarity and network is not None else None

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        value = plain(logits, batch.targets, batch.labels)
        if features is None or batch.targets is None:
            return value
        return value + similarity * similarity_loss(features(), batch.targets)

    return loss


def imitation_loss(original: nn.Module, network: nn.Module, temperature: float) -> Loss:
    """The loss of a network that is to answer as another one does, to the very log-mels that it is given.

    Args:
        original: in evaluation mode.
        network: which is trained; its latest input is what the original is applied to.
        temperature: of both answers.
    """
    latest: list[torch.Tensor] = []
    original = copy.deepcopy(original)  # which goes to wherever the log-mels are

    def keep(_: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        latest[:] = inputs

    network.register_forward_pre_hook(keep)

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            wanted = original.to(logits.device)(latest[0])
        return distillation_loss(logits, wanted, batch.labels, temperature=temperature, hard_weight=0.0)

    return loss
