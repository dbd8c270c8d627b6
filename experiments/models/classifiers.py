"""A classifier of sounds from a model file: of floats, from a student's checkpoint, or of any kind.

Conventions: those of clip_classifier.py. Floats that are stored with 16 bits are computed with 32. No temperature was
fitted to floats: calibrated answers are their probabilities, rounded as a device has them, see students/quantize/
answer.py.
"""

import copy
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from data.errors import UserError
from data.front_ends import build_front_end
from data.scenes import PART_SECONDS
from experiments.evaluation.metrics import softmax
from experiments.inference.classifier import load_classifier
from experiments.inference.clip_classifier import Answers, Classifier
from experiments.runs.layout import is_float
from experiments.training.checkpoint import load_with_sets
from students import build_student
from students.quantize.answer import ONE, UNCALIBRATED

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FloatClassifier(Classifier):
    """A classifier by floats.

    Attributes:
        network: from spectrograms to logits, of 32 bits.
        sets: the tensors that recording devices have of their own, by device and by their names in the network.
    """

    network: nn.Module
    sets: Mapping[str, Mapping[str, torch.Tensor]]

    @property
    def devices(self) -> Collection[str]:
        """See Classifier."""
        return self.sets

    @property
    def non_zero(self) -> int:
        """See Classifier."""
        parameters = dict(self.network.named_parameters())
        own = [tensor for some in self.sets.values() for name, tensor in some.items() if name in parameters]
        return sum(int(torch.count_nonzero(tensor)) for tensor in [*parameters.values(), *own])

    def of_device(self, device: str) -> "FloatClassifier":
        """See Classifier."""
        if device not in self.sets:
            return self
        network = copy.deepcopy(self.network)
        network.load_state_dict({**network.state_dict(), **self.sets[device]})
        return replace(self, network=network)

    @torch.no_grad()
    def logits(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Log-mels (n, 1, mels, frames) -> float32 logits (n, classes)."""
        return self.network(spectrograms)

    def probabilities(self, spectrograms: torch.Tensor) -> np.ndarray:
        """See Classifier."""
        return softmax(self.logits(spectrograms).numpy())

    def answers(self, spectrograms: torch.Tensor) -> Answers:
        """See Classifier."""
        found = self.probabilities(spectrograms)
        return Answers(found, np.rint(found * ONE).astype(np.uint16))


def load_floats(path: str | Path) -> FloatClassifier:
    """The classifier of a student's checkpoint; one that does not say how long its clips are is for the task's, of 1 s.

    Raises:
        UserError: the file is missing or damaged, or not of a student, or of clips that may have several classes, or
            its network cannot be applied to a clip.
    """
    network, blueprint, sets = load_with_sets(path, build_student)
    if blueprint.is_multi_label:
        raise UserError(
            f"{path} is a student of clips with several classes each, and a classifier gives one: train a student on "
            f"clips with one class each, which may begin with it: student.weights={path}"
        )
    seconds, rate = blueprint.clip_seconds, blueprint.sample_rate
    if seconds is None:
        seconds = PART_SECONDS
        log.warning("%s does not say how long its clips are: %g s are assumed", path, seconds)
    front_end = build_front_end(rate, blueprint.mel)
    found = FloatClassifier(front_end, blueprint.scenes, rate, seconds, UNCALIBRATED, network.eval(), sets)
    try:
        found.probabilities(found.spectrograms(torch.zeros(1, round(seconds * rate))))
    except (UserError, RuntimeError, ValueError, ArithmeticError) as error:
        why, *_ = str(error).splitlines() or [type(error).__name__]
        raise UserError(f"{path}: its network cannot be applied to a clip of {seconds:g} s: {why}") from error
    return found


def load_model(path: str | Path) -> Classifier:
    """The classifier of a model.tflite that the quantize stage wrote, or of a student's checkpoint.safetensors.

    Raises:
        UserError: the file is missing or damaged, or lacks front end or classes.
    """
    return load_floats(path) if is_float(Path(path)) else load_classifier(path)
