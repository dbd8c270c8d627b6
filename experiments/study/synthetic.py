"""The study of the synthetic miniature: a student with and without a teacher, five seeds."""

from data.readers import read
from data.scenes import ClipSet
from experiments.study.cells import Cell
from experiments.study.commands import Fold, Options, Study, distilled_cell

SEEDS = 5
CACHE = "cache"  # where the miniature is made, as it is by default


def _cells(options: Options) -> list[Cell]:
    cells = []
    for seed in range(SEEDS):
        fold = Fold(options, 0, seed, ("data=synthetic",))
        cells.append(fold.cell("labels", [fold.command("student", "labels", "distill=none")]))
        cells.append(distilled_cell(fold, "distilled", ("cp_resnet",), ()))
    return cells


def _clips(options: Options, fold: int) -> ClipSet:
    return read("synthetic", None, {}, cache=CACHE)


SYNTHETIC = Study(
    about="the synthetic miniature: a student with and without a teacher, 5 seeds",
    cells=_cells,
    clips=_clips,
    comparisons=(("distilled", "labels"),),
)
