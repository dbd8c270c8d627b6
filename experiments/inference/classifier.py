"""A network of integers from its file, as a classifier of sounds.

Conventions: those of clip_classifier.py. The integers are executed in torch, which gives what a device's kernels give,
to the last bit (the quantize stage checks it for every file), and is quicker.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.damage import explain_damage
from data.errors import UserError
from data.front_ends import DEFAULT, FrontEnd, build_front_end
from data.ranges import Seconds, fits, shortened
from data.scenes import check_class_names
from experiments.evaluation.metrics import softmax
from experiments.inference.clip_classifier import Answers, Classifier
from students.quantize.answer import confidence_of, exponentials, probabilities
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import INPUT
from students.quantize.metadata import CLIP_SECONDS
from students.quantize.read import read_tflite

UNSAID = range(1, 61)  # seconds that the clips of a file that does not say their length may have


@dataclass(frozen=True)
class IntegerClassifier(Classifier):
    """A classifier by integers.

    Attributes:
        network: from spectrograms to logits.
    """

    network: IntegerNetwork

    @cached_property
    def table(self) -> np.ndarray:
        """See exponentials."""
        output = self.network.output
        return exponentials(output.scale, self.confidence.temperature, output.bits)

    @property
    def devices(self) -> Collection[str]:
        """See Classifier."""
        return self.network.sets

    @property
    def non_zero(self) -> int:
        """See Classifier."""
        weights = self.network.weights.values()
        return sum(int(np.count_nonzero(part)) for layer in weights for part in (layer.weight, layer.bias))

    def of_device(self, device: str) -> "IntegerClassifier":
        """See Classifier."""
        return replace(self, network=self.network.of_device(device))

    @torch.no_grad()
    def probabilities(self, spectrograms: torch.Tensor) -> np.ndarray:
        """See Classifier."""
        return softmax(self.network.logits(spectrograms).numpy())

    @torch.no_grad()
    def answers(self, spectrograms: torch.Tensor) -> Answers:
        """See Classifier."""
        q = self.network.integer_logits(spectrograms)
        return Answers(softmax(self.network.output.dequantize(q).numpy()), probabilities(q.numpy(), self.table))


def load_classifier(path: str | Path) -> IntegerClassifier:
    """The classifier of a model.tflite that the quantize stage wrote.

    Raises:
        UserError: the file is missing or damaged, or lacks front end or classes, see input_of.
    """
    network, metadata = read_tflite(path)
    front_end, seconds = input_of(path, metadata, network.quantities[INPUT].shape)
    scenes = _scenes_of(path, metadata, network.output.shape[0])
    with explain_damage(path):
        confidence = confidence_of(metadata)
    return IntegerClassifier(front_end, scenes, front_end.sample_rate, seconds, confidence, network)


def input_of(path: str | Path, metadata: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[FrontEnd, float]:
    """The front end that the metadata of a file describe, and the length of a clip, seconds.

    Args:
        path, metadata: of the file.
        shape: of the network's input, (1, mels, frames).

    Raises:
        UserError: they do not, or those of another network.
    """
    rate, mel = metadata.get("sample_rate"), metadata.get("mel")
    if type(rate) is not int or not isinstance(mel, Mapping) or not isinstance(mel.get("kind", DEFAULT), str):
        raise UserError(
            f"{path} does not name its front end (sample_rate={rate!r:.80}, mel={mel!r:.80}): quantise the "
            "student again"
        )
    try:
        front_end = build_front_end(rate, mel)
        seconds = _clip_seconds(metadata.get(CLIP_SECONDS), front_end, shape)
        front_end(torch.zeros(1, round(seconds * rate)))  # some transforms are too long for a clip
    except (UserError, RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        why, *_ = str(error).splitlines() or [type(error).__name__]
        raise UserError(f"{path}: its front end, {mel}: {why}: quantise the student again") from error
    return front_end, seconds


def _clip_seconds(said: Any, front_end: FrontEnd, shape: tuple[int, ...]) -> float:
    """The length of the clips whose spectrograms have a shape: as it is said, or, if it is not, the shortest in whole
    seconds.

    Raises:
        UserError: there is none, or what is said cannot be, or is of other spectrograms.
    """

    def shape_of(seconds: float) -> tuple[int, ...]:
        return 1, front_end.mels, front_end.frames(round(seconds * front_end.sample_rate))

    if said is None:
        found = next((float(seconds) for seconds in UNSAID if shape_of(seconds) == shape), None)
        if found is None:
            raise UserError(
                f"the network takes spectrograms of {shape}, a clip of 1 s has {shape_of(1)}, and the file does not "
                f"say how long its clips are ({CLIP_SECONDS})"
            )
        return found
    if not fits(Seconds, said) or shape_of(said) != shape:
        other = f", of which spectrograms have {shape_of(said)}" if fits(Seconds, said) else ""
        raise UserError(f"the network takes spectrograms of {shape}, and {CLIP_SECONDS} is {shortened(said)}{other}")
    return float(said)


def _scenes_of(path: str | Path, metadata: Mapping[str, Any], classes: int) -> tuple[str, ...]:
    """The names of the classes, as many as the network has logits."""
    scenes = metadata.get("scenes")
    if not (isinstance(scenes, list) and scenes and all(isinstance(scene, str) for scene in scenes)):
        raise UserError(f"{path} does not name its classes: quantise the student again")
    if len(scenes) != classes or len(set(scenes)) != len(scenes):
        raise UserError(
            f"{path} names {len(set(scenes))} different classes, its network has {classes} logits: quantise the "
            "student again"
        )
    try:
        check_class_names(scenes)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return tuple(scenes)
