"""What a student is trained on: labels, and its teachers' logits and features."""

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from data.batches import Batch, Batches
from data.feature_targets import feature_targets
from data.front_ends import FrontEnd
from data.logits import BY_SHIFT, common_shifts, read_several, weighted_mean
from data.progress import progress
from experiments.datasets.datamodule import DataModule
from experiments.datasets.held_out import held_out_logits, warn_of_leaks
from experiments.distributed.fabric import exchange
from experiments.inference.features import Features
from experiments.inference.network import in_order, logits_of
from experiments.runs.lineage import CALIBRATION, digests_of
from experiments.settings.parts import Distillation
from experiments.training.loop import Validate
from experiments.training.losses import Loss, Terms
from experiments.training.state import DIVERGENCE
from students.distill import (
    distillation_loss,
    distillation_terms,
    feature_loss,
    multi_label_terms,
    require_in_range,
    similarity_loss,
)
from teachers.ensemble import fit_temperature

CALIBRATED = "student.distill.temperature=auto"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Targets:
    """Teachers' logits and features of all clips of a set.

    Attributes:
        paths: the files; none for a student that is trained on labels alone.
        logits: (N, classes), or (N, shifts, classes); None without files.
        shifts: samples, of the logits' second axis.
        temperatures: by which each file's logits were divided; none where they were left as they are.
        calibrated_on: the files whose logits gave the temperatures, if they are others.
        features: standardised, float16 (N, channels), or None where a student does not learn them.
    """

    paths: tuple[Path, ...] = ()
    logits: np.ndarray | None = None
    shifts: tuple[int, ...] | None = None
    temperatures: tuple[float, ...] = ()
    calibrated_on: tuple[Path, ...] = ()
    features: np.ndarray | None = None

    @property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of the files' contents, as inputs of a run."""
        found = {"logits": digests_of(self.paths)}
        return found | ({CALIBRATION: digests_of(self.calibrated_on)} if self.calibrated_on else {})

    def metrics(self) -> dict[str, float]:
        """For score.json: the temperature of each file, by its position."""
        return {f"distill/temperature/{number}": each for number, each in enumerate(self.temperatures)}


def read_targets(
    paths: Sequence[Path], data: DataModule, distillation: Distillation, held_out: DataModule | None = None
) -> Targets:
    """The logits of some files for the clips of a data set, averaged over the files, and their features side by side.

    Features are those of the whole clips (of several shifts the mean), however a clip is rolled: over its positions a
    mean was taken already.

    Where they are calibrated, each file's are first divided by the temperature with which they have the lowest log loss
    on the validation clips; of a teacher that was trained twice, those of its first phase say which. A teacher that was
    trained with mixup is too little sure of its answers (a temperature below 1), one that overfits is too sure.

    Args:
        paths: the files.
        data: whose clips are trained on.
        distillation: weights of the files, and whether they are calibrated.
        held_out: the same data set as it was before its validation clips were trained on too; None: `data` has them.

    Raises:
        UserError: a file is missing, unfinished, or of other clips or scenes; see data/logits.py. Or none has the
            features that are to be learnt, or there are no validation clips to calibrate on.
    """
    clips, nearest = data.clips, distillation.shifts == "nearest"
    shifts = common_shifts(paths) if nearest else None  # says what to do where there are none
    column, several_classes = BY_SHIFT if nearest else "logits", clips.is_multi_label
    several = read_several(paths, clips.filenames, clips.scenes, column, is_multi_label=several_classes)
    if clips.is_labelled:  # without labels there is nothing that a teacher could have learnt of these clips
        warn_of_leaks(paths, data)
    temperatures: tuple[float, ...] = ()
    calibrated_on: tuple[Path, ...] = ()
    if distillation.is_calibrated:
        temperatures, calibrated_on = _calibrated_by(paths, held_out or data)
        several = several / np.array(temperatures, np.float32).reshape(-1, *[1] * (several.ndim - 1))
    mean = weighted_mean(several, distillation.weights)
    features = None
    if distillation.features:
        features = feature_targets(paths, clips.filenames, clips.indices("train"))
    return Targets(tuple(paths), mean, shifts, temperatures, calibrated_on, features)


def _calibrated_by(paths: Sequence[Path], data: DataModule) -> tuple[tuple[float, ...], tuple[Path, ...]]:
    """The temperature of each file's logits with the lowest log loss on the validation clips, and the files whose
    logits of these clips say so, if they are others."""
    answers, files = held_out_logits(paths, data, CALIBRATED)
    labels = data.clips.labels[data.clips.indices("validation")]
    found = tuple(fit_temperature(logits, labels) for logits in answers)
    for path, temperature in zip(paths, found, strict=True):
        log.info("%s: calibrated by a temperature of %.3f", path, temperature)
    return found, tuple(files) if files != list(paths) else ()


def student_loss(distillation: Distillation, network: nn.Module | None = None, *, is_multi_label: bool = False) -> Loss:
    """The loss of a batch: cross-entropy with the labels, divergence from the teachers' logits, the
    similarity-preserving term, and, of a student that is Projected, the difference from the teachers' features.

    Args:
        distillation: temperature and weights.
        network: whose features are compared with the teacher's logits; None: without that term.
        is_multi_label: whether clips may have several classes: binary cross-entropy, and no temperature.

    Raises:
        UserError: a number is out of its range.
    """
    temperature, hard_weight = distillation.softness, distillation.hard_weight
    smoothing, similarity, weight = distillation.label_smoothing, distillation.similarity, distillation.features

    require_in_range(temperature, hard_weight, smoothing)  # before the training
    features = Features(network) if similarity and network is not None else None

    def loss(answer: Any, batch: Batch) -> Terms:
        logits, projected = answer if isinstance(answer, tuple) else (answer, None)
        if is_multi_label:
            value, *parts = multi_label_terms(logits, batch.targets, batch.labels, hard_weight)
        else:
            value, *parts = distillation_terms(logits, batch.targets, batch.labels, temperature, hard_weight, smoothing)
        named = zip(("hard_loss", "soft_loss"), parts, strict=True)
        terms = {name: part for name, part in named if part is not None}
        if features is not None and batch.targets is not None:
            terms["similarity_loss"] = similarity_loss(features(len(logits)), batch.targets)
            value = value + similarity * terms["similarity_loss"]
        if projected is not None and batch.features is not None:
            terms["feature_loss"] = feature_loss(projected, batch.features)
            value = value + weight * terms["feature_loss"]
        return Terms(value, terms)

    return loss


def by_targets(temperature: float, *, is_multi_label: bool = False) -> Validate:
    """How far a network is from its teachers on clips held out, without their labels: the mean of the loss with a hard
    weight of 0, in nats, of clips that are not augmented."""

    def divergence(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        if is_multi_label:
            return multi_label_terms(logits, batch.targets, batch.labels, 0.0).loss
        return distillation_loss(logits, batch.targets, batch.labels, temperature=temperature, hard_weight=0.0)

    @torch.no_grad()
    def validate(network: nn.Module, front_end: FrontEnd, batches: Batches, fabric: Fabric) -> dict[str, float]:
        network.eval()
        numbers = range(fabric.global_rank, batches.count, fabric.world_size)
        with fabric.autocast(), progress("scoring", len(batches)) as line:
            mine = [
                (
                    number,
                    len(batch.rows),
                    float(_divergence(network, front_end, batch, batches.target_shifts, divergence)),
                )
                for number, batch in zip(numbers, in_order(batches, numbers, fabric, line), strict=True)
            ]
        found = sorted(piece for pieces in exchange(fabric, mine) for piece in pieces)  # whoever computed them
        return {DIVERGENCE: sum(count * value for _, count, value in found) / len(batches)}

    return validate


def _divergence(
    network: nn.Module,
    front_end: FrontEnd,
    batch: Batch,
    shifts: torch.Tensor | None,
    divergence: Callable[[torch.Tensor, Batch], torch.Tensor],
) -> torch.Tensor:
    """Of the clips of a batch as they are, a scalar."""
    if shifts is not None:
        batch = batch.rolled(None, shifts)
    return divergence(logits_of(network, front_end, batch)[:, 0], batch)


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
