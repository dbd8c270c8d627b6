"""A network of integers from its file, with the front end it learnt with: sounds in, probabilities out.

Conventions: waves are float32 (n, samples) in [-1, 1] at the model's rate, one clip of PART_SECONDS a row; pictures
(n, 1, mels, frames); probabilities float64 (n, classes). The integers are executed in torch, which gives what a
device's kernels give, to the last bit (stage=quantize proves it of every file), and is quicker.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.errors import UserError
from data.front_ends import FrontEnd, build_front_end
from data.pieces import read_pieces
from data.scenes import PART_SECONDS
from experiments.evaluation.metrics import softmax
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import INPUT
from students.quantize.read import read_tflite


@dataclass(frozen=True)
class Recogniser:
    """What is needed to hear scenes.

    Attributes:
        network, front_end: from waves to logits.
        scenes: the classes.
        sample_rate: Hz.
    """

    network: IntegerNetwork
    front_end: FrontEnd
    scenes: tuple[str, ...]
    sample_rate: int

    def pieces(self, sound: str | Path | bytes, *, longest: float | None = None) -> Iterator[torch.Tensor]:
        """A sound as waves, some at a time; see data/pieces.py."""
        return read_pieces(sound, self.sample_rate, PART_SECONDS, longest=longest)

    @torch.no_grad()
    def pictures(self, waves: torch.Tensor) -> torch.Tensor:
        """What the network sees."""
        return self.front_end(waves)

    @torch.no_grad()
    def probabilities(self, pictures: torch.Tensor) -> np.ndarray:
        """What the network says."""
        return softmax(self.network.logits(pictures).numpy())


def front_end_of(path: str | Path, metadata: Mapping[str, Any]) -> FrontEnd:
    """The front end that a file's metadata tell of.

    Raises:
        UserError: they do not.
    """
    try:
        return build_front_end(int(metadata["sample_rate"]), metadata["mel"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} does not say how it hears ({error!r}): run stage=quantize again") from error


def load_recogniser(path: str | Path) -> Recogniser:
    """The recogniser of a file that stage=quantize wrote.

    Raises:
        UserError: the file is missing or damaged, or is of clips of another length.
    """
    network, metadata = read_tflite(path)
    front_end = front_end_of(path, metadata)
    if not (scenes := tuple(metadata.get("scenes", ()))):
        raise UserError(f"{path} does not name its classes: run stage=quantize again")
    rate = front_end.sample_rate
    samples, shape = round(PART_SECONDS * rate), network.quantities[INPUT].shape
    if (ours := (1, front_end.mels, front_end.frames(samples))) != shape:
        raise UserError(
            f"{path} takes pictures of {shape}, a clip of {PART_SECONDS:g} s has {ours}: "
            "it was trained with another data.clip_seconds"
        )
    return Recogniser(network, front_end, scenes, rate)
