"""Every setting there is, with its type: what Hydra checks the command line and the yaml files against.

Values live in conf/*.yaml; this module only says what exists. It imports nothing heavy, so that --help is quick.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import MISSING

from experiments.config_results import Demo, Energy, Predict, Runs, Submit, Summary
from experiments.launcher import RayLauncher


@dataclass
class Augment:
    """How much of each augmentation; see data/augment.py."""

    crop: bool = False
    crop_seconds: float | None = None
    roll: int = 0
    impulse_p: float = 0.0
    mixstyle_p: float = 0.0
    mixstyle_alpha: float = 0.3
    frequency_mask: int = 0
    time_mask: int = 0
    mixup_p: float = 0.0
    mixup_alpha: float = 0.3


@dataclass
class Fit:
    """Training recipe; see experiments/recipe.py."""

    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    weight_decay: float = MISSING
    warm_up: float = MISSING
    constant_until: float = MISSING
    down_over: float = MISSING
    floor: float = MISSING
    keep: str = MISSING
    optimizer: str = "adam"
    schedule: str = "linear"
    clip: float = 0.0
    accumulate: int = 1
    ema: float = 0.0
    layer_decay: float = 1.0
    frozen_layers: int = 0


@dataclass
class Distill:
    """Distillation loss; see students/distill.py."""

    temperature: float = MISSING
    hard_weight: float = MISSING
    label_smoothing: float = 0.0
    weights: Any = None
    shifts: str = "mean"
    similarity: float = 0.0


@dataclass
class Data:
    """Which clips; see experiments/datasets.py and the readers in data/."""

    kind: str = MISSING
    root: str | None = None
    csv: str | None = None
    impulses: str | None = None
    download: bool = True
    subset: int = 100
    subset_lists: str | None = None
    validation_fraction: float = 0.3
    test_fraction: float = 0.2
    folds: int | None = None
    fold: int | None = None
    seed: int = 0
    reference_device: str | None = None
    sample_rate: int = 32000
    clip_seconds: float = 1.0
    residency: str = "auto"


@dataclass
class Teacher:
    """A teacher and how it is trained."""

    builder: str = MISSING
    pretrained: bool = False
    weights: str | None = None
    shifts: int = 1
    arguments: dict[str, Any] = field(default_factory=dict)
    mel: dict[str, Any] = field(default_factory=dict)
    augment: Augment = field(default_factory=Augment)
    fit: Fit = field(default_factory=Fit)


@dataclass
class Student:
    """A student and how it is trained."""

    builder: str = MISSING
    size: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    mel: dict[str, Any] = field(default_factory=dict)
    augment: Augment = field(default_factory=Augment)
    fit: Fit = field(default_factory=Fit)
    distill: Distill = field(default_factory=Distill)


@dataclass
class Quantize:
    """How a student becomes integers; see students/quantize/."""

    method: str = "ptq"
    learns_from: str = "teachers"
    bits: Any = 8
    budget: int | None = None
    activations: int = 8
    clips: int = 256
    percentile: Any = 99.99
    exact: str = "device"
    frozen: float = 0.2
    export: list[str] = field(default_factory=list)
    fit: Fit = field(default_factory=Fit)


@dataclass
class Ensemble:
    """How several teachers become one; see teachers/ensemble.py."""

    mean: str = "logits"
    weights: Any = "equal"
    temperature: bool = False


@dataclass
class Stage:
    """What to run, in order."""

    steps: list[str] = MISSING


@dataclass
class Tracking:
    """Where figures go besides the run's own folder."""

    kind: str = MISSING
    project: str = "scenelet"
    entity: str | None = None


@dataclass
class Hardware:
    """Where to compute; see lightning.fabric.Fabric. precision auto: bf16-mixed on CUDA, 32-true elsewhere."""

    accelerator: str = "auto"
    strategy: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    precision: str = "auto"
    sync_batchnorm: bool = False
    compile: Any = "auto"


@dataclass
class Config:
    """The whole configuration."""

    stage: Stage = field(default_factory=Stage)
    data: Data = field(default_factory=Data)
    teacher: Teacher = field(default_factory=Teacher)
    student: Student = field(default_factory=Student)
    quantize: Quantize = field(default_factory=Quantize)
    ensemble: Ensemble = field(default_factory=Ensemble)
    summary: Summary = field(default_factory=Summary)
    report: Runs = field(default_factory=Runs)
    rank: Runs = field(default_factory=Runs)
    submit: Submit = field(default_factory=Submit)
    energy: Energy = field(default_factory=Energy)
    predict: Predict = field(default_factory=Predict)
    demo: Demo = field(default_factory=Demo)
    tracking: Tracking = field(default_factory=Tracking)
    fabric: Hardware = field(default_factory=Hardware)
    name: str = "default"
    seed: int = 0
    epochs: int | None = None
    force: bool = False
    limits: str = "error"
    only: str | None = None
    distill: str = "kd"
    logits: Any = None
    checkpoint: str | None = None
    predictions: str | None = None
    package: str | None = None
    model: str | None = None
    systems: str | None = None
    audio: str | None = None
    runs: str = "runs"
    cache: str = "cache"
    swept: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)


def register() -> None:
    """Make the types known to Hydra."""
    Plugins.instance()  # loads the plugins: what they store under the same name must not come after ours
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    store.store(group="hydra/launcher", name="ray", node=RayLauncher)
