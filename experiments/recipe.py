"""How to train, as numbers: epochs, batch size, learning rate and its course.

Conventions: the schedule is a pure function of the (fractional) epoch; a recipe can be stretched to any number of
epochs.
"""

import logging
import math
from dataclasses import dataclass, replace

from data.errors import UserError, unknown

KEEP = ("best", "last")
MIN_STEPS = 5  # an epoch; a batch of 256 would leave a small set one or no step

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        epochs, batch_size, learning_rate, weight_decay: of Adam, with L2 weight decay.
        warm_up: epochs of exponential rise.
        constant_until: epoch at which the linear descent begins.
        down_over: epochs of the descent.
        floor: share of the learning rate that remains.
        keep: "best" keeps the weights of the epoch with the lowest validation log loss (accuracy on a small split is a
            coarse count, and a teacher is there for its probabilities), "last" the last ones.
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

    def __post_init__(self) -> None:
        if self.keep not in KEEP:
            unknown("fit.keep", self.keep, KEEP)
        if self.epochs < 1:
            raise UserError(f"epochs={self.epochs} must be at least 1")
        if self.learning_rate <= 0 or self.weight_decay < 0 or not 0 <= self.floor <= 1:
            raise UserError(
                f"fit.learning_rate={self.learning_rate} must be above 0, "
                f"fit.weight_decay={self.weight_decay} at least 0, fit.floor={self.floor} from 0 to 1"
            )
        if min(self.warm_up, self.constant_until, self.down_over) < 0:
            raise UserError("fit.warm_up, fit.constant_until and fit.down_over are epochs: at least 0")
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
    """Share of the learning rate at an epoch: exp(-5 (1 - e / warm_up)^2), then 1, then linearly down to the floor.

    Source: the warm-up is that of Tarvainen & Valpola, "Mean teachers are better role models", 2017, appendix B.
    """
    if epoch < recipe.warm_up:
        return math.exp(-5 * (1 - epoch / recipe.warm_up) ** 2)
    if epoch < recipe.constant_until:
        return 1.0
    progress = min(1.0, (epoch - recipe.constant_until) / recipe.down_over) if recipe.down_over > 0 else 1.0
    return 1 - (1 - recipe.floor) * progress


def small_enough(batch_size: int, clips: int) -> int:
    """The batch size, made smaller where a split has so few clips that an epoch would have under MIN_STEPS steps."""
    fitting = max(2, min(batch_size, clips // MIN_STEPS))
    if fitting < batch_size:
        log.warning("batch_size %d is too large for %d train clips: using %d", batch_size, clips, fitting)
    return fitting
