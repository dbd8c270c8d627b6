"""The network of integers of a trial.

Conventions: calibration is the number of train clips that scales are taken from, and the percentile of activations that
a range holds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data.front_ends import FrontEnd, build_front_end
from experiments.datasets.datamodule import DataModule
from experiments.quantization.convert import calibrated
from experiments.runs.layout import CHECKPOINT
from experiments.training.checkpoint import Blueprint, load_student
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import FoldedNetwork

Calibration = tuple[int, Any]


@dataclass(frozen=True)
class Trained:
    """A trained network that is to be rounded.

    Attributes:
        folded: without BatchNorm.
        spectrograms: log-mels of train clips.
        percentile: of their activations.
        front_end, blueprint: of the network.
    """

    folded: FoldedNetwork
    spectrograms: torch.Tensor
    percentile: Any
    front_end: FrontEnd
    blueprint: Blueprint

    def integers(self, bits: int) -> IntegerNetwork:
        """With so many bits of weights, as far as they can have so few."""
        widths = {name: max(bits, min(self.folded.widths(name))) for name in self.folded.convolutions}
        return calibrated(self.folded, self.spectrograms, bits=widths, percentile=self.percentile)[1]


def read_trained(folder: Path, data: DataModule, calibration: Calibration, seed: int) -> Trained:
    """The network of a trial.

    Args:
        folder: of the trial.
        data: whose train clips scales are taken from.
        calibration: how many clips, and the percentile.
        seed: which clips.
    """
    network, blueprint = load_student(folder / CHECKPOINT)
    front_end = build_front_end(blueprint.sample_rate, blueprint.mel)
    clips, percentile = calibration
    spectrograms = data.spectrograms(front_end, "train", clips, seed)
    folded = fold(network, data.spectrogram_shape(front_end), spectrograms)
    return Trained(folded, spectrograms, percentile, front_end, blueprint)
