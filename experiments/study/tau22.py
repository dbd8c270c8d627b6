"""The study of TAU22: a student with and without teachers, on the train clips alone.

Conventions: the locations of the train clips are divided into three folds; one is the test split of a data set of its
own, in the layout of TAU22, so that nothing in a training (the epoch that is kept, the number of steps of a refit, the
bits of a layer) is chosen on it. The official test clips are left out.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data.errors import UserError
from data.files import cannot_write, write_whole
from data.official_layout import META_COLUMNS
from data.readers.tau22 import read_tau22
from data.records import META, SETUP, TEST, TRAIN
from data.scenes import Clip, ClipSet
from data.tables import table_text
from experiments.runs.layout import CHECKPOINT, first_phase_of
from experiments.study.cells import Cell, Command
from experiments.study.commands import PRETRAINED, Fold, Options, Study, distilled_cell, quantized_cell, required

FOLDS, SEED = 3, 1  # of the locations; the defaults were chosen on folds of the same clips, by another seed
COLUMNS = {TRAIN: 2, TEST: 2, META: 4}  # of each list, of META_COLUMNS
REFIT = ("refit=true",)
COMPRESSED, COMPRESSION = "labels_held_out_compressed", ("refit=false", "student.augment.compress_p=0.5")
# What the students' recipe was on so few clips in version 0.2: five steps an epoch, at the published rate.
BEFORE = (
    *("student.fit.batch_size=43", "student.fit.learning_rate=9e-4", "student.fit.epochs=150"),
    "student.augment.roll=4000",
)


def _cells(options: Options) -> list[Cell]:
    words = {number: words_of(options, number) for number in range(FOLDS)}
    folds = {seed: [Fold(options, number, seed, words[number]) for number in range(FOLDS)] for seed in (0, 1)}
    cells = [cell for of_seed in folds.values() for cell in _of_seed(of_seed)]
    return [*cells, *(cell for fold in folds[0] for cell in _once_each(fold))]


def _of_seed(folds: Sequence[Fold]) -> list[Cell]:
    """What is computed for each seed: labels alone, and distilled, in both phases, and labels as they were learnt
    before."""
    cells = []
    for fold in folds:
        cells.append(fold.cell("labels_refit", [fold.command("student", "labels_refit", "distill=none", *REFIT)]))
        cells.append(distilled_cell(fold, "distilled_refit", PRETRAINED, REFIT))
    # The first phase of refit=true is what refit=false trains, to the bit.
    held_out = [
        replace(cell, method=cell.method.replace("refit", "held_out"), run=first_phase_of(cell.run)) for cell in cells
    ]
    for fold in folds:
        before = fold.command("student", "labels_before", "distill=none", "refit=false", *BEFORE)
        cells.append(fold.cell("labels_before", [before]))
    return [*cells, *held_out]


def _once_each(fold: Fold) -> list[Cell]:
    """What is computed for one seed only: other teachers, dynamic range compression, features, a first phase without
    labels, integers."""
    distilled = distilled_cell(fold, "distilled_refit", PRETRAINED, REFIT)
    logits = fold.logits(PRETRAINED, *REFIT)
    found = [distilled_cell(fold, "distilled_refit_from_scratch", ("cp_resnet",), REFIT)]
    found.append(fold.cell(COMPRESSED, [fold.command("student", COMPRESSED, "distill=none", *COMPRESSION)]))
    learnt = (*REFIT, "student.distill.features=1")
    found.append(distilled_cell(fold, "distilled_refit_features", PRETRAINED, REFIT, *learnt))
    budgets: dict[str, Command] = {"int8": (), "40_kB": ("quantize.bits=auto", "quantize.budget=40000")}
    for name, budget in budgets.items():
        found.append(quantized_cell(fold, f"distilled_refit_{name}", distilled, *budget))
    if fold.options.sounds is not None:
        sounds = replace(fold, number=0, data=("data=unlabelled", f"data.root={fold.options.sounds}"))
        heard = sounds.teacher("mn04", "only=logits")
        listener = sounds.command("student", "listener", sounds.logits(("mn04",), "only=logits"))
        weights = f"student.weights={sounds.folder('student', 'listener') / CHECKPOINT}"
        alone = fold.command("student", "labels_refit_first_phase", weights, "distill=none", *REFIT)
        found.append(fold.cell("labels_refit_first_phase", [heard, listener, alone]))
        taught = fold.command("student", "distilled_refit_first_phase", weights, logits, *REFIT)
        found.append(fold.cell("distilled_refit_first_phase", [*distilled.commands[:-1], heard, listener, taught]))
    return found


def words_of(options: Options, fold: int) -> Command:
    """The settings that name a fold's clips."""
    impulses = () if options.impulses is None else (f"data.impulses={options.impulses}",)
    return ("data=tau22", f"data.root={_root(options, fold)}", "data.download=false", *impulses)


def _root(options: Options, fold: int) -> Path:
    return options.runs / f"fold{fold}"


def clips_of(options: Options, fold: int) -> ClipSet:
    """The train clips of the data set, of which one fold of locations is the test split, in its own layout; the
    official test clips are left out."""
    given, root = read_tau22(required(options.root, "--root"), folds=FOLDS, fold=fold, seed=SEED), _root(options, fold)
    parts = {split: [clip for clip in given.clips if clip.split == split] for split in ("train", "validation")}
    names = {TRAIN: parts["train"], TEST: parts["validation"], META: [*parts["train"], *parts["validation"]]}
    tables = {name: table_text(_listed(clips, META_COLUMNS[: COLUMNS[name]])) for name, clips in names.items()}
    audio, there = root / "audio", (given.root / "audio").resolve()
    if (root / META).is_file():
        same = audio.resolve() == there and all((root / name).read_text() == text for name, text in tables.items())
        if not same:
            raise UserError(
                f"{root} holds a fold of another data set than {given.root}: choose another folder with --runs"
            )
        return read_tau22(root)
    try:
        (root / SETUP).mkdir(parents=True, exist_ok=True)
        audio.unlink(missing_ok=True)
        audio.symlink_to(there)
    except OSError as error:
        raise cannot_write(root, error) from error
    for name, text in tables.items():  # meta.csv last: where it is, the others are
        write_whole(root / name, text.encode())
    return read_tau22(root)


def _listed(clips: Sequence[Clip], columns: Sequence[str]) -> dict[str, list[str]]:
    """Clips as a table of the official lists."""
    values = {
        "filename": [clip.filename for clip in clips],
        "scene_label": [clip.scene for clip in clips],
        "identifier": [clip.location for clip in clips],
        "source_label": [clip.device for clip in clips],
    }
    return {column: values[column] for column in columns}


TAU22 = Study(
    about="TAU22: a student with and without teachers, 3 folds of the train clips' locations, 2 seeds",
    cells=_cells,
    clips=clips_of,
    comparisons=(
        ("distilled_held_out", "labels_held_out"),
        ("distilled_refit", "labels_refit"),
        ("labels_held_out", "labels_before"),
        ("labels_refit", "labels_before"),
        ("labels_refit", "labels_held_out"),
        ("distilled_refit", "distilled_held_out"),
        ("distilled_refit_from_scratch", "labels_refit"),
        (COMPRESSED, "labels_held_out"),
        ("distilled_refit_features", "distilled_refit"),
        ("labels_refit_first_phase", "labels_refit"),
        ("distilled_refit_first_phase", "distilled_refit"),
        ("distilled_refit_int8", "distilled_refit"),
        ("distilled_refit_40_kB", "distilled_refit"),
    ),
    by_device=((COMPRESSED, "labels_held_out"),),
)
