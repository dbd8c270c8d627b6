"""TF-SepNet: half of the channels are filtered in frequency and the other half in time, each averaged over its axis.

Conventions: log-mels (B, 1, mels, frames) in, logits (B, classes) out. Kernels are (frequency, time).
Source: Cai et al., "TF-SepNet: An Efficient 1D Kernel Design in CNNs for Low-Complexity Acoustic Scene Classification",
ICASSP 2024, section 2, tables 1, 2 and 4; TF-SepNet-64: Cai et al., "Leveraging Self-Supervised Audio Representations
for Data-Efficient Acoustic Scene Classification", DCASE 2024 workshop. Where these are silent, the authors' code
(yqcai888/DCASE2023, tf-sepnet.py and common.py; yqcai888/easy_dcase_task1, model/backbones.py and model/shared.py).
"""

from typing import Literal

import torch
from torch import nn

from data import bibliography
from data.errors import UserError, unknown
from data.ranges import Channels, Classes, Dropout
from students.blocks import LargeEnough, NamedLayers, Taken, convolution
from students.clip_norms import ClipNorm, affine
from students.entry import Student, Width

Norm = Literal["adaptive", "residual", "none"]

# Name of a published network -> channels, normalisation, and before which stages its maps are halved.
SIZES: dict[str, tuple[int, Norm, tuple[int, ...]]] = {
    "40": (40, "adaptive", (1, 2)),
    "64": (64, "residual", (1, 2, 3)),
    "80": (80, "adaptive", (1, 2)),
}
BLOCKS = (2, 2, 2, 3)
FACTORS = (1.0, 1.5, 2.0, 2.5)  # channels of each stage, in base_channels
STEM_FACTOR = 2
LAMBDA = 0.1  # of the input, beside its normalised values
EPSILON = 1e-5


def tf_sepnet(
    *,
    classes: Classes = 10,
    size: str = "40",
    base_channels: Channels | None = None,
    norm: Norm | None = None,
    dropout: Dropout = 0.1,
) -> nn.Module:
    """Build a TF-SepNet.

    Args:
        classes: number of logits.
        size: a published network, one of SIZES; the following arguments override its parts.
        base_channels: width of the first stage, a multiple of 4.
        norm: how each band of a map is normalised by its own mean and deviation before the first stage and after each:
            by AdaResNorm, ResNorm or not at all. Both norms depend on the clip; in a network of integers they are a
            factor and an offset of each channel.
        dropout: probability with which a value that is added to a whole row or column is set to 0 in training.

    Raises:
        UserError: unknown size, or a width that has no halves; the network itself raises it for spectrograms
            that are too small.
    """
    if size not in SIZES:
        unknown("tf_sepnet size", size, SIZES)
    base, published, halved = SIZES[size]
    base, kind = base_channels or base, norm or published
    if base % 4:
        raise UserError(f"tf_sepnet: base_channels={base} must be a multiple of 4")
    stem, channels = base // 2, STEM_FACTOR * base
    layers: list[nn.Module] = [
        LargeEnough("tf_sepnet", *2 * (4 * 2 ** len(halved),)),
        convolution(1, stem, 3, (2, 2)),
        convolution(stem, channels, 3, (2, 2), groups=stem),
        *_norm(kind, channels),
    ]
    names = {"1.0": "stem_1", "2.0": "stem_2", "3": "stem_norm"}
    for stage, (count, factor) in enumerate(zip(BLOCKS, FACTORS, strict=True)):
        if stage in halved:
            names[str(len(layers))] = f"stage{stage + 1}_pool"
            layers.append(nn.MaxPool2d(2))
        for block in range(count):
            names |= _names(len(layers), f"stage{stage + 1}_block{block + 1}")
            outputs = int(factor * base)
            layers.append(_Block(channels, outputs, dropout))
            channels = outputs
        if kind != "none":
            names[str(len(layers))] = f"stage{stage + 1}_norm"
        layers += _norm(kind, channels)
    names |= {str(len(layers)): "classifier", str(len(layers) + 1): "mean"}
    layers += [nn.Conv2d(channels, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = NamedLayers(*layers)
    network.layer_names = names
    return network


STUDENT = Student(
    build=tf_sepnet,
    family="CNN",
    citation=bibliography.TF_SEPNET,
    has_integer_form=True,
    sizes=tuple(SIZES),
    width=Width("base_channels", step=4),
)


def _names(place: int, block: str) -> dict[str, str]:
    paths = {"expand.0": "expand", "take_first": "first", "take_second": "second"}
    for path in ("frequency", "time"):
        paths |= {f"{path}.0.0": f"{path}", f"{path}.1": f"{path}_average", f"{path}.2.0": f"{path}_point"}
    return {str(place): block, **{f"{place}.{path}": f"{block}_{part}" for path, part in paths.items()}}


def _norm(kind: Norm, channels: int) -> list[nn.Module]:
    norms = {"adaptive": [AdaptiveResidualNorm(channels)], "residual": [ResidualNorm()], "none": []}
    return norms[kind]


class _Block(nn.Module):
    """Two halves of the shuffled channels, each added to what is found in its mean over one axis."""

    def __init__(self, inputs: int, channels: int, dropout: float) -> None:
        super().__init__()
        half = channels // 2
        self.expand = convolution(inputs, channels, 1) if inputs != channels else None
        self.take_first, self.take_second = ShuffledHalf(0), ShuffledHalf(1)
        self.frequency = _path(half, (3, 1), (1, None), dropout)
        self.time = _path(half, (1, 3), (None, 1), dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, bands, frames) -> (B, channels, bands, frames)."""
        x = x if self.expand is None else self.expand(x)
        first, second = self.take_first(x), self.take_second(x)
        return torch.cat([self.frequency(first) + first, self.time(second) + second], 1)


def _path(channels: int, kernel: tuple[int, int], cells: tuple[int | None, int | None], dropout: float) -> nn.Module:
    return nn.Sequential(
        convolution(channels, channels, kernel, groups=channels),
        nn.AdaptiveAvgPool2d(cells),
        convolution(channels, channels, 1),
        nn.Dropout(dropout),
    )


class ShuffledHalf(Taken):
    """One half of the channels, the first (0) or the second (1), after those of both halves are taken in turn.

    Source: Zhang et al., "ShuffleNet", CVPR 2018, section 3.1, with as many groups as half of the channels.
    """

    def __init__(self, which: int) -> None:
        super().__init__()
        self.which = which

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, bands, frames) -> (B, C / 2, bands, frames)."""
        half = x.shape[1] // 2
        in_turn = x.unflatten(1, (2, half)).transpose(1, 2).flatten(1, 2)
        return in_turn.narrow(1, self.which * half, half)

    def taken(self, channels: torch.Tensor) -> torch.Tensor:
        return self(channels[None])[0]


class ResidualNorm(ClipNorm):
    """Each band less its mean over channels and frames, divided by its deviation, and a little of itself.

    Source: Kim et al., "Domain Generalization on Efficient Acoustic Scene Classification using Residual Normalization",
    DCASE 2021 workshop, section 2.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, bands, frames) -> (B, C, bands, frames)."""
        return LAMBDA * x + _by_band(x)

    in_turn = True

    def measured(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, bands, frames) -> (B, 2, bands)."""
        return _moments(x)

    def constant(self, means: torch.Tensor, channels: int) -> nn.Module:
        """By the statistics of all clips together, and the mean over bands of what these lead to."""
        factor, offset = (values.mean().expand(channels) for values in _factors(means))
        return affine(LAMBDA + factor, offset)


class AdaptiveResidualNorm(ClipNorm):
    """The same, in a proportion that is learned for each channel, with a gain and an offset.

    Source: Cai et al., "DCASE2023 Task1 submission: device simulation and time-frequency separable convolution for
    acoustic scene classification", 2023.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.full((channels, 1, 1), 0.5))
        self.gamma = nn.Parameter(torch.ones(channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, bands, frames) -> (B, C, bands, frames)."""
        return self.gamma * (self.rho * x + (1 - self.rho) * _by_band(x)) + self.beta

    in_turn = True

    def measured(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, bands, frames) -> (B, 2, bands)."""
        return _moments(x)

    def constant(self, means: torch.Tensor, channels: int) -> nn.Module:
        """By the statistics of all clips together, and the mean over bands of what these lead to."""
        factor, offset = (values.mean() for values in _factors(means))
        rho, gamma, beta = (each[:, 0, 0] for each in (self.rho, self.gamma, self.beta))
        return affine(gamma * (rho + (1 - rho) * factor), gamma * (1 - rho) * offset + beta)


def _by_band(x: torch.Tensor) -> torch.Tensor:
    variance, mean = torch.var_mean(x, (1, 3), keepdim=True)
    return (x - mean) / (variance + EPSILON).sqrt()


def _moments(x: torch.Tensor) -> torch.Tensor:
    """Mean and mean square of each band of a clip, (B, 2, bands)."""
    return torch.stack([x.mean((1, 3)), x.square().mean((1, 3))], 1)


def _factors(moments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What each band is multiplied by, and what is added, so that its mean over clips is 0 and its variance 1."""
    mean, square = moments
    factor = ((square - mean.square()).clamp_min(0) + EPSILON).rsqrt()
    return factor, -mean * factor
