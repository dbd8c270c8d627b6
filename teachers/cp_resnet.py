"""CP-ResNet: a residual CNN whose receptive field is kept small, which makes it generalise better to new recordings.

Conventions: log-mels (B, 1, mels, frames) in, logits (B, classes) out; any size of spectrogram. Convolutions are
counted through the whole network, two a block, as if every stage had all blocks of its layout: a shorter stage keeps
the kernel sizes of its first blocks. rho says up to which of them kernels are 3x3; later ones are 1x1, and so is the
second in every variant.
Source: Koutini et al., "Receptive Field Regularization Techniques for Audio Classification and Tagging with Deep
Convolutional Neural Networks", IEEE/ACM TASLP 2021, section III (layout "full"); the low-complexity network of the
same group, Koutini et al., DCASE 2021 Task 1A technical report, which Schmid et al. took as student in 2022 and as
teacher in 2023 (layout "light").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import nn

from data import bibliography
from data.errors import UserError, unknown
from data.ranges import Channels, Classes, Depth, Range
from teachers.entry import Teacher
from teachers.weights import load_weights, needed_names, read_weights


@dataclass(frozen=True)
class Layout:
    """What the two published networks differ in beside their width.

    Attributes:
        blocks: residual blocks of a stage, at most.
        last: the last convolution that is 3x3 at rho = 0.
        pools: number of blocks of the first stage -> size of the max-pool behind them.
    """

    blocks: int
    last: int
    pools: dict[int, tuple[int, int]]


LAYOUTS = {
    "full": Layout(blocks=4, last=1, pools={1: (2, 2), 2: (2, 2), 4: (2, 2)}),
    # Pools over bands only: one second has few frames.
    "light": Layout(blocks=2, last=0, pools={0: (2, 2), 1: (2, 1), 2: (2, 1)}),
}


def cp_resnet(
    *,
    classes: Classes = 10,
    pretrained: bool = False,
    weights: str | Path | None = None,
    layout: str = "light",
    rho: Annotated[int, Range(0, 100)] = 8,
    base_channels: Channels = 32,
    blocks: Sequence[Depth] = (2, 1, 1),
    groups: Sequence[Channels] = (1, 2, 1),
    cut_channels: Sequence[Annotated[int, Range(0, 4096)]] = (0, 0, 36),
) -> nn.Module:
    """Build a CP-ResNet; the defaults are the 128K-parameter variant.

    Args:
        classes: number of logits.
        pretrained: must be false or come with `weights`: there are no official weights for one second of audio.
        weights: a state dict to start from.
        layout: "full" (the paper's: base_channels=128, blocks (4, 4, 4), no groups, nothing cut) or "light".
        rho: receptive field, 0 (smallest) to 23; 3..8 are published for acoustic scenes.
        base_channels: width of the first stage; each later one has twice as many, less `cut_channels`.
        blocks: residual blocks of the three stages.
        groups: groups of the convolutions of each stage.
        cut_channels: channels left out of each stage.

    Raises:
        UserError: pretrained without weights, or arguments out of range.
    """
    if pretrained and not weights:
        raise UserError("cp_resnet has no official weights: set teacher.pretrained=false, or give teacher.weights=FILE")
    if layout not in LAYOUTS:
        unknown("cp_resnet layout", layout, LAYOUTS)
    plan = LAYOUTS[layout]
    if not (len(blocks) == 3 and all(1 <= n <= plan.blocks for n in blocks)):
        raise UserError(f"cp_resnet: blocks={list(blocks)} must be three numbers from 1 to {plan.blocks}")
    if len(groups) != 3 or len(cut_channels) != 3 or min(groups) < 1:
        raise UserError(f"cp_resnet: groups={list(groups)} and cut_channels={list(cut_channels)} are one a stage")
    widths = [base_channels * 2**stage - cut for stage, cut in enumerate(cut_channels)]
    ends = zip([widths[0], *widths], widths, strict=False)
    if min(widths) < 1 or any(i % g or o % g for (i, o), g in zip(ends, groups, strict=True)):
        raise UserError(f"cp_resnet: stages of {widths} channels cannot be divided into {list(groups)} groups")

    layers: list[nn.Module] = [
        nn.Conv2d(1, widths[0], 5, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(inplace=True),
    ]
    if 0 in plan.pools:
        layers.append(nn.MaxPool2d(plan.pools[0]))
    channels = widths[0]
    for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
        for block in range(count):
            position = 2 * (plan.blocks * stage + block)
            kernels = kernel_size(position, rho, plan), kernel_size(position + 1, rho, plan)
            layers.append(_Block(channels, width, *kernels, groups[stage]))
            channels = width
            if stage == 0 and block + 1 in plan.pools:
                layers.append(nn.MaxPool2d(plan.pools[block + 1]))
    layers += [nn.Conv2d(channels, classes, 1, bias=False), nn.BatchNorm2d(classes)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    if weights:
        load_weights(network, read_weights(weights, needed_names(network)), source=str(weights))
    return network


TEACHER = Teacher(
    build=cp_resnet,
    family="CNN",
    citation=bibliography.CP_RESNET,
    head_is_new=False,
)


def kernel_size(position: int, rho: int, layout: Layout) -> int:
    """Kernel of the convolution at a position (two a block): 3 up to rho + layout.last, then 1; see the module."""
    return 3 if position == 0 or 2 <= position <= rho + layout.last else 1


class _Block(nn.Module):
    """Two convolutions and a shortcut; the shortcut is a 1x1 convolution where the width changes."""

    def __init__(self, channels: int, width: int, first: int, second: int, groups: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels, width, first, padding=first // 2, groups=groups, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, second, padding=second // 2, groups=groups, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Identity()
        if channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, groups=groups, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) -> (B, width, H, W)."""
        return torch.relu(self.path(x) + self.shortcut(x))
