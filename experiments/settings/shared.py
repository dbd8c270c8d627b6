"""Every setting that several stages share, with its type, its meaning and its range.

These frozen dataclasses are what the code below the stages takes, and what Hydra's schema is made of (command.py): a
setting exists once. Values for a teacher, a student or a data set stand in conf/*.yaml; what one stage alone reads is
declared with the stage (stages/declarations.py). Nothing heavy is imported, so that --help answers at once.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from data.augmentation import Augmentation
from data.errors import UserError, unknown

Own = TypeVar("Own")

KEEP = ("best", "last")
OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("linear", "cosine")
SHIFTS = ("mean", "nearest")


def setting(about: str, **default: Any) -> Any:
    """A field whose `about` is its line in --help; without `default` or `default_factory` a yaml file must give it."""
    return field(metadata={"about": about}, **default)


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
    keep: str = setting("best: the weights of the epoch with the lowest validation log loss; or last", default="best")
    optimizer: str = setting("adam (weight decay as an L2 term of the loss) or adamw (decoupled)", default="adam")
    schedule: str = setting("shape of the descent: linear or cosine", default="linear")
    clip: float = setting("largest norm of the gradient; 0: any", default=0.0)
    accumulate: int = setting("parts that a batch is computed in, one after the other, to save memory", default=1)
    ema: float = setting("decay of an average of the weights, which then is kept: 0.999, say; 0: none", default=0.0)
    layer_decay: float = setting("factor on the learning rate from each layer to the one below: 0.75", default=1.0)
    frozen_layers: int = setting("so many layers, from the input on, keep their weights", default=0)

    def __post_init__(self) -> None:
        for name, choices in (("keep", KEEP), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in choices:
                unknown(f"fit.{name}", getattr(self, name), choices)
        _require_finite("fit", self)
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


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """The distillation loss; its ranges are checked where it is computed, in students/distill.py."""

    temperature: float = setting("of the softened answers", default=2.0)
    hard_weight: float = setting("share of the labels, in the textbook's reduction (batchmean)", default=0.169)
    label_smoothing: float = setting("share of the labels that is spread over all classes", default=0.0)
    weights: Any = setting("of several logits files: a list, one a file; null: equal", default=None)
    shifts: str = setting("mean, or nearest: a rolled clip's target is that of the nearest shift", default="mean")
    similarity: float = setting("weight of the similarity-preserving term: 1000, say; 0: none", default=0.0)

    def __post_init__(self) -> None:
        if self.shifts not in SHIFTS:
            unknown("student.distill.shifts", self.shifts, SHIFTS)
        if not self.similarity >= 0:
            raise UserError(f"student.distill.similarity={self.similarity} must be at least 0")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which clips; a reader (data/readers/) takes those of these settings that it knows, others are refused."""

    kind: str = setting("the reader: synthetic, tau22 or folder")
    root: str | None = setting("folder of the data set; null: below cache", default=None)
    csv: str | None = setting("of data=folder: the table; null: root/clips.csv", default=None)
    impulses: str | None = setting("folder of device impulse responses; null: none", default=None)
    download: bool = setting("of data=tau22: the data stage fetches what is not there", default=True)
    subset: int = setting("percent of the train split: 5, 10, 25, 50 (DCASE 2024) or 100", default=100)
    subset_lists: str | None = setting("folder with split5.csv ...; null: evaluation_setup/", default=None)
    validation_fraction: float = setting("of the train clips, held out by location", default=0.3)
    test_fraction: float = setting("of data=folder: held out where the table names no test clips", default=0.2)
    folds: int | None = setting("instead of validation_fraction: so many folds of locations ...", default=None)
    fold: int | None = setting("... of which this one, from 0, is for validation", default=None)
    seed: int = setting("which locations", default=0)
    reference_device: str | None = setting("whose clips may be filtered; null: the most frequent", default=None)
    sample_rate: int = setting("Hz", default=32000)
    clip_seconds: float = setting("clips are cut or padded to this length", default=1.0)
    residency: str = setting("of the waves while training: device, memory, disk or auto", default="auto")
    arguments: dict[str, Any] = setting("of a reader of your own, in data/readers/", default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """A teacher and how it is trained."""

    builder: str = setting("module in teachers/")
    pretrained: bool = setting("start from published weights", default=False)
    weights: str | None = setting("file or folder of weights to start from; null: the published ones", default=None)
    shifts: int = setting("1, 3, 5, ...: logits are the mean over copies rolled within +-augment.roll", default=1)
    arguments: dict[str, Any] = setting("of the builder", default_factory=dict)
    mel: dict[str, Any] = setting("kind and arguments of the front end", default_factory=dict)
    augment: Augmentation = setting("", default_factory=Augmentation)
    fit: Recipe = setting("")


@dataclass(frozen=True, kw_only=True)
class StudentSettings:
    """A student and how it is trained."""

    builder: str = setting("module in students/")
    size: str | None = setting("a published size, or widest: the most channels within the limits", default=None)
    arguments: dict[str, Any] = setting("of the builder", default_factory=dict)
    mel: dict[str, Any] = setting("kind and arguments of the front end", default_factory=dict)
    augment: Augmentation = setting("", default_factory=Augmentation)
    fit: Recipe = setting("")
    distill: Distillation = setting("", default_factory=Distillation)


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where metrics go besides the run's own folder."""

    kind: str = setting("wandb (offline without a key) or none")
    project: str = setting("of Weights & Biases", default="scenelet")
    entity: str | None = setting("person or team; null: W&B's default", default=None)


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where to compute; see lightning.fabric.Fabric."""

    accelerator: str = setting("cpu, cuda, ... or auto", default="auto")
    strategy: str = setting("of several devices: ddp", default="auto")
    devices: int = setting("on this machine", default=1)
    num_nodes: int = setting("machines; start the command on each by torchrun or SLURM", default=1)
    precision: str = setting(
        "32-true, bf16-mixed, 16-mixed; auto: bf16-mixed on CUDA, 32-true elsewhere", default="auto"
    )
    sync_batchnorm: bool = setting("statistics over all devices' shares of a batch (CUDA)", default=False)
    compile: Any = setting("torch.compile: true, false, cuda-graphs; auto: where it pays", default="auto")

    def __post_init__(self) -> None:
        if min(self.devices, self.num_nodes) < 1:
            raise UserError(f"fabric.devices={self.devices} and fabric.num_nodes={self.num_nodes} must be at least 1")

    @property
    def processes(self) -> int:
        """One a device, on all machines."""
        return self.devices * self.num_nodes


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a command; `own` has what the stages declare for themselves, by class."""

    steps: tuple[str, ...]
    data: DataSettings
    teacher: TeacherSettings
    student: StudentSettings
    tracking: Tracking
    fabric: Hardware = setting("", default_factory=Hardware)
    own: Mapping[type, Any] = setting("", default_factory=dict)
    name: str = setting("the run: results go to runs/<stage>/<name>", default="default")
    seed: int = setting("of weights, order and augmentation", default=0)
    epochs: int | None = setting("shortens (or lengthens) a recipe; its schedule is scaled along", default=None)
    force: bool = setting("run again although nothing changed, or replace another result", default=False)
    limits: str = setting("a student over 30 MMAC or 128 kB is refused (error), or only said (warn)", default="error")
    only: str | None = setting("of the teacher stage: logits, by a teacher that is trained already", default=None)
    distill: str = setting("how a student learns: kd, from logits and labels; none, from labels alone", default="kd")
    logits: Any = setting("the teachers' files: a path, a pattern, a list; null: of this name", default=None)
    checkpoint: str | None = setting("what quantize (or only=logits) starts from; null: of this name", default=None)
    model: str | None = setting("a model.tflite; null: that of runs/quantize/<name>", default=None)
    runs: str = setting("folder of results", default="runs")
    cache: str = setting("folder of packed waves and of the synthetic set", default="cache")
    job: tuple[str, ...] = ()  # of a sweep: what tells this job from the others, as "seed_1"
    given: frozenset[str] = frozenset()  # keys of the command line: what was asked for by hand is not adapted

    def of(self, kind: type[Own]) -> Own:
        """What a stage declared for itself."""
        found = self.own[kind]
        assert isinstance(found, kind)
        return found

    @property
    def cache_folder(self) -> Path:
        """`cache` as a path."""
        return Path(self.cache)


def _require_finite(part: str, values: object) -> None:
    for each in fields(values):  # type: ignore[arg-type]
        value = getattr(values, each.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{part}.{each.name}={value} must be a finite number")
