"""The study of ESC-50: a student with and without a teacher, and in integers, on the five official folds.

Conventions: the folder is that of the published data set, or one with `audio/` and a table `foldN.csv` for each fold
(columns filename, label, location, split), as of a copy in another format.
"""

from pathlib import Path

from data.readers.esc50 import LAYOUT, read_esc50
from data.readers.folder import read_folder
from data.scenes import ClipSet
from experiments.study.cells import Cell
from experiments.study.commands import Fold, Options, Study, distilled_cell, quantized_cell, required

FOLDS = 5
# Clips of five seconds: half of the bands and fewer frames a second, so that a clip has as many values as one of one
# second by default, and the student stays within the limits. Many classes of few clips need longer training.
TRAINING = ("student.mel.mels=128", "student.mel.hop=1250", "epochs=200", "student.augment.mixup_p=1")
FIVE_SECONDS = ("data.clip_seconds=5", "data.validation_fraction=0")  # nothing is chosen


def _cells(options: Options) -> list[Cell]:
    cells = []
    for number in range(1, FOLDS + 1):
        root = required(options.root, "--root")
        fold = Fold(options, number, 0, (*_words(root, number), f"data.root={root}", *FIVE_SECONDS))
        cells.append(fold.cell("labels", [fold.command("student", "labels", "distill=none", *TRAINING)]))
        distilled = distilled_cell(fold, "distilled", ("mn04",), (), *TRAINING, "student.distill.hard_weight=0.5")
        cells.append(distilled)
        cells.append(quantized_cell(fold, "distilled_int8", distilled))
    return cells


def _is_published(root: Path) -> bool:
    return (root / LAYOUT.table).is_file()


def _words(root: Path, number: int) -> tuple[str, str]:
    """The settings that name a fold's clips."""
    if _is_published(root):
        return "data=esc50", f"data.test_fold={number}"
    return "data=folder", f"data.csv={root / f'fold{number}.csv'}"


def _clips(options: Options, fold: int) -> ClipSet:
    root = required(options.root, "--root")
    if _is_published(root):
        return read_esc50(root, test_fold=fold, validation_fraction=0)
    return read_folder(root, csv=root / f"fold{fold}.csv")


ESC50 = Study(
    about="ESC-50: a student with and without a teacher, and in integers, the 5 official folds",
    cells=_cells,
    clips=_clips,
    comparisons=(("distilled", "labels"), ("distilled_int8", "distilled")),
)
