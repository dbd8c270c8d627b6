"""CP-ResNet: a residual CNN whose receptive field is kept small on purpose, because scenes are textures, not objects.

Conventions: log-mels (B, 1, mels, frames) in, logits (B, classes) out; any size of picture.
Source: Koutini et al., "Receptive Field Regularization Techniques for Audio Classification and Tagging with Deep
Convolutional Neural Networks", IEEE/ACM TASLP 2021, section III: rho counts how many convolutions keep a 3x3 kernel;
all later ones are 1x1.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from data.errors import UserError
from teachers.weights import load_weights, read_weights

BLOCKS_OF_A_STAGE = 4  # in the published network; shorter stages keep the kernel sizes of its first blocks
POOL_AFTER = (0, 1, 3)  # blocks of the first stage that are followed by a 2x2 max-pool


def cp_resnet(
    *,
    classes: int = 10,
    pretrained: bool = False,
    weights: str | Path | None = None,
    rho: int = 8,
    base_channels: int = 32,
    blocks: Sequence[int] = (2, 1, 1),
) -> nn.Module:
    """Build a CP-ResNet.

    Args:
        classes: number of logits.
        pretrained: must be false or come with `weights`: there are no official weights for one second of audio.
        weights: a state dict to start from.
        rho: receptive field, 0 (smallest) to 23; 3..8 are published for acoustic scenes.
        base_channels: width of the first stage; later ones double it. 128 in the paper, 32 in the light version.
        blocks: residual blocks of the three stages, 1..4 each; (4, 4, 4) in the paper.

    Raises:
        UserError: pretrained without weights, or arguments out of range.
    """
    if pretrained and not weights:
        raise UserError("cp_resnet has no official weights: set teacher.pretrained=false, or give teacher.weights=FILE")
    if not (len(blocks) == 3 and all(1 <= n <= BLOCKS_OF_A_STAGE for n in blocks)):
        raise UserError(f"cp_resnet: blocks={list(blocks)} must be three numbers from 1 to {BLOCKS_OF_A_STAGE}")
    layers: list[nn.Module] = [
        nn.Conv2d(1, base_channels, 5, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(base_channels),
        nn.ReLU(inplace=True),
    ]
    channels = base_channels
    for stage, count in enumerate(blocks):
        for block in range(count):
            position = 2 * (BLOCKS_OF_A_STAGE * stage + block)
            width = base_channels * 2**stage
            layers.append(_Block(channels, width, kernel_size(position, rho), kernel_size(position + 1, rho)))
            channels = width
            if stage == 0 and block in POOL_AFTER:
                layers.append(nn.MaxPool2d(2))
    layers += [nn.Conv2d(channels, classes, 1, bias=False), nn.BatchNorm2d(classes)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    if weights:
        load_weights(network, read_weights(weights), source=str(weights))
    return network


def kernel_size(position: int, rho: int) -> int:
    """Kernel of the convolution at a position (two a block, four blocks a stage): 3 up to position rho + 1, then 1.

    The second convolution is 1x1 in every variant.
    """
    return 3 if position == 0 or 2 <= position <= rho + 1 else 1


class _Block(nn.Module):
    """Two convolutions and a shortcut; the shortcut is a 1x1 convolution where the width changes."""

    def __init__(self, channels: int, width: int, first: int, second: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels, width, first, padding=first // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, second, padding=second // 2, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Identity()
        if channels != width:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.path(x) + self.shortcut(x))
