"""A network of integers from its file, with the front end that it was trained with: from sounds to probabilities.

Conventions: waves are float32 (n, samples) in [-1, 1] at the model's rate, a clip a row; spectrograms
(log-mels) are float32 (n, 1, mels, frames), probabilities float64 (n, classes). The integers are executed in torch,
which gives what a device's kernels give, to the last bit (the quantize stage checks it for every file), and is quicker.
A sound is read, resampled, cut and rounded to 16 bits as the wave store does it (data/audio.py), so that it has the
same probabilities whether it was packed or not. Only some hundred clips are in memory at once.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from data.audio import decode
from data.damage import explain_damage
from data.errors import UserError, listed
from data.front_ends import DEFAULT, FrontEnd, build_front_end
from data.front_ends.integer_steps import network_input
from data.progress import progress
from data.ranges import Seconds, fits, shortened
from data.scenes import check_class_names
from data.waves import read_pieces, to_float
from experiments.evaluation.metrics import softmax
from students.quantize.answer import UNCALIBRATED, Confidence, confidence_of, exponentials, probabilities
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import INPUT
from students.quantize.metadata import CLIP_SECONDS
from students.quantize.read import read_tflite

BATCH = 32  # files that a thread decodes in one go, and whose clips are classified together
UNSAID = range(1, 61)  # seconds that the clips of a file that does not say their length may have

log = logging.getLogger(__name__)


class Answers(NamedTuple):
    """Of some clips the probabilities of the classes, (clips, classes): float64 as they are scored, and calibrated as a
    device computes them, uint16 in steps of 1 / ONE (students/quantize/answer.py)."""

    probabilities: np.ndarray
    calibrated: np.ndarray


@dataclass(frozen=True)
class Classifier:
    """What is needed to classify sounds.

    Attributes:
        network: from spectrograms to logits.
        front_end: from waves to spectrograms.
        scenes: the classes, in the order of the probabilities.
        sample_rate: Hz, of the waves.
        clip_seconds: length of a clip.
        confidence: how sure the answers are.
    """

    network: IntegerNetwork
    front_end: FrontEnd
    scenes: tuple[str, ...]
    sample_rate: int
    clip_seconds: float
    confidence: Confidence = UNCALIBRATED

    @cached_property
    def table(self) -> np.ndarray:
        """See exponentials."""
        output = self.network.output
        return exponentials(output.scale, self.confidence.temperature, output.bits)

    @property
    def least_sure(self) -> int:
        """See Confidence."""
        return self.confidence.least_sure(len(self.scenes))

    def of_device(self, device: str) -> "Classifier":
        """The classifier of sounds that a device recorded: it has the device's own tensors, if the file has some."""
        return replace(self, network=self.network.of_device(device))

    def waves(self, sound: str | Path | bytes, *, longest: float | None = None) -> Iterator[torch.Tensor]:
        """The clips of a sound of any length as waves, some at a time.

        Args:
            sound: a file's path, or its content.
            longest: seconds; None: any length.

        Raises:
            UserError: see data/pieces.py.
        """
        return read_pieces(sound, self.sample_rate, self.clip_seconds, longest=longest)

    @torch.no_grad()
    def spectrograms(self, waves: torch.Tensor) -> torch.Tensor:
        """The input of the network, of waves: float log-mels, or integers."""
        return network_input(self.front_end, waves)

    @torch.no_grad()
    def probabilities(self, spectrograms: torch.Tensor) -> np.ndarray:
        """The probabilities of the classes, of spectrograms."""
        return softmax(self.network.logits(spectrograms).numpy())

    @torch.no_grad()
    def answers(self, spectrograms: torch.Tensor) -> Answers:
        """The probabilities of the classes, of spectrograms, as they are scored and calibrated."""
        q = self.network.integer_logits(spectrograms)
        return Answers(softmax(self.network.output.dequantize(q).numpy()), probabilities(q.numpy(), self.table))

    def classify_file(self, sound: str | Path | bytes) -> np.ndarray:
        """Probabilities of the clips of a sound of any length: a file's path, or its content.

        Raises:
            UserError: it cannot be read, see data/pieces.py.
        """
        return np.concatenate([self.probabilities(self.spectrograms(waves)) for waves in self.waves(sound)])

    def classify_clips(self, paths: Sequence[str | Path], name: str = "classifying") -> np.ndarray:
        """Probabilities of files that are one clip each; for arguments and errors see clips."""
        found = [self.probabilities(self.spectrograms(waves)) for waves in self.clips(paths, name)]
        return np.concatenate([np.empty((0, len(self.scenes))), *found])

    def clips(self, paths: Sequence[str | Path], name: str) -> Iterator[torch.Tensor]:
        """The waves of files that are one clip each, some at a time; shorter ones are padded with silence, longer ones
        cut, and a warning says how many.

        Args:
            paths: of the files.
            name: of the work, where its progress is shown.

        Raises:
            UserError: files are unreadable; every one is counted and the first are listed.
        """
        failures, oddities = [], Counter()

        def read(some: Sequence[str | Path]) -> tuple[torch.Tensor, list[str], Counter]:
            decoded = decode(some, self.sample_rate, self.clip_seconds)
            # Copied, because the thread overwrites its arrays with the next call.
            wave, scale = torch.from_numpy(decoded.wave.copy()), torch.from_numpy(decoded.scale.copy())
            return to_float(wave, scale), decoded.failures, decoded.oddities

        batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
        threads = os.cpu_count() or 1
        with ThreadPoolExecutor(threads) as pool, progress(name, len(paths)) as line:
            for start in range(0, len(batches), threads):
                for waves, unreadable, odd in pool.map(read, batches[start : start + threads]):
                    failures += unreadable
                    oddities += odd
                    if not failures:
                        yield waves
                line.advance(sum(map(len, batches[start : start + threads])))
        if failures:
            raise UserError(f"{len(failures)} of {len(paths)} sound files are unreadable:\n{listed(sorted(failures))}")
        for text, count in oddities.items():
            log.warning("%d of %d files %s", count, len(paths), text)


def load_classifier(path: str | Path) -> Classifier:
    """The classifier of a model.tflite that the quantize stage wrote.

    Raises:
        UserError: the file is missing or damaged, or lacks front end or classes, see input_of.
    """
    network, metadata = read_tflite(path)
    front_end, seconds = input_of(path, metadata, network.quantities[INPUT].shape)
    scenes = _scenes_of(path, metadata, network.output.shape[0])
    with explain_damage(path):
        confidence = confidence_of(metadata)
    return Classifier(network, front_end, scenes, front_end.sample_rate, seconds, confidence)


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
