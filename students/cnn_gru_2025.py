"""The CNN-GRU of the runner-up of DCASE 2025 Task 1, which was trained without a teacher.

Conventions: log-mels (B, 1, mels, frames) in, logits (B, classes) out. Kernels and strides are (frequency, time). The
recurrent layer reads the channels of the last map one after the other, each as its 16 bands averaged over time.
Source: Tan et al., technical report of DCASE 2025 Task 1, of which the abstract could be read, and its code
(joesephgit/DCASE2025, Tan_SNTLNTU_task1/models/ntu_baseline_1.py; the arguments: Tan_SNTLNTU_task1_1.py; the costs, of
33 frames: predictions/Tan_SNTLNTU_task1_1/complexity.json). The gains of channels multiply pooled maps here, and shares
multiply gains, so that a device keeps and multiplies fewer values; being above 0, gains give what they gave before a
pool.
"""

import torch
from torch import nn
from torch.nn import functional as F

from data import bibliography
from data.errors import UserError
from data.ranges import Channels, Classes
from students.blocks import LargeEnough, Turned, convolution
from students.cnn_gru import GRU, AsMap
from students.entry import Student, Width

STEM = 7  # channels
MULTIPLIER, EXPANSION, DIVISOR = 1.5, 2, 5
BANDS, UNITS = 16, 64  # inputs and state of the recurrent layer
LEAST_BANDS, LEAST_FRAMES = 8, 8  # that two pools and two strides leave anything of
DROPOUT_CHANNELS, DROPOUT_STATES = 0.3, 0.5


def cnn_gru_2025(*, classes: Classes = 10, base_channels: Channels = 24) -> nn.Module:
    """Build the network.

    Args:
        classes: number of logits.
        base_channels: width, a multiple of 4; 24 as published.

    Raises:
        UserError: another width; the network itself raises it for spectrograms that are too small.
    """
    if base_channels % 4:
        raise UserError(f"cnn_gru_2025: base_channels={base_channels} must be a multiple of 4")
    return CnnGru2025(classes, base_channels)


STUDENT = Student(
    build=cnn_gru_2025,
    family="CRNN",
    citation=bibliography.CNN_GRU_2025,
    has_integer_form=True,
    width=Width("base_channels", step=4),
)


class CnnGru2025(nn.Module):
    """Convolutions along one axis at a time, two pooled paths that are mixed, and a GRU over channels."""

    def __init__(self, classes: int, base: int) -> None:
        super().__init__()
        half, narrow = base // 2, int(base * MULTIPLIER)
        wide, widest = narrow * EXPANSION, narrow * EXPANSION**2
        last = widest // DIVISOR
        self.stem = nn.Sequential(
            LargeEnough("cnn_gru_2025", LEAST_BANDS, LEAST_FRAMES),
            *_convolution(1, STEM, (3, 3)),
            *_convolution(STEM, half, (1, 1)),
            nn.ChannelShuffle(base // 4),
            *_convolution(half, base, (3, 1), groups=half),
            *_convolution(base, base, (1, 3), groups=half),
            nn.SiLU(),
            Excitation(base),
        )
        self.of_largest, self.of_mean = _path(base, narrow, wide), _path(base, narrow, wide)
        self.joined = nn.Sequential(*_convolution(wide, wide, (1, 1)))
        self.narrowed = nn.Sequential(
            nn.ChannelShuffle(wide // 2),
            *_convolution(wide, widest, (5, 1), (2, 1), groups=wide),
            nn.SiLU(),
            nn.Dropout2d(DROPOUT_CHANNELS),
            *_convolution(widest, last, (5, 1)),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d((None, 1)),
        )
        self.turned = Turned(BANDS)  # of 256 mels there are as many
        self.recurrence, self.states = GRU(BANDS, UNITS, batch_first=True), AsMap()
        self.dropout = nn.Dropout1d(DROPOUT_STATES)
        # How much of the one and of the other: of both pools of either path, of both paths, of maps and states.
        self.shares = nn.Parameter(torch.full((4,), 0.5))
        self.flat, self.head = nn.Flatten(), nn.Linear(last, classes)

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """(B, 1, mels, frames) -> (B, classes)."""
        x, gains = _with_gains(self.stem, spectrograms)
        largest, of_largest = _with_gains(self.of_largest, F.max_pool2d(x, 2) * gains)
        mean, of_mean = _with_gains(self.of_mean, F.avg_pool2d(x, 2) * gains)
        share, other = self.shares[0], self.shares[1]
        first = F.avg_pool2d(mean, 2) * (share * of_mean) + F.avg_pool2d(largest, 2) * ((1 - share) * of_largest)
        second = F.max_pool2d(largest, 2) * (other * of_largest) + F.max_pool2d(mean, 2) * ((1 - other) * of_mean)
        x = _mixed(self.shares[2], first, second)
        steps = self.turned(self.narrowed(self.joined(x) + x))  # (B, bands, 1, channels)
        states = self.states(self.dropout(self.recurrence(steps)))  # (B, units, 1, channels)
        both = _mixed(self.shares[3], steps.mean(1, keepdim=True), states.mean(1, keepdim=True))
        return self.head(self.flat(F.silu(both)))


class Excitation(nn.Module):
    """For each channel a gain from 0 to 1, which the means of all channels give.

    Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, section 3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(channels, channels // 2), nn.Linear(channels // 2, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, bands, frames) -> (B, C, 1, 1)."""
        means = x.mean(3, keepdim=True).mean((2, 3))  # of each row first: a device needs no row for longer
        return self.excite(F.relu(self.squeeze(means))).sigmoid()[:, :, None, None]


def _convolution(
    inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1), groups: int = 1
) -> nn.Sequential:
    return convolution(inputs, outputs, kernel, stride, groups=groups, relu=False)


def _path(inputs: int, narrow: int, wide: int) -> nn.Sequential:
    return nn.Sequential(
        *_convolution(inputs, narrow, (1, 1)),
        *_convolution(narrow, wide, (5, 1), groups=narrow),
        *_convolution(wide, wide, (1, 5), (2, 2), groups=wide),
        nn.SiLU(),
        Excitation(wide),
    )


def _with_gains(layers: nn.Sequential, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The map that layers compute, and the gains of its channels, which the last one computes of it."""
    *before, excitation = layers
    for layer in before:
        x = layer(x)
    return x, excitation(x)


def _mixed(share: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return share * one + (1 - share) * other
