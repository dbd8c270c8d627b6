"""BC-ResNet: residual blocks that filter in frequency, and in time what is left when frequencies are averaged.

Conventions: log-mels (B, 1, mels, frames) in, logits (B, classes) out. Strides and dilations are (frequency, time); a
network halves the bands three times and no frames. Sub-spectral normalisation needs maps whose bands its sub-bands
divide: with 5 of them, multiples of 40 mel bands.
Source: Kim et al., "Broadcasted Residual Learning for Efficient Keyword Spotting", Interspeech 2021, sections 2.1 and
2.2, tables 1 and 3; where the paper is silent, the authors' code (Qualcomm-AI-research/bcresnet, bcresnet.py and
subspectralnorm.py). Their activation in time is the swish; the default here is ReLU.
"""

import torch
from torch import nn
from torch.nn import functional as F

from data import bibliography
from data.errors import UserError, unknown
from data.ranges import Channels, Classes, Dropout, Width
from students import entry
from students.blocks import LargeEnough, NamedLayers, SubSpectralNorm, convolution

# Names of the published networks, how many times wider than BC-ResNet-1 they are, and what that has.
SIZES = {"1": 8, "1.5": 12, "2": 16, "3": 24, "6": 48, "8": 64}
BLOCKS = (2, 2, 4, 4)
FACTORS = (1.0, 1.5, 2.0, 2.5)  # channels of each stage, in base_channels
STEM_FACTOR, HEAD_FACTOR = 2, 4
HALVED = (1, 2)  # stages whose first block has a stride of 2 in frequency, beside the stem
HEAD_KERNEL = 5
LEAST_BANDS = 33  # of which three strides leave as many as the head's kernel has


def bc_resnet(
    *,
    classes: Classes = 10,
    size: str = "1",
    base_channels: Channels | None = None,
    sub_bands: Width = 5,
    swish: bool = False,
    dropout: Dropout = 0.1,
) -> nn.Module:
    """Build a BC-ResNet.

    Args:
        classes: number of logits.
        size: a published network, one of SIZES; base_channels overrides its width.
        base_channels: width of the first stage, even.
        sub_bands: frequency bands that are normalised by themselves; 1 is a plain BatchNorm.
        swish: x sigmoid(x) after the convolutions in time, as published, instead of a ReLU.
        dropout: probability with which a channel of what is added to all bands is set to 0 in training.

    Raises:
        UserError: unknown size or an odd width; the network itself raises it for spectrograms that are too small, or
            whose bands sub_bands does not divide.
    """
    if size not in SIZES:
        unknown("bc_resnet size", size, SIZES)
    base = base_channels or SIZES[size]
    if base % 2:
        raise UserError(f"bc_resnet: base_channels={base} must be even")
    channels = STEM_FACTOR * base
    layers: list[nn.Module] = [
        LargeEnough("bc_resnet", LEAST_BANDS, 1),
        convolution(1, channels, 5, (2, 1)),
    ]
    names = {"1.0": "stem"}
    for stage, (count, factor) in enumerate(zip(BLOCKS, FACTORS, strict=True)):
        for block in range(count):
            stride = 2 if stage in HALVED and block == 0 else 1
            names |= _names(len(layers), f"stage{stage + 1}_block{block + 1}")
            outputs = int(factor * base)
            layers.append(_Block(channels, outputs, stride, 2**stage, sub_bands, swish=swish, dropout=dropout))
            channels = outputs
    head, padding = HEAD_FACTOR * base, (0, HEAD_KERNEL // 2)
    names |= {str(len(layers)): "head_depthwise", f"{len(layers) + 1}.0": "head_point"}
    names |= {str(len(layers) + 2): "mean", str(len(layers) + 3): "classifier"}
    layers += [
        nn.Conv2d(channels, channels, HEAD_KERNEL, padding=padding, groups=channels, bias=False),
        convolution(channels, head, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(head, classes, 1),
        nn.Flatten(),
    ]
    network = NamedLayers(*layers)
    network.layer_names = names
    return network


STUDENT = entry.Student(
    build=bc_resnet,
    family="CNN",
    citation=bibliography.BC_RESNET,
    has_integer_form=True,
    sizes=tuple(SIZES),
    width=entry.Width("base_channels", step=2),
)


def _names(place: int, block: str) -> dict[str, str]:
    parts = {
        "expand.0": "expand",
        "frequency.0": "frequency",
        "average": "average",
        "time.0": "time",
        "time.2": "swish",
        "point": "point",
    }
    return {str(place): block, **{f"{place}.{path}": f"{block}_{part}" for path, part in parts.items()}}


class _Block(nn.Module):
    """What a convolution in frequency finds, and to each band of it what a convolution in time finds in the mean over
    the bands; and the input itself, where the width stays."""

    def __init__(
        self, inputs: int, channels: int, stride: int, dilation: int, sub_bands: int, *, swish: bool, dropout: float
    ) -> None:
        super().__init__()
        self.expand = convolution(inputs, channels, 1) if inputs != channels else None
        plain = convolution(channels, channels, (3, 1), (stride, 1), groups=channels, relu=False)
        self.frequency = plain if sub_bands == 1 else nn.Sequential(plain[0], SubSpectralNorm(channels, sub_bands))
        self.average = nn.AdaptiveAvgPool2d((1, None))
        in_time = convolution(channels, channels, (1, 3), groups=channels, dilation=(1, dilation), relu=False)
        self.time = nn.Sequential(*in_time, nn.SiLU() if swish else nn.ReLU())
        self.point = nn.Conv2d(channels, channels, 1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, bands, frames) -> (B, channels, bands / stride, frames)."""
        filtered = self.frequency(x if self.expand is None else self.expand(x))
        found = self.dropout(self.point(self.time(self.average(filtered))))
        y = found + filtered
        return F.relu(y if self.expand is not None else y + x)
