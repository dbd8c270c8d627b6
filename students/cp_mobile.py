"""CP-Mobile: inverted residual blocks within the limits of 128 kB and 30 million multiply-accumulates.

Conventions: log-mels (B, 1, mels, frames) in, logits (B, classes) out. Strides are (frequency, time); blocks are
numbered b1, b2, ... through all stages.
Source: Schmid et al., "Distilling the Knowledge of Transformers and CNNs with CP-Mobile", DCASE 2023 workshop,
section 2; without Global Response Normalization it is the baseline of DCASE 2024 and 2025 Task 1.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from data import bibliography
from data.errors import UserError, unknown
from data.ranges import Channels, Classes, Depth, Factor, Stride
from students.blocks import NamedLayers, convolution, initialise
from students.entry import Student, Width
from students.response_norm import GlobalResponseNorm

STEM_DIVISOR = 4  # the first convolution has base_channels / 4 channels
BLOCKS = (3, 2, 1)
PARTS = ("expand", "depthwise", "project")  # the convolutions of a block
MOST_BLOCKS = 100

# (base_channels, channels_multiplier, expansion_rate, strides) of the published networks, named by their parameters.
WINNER, BASELINE = {"b2": (2, 2), "b4": (2, 1)}, {"b3": (1, 2), "b4": (2, 1)}
SIZES: dict[str, tuple[int, float, float, Mapping[str, tuple[int, int]]]] = {
    "6k": (8, 2.0, 2.0, WINNER),
    "12k": (16, 1.5, 1.8, WINNER),
    "30k": (24, 1.5, 1.9, WINNER),
    "54k": (32, 1.7, 1.9, WINNER),
    "61k": (32, 1.8, 2.1, BASELINE),
    "127k": (32, 2.3, 3.0, WINNER),
}


def cp_mobile(
    *,
    classes: Classes = 10,
    size: str = "61k",
    grn: bool = False,
    base_channels: Channels | None = None,
    channels_multiplier: Factor | None = None,
    expansion_rate: Factor | None = None,
    strides: Mapping[str, Sequence[Stride]] | None = None,
    blocks: Sequence[Depth] = BLOCKS,
) -> nn.Module:
    """Build a CP-Mobile.

    Args:
        classes: number of logits.
        size: a published network, one of SIZES; the following arguments override its parts.
        grn: Global Response Normalization after each block, as published in 2023, worth a little accuracy.
        base_channels: width of the first stage, a multiple of 8.
        channels_multiplier: how many times wider each stage is than the one before.
        expansion_rate: inner width of a block relative to its input.
        strides: block name to stride; blocks that are not named have (1, 1).
        blocks: blocks of each stage.

    Raises:
        UserError: unknown size, arguments out of range, or a stride for a block that does not exist.
    """
    if size not in SIZES:
        unknown("cp_mobile size", size, SIZES)
    base, multiplier, expansion, preset = SIZES[size]
    base = base_channels or base
    multiplier = channels_multiplier or multiplier
    expansion = expansion_rate or expansion
    if base < 8 or base % 8 or multiplier <= 0 or expansion <= 0:
        raise UserError(f"cp_mobile: base_channels={base} must be a multiple of 8, the multipliers above 0")
    strides = preset if strides is None else strides
    if not all(count >= 1 for count in blocks) or not 1 <= sum(blocks) <= MOST_BLOCKS:
        raise UserError(f"cp_mobile: blocks={list(blocks)} must each be at least 1, and together {MOST_BLOCKS} at most")
    if wrong := [name for name, stride in strides.items() if len(stride) != 2 or min(stride) < 1]:
        raise UserError(f"cp_mobile: strides of {wrong[0]} must be two numbers from 1 on: {list(strides[wrong[0]])}")
    names = [f"b{i + 1}" for i in range(sum(blocks))]
    if strangers := set(strides) - set(names):
        raise UserError(f"cp_mobile: strides for {sorted(strangers)}, but the blocks are {names}")
    widths = [round_channels(base * multiplier**stage) for stage, count in enumerate(blocks) for _ in range(count)]
    stem = base // STEM_DIVISOR
    stages: list[nn.Module] = [convolution(1, stem, 3, (2, 2)), convolution(stem, base, 3, (2, 2))]
    channels = base
    for name, width in zip(names, widths, strict=True):
        inner = round_channels(channels * expansion)
        down, along = strides.get(name, (1, 1))
        stages.append(Block(channels, inner, width, (down, along), grn=grn))
        channels = width
    stages += [convolution(channels, classes, 1, relu=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = NamedLayers(*stages)
    network.layer_names = _layer_names(blocks)
    initialise(network)
    return network


STUDENT = Student(
    build=cp_mobile,
    family="CNN",
    citation=bibliography.CP_MOBILE,
    has_integer_form=True,
    sizes=tuple(SIZES),
    width=Width("base_channels", step=8),
)


def _layer_names(blocks: Sequence[int]) -> dict[str, str]:
    names = {"0.0": "stem_1", "1.0": "stem_2"}
    all_blocks = [f"stage{stage}_block{n}" for stage, count in enumerate(blocks, 1) for n in range(1, count + 1)]
    for place, block in enumerate(all_blocks, 2):
        names |= {f"{place}.path.{path}.0": f"{block}_{part}" for path, part in enumerate(PARTS)}
        names |= {str(place): block, f"{place}.pool": f"{block}_pool", f"{place}.norm": f"{block}_norm"}
    return {**names, f"{len(all_blocks) + 2}.0": "classifier", str(len(all_blocks) + 3): "mean"}


def round_channels(width: float) -> int:
    """The nearest multiple of 8, one higher if that would be below 90 % of the width.

    >>> [round_channels(w) for w in (32 * 2.1, 32 * 1.8, 8 * 1.0, 90.0)]
    [64, 56, 8, 88]
    """
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * width else rounded + 8


class Block(nn.Module):
    """Expand, filter, project; a shortcut where the width stays: as it is, or average-pooled where the stride is not
    1."""

    def __init__(self, channels: int, inner: int, width: int, stride: tuple[int, int], *, grn: bool) -> None:
        super().__init__()
        self.path = nn.Sequential(
            convolution(channels, inner, 1),
            convolution(inner, inner, 3, stride, groups=inner),
            convolution(inner, width, 1, relu=False),
        )
        self.has_shortcut = channels == width
        self.pool = nn.AvgPool2d(3, stride, padding=1) if self.has_shortcut and stride != (1, 1) else None
        self.norm = GlobalResponseNorm() if grn else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) -> (B, width, H / stride, W / stride)."""
        y = self.path(x)
        if self.has_shortcut:
            y = y + (x if self.pool is None else self.pool(x))
        if self.norm is not None:
            y = self.norm(y)
        return F.relu(y)
