"""Groups of settings that code below the stages takes as they are: recipe, quantisation, distillation loss, hardware,
tracking.

The values of recipes stand in conf/fit/, conf/teacher/ and conf/student/.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from data.errors import UserError
from data.ranges import Probability, Range, Weight
from data.settings import POOLED, require_valid, setting

Paths = str | Sequence[str] | None  # paths or patterns, one or several
Epochs = Annotated[int, Range(1, 100_000)]
AUTO, PUBLISHED_TEMPERATURE = "auto", 2.0  # of the distillation loss; the latter is that of the 2023 winner
SomeEpochs = Annotated[float, Range(0, 1_000_000)]  # a part of a schedule


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: the optimiser, the learning rate and its course over the epochs."""

    epochs: Epochs = setting("passes over the train split")
    batch_size: Annotated[int, Range(2, 1_000_000)] = setting(  # BatchNorm needs two clips
        "clips a step, over all devices, from 2 on; made smaller where there are few clips"
    )
    learning_rate: Annotated[float, Range(0, 1000, above=True)] = setting("at its highest")
    weight_decay: Annotated[float, Range(0, 1000)] = setting("of the optimiser")
    warm_up: SomeEpochs = setting("epochs of exponential rise", default=0)
    constant_until: SomeEpochs = setting("epoch at which the descent begins")
    down_over: SomeEpochs = setting("epochs of the descent")
    floor: Probability = setting("share of the learning rate that remains")
    least_steps: Annotated[int, Range(1, 10**9)] | None = setting(
        "of the optimiser: epochs are added until there are so many, unless epochs are given", default=None
    )
    rate_steps: Annotated[int, Range(1, 10**9)] | None = setting(
        "that learning_rate is for: with fewer it is higher, by the square root, up to 5 times, unless it is given",
        default=None,
    )
    keep: str = setting(
        "best: the weights of the epoch with the lowest validation log loss; or last",
        choices=("best", "last"),
        default="best",
    )
    optimizer: str = setting(
        "adam (weight decay as an L2 term of the loss) or adamw (decoupled)", choices=("adam", "adamw"), default="adam"
    )
    schedule: str = setting("shape of the descent", choices=("linear", "cosine"), default="linear")
    clip: Weight = setting("largest norm of the gradient; 0: any", default=0.0)
    accumulate: Annotated[int, Range(1, 1_000_000)] = setting(
        "parts that a batch is computed in, one after the other, to save memory", default=1
    )
    ema: Annotated[float, Range(0, 1, below=True)] = setting(
        "decay of an average of the weights, which then is kept: 0.999, say; 0: none", default=0.0
    )
    average: Annotated[float, Range(0, 1, below=True)] = setting(
        "share of the epochs, the last ones, over which the weights after each are averaged: 0.25, say; 0: none",
        newer=True,
        default=0.0,
    )
    layer_decay: Annotated[float, Range(0, 1, above=True)] = setting(
        "factor on the learning rate from each layer to the one below: 0.75", default=1.0
    )
    frozen_layers: Annotated[int, Range(0, 10_000)] = setting(
        "so many layers, from the input on, keep their weights", default=0
    )

    def __post_init__(self) -> None:
        require_valid(self, "fit.")
        if self.accumulate > (most := self.batch_size // 2):
            raise UserError(
                f"fit.accumulate={self.accumulate} parts of {self.batch_size} clips are too small: give at most {most}"
            )
        if self.ema and self.average:
            raise UserError(f"fit.ema={self.ema} and fit.average={self.average} are two averages: give one of them")

    @property
    def averaged_from(self) -> int:
        """Number of epochs before the first one after which the weights are averaged; all, if none are."""
        return self.epochs - math.ceil(self.average * self.epochs)

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
class Quantize:
    """How a student becomes integers; see students/quantize/."""

    method: str = setting(
        "ptq: after training; qat: training goes on while it is rounded", choices=("ptq", "qat"), default="ptq"
    )
    learns_from: str = setting(
        "of qat: teachers, as the student did; or student: its float self",
        choices=("teachers", "student"),
        default="teachers",
    )
    bits: Literal[8, 4, "auto", "16f"] | Mapping[str, Literal[8, 4]] = setting(
        "of weights: 8, 4, auto (by layer, see budget), {LAYER: 4}, or 16f (floats)",
        suggested=(8, 4, "auto", "16f"),
        default=8,
    )
    budget: Annotated[int, Range(1, 10**9)] | None = setting(
        "bytes of weights and biases that bits=auto may use", default=None
    )
    activations: Literal[8, 16] = setting("bits: 8, or 16 with weights of 8", choices=(8, 16), default=8)
    clips: Annotated[int, Range(1, 1_000_000)] = setting(
        "train clips to calibrate on; validation clips to measure sensitivity on", default=256
    )
    percentile: Annotated[float, Range(50, 100, above=True)] | Literal["mse"] = setting(
        "of an activation's values in its range; 100: min-max; mse: least error", suggested=("mse",), default=99.99
    )
    exact: str = setting(
        "device: the file equals what a device computes; all: any runtime", choices=("device", "all"), default="device"
    )
    threshold: Probability | None = setting(
        "the answer is unknown where the most probable scene has less than this calibrated probability; null: never",
        newer=True,
        default=None,
    )
    answered_accuracy: Probability | None = setting(
        "the lowest threshold with this share of right ones among the answers to the validation clips is chosen",
        newer=True,
        default=None,
    )
    front_end: str = setting(
        "float, as trained; integer: as a device does", choices=("float", "integer"), newer=True, default="float"
    )
    frozen: Probability = setting("of qat: the last share of the epochs, which leaves the scales alone", default=0.2)
    export: Sequence[Literal["onnx", "torch"]] = setting(
        "onnx (model.onnx, QDQ), torch (student.pt2, float)", suggested=("[onnx]", "[torch]"), default_factory=list
    )
    fit: Recipe = setting("", default_factory=lambda: ROUNDED)


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """The distillation loss; see students/distill.py."""

    temperature: Annotated[float, Range(0, 1000, above=True)] | Literal["auto"] = setting(
        "of the softened answers; auto: 2, of logits that were calibrated on the validation clips",
        suggested=("auto",),
        default=PUBLISHED_TEMPERATURE,
    )
    hard_weight: Probability = setting("share of the labels, in the textbook's reduction (batchmean)", default=0.169)
    label_smoothing: Annotated[float, Range(0, 1, below=True)] = setting(
        "share of the labels that is spread over all classes", default=0.0
    )
    weights: Sequence[Weight] | None = setting("of several logits files: a list, one a file; null: equal", default=None)
    shifts: str = setting(
        "mean, or nearest: a rolled clip's target is that of the nearest shift",
        choices=("mean", "nearest"),
        default="mean",
    )
    similarity: Weight = setting("weight of the similarity-preserving term: 1000, say; 0: none", default=0.0)
    features: Weight = setting(
        "weight of the difference from the teachers' features (teacher.features): 1, say; 0: none",
        newer=True,
        default=0.0,
    )
    layer: str = setting(
        f"of the student, that learns the features: a name, or {POOLED}, its classifier's input",
        suggested=(POOLED,),
        newer=True,
        default=POOLED,
    )

    def __post_init__(self) -> None:
        require_valid(self, "distill.")
        if self.layer != POOLED and not self.features:
            raise UserError(f"distill.layer={self.layer} learns features: give distill.features=WEIGHT with it")
        if self.weights is not None and not any(self.weights):
            raise UserError(f"distill.weights={list(self.weights)} must be numbers that are not all zero")

    @property
    def is_calibrated(self) -> bool:
        """Whether each teacher's logits are divided by the temperature that fits the validation clips best."""
        return self.temperature == AUTO

    @property
    def softness(self) -> float:
        """The temperature of the loss."""
        return PUBLISHED_TEMPERATURE if isinstance(self.temperature, str) else self.temperature


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where to compute; see lightning.fabric.Fabric."""

    accelerator: str = setting("cpu, cuda, ... or auto", suggested=("auto", "cpu", "cuda", "mps"), default="auto")
    strategy: str = setting("of several devices: ddp", suggested=("auto", "ddp"), default="auto")
    devices: Annotated[int, Range(1, 1024)] = setting("on this machine", default=1)
    num_nodes: Annotated[int, Range(1, 10_000)] = setting(
        "machines; start the command on each by torchrun or SLURM", default=1
    )
    precision: str = setting(
        "32-true, bf16-mixed, 16-mixed; auto: bf16-mixed on CUDA, 32-true elsewhere",
        choices=("auto", "32-true", "bf16-mixed", "16-mixed"),
        default="auto",
    )
    sync_batchnorm: bool = setting("statistics over all devices' shares of a batch (CUDA)", default=False)
    compile: bool | str = setting(
        "torch.compile: true, false, cuda-graphs; auto: where it pays",
        choices=("auto", True, False, "cuda-graphs"),
        default="auto",
    )

    def __post_init__(self) -> None:
        require_valid(self, "fabric.")

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
