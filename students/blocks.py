"""What convolutional students are made of: a convolution with its BatchNorm, and branches that become one.

Conventions: maps are (B, C, bands, frames); kernels, strides and dilations are (frequency, time). Zeros are padded so
that a stride of 1 keeps the size.
"""

import copy
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import nn
from torch.nn import functional as F

from data.errors import UserError

Pair = tuple[int, int]


class NamedLayers(nn.Sequential):
    """Layers one after the other.

    Attributes:
        layer_names: path of a module -> what its layer is called in files and tables.
    """

    layer_names: Mapping[str, str] = MappingProxyType({})


def convolution(
    inputs: int,
    outputs: int,
    kernel: int | Pair,
    stride: Pair = (1, 1),
    *,
    groups: int = 1,
    dilation: Pair = (1, 1),
    relu: bool = True,
) -> nn.Sequential:
    """A convolution with an odd kernel and no bias, its BatchNorm, and a ReLU."""
    height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = height // 2 * dilation[0], width // 2 * dilation[1]
    layers = [
        nn.Conv2d(inputs, outputs, (height, width), stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def initialise(network: nn.Module) -> None:
    """Draw the weights of all convolutions by He et al., ICCV 2015, for the number of outputs."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")


class ParallelConvolution(nn.Module):
    """The sum of convolutions of one input, each with its BatchNorm: once trained, a single convolution.

    Source: Ding et al., "RepVGG", CVPR 2021, section 3.3.
    """

    def __init__(self, branches: Sequence[nn.Sequential]) -> None:
        """Branches differ in their kernels alone, whose sides are odd."""
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, bands, frames) -> (B, C', bands / stride, frames / stride)."""
        return torch.stack([branch(x) for branch in self.branches]).sum(0)

    @torch.no_grad()
    def fused(self) -> nn.Conv2d:
        """The convolution that does the same in evaluation mode: kernels are filled up with zeros to the largest, and
        added."""
        pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = [(branch[0], branch[1]) for branch in self.branches]
        first = pairs[0][0]
        height, width = (max(convolution.kernel_size[axis] for convolution, _ in pairs) for axis in (0, 1))
        one = nn.Conv2d(
            first.in_channels,
            first.out_channels,
            (height, width),
            first.stride,
            (height // 2, width // 2),
            groups=first.groups,
            device=first.weight.device,
        )
        weight, bias = (
            torch.zeros_like(one.weight, dtype=torch.float64),
            torch.zeros_like(one.bias, dtype=torch.float64),
        )
        for convolution, norm in pairs:
            gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            around = [
                (side - own) // 2 for side, own in zip((width, height), convolution.kernel_size[::-1], strict=True)
            ]
            padded = F.pad(convolution.weight.double(), [around[0], around[0], around[1], around[1]])
            weight += padded * gain[:, None, None, None]
            bias += norm.bias.double() - norm.running_mean.double() * gain
        one.weight.copy_(weight)
        one.bias.copy_(bias)
        return one


def deployed(network: nn.Module) -> nn.Module:
    """The network as it is counted, exported and made of integers: in evaluation mode, and each ParallelConvolution in
    it a single convolution. A network without such is returned itself, others are copied."""
    network = network.eval()
    if not any(isinstance(module, ParallelConvolution) for module in network.modules()):
        return network
    network = copy.deepcopy(network)
    for name, module in list(network.named_modules()):
        if isinstance(module, ParallelConvolution):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, module.fused())
    return network


class Taken(nn.Module):
    """Some channels of a map, in some order."""

    def taken(self, channels: torch.Tensor) -> torch.Tensor:
        """Which of (C,) are taken, in their order."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, bands, frames) -> (B, C', bands, frames)."""
        raise NotImplementedError


class Turned(nn.Module):
    """A map of one frame whose bands, averaged to so many, become channels, and its channels frames."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.bands = bands

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, any bands, 1) -> (B, bands, 1, C)."""
        return F.adaptive_avg_pool2d(x, (self.bands, 1)).permute(0, 2, 3, 1)


class LargeEnough(nn.Identity):
    """The spectrogram itself, if it has the bands and frames that a network needs."""

    def __init__(self, student: str, bands: int, frames: int) -> None:
        super().__init__()
        self.student, self.bands, self.frames = student, bands, frames

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, bands, frames) -> the same.

        Raises:
            UserError: there are fewer bands or frames.
        """
        bands, frames = x.shape[-2:]
        if bands < self.bands or frames < self.frames:
            raise UserError(
                f"{self.student}: spectrograms of {bands} bands and {frames} frames are too small, it needs "
                f"{self.bands} bands and {self.frames} frames: raise student.mel.mels, lower student.mel.hop, or take "
                "longer clips"
            )
        return x


class SubSpectralNorm(nn.BatchNorm2d):
    """BatchNorm with statistics, gains and offsets of each channel in each of some frequency bands.

    Source: Chang et al., "Subspectral Normalization for Neural Audio Data Processing", ICASSP 2021. Parameter c S + s
    is that of channel c in band s of S, the lowest band first.
    """

    def __init__(self, channels: int, sub_bands: int) -> None:
        super().__init__(channels * sub_bands)
        self.sub_bands = sub_bands

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, bands, frames) -> (B, C, bands, frames).

        Raises:
            UserError: the bands cannot be divided.
        """
        clips, channels, bands, frames = x.shape
        if bands % self.sub_bands:
            raise UserError(
                f"a map of {bands} bands has no {self.sub_bands} sub-bands of equal size: make "
                f"student.mel.mels a multiple of {8 * self.sub_bands}, or set student.arguments.sub_bands=1"
            )
        divided = x.reshape(clips, channels * self.sub_bands, bands // self.sub_bands, frames)
        return super().forward(divided).reshape(x.shape)
