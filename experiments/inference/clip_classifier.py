"""From sounds to the probabilities of scenes, by a network with the front end that it was trained with.

Conventions: waves are float32 (n, samples) in [-1, 1] at the model's rate, a clip a row; spectrograms
(log-mels) are float32 (n, 1, mels, frames), probabilities float64 (n, classes). A sound is read, resampled, cut and
rounded to 16 bits as the wave store does it (data/audio.py), so that it has the same probabilities whether it was
packed or not. Only some hundred clips are in memory at once. Networks of integers: classifier.py; of floats:
models/classifiers.py.
"""

import logging
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from data.audio import decode
from data.errors import UserError, listed
from data.front_ends import FrontEnd
from data.front_ends.integer_steps import network_input
from data.progress import progress
from data.waves import read_pieces, to_float
from students.quantize.answer import Confidence

BATCH = 32  # files that a thread decodes in one go, and whose clips are classified together

log = logging.getLogger(__name__)


class Answers(NamedTuple):
    """Of some clips the probabilities of the classes, (clips, classes): float64 as they are scored, and calibrated as a
    device computes them, uint16 in steps of 1 / ONE (students/quantize/answer.py)."""

    probabilities: np.ndarray
    calibrated: np.ndarray


@dataclass(frozen=True)
class Classifier(ABC):
    """What is needed to classify sounds, but the network, which is of integers or of floats.

    Attributes:
        front_end: from waves to spectrograms.
        scenes: the classes, in the order of the probabilities.
        sample_rate: Hz, of the waves.
        clip_seconds: length of a clip.
        confidence: how sure the answers are.
    """

    front_end: FrontEnd
    scenes: tuple[str, ...]
    sample_rate: int
    clip_seconds: float
    confidence: Confidence

    @property
    @abstractmethod
    def devices(self) -> Collection[str]:
        """The recording devices that have tensors of their own."""

    @property
    @abstractmethod
    def non_zero(self) -> int:
        """How many parameters are not zero."""

    @abstractmethod
    def of_device(self, device: str) -> "Classifier":
        """The classifier of sounds that a device recorded: it has the device's own tensors, if there are some."""

    @abstractmethod
    def probabilities(self, spectrograms: torch.Tensor) -> np.ndarray:
        """The probabilities of the classes, of spectrograms."""

    @abstractmethod
    def answers(self, spectrograms: torch.Tensor) -> Answers:
        """The probabilities of the classes, of spectrograms, as they are scored and calibrated."""

    @property
    def least_sure(self) -> int:
        """See Confidence."""
        return self.confidence.least_sure(len(self.scenes))

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
