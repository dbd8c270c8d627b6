"""A CNN-GRU: convolutions, and a recurrent layer over their outputs in the order of time.

Conventions: log-mels (B, 1, mels, frames) in, logits (B, classes) out; any size of spectrogram. Strides are (frequency,
time); 64 frames become 16 steps of the recurrent layer. Layer l has WIDTHS[l] * base_channels channels: each one is as
costly as the next, 3.5 million multiply-accumulates at 256 bands and base 16.
Source: Cakir et al., "Convolutional Recurrent Neural Networks for Polyphonic Sound Event Detection", IEEE/ACM TASLP
2017, section III, with strides in place of pools. Its integer form: quantize/gru.py.
"""

import torch
from torch import nn

from data import bibliography
from data.errors import UserError
from data.ranges import Channels, Classes
from students.entry import Student

WIDTHS = (1.0, 1.5, 2.0, 3.0, 4.0)
STRIDES = ((2, 2), (2, 2), (2, 1), (2, 1), (2, 1))
BANDS = 2  # low and high frequencies, the means of which are separate inputs of the recurrent layer


def cnn_gru(*, classes: Classes = 10, base_channels: Channels = 16, units: Channels = 64) -> nn.Module:
    """Build a CNN-GRU.

    Args:
        classes: number of logits.
        base_channels: width of the first convolution, even.
        units: values in the recurrent state.

    Raises:
        UserError: an odd or too small width.
    """
    if base_channels < 2 or base_channels % 2 or units < 1:
        raise UserError(
            f"cnn_gru: base_channels={base_channels} must be even and above 0, units={units} must be at least 1"
        )
    widths = [1, *(int(base_channels * width) for width in WIDTHS)]
    layers: list[nn.Module] = []
    for inputs, outputs, stride in zip(widths, widths[1:], STRIDES, strict=False):
        layers += [
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    layers.append(nn.AdaptiveAvgPool2d((BANDS, None)))
    return CnnGru(nn.Sequential(*layers), GRU(BANDS * widths[-1], units, batch_first=True), nn.Linear(units, classes))


STUDENT = Student(
    build=cnn_gru,
    family="CRNN",
    citation=bibliography.CNN_GRU,
    has_integer_form=True,
)


class CnnGru(nn.Module):
    """Convolutions, recurrence, the mean over time, a linear layer."""

    def __init__(self, convolutions: nn.Module, recurrence: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.convolutions, self.recurrence, self.head = convolutions, recurrence, head
        self.states, self.mean, self.flat = AsMap(), nn.AdaptiveAvgPool2d(1), nn.Flatten()

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """(B, 1, mels, frames) -> (B, classes)."""
        states = self.states(self.recurrence(self.convolutions(spectrograms)))
        return self.head(self.flat(self.mean(states)))


class GRU(nn.GRU):
    """A GRU over the time steps of a map, which returns its states alone."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, C, bands, steps) -> (B, steps, units)."""
        return super().forward(maps.flatten(1, 2).transpose(1, 2))[0]


class AsMap(nn.Module):
    """States as a map of one band: (B, steps, units) -> (B, units, 1, steps)."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return states.transpose(1, 2)[:, :, None]
