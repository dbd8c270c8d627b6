"""The baseline of DCASE 2022 and 2023: three convolutions and two dense layers, to compare every student with.

Conventions: log-mels (B, 1, mels, frames) in, logits (B, classes) out. As published, spectrograms have 40 bands and 51
frames; other sizes from 5 x 5 on are possible too, because the last pool halves the bands and covers all frames.
Source: Martín-Morató et al., "Low-Complexity Acoustic Scene Classification in DCASE 2022 Challenge", DCASE 2022
workshop, section 4. BatchNorm and initial weights are PyTorch's, not Keras', as are folding and counting. Where front
end and recipe (experiments/conf/published/baseline.yaml) are those of the description, and not of its authors' code,
docs/students.md says so.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import nn

from data import bibliography
from data.errors import UserError
from data.ranges import Classes, Dropout
from students.entry import Student

CHANNELS = (16, 16, 32)
KERNEL = 7
POOL = 5
CELLS = (2, 1)  # bands and time steps of the map before the dense layers
UNITS = 100


def baseline(*, classes: Classes = 10, dropout: Dropout = 0.3) -> nn.Module:
    """Build the baseline.

    Args:
        classes: number of logits.
        dropout: probability with which a value behind a pool or the first dense layer is set to 0 in training.

    Raises:
        UserError: dropout is not in [0, 1); the network itself raises it for spectrograms that are too small.
    """
    if not 0 <= dropout < 1:
        raise UserError(f"baseline: dropout={dropout} must be at least 0 and below 1")
    first, second, third = CHANNELS
    return Baseline(
        *_convolution(1, first),
        *_convolution(first, second),
        MaxPool(POOL),
        nn.Dropout(dropout),
        *_convolution(second, third),
        # Published as a pool of (4, 100) that is cut to the map's 8 x 10 cells: halves of the bands, all of the time.
        nn.AdaptiveMaxPool2d(CELLS),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(third * CELLS[0] * CELLS[1], UNITS),
        nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(dropout)),  # as one, so that earlier checkpoints fit
        nn.Linear(UNITS, classes),
    )


STUDENT = Student(
    build=baseline,
    family="CNN",
    citation=bibliography.CHALLENGE,
    has_integer_form=True,
)


class Baseline(nn.Sequential):
    """The layers one after the other.

    Attributes:
        layer_names: path of a module -> what its layer is called in files and tables.
    """

    layer_names: Mapping[str, str] = MappingProxyType(
        {
            **{"0": "convolution_1", "3": "convolution_2", "6": "pool_1", "8": "convolution_3", "11": "pool_2"},
            **{"14": "dense", "16": "classifier"},
        }
    )


class MaxPool(nn.MaxPool2d):
    """A pool with an error message for spectrograms that are too small for it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, bands, frames) -> (B, C, bands // kernel_size, frames // kernel_size).

        Raises:
            UserError: there are fewer bands or frames than the kernel has.
        """
        bands, frames = x.shape[-2:]
        if min(bands, frames) < self.kernel_size:
            raise UserError(
                f"baseline: spectrograms of {bands} bands and {frames} frames are too small, it needs "
                f"{self.kernel_size} of each: raise student.mel.mels, lower student.mel.hop, or take longer clips"
            )
        return super().forward(x)


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, KERNEL, padding=KERNEL // 2),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
