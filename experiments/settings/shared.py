"""Every setting that several stages share, with its type, its meaning and its range; groups of them: parts.py,
data_set.py.

These frozen dataclasses are what the code below the stages takes, and what Hydra's schema is made of
(command/composition.py): a setting exists once. Values for a teacher, a student or a data set stand in conf/*.yaml;
what one stage alone reads is declared with the stage (stages.py). Nothing heavy is imported, so that --help answers at
once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from data.augmentation import Augmentation
from data.errors import UserError
from data.ranges import Range, Seed
from data.settings import POOLED, require_valid, setting
from experiments.settings.data_set import DataSettings
from experiments.settings.parts import AUTO, Distillation, Epochs, Hardware, Paths, Recipe, Tracking
from experiments.settings.pruning import Prune
from experiments.settings.source import Source

SPECIAL = ("steps", "own", "job", "given")  # of Settings: what no key of the command line gives as it is

Own = TypeVar("Own")


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """A teacher and how it is trained."""

    builder: str = setting("module in teachers/")
    pretrained: bool = setting("start from published weights", default=False)
    weights: str | None = setting(
        "file or folder of weights to start from; null: the published ones", is_path=True, default=None
    )
    start: str | None = setting(
        "run of another teacher, or its checkpoint, to go on from; null: none", is_path=True, newer=True, default=None
    )
    folds: Annotated[int, Range(2, 100)] | None = setting(
        "so many teachers, each trained without one fold of the train locations: the logits of a train clip are of the "
        "one that has not heard it",
        newer=True,
        default=None,
    )
    freeze: str | None = setting(
        "backbone: only the last layer learns, on features that the others compute once; null: all layers learn",
        choices=("backbone",),
        newer=True,
        default=None,
    )
    views: Annotated[int, Range(1, 1_000)] = setting(
        "of freeze=backbone: so many features of each clip, of itself and of augmented copies", newer=True, default=1
    )
    shifts: Annotated[int, Range(1, 9_999)] = setting(
        "1, 3, 5, ...: logits are the mean over copies rolled within +-augment.roll", default=1
    )
    features: str | None = setting(
        f"layer whose features are kept beside the logits: a name, or {POOLED}, the classifier's input; null: none",
        suggested=(POOLED,),
        newer=True,
        default=None,
    )
    arguments: dict[str, Any] = setting("of the builder", default_factory=dict)
    mel: dict[str, Any] = setting("kind and arguments of the front end", default_factory=dict)
    augment: Augmentation = setting("", default_factory=Augmentation)
    fit: Recipe = setting("")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a student may cost on a device; see students/device/estimate.py."""

    ram: Annotated[int, Range(1, 1 << 40)] | None = setting(
        "bytes of RAM, without the stack, by the estimate before training; null: any", default=None
    )
    cycles: Annotated[int, Range(1, 1 << 50)] | None = setting(
        "cycles of one clip on a Cortex-M4, by the estimate before training; null: any", default=None
    )


@dataclass(frozen=True, kw_only=True)
class StudentSettings:
    """A student and how it is trained."""

    builder: str = setting("module in students/")
    size: str | None = setting("a published size, or widest: the most channels within the limits", default=None)
    weights: str | None = setting(
        "run of another student, or its checkpoint, to begin from; null: none", is_path=True, newer=True, default=None
    )
    arguments: dict[str, Any] = setting("of the builder", default_factory=dict)
    mel: dict[str, Any] = setting("kind and arguments of the front end", default_factory=dict)
    augment: Augmentation = setting("", default_factory=Augmentation)
    fit: Recipe = setting("")
    distill: Distillation = setting("", default_factory=Distillation)
    budget: Budget = setting("", newer=True, default=Budget())
    prune: Prune = setting("", newer=True, default=Prune())


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a command; `own` has what the stages declare for themselves, by class."""

    steps: tuple[str, ...]
    data: DataSettings
    teacher: TeacherSettings
    student: StudentSettings
    tracking: Tracking
    fabric: Hardware = setting("", default_factory=Hardware)
    source: Source = setting("", default_factory=Source)
    own: Mapping[type, Any] = setting("", default_factory=dict)
    name: str = setting("the run: results go to runs/<stage>/<name>", default="default")
    seed: Seed = setting("of weights, order and augmentation", default=0)
    epochs: Epochs | None = setting("shortens (or lengthens) a recipe; its schedule is scaled along", default=None)
    refit: bool | Literal["auto"] = setting(
        "train twice: the second time on all train clips, for as many steps as were best on those held out; auto: "
        "unless data.validation_fraction=0, or data.folds is given",
        choices=(True, False, AUTO),
        default=False,
    )
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
    logits: Paths = setting(
        "the teachers' files: a path, a pattern, a list; null: of this name", is_path=True, default=None
    )
    checkpoint: str | None = setting(
        "what quantize, specialize or only=logits starts from; null: of this name", is_path=True, default=None
    )
    model: Paths = setting(
        "a model.tflite, or a student's checkpoint (count: several), or esc50, which comes with scenelet; null: that "
        "of runs/quantize/<name>, or esc50 if there is no name either",
        is_path=True,
        default=None,
    )
    runs: str = setting("folder of results", is_path=True, default="runs")
    cache: str = setting("folder of packed waves and of the synthetic set", is_path=True, default="cache")
    job: tuple[str, ...] = ()  # of a sweep: what tells this job from the others, as "seed_1"
    given: frozenset[str] = frozenset()  # keys of the command line: what was asked for by hand is not adapted

    def __post_init__(self) -> None:
        require_valid(self, "")
        if self.refit is True and self.teacher.folds is not None:  # all teachers would hear the validation clips
            raise UserError("teacher.folds and refit=true are two answers to the same question: give one of them")
        if self.teacher.folds is not None and self.teacher.features is not None:
            raise UserError(
                f"teacher.folds={self.teacher.folds} teachers have channels of their own, and one file cannot hold "
                "features of all: leave teacher.features out, or teacher.folds"
            )
        taught = {"teacher", "student"} <= {*self.steps} and self.distill != "none" and self.logits is None
        if taught and self.student.distill.features and self.teacher.features is None:
            wanted = f"student.distill.features={self.student.distill.features:g} learns a teacher's features, and the "
            if self.teacher.folds is None:
                raise UserError(f"{wanted}teacher of this command keeps none: set teacher.features={POOLED}")
            raise UserError(
                f"{wanted}teachers of teacher.folds={self.teacher.folds} can keep none: leave one of the two out"
            )

    def of(self, kind: type[Own]) -> Own:
        """What a stage declared for itself."""
        found = self.own[kind]
        assert isinstance(found, kind)
        return found

    @property
    def is_refitted(self) -> bool:
        """Whether teacher and student are trained twice."""
        if isinstance(self.refit, bool):
            return self.refit
        return bool(self.data.validation_fraction) and self.data.folds is None  # a fold is there to be scored

    @property
    def cache_folder(self) -> Path:
        """`cache` as a path."""
        return Path(self.cache)
