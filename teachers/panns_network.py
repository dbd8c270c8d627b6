"""The networks of PANNs: CNNs of 6, 10 and 14 layers, MobileNet v1 and v2, with the names of their published files.

Conventions: log-mels (B, 1, 64, frames) in, logits (B, classes) out; any number of frames, shorter ones than `shortest`
are completed with silence, as the authors complete short clips with zeros. Maps within are (B, channels, frames,
bands). Where a layer has a stride, it is a mean over squares behind a convolution without one.
Source: Kong et al., "PANNs", IEEE/ACM TASLP 2020, tables I and IV, and qiuqiangkong/audioset_tagging_cnn,
pytorch/models.py at commit 542c8c8, classes Cnn6, Cnn10, Cnn14, MobileNetV1 and MobileNetV2.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from data.front_ends.panns_mel import MELS, SILENCE
from teachers.spectrograms import completed

BLOCK_DROPOUT = 0.2  # behind each block of a CNN
DEEPEST = 6  # blocks of a CNN
STEM = 32  # channels of a MobileNet's first layer
# Stride and channels of MobileNet v1's depthwise separable convolutions.
SEPARABLE = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *[(1, 512)] * 5, (2, 1024), (1, 1024))
# Expansion, channels, blocks and first stride of MobileNet v2's groups of inverted residuals.
INVERTED = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 2), (6, 160, 3, 1), (6, 320, 1, 1))
LAST = 1280  # channels of MobileNet v2's last convolution
HEAD = ("fc_audioset.",)
PARTS = ("features.", *(f"conv_block{number}." for number in range(1, DEEPEST + 1)))  # that only some networks have


class Panns(nn.Module):
    """A network: its parts one after the other, means and maxima over time, and two dense layers.

    Args:
        parts: by their names in the files; each takes and gives maps.
        halvings: how many of the parts' layers halve a map.
        widths: of what the two dense layers take.
        classes: number of logits.
        dropouts: before the two dense layers.
    """

    def __init__(
        self,
        parts: dict[str, nn.Module],
        *,
        halvings: int,
        widths: tuple[int, int],
        classes: int,
        dropouts: tuple[float, float],
    ) -> None:
        super().__init__()
        self.shortest = 2**halvings  # frames
        self.bn0 = nn.BatchNorm2d(MELS)
        self._parts = tuple(parts)
        for name, part in parts.items():
            self.add_module(name, part)
        self.dropout0, self.dropout1 = map(nn.Dropout, dropouts)
        self.fc1, self.fc_audioset = nn.Linear(*widths), nn.Linear(widths[1], classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """(B, 1, 64, frames) -> (B, classes).

        Raises:
            UserError: spectrograms have another number of bands.
        """
        whole = completed(spectrograms, MELS, self.shortest, SILENCE, "panns_mel", "PANNs have")
        maps = self.bn0(whole.transpose(1, 2)).permute(0, 2, 3, 1)
        for name in self._parts:
            maps = self.get_submodule(name)(maps)
        sound = maps.mean(dim=3)
        vectors = sound.amax(dim=2) + sound.mean(dim=2)
        return self.fc_audioset(self.dropout1(self.fc1(self.dropout0(vectors)).relu()))

    def layers(self) -> list[list[nn.Parameter]]:
        """See teachers/layers.py."""
        parts = [self.get_submodule(name) for name in self._parts]
        if len(parts) == 1:  # the layers of a MobileNet
            parts = list(parts[0].children())
        return [list(part.parameters()) for part in (self.bn0, *parts, self.fc1, self.fc_audioset)]


def build_network(size: str, classes: int, dropout: float) -> Panns:
    """A network with random weights: `cnn6`, `cnn10`, `cnn14`, `mobilenetv1` or `mobilenetv2`.

    Args:
        size: its name.
        classes: number of logits.
        dropout: before each of the two dense layers; before the second one alone in MobileNet v2, as published.
    """
    if size == "mobilenetv1":
        parts, halvings, widths = {"features": _mobilenet_v1()}, 5, (SEPARABLE[-1][1], 1024)
    elif size == "mobilenetv2":
        parts, halvings, widths = {"features": _mobilenet_v2()}, 5, (LAST, 1024)
    else:
        count, kernel, convolutions = {"cnn6": (4, 5, 1), "cnn10": (4, 3, 2), "cnn14": (DEEPEST, 3, 2)}[size]
        channels = [1, *(64 * 2**number for number in range(count))]
        halvings = min(count, 5)  # the last block of CNN14 halves nothing
        parts = {
            f"conv_block{number}": _Block(
                channels[number - 1], channels[number], kernel, convolutions, number <= halvings
            )
            for number in range(1, count + 1)
        }
        widths = (channels[-1], channels[-1])
    first = 0.0 if size == "mobilenetv2" else dropout
    return Panns(parts, halvings=halvings, widths=widths, classes=classes, dropouts=(first, dropout))


class _Block(nn.Module):
    """One or two convolutions, each with BatchNorm and ReLU, and the mean over squares of 2 x 2."""

    def __init__(self, channels: int, width: int, kernel: int, convolutions: int, halves: bool) -> None:
        super().__init__()
        self.convolutions, self.halves = convolutions, halves
        for number in range(1, convolutions + 1):
            self.add_module(f"conv{number}", nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False))
            channels = width
        for number in range(1, convolutions + 1):
            self.add_module(f"bn{number}", nn.BatchNorm2d(width))
        self.dropout = nn.Dropout(BLOCK_DROPOUT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) -> (B, width, H // 2, W // 2), or H, W."""
        for number in range(1, self.convolutions + 1):
            x = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(x)).relu()
        return self.dropout(F.avg_pool2d(x, 2) if self.halves else x)


def _mobilenet_v1() -> nn.Sequential:
    layers, channels = [nn.Sequential(*_spatial(1, STEM, 2), nn.ReLU())], STEM
    for stride, width in SEPARABLE:
        depthwise = _spatial(channels, channels, stride, groups=channels)
        layers.append(nn.Sequential(*depthwise, nn.ReLU(), *_pointwise(channels, width), nn.ReLU()))
        channels = width
    return nn.Sequential(*layers)


def _mobilenet_v2() -> nn.Sequential:
    layers: list[nn.Module] = [nn.Sequential(*_spatial(1, STEM, 2), nn.ReLU6())]
    channels = STEM
    for expansion, width, count, first in INVERTED:
        for number in range(count):
            layers.append(_InvertedResidual(channels, width, expansion, 1 if number else first))
            channels = width
    layers.append(nn.Sequential(*_pointwise(channels, LAST), nn.ReLU6()))
    return nn.Sequential(*layers)


class _InvertedResidual(nn.Module):
    """A depthwise convolution of more channels than go in and come out; `conv` is part of the names in its files."""

    def __init__(self, channels: int, width: int, expansion: int, stride: int) -> None:
        super().__init__()
        self.adds = stride == 1 and channels == width
        wide = channels * expansion
        expanding = [*_pointwise(channels, wide), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*_spatial(wide, wide, stride, groups=wide), nn.ReLU6()]
        self.conv = nn.Sequential(*expanding, *depthwise, *_pointwise(wide, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) -> (B, width, H // stride, W // stride)."""
        return x + self.conv(x) if self.adds else self.conv(x)


def _spatial(channels: int, width: int, stride: int, *, groups: int = 1) -> Sequence[nn.Module]:
    """A 3 x 3 convolution, the mean over squares of the stride, which stands in the numbers of layers if it is 1 too,
    and BatchNorm."""
    convolution = nn.Conv2d(channels, width, 3, padding=1, groups=groups, bias=False)
    return convolution, nn.AvgPool2d(stride) if stride > 1 else nn.Identity(), nn.BatchNorm2d(width)


def _pointwise(channels: int, width: int) -> Sequence[nn.Module]:
    return nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
