"""Groups of settings that code below the stages takes as they are: recipe, distillation loss, hardware, tracking.

The values of recipes stand in conf/fit/, conf/teacher/ and conf/student/.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from data.errors import UserError
from data.settings import problems_of, setting


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: the optimiser, the learning rate and its course over the epochs."""

    epochs: int = setting("passes over the train split")
    batch_size: int = setting("clips a step, over all devices; made smaller where there are few clips")
    learning_rate: float = setting("at its highest")
    weight_decay: float = setting("of the optimiser")
    warm_up: float = setting("epochs of exponential rise", default=0)
    constant_until: float = setting("epoch at which the descent begins")
    down_over: float = setting("epochs of the descent")
    floor: float = setting("share of the learning rate that remains")
    keep: str = setting(
        "best: the weights of the epoch with the lowest validation log loss; or last",
        choices=("best", "last"),
        default="best",
    )
    optimizer: str = setting(
        "adam (weight decay as an L2 term of the loss) or adamw (decoupled)", choices=("adam", "adamw"), default="adam"
    )
    schedule: str = setting("shape of the descent", choices=("linear", "cosine"), default="linear")
    clip: float = setting("largest norm of the gradient; 0: any", default=0.0)
    accumulate: int = setting("parts that a batch is computed in, one after the other, to save memory", default=1)
    ema: float = setting("decay of an average of the weights, which then is kept: 0.999, say; 0: none", default=0.0)
    layer_decay: float = setting("factor on the learning rate from each layer to the one below: 0.75", default=1.0)
    frozen_layers: int = setting("so many layers, from the input on, keep their weights", default=0)

    def __post_init__(self) -> None:
        if problems := list(problems_of(Recipe, vars(self), "fit.")):
            raise UserError("\n".join(problems))
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
        if self.accumulate > (most := self.batch_size // 2):
            raise UserError(
                f"fit.accumulate={self.accumulate} parts of {self.batch_size} clips are too small: give at most {most}"
            )

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


ROUNDED = Recipe(  # of a student that is trained while it is rounded: that of the 2023 winner
    epochs=24,
    batch_size=256,
    learning_rate=5e-5,
    weight_decay=1e-4,
    warm_up=0,
    constant_until=1,
    down_over=16,
    floor=0.1,
)


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """The distillation loss; its ranges are checked where it is computed, in students/distill.py."""

    temperature: float = setting("of the softened answers", default=2.0)
    hard_weight: float = setting("share of the labels, in the textbook's reduction (batchmean)", default=0.169)
    label_smoothing: float = setting("share of the labels that is spread over all classes", default=0.0)
    weights: Any = setting("of several logits files: a list, one a file; null: equal", default=None)
    shifts: str = setting(
        "mean, or nearest: a rolled clip's target is that of the nearest shift",
        choices=("mean", "nearest"),
        default="mean",
    )
    similarity: float = setting("weight of the similarity-preserving term: 1000, say; 0: none", default=0.0)

    def __post_init__(self) -> None:
        if problems := list(problems_of(Distillation, vars(self), "student.distill.")):
            raise UserError("\n".join(problems))
        if not self.similarity >= 0:
            raise UserError(f"student.distill.similarity={self.similarity} must be at least 0")
        if self.weights is not None and not _is_shares(self.weights):
            raise UserError(
                f"student.distill.weights={self.weights} must be a list of numbers, one a file, none negative and not "
                "all zero"
            )


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where to compute; see lightning.fabric.Fabric."""

    accelerator: str = setting("cpu, cuda, ... or auto", suggested=("auto", "cpu", "cuda", "mps"), default="auto")
    strategy: str = setting("of several devices: ddp", suggested=("auto", "ddp"), default="auto")
    devices: int = setting("on this machine", default=1)
    num_nodes: int = setting("machines; start the command on each by torchrun or SLURM", default=1)
    precision: str = setting(
        "32-true, bf16-mixed, 16-mixed; auto: bf16-mixed on CUDA, 32-true elsewhere",
        choices=("auto", "32-true", "bf16-mixed", "16-mixed"),
        default="auto",
    )
    sync_batchnorm: bool = setting("statistics over all devices' shares of a batch (CUDA)", default=False)
    compile: Any = setting(
        "torch.compile: true, false, cuda-graphs; auto: where it pays",
        choices=("auto", True, False, "cuda-graphs"),
        default="auto",
    )

    def __post_init__(self) -> None:
        if min(self.devices, self.num_nodes) < 1:
            raise UserError(f"fabric.devices={self.devices} and fabric.num_nodes={self.num_nodes} must be at least 1")

    @property
    def processes(self) -> int:
        """One a device, on all machines."""
        return self.devices * self.num_nodes


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where metrics go besides the run's own folder."""

    kind: str = setting("wandb (offline without a key) or none", choices=("wandb", "none"))
    project: str = setting("of Weights & Biases", default="scenelet")
    entity: str | None = setting("person or team; null: W&B's default", default=None)


def _is_shares(weights: object) -> bool:
    """Whether they are numbers of which a mean can be weighted: a list, none negative and not all zero."""
    if not isinstance(weights, Sequence) or not all(type(each) in (int, float) for each in weights):
        return False
    return all(each >= 0 for each in weights) and any(weights)
