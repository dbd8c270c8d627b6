"""The study of families: the same short training, by labels alone, of a network of each family, and its integers.

Conventions: clips and folds are those of the study of TAU22. Nothing is held out and the last weights are kept, so no
network has an epoch chosen for it. Recipe and front end are those of each family's yaml.
"""

from experiments.study.cells import Cell, Command
from experiments.study.commands import Fold, Options, Study, quantized_cell
from experiments.study.tau22 import FOLDS, clips_of, words_of

TRAINING = ("distill=none", "refit=false", "epochs=60")
NETWORKS: dict[str, Command] = {
    "cp_mobile_61k": ("student=cp_mobile",),
    "rep_mobile_61k": ("student=rep_mobile",),
    "bc_resnet_2": ("student=bc_resnet", "student.size=2"),
    "tf_sepnet_40": ("student=tf_sepnet",),
    "cnn_gru": ("student=cnn_gru",),
    "cnn_gru_2025": ("student=cnn_gru_2025",),
    "cp_mobile_6k": ("student=cp_mobile", "student.size=6k"),
    "baseline": ("student=baseline",),
}


def _cells(options: Options) -> list[Cell]:
    cells = []
    for number in range(FOLDS):
        fold = Fold(options, number, 0, (*words_of(options, number), "data.validation_fraction=0"))
        for name, network in NETWORKS.items():
            student = fold.cell(name, [fold.command("student", name, *network, *TRAINING)])
            cells += [student, quantized_cell(fold, f"{name}_int8", student)]
    return cells


FAMILIES = Study(
    about="families: a network of each and its integers, 3 folds of the train clips' locations of TAU22",
    cells=_cells,
    clips=clips_of,
    comparisons=(
        *((name, "cp_mobile_61k") for name in NETWORKS if name != "cp_mobile_61k"),
        *((f"{name}_int8", name) for name in NETWORKS),
    ),
)
