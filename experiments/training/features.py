"""Training of a network's last layer, or head, alone, on features that its other layers compute once.

Conventions: a view of a clip is the clip as it is, or a copy that was augmented once, before the training; mixup, which
needs pairs of clips, is applied to the features themselves. The other layers are in evaluation mode: their weights and
BatchNorm's statistics stay what they were, dropout and patchout are off.
"""

import dataclasses
import logging
from dataclasses import dataclass
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import nn

from data.augmentation import Augmentation, descriptions
from data.augmenter import Augmenter
from data.batches import Batches
from data.errors import UserError
from data.features import FeatureBatches
from data.front_ends import FrontEnd
from data.progress import progress
from experiments.settings.parts import Recipe
from experiments.training.inputs import augmented
from experiments.training.state import seed_of
from teachers.layers import head_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frozen:
    """How the last layer is trained alone.

    Attributes:
        head: that layer, a part of the network.
        views: of each train clip, at least 1.
    """

    head: nn.Module
    views: int


def frozen_backbone(
    network: nn.Module, shape: tuple[int, ...], *, views: int, recipe: Recipe, augmentation: Augmentation
) -> Frozen:
    """The last layer of a network, to be trained alone.

    Args:
        network: which begins with weights that were trained before.
        shape: of a log-mel, (1, 1, mels, frames).
        views: of each train clip.
        recipe, augmentation: how it is to be trained.

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
    if views > 1 and not descriptions(dataclasses.asdict(_of_views(augmentation))):
        raise UserError(
            f"teacher.views={views} would all be the same: set an augmentation of teacher.augment, or teacher.views=1"
        )
    return Frozen(head_of(network, torch.zeros(shape)), views)


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


def _of_views(augmentation: Augmentation) -> Augmentation:
    """What of an augmentation makes a view."""
    return dataclasses.replace(augmentation, mixup_p=0.0)


def cached(
    fabric: Fabric,
    network: nn.Module,
    frozen: Frozen,
    front_end: FrontEnd,
    clips: Batches,
    *,
    augmentation: Augmentation | None = None,
    responses: torch.Tensor | None = None,
    seed: int = 0,
) -> FeatureBatches:
    """The clips of a split as features.

    Args:
        fabric: device and precision.
        network: log-mels to logits.
        frozen: its last layer, and how many views there are; of one view the clips are as they are.
        front_end: waves to log-mels.
        clips: of the split.
        augmentation: of the further views; None: there are none.
        responses: impulse responses (R, L), or None.
        seed: of the augmentation.
    """
    network = network.to(fabric.device, memory_format=torch.channels_last).eval()
    front_end = front_end.to(fabric.device)
    responses = None if responses is None else responses.to(fabric.device)
    augmenter = Augmenter(_of_views(augmentation or Augmentation()), decibel=front_end.decibel)
    generator = torch.Generator(device=fabric.device)
    found: list[torch.Tensor] = []
    hook = frozen.head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].detach().float()))
    views = frozen.views if augmentation is not None else 1
    try:
        total = views * len(clips)
        with torch.no_grad(), fabric.autocast(), progress("features", total) as line:
            for view in range(views):
                generator.manual_seed(seed_of(seed, view, 0))
                for batch in line.over(clips.in_order(), lambda batch: len(batch.rows)):
                    if view:
                        spectrograms, _ = augmented(batch, clips, front_end, augmenter, responses, generator)
                    else:
                        spectrograms = front_end(batch.waves).contiguous(memory_format=torch.channels_last)
                    network(spectrograms)
    finally:
        hook.remove()
    log.info("features of %d clips, %d of each, by the layers that do not learn", len(clips), views)
    return FeatureBatches(clips, torch.cat(found).unflatten(0, (views, len(clips))))
