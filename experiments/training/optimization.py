"""How to train, as numbers: epochs, batch size, learning rate and its course.

Conventions: the schedule is a pure function of the (fractional) epoch; a recipe can be stretched to any number of
epochs.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from data.errors import UserError, unknown

KEEP = ("best", "last")
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULES = ("linear", "cosine")
MIN_STEPS = 5  # an epoch; a batch of 256 would leave a small set one or no step

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        epochs, batch_size, learning_rate, weight_decay: of the optimiser.
        optimizer: "adam", whose weight decay is an L2 term of the loss, or "adamw", whose is not (Loshchilov & Hutter,
            ICLR 2019).
        warm_up: epochs of exponential rise.
        constant_until: epoch at which the linear descent begins.
        down_over: epochs of the descent, "linear" or "cosine" by `schedule`.
        floor: share of the learning rate that remains.
        keep: "best" keeps the weights of the epoch with the lowest validation log loss (accuracy on a small split is a
            coarse count, and a teacher is there for its probabilities), "last" the last ones.
        clip: largest norm of the gradient, over all parameters; 0: any.
        accumulate: parts that a batch is computed in, one after the other, to save memory.
        ema: decay of an exponential moving average of the weights over the steps, which then is what is validated and
            kept; 0: none. It remembers about 1 / (1 - ema) steps: a training should have many times as many.
        layer_decay: factor on the learning rate from each layer to the one below it; 1: none. The last layer has the
            whole rate. Source: Clark et al., "ELECTRA", ICLR 2020, appendix A; Bao et al., "BEiT", ICLR 2022.
        frozen_layers: so many layers, from the input on, keep their weights and BatchNorm statistics.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warm_up: float
    constant_until: float
    down_over: float
    floor: float
    keep: str
    optimizer: str = "adam"
    schedule: str = "linear"
    clip: float = 0.0
    accumulate: int = 1
    ema: float = 0.0
    layer_decay: float = 1.0
    frozen_layers: int = 0

    def __post_init__(self) -> None:
        for name, choices in (("keep", KEEP), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in choices:
                unknown(f"fit.{name}", getattr(self, name), choices)
        if self.epochs < 1:
            raise UserError(f"epochs={self.epochs} must be at least 1")
        if self.learning_rate <= 0 or self.weight_decay < 0 or not 0 <= self.floor <= 1:
            raise UserError(
                f"fit.learning_rate={self.learning_rate} must be above 0, "
                f"fit.weight_decay={self.weight_decay} at least 0, fit.floor={self.floor} from 0 to 1"
            )
        if min(self.warm_up, self.constant_until, self.down_over) < 0:
            raise UserError("fit.warm_up, fit.constant_until and fit.down_over are epochs: at least 0")
        if not (0 <= self.ema < 1 and 0 < self.layer_decay <= 1 and self.frozen_layers >= 0):
            raise UserError(
                f"fit.ema={self.ema} must be from 0 to below 1, fit.layer_decay={self.layer_decay} above 0 and at most "
                f"1, fit.frozen_layers={self.frozen_layers} at least 0"
            )
        if self.clip < 0 or self.accumulate < 1:
            raise UserError(f"fit.clip={self.clip} must be at least 0, fit.accumulate={self.accumulate} at least 1")
        if self.batch_size < 2:
            raise UserError(f"batch_size={self.batch_size} must be at least 2: BatchNorm needs two clips")

    def lasting(self, epochs: int | None) -> "Recipe":
        """The same recipe over another number of epochs, its schedule scaled along."""
        if epochs is None:
            return self
        s = epochs / self.epochs
        return replace(
            self,
            epochs=epochs,
            warm_up=self.warm_up * s,
            constant_until=self.constant_until * s,
            down_over=self.down_over * s,
        )


def learning_rate_factor(epoch: float, recipe: Recipe) -> float:
    """Share of the learning rate at an epoch: exp(-5 (1 - e / warm_up)^2), then 1, then down to the floor.

    Source: the warm-up is that of Tarvainen & Valpola, "Mean teachers are better role models", 2017, appendix B.
    """
    if epoch < recipe.warm_up:
        return math.exp(-5 * (1 - epoch / recipe.warm_up) ** 2)
    if epoch < recipe.constant_until:
        return 1.0
    progress = min(1.0, (epoch - recipe.constant_until) / recipe.down_over) if recipe.down_over > 0 else 1.0
    if recipe.schedule == "cosine":
        progress = (1 - math.cos(math.pi * progress)) / 2
    return 1 - (1 - recipe.floor) * progress


def parameter_groups(layers: Sequence[Sequence[nn.Parameter]], recipe: Recipe) -> list[dict[str, object]]:
    """What the optimiser gets: each layer's parameters and its `scale`, the factor on the learning rate.

    Frozen layers are left out, and their parameters need no gradient from now on.

    Args:
        layers: from the input to the output; see teachers/layers.py.

    Raises:
        UserError: nothing is left to train.
    """
    if recipe.frozen_layers >= len(layers):
        raise UserError(
            f"fit.frozen_layers={recipe.frozen_layers} leaves nothing to train: this network has {len(layers)} layers"
        )
    for layer in layers[: recipe.frozen_layers]:
        for parameter in layer:
            parameter.requires_grad_(False)
    trained = list(enumerate(layers))[recipe.frozen_layers :]
    return [
        {"params": list(layer), "scale": recipe.layer_decay ** (len(layers) - 1 - number)} for number, layer in trained
    ]


def small_enough(batch_size: int, clips: int, devices: int = 1, *, exact: bool = False) -> int:
    """The batch size, made smaller where a split has so few clips that an epoch would have under MIN_STEPS steps.

    Args:
        batch_size: of all devices together.
        clips: train clips.
        devices: which share each batch.
        exact: the size was asked for by hand and is not made smaller.

    Raises:
        UserError: there are fewer clips than that, or it cannot be shared out evenly among the devices, two clips at
            least to each.
    """
    fitting = batch_size if exact else max(2, min(batch_size, clips // MIN_STEPS))
    if fitting < batch_size:
        fitting = max(2, fitting // devices) * devices
        log.warning("batch_size %d is too large for %d train clips: using %d", batch_size, clips, fitting)
    if fitting > clips:
        raise UserError(f"batch_size={fitting} is more than the {clips} train clips: give at most so many")
    if fitting % devices or fitting < 2 * devices:
        raise UserError(
            f"batch_size={fitting} of {clips} clips cannot be shared out evenly among {devices} devices: choose a "
            f"multiple of {devices}, two clips a device at least"
        )
    return fitting
