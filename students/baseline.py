"""The baseline of DCASE 2022 and 2023: three convolutions and two dense layers, the mark that every student must pass.

Conventions: log-mels (B, 1, mels, frames) in, logits (B, classes) out. As published it sees 40 bands and 51 frames;
other pictures from 5 x 5 on are taken too, because the last pool halves the bands and takes the whole time.
Source: Martín-Morató et al., "Low-Complexity Acoustic Scene Classification in DCASE 2022 Challenge", DCASE 2022
workshop, section 4. BatchNorm and initial weights are PyTorch's, not Keras', so that folding and counting are.
"""

import torch
from torch import nn

from data.errors import UserError

CHANNELS = (16, 16, 32)
KERNEL = 7
POOL = 5
CELLS = (2, 1)  # of bands and time that the dense layers see
UNITS = 100


def baseline(*, classes: int = 10, dropout: float = 0.3) -> nn.Module:
    """Build the baseline.

    Args:
        classes: number of logits.
        dropout: chance of a value behind a pool to be left out.

    Raises:
        UserError: dropout is no chance below 1; the network itself raises it for pictures that are too small.
    """
    if not 0 <= dropout < 1:
        raise UserError(f"baseline: dropout={dropout} is a chance from 0 to below 1")
    first, second, third = CHANNELS
    return nn.Sequential(
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
        nn.ReLU(inplace=True),
        nn.Linear(UNITS, classes),
    )


class MaxPool(nn.MaxPool2d):
    """A pool that says which pictures are too small for it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, bands, frames) -> (B, C, bands // kernel_size, frames // kernel_size)."""
        bands, frames = x.shape[-2:]
        if min(bands, frames) < self.kernel_size:
            raise UserError(
                f"baseline: pictures of {bands} bands and {frames} frames are too small, it needs {self.kernel_size} "
                "of each: raise student.mel.mels, lower student.mel.hop, or take longer clips"
            )
        return super().forward(x)


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, KERNEL, padding=KERNEL // 2),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
