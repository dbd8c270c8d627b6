"""The settings of a data set: which clips, of which splits, and how they are packed. Nothing heavy is imported."""

from dataclasses import dataclass
from typing import Annotated, Any

from data.columns import Columns
from data.errors import UserError
from data.ranges import Fold, Fraction, Range, Rate, Seconds, Seed, Share, require_format
from data.records import DEVELOPMENT, EVALUATION
from data.settings import require_valid, setting


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which clips; a reader (data/readers/) takes those of these settings that it knows, others are refused."""

    kind: str = setting("the reader, a module in data/readers/")
    root: str | None = setting("folder of the data set; null: below cache", is_path=True, default=None)
    part: str = setting(
        "of data=tau22: evaluation, the clips without labels that are submitted, is for the data stage alone",
        choices=(DEVELOPMENT, EVALUATION),
        newer=True,
        default=DEVELOPMENT,
    )
    csv: str | None = setting("of data=folder: the table; null: root/clips.csv", is_path=True, default=None)
    columns: Columns = setting("", newer=True, default_factory=Columns)
    label_separator: str | None = setting(
        "of data=folder: stands between several classes of a clip; null: a clip has one", newer=True, default=None
    )
    test_fold: Fold | None = setting(
        "the split column holds folds: this one is for the test; null: it holds splits", newer=True, default=None
    )
    validation_fold: Fold | None = setting(
        "with test_fold: this one is for validation; null: as validation_fraction says", newer=True, default=None
    )
    impulses: str | None = setting("folder of device impulse responses; null: none", is_path=True, default=None)
    download: bool = setting("of data=tau22: the data stage fetches what is not there", default=True)
    subset: Annotated[int, Range(1, 100)] = setting(
        "percent of the train split: 5, 10, 25, 50 (DCASE 2024) or 100", suggested=(5, 10, 25, 50, 100), default=100
    )
    subset_lists: str | None = setting(
        "folder with split5.csv ...; null: evaluation_setup/", is_path=True, default=None
    )
    validation_fraction: Share = setting(
        "of the train clips, held out by location; 0: none, all are trained on", default=0.3
    )
    test_fraction: Fraction = setting("of data=folder and classes: held out where no test clips are named", default=0.2)
    folds: Annotated[int, Range(2, 10_000)] | None = setting(
        "instead of validation_fraction: so many folds of locations ...", default=None
    )
    fold: Annotated[int, Range(0, 10_000)] | None = setting(
        "... of which this one, from 0, is for validation", default=None
    )
    seed: Seed = setting("which locations", default=0)
    reference_device: str | None = setting("whose clips may be filtered; null: the most frequent", default=None)
    sample_rate: Rate = setting("Hz", default=32000)
    clip_seconds: Seconds = setting("clips are cut or padded to this length", default=1.0)
    unbalanced: bool = setting("of data=audioset: the unbalanced segments train too", newer=True, default=False)
    cut: bool = setting(
        "of folder, classes and multi-label sets: a file gives as many clips of clip_seconds as it holds; false: one",
        newer=True,
        default=False,
    )
    residency: str = setting(
        "where the waves lie while training", choices=("auto", "device", "memory", "disk"), default="auto"
    )
    arguments: dict[str, Any] = setting("of a reader of your own, in data/readers/", default_factory=dict)

    def __post_init__(self) -> None:
        require_valid(self, "data.")
        require_format(self.sample_rate, self.clip_seconds)
        if self.folds is None and self.fold is None:
            return
        if self.folds is None or self.fold is None or self.fold >= self.folds:
            raise UserError(
                f"data.folds={self.folds} and data.fold={self.fold}: give both, with fold from 0 to folds - 1, or "
                "neither"
            )
