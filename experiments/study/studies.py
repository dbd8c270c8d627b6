"""Which studies there are, and the commands of their cells.

Conventions: a fold's clips are the test split of a data set of its own, so that nothing in a training (the epoch that
is kept, the number of steps of a refit, the bits of a layer) is chosen on them. Student and teachers of a cell have
the same seed. All settings that are not in a command are the defaults.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from data.official_layout import EVALUATION, META, META_COLUMNS, TEST, TRAIN
from data.readers import read
from data.readers.folder import read_folder
from data.readers.tau22 import read_tau22
from data.scenes import Clip, ClipSet
from data.tables import write_table
from experiments.study.cells import Cell, Command

FOLDS = 3  # of the locations of TAU22's train clips
OFFICIAL_FOLDS = 5  # of ESC-50
# Clips of five seconds: half of the bands and fewer frames a second, so that a clip has as many values as one of one
# second by default, and the student stays within the limits. Many classes of few clips need longer training.
ESC50 = ("student.mel.mels=128", "student.mel.hop=1250", "epochs=200", "student.augment.mixup_p=1")
FIVE_SECONDS = ("data.clip_seconds=5", "data.validation_fraction=0")  # nothing is chosen
# What the students' recipe was on so few clips in version 0.2: five steps an epoch, at the published rate.
BEFORE = ("student.fit.batch_size=43", "student.fit.learning_rate=9e-4", "student.fit.epochs=150")
CACHE = "cache"  # where the synthetic miniature is made, as it is by default


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a study is told on the command line.

    Attributes:
        runs: folder of its run folders, and of what else it writes.
        root: folder of the data set; None where the study makes its own.
        impulses: folder of impulse responses, or None.
        efficientat, yamnet: files of published weights; None: they are fetched.
    """

    runs: Path
    root: Path | None = None
    impulses: Path | None = None
    efficientat: Path | None = None
    yamnet: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, and what is trained to answer it.

    Attributes:
        about: one line.
        cells: of some options, in the order in which they are computed.
        clips: the data set of a fold.
        comparisons: pairs of methods, the second is what the first is compared with.
    """

    about: str
    cells: Callable[[Options], Sequence[Cell]]
    clips: Callable[[Options, int], ClipSet]
    comparisons: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class _Fold:
    """What the commands on one fold by one seed have in common."""

    options: Options
    number: int
    seed: int
    data: Command
    teachers: tuple[str, ...] = ("mn04", "yamnet")

    def named(self, name: str) -> str:
        return f"{name}-f{self.number}-s{self.seed}"

    def command(self, stage: str, name: str, *words: str) -> Command:
        common = (f"runs={self.options.runs}", "tracking=none", f"seed={self.seed}", *self.data)
        return (stage, f"name={self.named(name)}", *common, *words)

    def folder(self, stage: str, name: str) -> Path:
        return self.options.runs / stage / self.named(name)

    def teacher(self, name: str, *words: str) -> Command:
        """A teacher: mn04 and yamnet are pretrained, cp_resnet is trained from scratch."""
        builder = {"mn04": "efficientat", "yamnet": "yamnet", "cp_resnet": "cp_resnet"}[name]
        weights = {"mn04": self.options.efficientat, "yamnet": self.options.yamnet}.get(name)
        given = () if weights is None else (f"teacher.weights={weights}",)
        return self.command("teacher", _teacher_name(name, words), f"teacher={builder}", *given, *words)

    def logits(self, teachers: Sequence[str], *words: str) -> str:
        files = [self.folder("teacher", _teacher_name(name, words)) / "logits.h5" for name in teachers]
        return f"logits=[{','.join(map(str, files))}]"

    def cell(self, method: str, commands: Sequence[Command], stage: str = "student") -> Cell:
        return Cell(
            method=method,
            fold=self.number,
            seed=self.seed,
            commands=commands,
            run=self.folder(stage, method),
        )


def _teacher_name(name: str, words: Sequence[str]) -> str:
    """Of a teacher that is trained with some settings: one name for each choice of them."""
    return "-".join([name, *(word.replace("=", "_") for word in words)])


def _distilled(fold: _Fold, method: str, teachers: Sequence[str], phases: Sequence[str], *words: str) -> Cell:
    """A student that learns from some teachers, all of them trained in the same phases."""
    commands = [fold.teacher(name, *phases) for name in teachers]
    return fold.cell(
        method, [*commands, fold.command("student", method, fold.logits(teachers, *phases), *phases, *words)]
    )


def _tau22_cells(options: Options) -> list[Cell]:
    cells = []
    for seed in (0, 1):
        for number in range(FOLDS):
            fold = _Fold(options, number, seed, _tau22_data(options, number))
            for name, phases in (("held_out", ("refit=false",)), ("refit", ("refit=true",))):
                labels = f"labels_{name}"
                cells.append(fold.cell(labels, [fold.command("student", labels, "distill=none", *phases)]))
                cells.append(_distilled(fold, f"distilled_{name}", fold.teachers, phases))
            before = fold.command("student", "labels_before", "distill=none", "refit=false", *BEFORE)
            cells.append(fold.cell("labels_before", [before]))
    return cells


def _tau22_data(options: Options, fold: int) -> Command:
    impulses = () if options.impulses is None else (f"data.impulses={options.impulses}",)
    return ("data=tau22", f"data.root={_tau22_root(options, fold)}", "data.download=false", *impulses)


def _tau22_root(options: Options, fold: int) -> Path:
    return options.runs / f"fold{fold}"


def _tau22_clips(options: Options, fold: int) -> ClipSet:
    """The train clips of the data set, of which one fold of locations is the test split, in its own layout; the
    official test clips are left out."""
    root = _tau22_root(options, fold)
    if not (root / META).is_file():
        given = read_tau22(_required(options.root, "--root"), folds=FOLDS, fold=fold)
        parts = {split: [clip for clip in given.clips if clip.split == split] for split in ("train", "validation")}
        (root / EVALUATION).mkdir(parents=True, exist_ok=True)
        if not (audio := root / "audio").is_symlink():
            audio.symlink_to((given.root / "audio").resolve())
        for name, clips in ((TRAIN, parts["train"]), (TEST, parts["validation"])):
            write_table(root / name, _listed(clips, META_COLUMNS[:2]))
        write_table(root / META, _listed([*parts["train"], *parts["validation"]], META_COLUMNS))
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


def _esc50_cells(options: Options) -> list[Cell]:
    cells = []
    for number in range(1, OFFICIAL_FOLDS + 1):
        root = _required(options.root, "--root")
        data = ("data=folder", f"data.root={root}", f"data.csv={root / f'fold{number}.csv'}", *FIVE_SECONDS)
        fold = _Fold(options, number, 0, data)
        cells.append(fold.cell("labels", [fold.command("student", "labels", "distill=none", *ESC50)]))
        distilled = _distilled(fold, "distilled", ("mn04",), (), *ESC50, "student.distill.hard_weight=0.5")
        cells.append(distilled)
        integers = fold.command("quantize", "distilled")
        cells.append(
            Cell(
                method="distilled_int8",
                fold=number,
                seed=0,
                commands=[*distilled.commands, integers],
                run=fold.folder("quantize", "distilled"),
            )
        )
    return cells


def _esc50_clips(options: Options, fold: int) -> ClipSet:
    root = _required(options.root, "--root")
    return read_folder(root, csv=root / f"fold{fold}.csv")


def _synthetic_cells(options: Options) -> list[Cell]:
    cells = []
    for seed in range(5):
        fold = _Fold(options, 0, seed, ("data=synthetic",))
        cells.append(fold.cell("labels", [fold.command("student", "labels", "distill=none")]))
        cells.append(_distilled(fold, "distilled", ("cp_resnet",), ()))
    return cells


def _synthetic_clips(options: Options, fold: int) -> ClipSet:
    return read("synthetic", None, {}, cache=CACHE)


def _required(value: Path | None, option: str) -> Path:
    """An option that this study needs.

    Raises:
        UserError: it was not given.
    """
    if value is None:
        raise UserError(f"this study needs {option}=FOLDER, the folder of its data set")
    return value


STUDIES = {
    "tau22": Study(
        about="TAU22: a student with and without teachers, 3 folds of the train clips' locations, 2 seeds",
        cells=_tau22_cells,
        clips=_tau22_clips,
        comparisons=(
            ("distilled_held_out", "labels_held_out"),
            ("distilled_refit", "labels_refit"),
            ("labels_held_out", "labels_before"),
            ("labels_refit", "labels_before"),
            ("labels_refit", "labels_held_out"),
            ("distilled_refit", "distilled_held_out"),
        ),
    ),
    "esc50": Study(
        about="ESC-50: a student with and without a teacher, and in integers, the 5 official folds",
        cells=_esc50_cells,
        clips=_esc50_clips,
        comparisons=(("distilled", "labels"), ("distilled_int8", "distilled")),
    ),
    "synthetic": Study(
        about="the synthetic miniature: a student with and without a teacher, 5 seeds",
        cells=_synthetic_cells,
        clips=_synthetic_clips,
        comparisons=(("distilled", "labels"),),
    ),
}
