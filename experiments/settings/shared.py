"""Every setting that several stages share, with its type, its meaning and its range; groups of them: parts.py.

These frozen dataclasses are what the code below the stages takes, and what Hydra's schema is made of
(command/composition.py): a setting exists once. Values for a teacher, a student or a data set stand in conf/*.yaml;
what one stage alone reads is declared with the stage (stages.py). Nothing heavy is imported, so that --help answers at
once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from data.augmentation import Augmentation
from data.errors import UserError
from data.ranges import require_format
from data.settings import setting
from experiments.settings.parts import Distillation, Hardware, Recipe, Tracking

SPECIAL = ("steps", "own", "job", "given")  # of Settings: what no key of the command line gives as it is

Own = TypeVar("Own")

SEEDS = 2**63  # generators take 0 and whatever is below


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which clips; a reader (data/readers/) takes those of these settings that it knows, others are refused."""

    kind: str = setting("the reader: synthetic, tau22 or folder")
    root: str | None = setting("folder of the data set; null: below cache", is_path=True, default=None)
    csv: str | None = setting("of data=folder: the table; null: root/clips.csv", is_path=True, default=None)
    impulses: str | None = setting("folder of device impulse responses; null: none", is_path=True, default=None)
    download: bool = setting("of data=tau22: the data stage fetches what is not there", default=True)
    subset: int = setting(
        "percent of the train split: 5, 10, 25, 50 (DCASE 2024) or 100", suggested=(5, 10, 25, 50, 100), default=100
    )
    subset_lists: str | None = setting(
        "folder with split5.csv ...; null: evaluation_setup/", is_path=True, default=None
    )
    validation_fraction: float = setting("of the train clips, held out by location", default=0.3)
    test_fraction: float = setting("of data=folder: held out where the table names no test clips", default=0.2)
    folds: int | None = setting("instead of validation_fraction: so many folds of locations ...", default=None)
    fold: int | None = setting("... of which this one, from 0, is for validation", default=None)
    seed: int = setting("which locations", default=0)
    reference_device: str | None = setting("whose clips may be filtered; null: the most frequent", default=None)
    sample_rate: int = setting("Hz", default=32000)
    clip_seconds: float = setting("clips are cut or padded to this length", default=1.0)
    residency: str = setting(
        "where the waves lie while training", choices=("auto", "device", "memory", "disk"), default="auto"
    )
    arguments: dict[str, Any] = setting("of a reader of your own, in data/readers/", default_factory=dict)

    def __post_init__(self) -> None:
        require_seed("data.seed", self.seed)
        require_format(self.sample_rate, self.clip_seconds)
        for name in ("validation_fraction", "test_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"data.{name}={getattr(self, name)} must lie between 0 and 1")
        if self.folds is None and self.fold is None:
            return
        if self.folds is None or self.fold is None or not 0 <= self.fold < self.folds:
            raise UserError(
                f"data.folds={self.folds} and data.fold={self.fold}: give both, with fold from 0 to folds - 1, or "
                "neither"
            )
        if self.folds < 2:
            raise UserError(f"data.folds={self.folds} must be from 2 to the number of train locations")


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """A teacher and how it is trained."""

    builder: str = setting("module in teachers/")
    pretrained: bool = setting("start from published weights", default=False)
    weights: str | None = setting(
        "file or folder of weights to start from; null: the published ones", is_path=True, default=None
    )
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
    limits: str = setting(
        "a student over 30 MMAC or 128 kB is refused (error), or only said (warn)",
        choices=("error", "warn"),
        default="error",
    )
    only: str | None = setting(
        "of the teacher stage: logits, by a teacher that is trained already", choices=("logits",), default=None
    )
    distill: str = setting(
        "how a student learns: kd, from logits and labels; none, from labels alone",
        choices=("kd", "none"),
        default="kd",
    )
    logits: Any = setting(
        "the teachers' files: a path, a pattern, a list; null: of this name", is_path=True, default=None
    )
    checkpoint: str | None = setting(
        "what quantize (or only=logits) starts from; null: of this name", is_path=True, default=None
    )
    model: str | None = setting("a model.tflite; null: that of runs/quantize/<name>", is_path=True, default=None)
    runs: str = setting("folder of results", is_path=True, default="runs")
    cache: str = setting("folder of packed waves and of the synthetic set", is_path=True, default="cache")
    job: tuple[str, ...] = ()  # of a sweep: what tells this job from the others, as "seed_1"
    given: frozenset[str] = frozenset()  # keys of the command line: what was asked for by hand is not adapted

    def __post_init__(self) -> None:
        require_seed("seed", self.seed)
        if self.epochs is not None and self.epochs < 1:
            raise UserError(f"epochs={self.epochs} must be at least 1")

    def of(self, kind: type[Own]) -> Own:
        """What a stage declared for itself."""
        found = self.own[kind]
        assert isinstance(found, kind)
        return found

    @property
    def cache_folder(self) -> Path:
        """`cache` as a path."""
        return Path(self.cache)


def require_seed(key: str, seed: int) -> None:
    """Check a seed.

    Raises:
        UserError: the generators do not take it.
    """
    if not 0 <= seed < SEEDS:
        raise UserError(f"{key}={seed} must be from 0 to {SEEDS - 1}")
