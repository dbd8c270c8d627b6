"""Training of a network's last layer, or head, alone, on features that its other layers compute once.

Conventions: a view of a clip is the clip as it is, or a copy that was augmented once, before the training; mixup, which
needs pairs of clips, is applied to the features themselves. The other layers are in evaluation mode: their weights and
BatchNorm's statistics stay what they were, dropout and patchout are off.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

from data.augmentation import Augmentation, descriptions
from data.errors import UserError
from data.front_ends import FrontEnd
from experiments.settings.parts import Recipe
from teachers.layers import head_of


@dataclass(frozen=True)
class Kept:
    """Where features are kept for the next training, and under what.

    Attributes:
        folder: of a cache.
        filenames: of all clips of the data set, in the order of its rows.
        identity: what features depend on beside the network's weights and the hardware.
    """

    folder: Path
    filenames: tuple[str, ...]
    identity: Mapping[str, object]


@dataclass(frozen=True)
class Frozen:
    """How the last layer is trained alone.

    Attributes:
        head: that layer, a part of the network.
        views: of each train clip, at least 1.
        kept: where features are kept; None: nowhere.
    """

    head: nn.Module
    views: int
    kept: Kept | None = None


def frozen_backbone(
    network: nn.Module,
    shape: tuple[int, ...],
    *,
    views: int,
    recipe: Recipe,
    augmentation: Augmentation,
    kept: Kept | None = None,
) -> Frozen:
    """The last layer of a network, to be trained alone.

    Args:
        network: which begins with weights that were trained before.
        shape: of a log-mel, (1, 1, mels, frames).
        views: of each train clip.
        recipe, augmentation: how it is to be trained.
        kept: where features are kept; None: nowhere.

    Raises:
        UserError: it has no last layer that can be trained so, or the settings contradict each other.
    """
    if recipe.frozen_layers or recipe.layer_decay != 1:
        raise UserError(
            "teacher.freeze=backbone freezes all layers but the last one: leave teacher.fit.frozen_layers and "
            "teacher.fit.layer_decay out"
        )
    if augmentation.crop:
        raise UserError(
            "teacher.freeze=backbone computes the features of each clip once, and teacher.augment.crop=true draws "
            "others every time: set teacher.augment.crop=false"
        )
    if views > 1 and not descriptions(dataclasses.asdict(of_views(augmentation))):
        raise UserError(
            f"teacher.views={views} would all be the same: set an augmentation of teacher.augment, or teacher.views=1"
        )
    return Frozen(head_of(network, torch.zeros(shape)), views, kept)


class HeadAlone(nn.Module):
    """The last layer as a network of its own, from features (B, F, 1, 1) to logits (B, classes)."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.head(features.flatten(1))


class _Unchanged(nn.Module):
    """In the place of a front end."""

    decibel, sample_rate = None, 1  # Hz, of no waves: none are augmented

    def forward(self, features: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        return features


def unchanged() -> FrontEnd:
    """A front end for what is no wave: features remain as they are."""
    return cast(FrontEnd, _Unchanged())


def of_pairs(augmentation: Augmentation) -> Augmentation:
    """What of an augmentation is applied to features: mixup."""
    return Augmentation(mixup_p=augmentation.mixup_p, mixup_alpha=augmentation.mixup_alpha)


def of_views(augmentation: Augmentation) -> Augmentation:
    """What of an augmentation makes a view."""
    return dataclasses.replace(augmentation, mixup_p=0.0)
