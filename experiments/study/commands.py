"""What the commands of a study have in common: where its runs lie, and how teachers and students are named.

Conventions: student and teachers of a cell have the same seed. All settings that are not in a command are the defaults.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from data.scenes import ClipSet
from data.settings import POOLED
from experiments.runs.layout import CHECKPOINT
from experiments.study.cells import Cell, Command

PRETRAINED = ("mn04", "yamnet")  # teachers


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a study is told on the command line.

    Attributes:
        runs: folder of its run folders, and of what else it writes.
        root: folder of the data set; None where the study makes its own.
        impulses: folder of impulse responses, or None.
        sounds: folder of sounds without labels, or None: nothing is computed that needs them.
        efficientat, yamnet: files of published weights; None: they are fetched.
    """

    runs: Path
    root: Path | None = None
    impulses: Path | None = None
    sounds: Path | None = None
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
        by_device: those that are compared for each recording device, too.
    """

    about: str
    cells: Callable[[Options], Sequence[Cell]]
    clips: Callable[[Options, int], ClipSet]
    comparisons: Sequence[tuple[str, str]]
    by_device: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Fold:
    """What the commands on one fold by one seed have in common."""

    options: Options
    number: int
    seed: int
    data: Command

    def named(self, name: str) -> str:
        return f"{name}-f{self.number}-s{self.seed}"

    def command(self, stage: str, name: str, *words: str) -> Command:
        common = (f"runs={self.options.runs}", "tracking=none", f"seed={self.seed}", *self.data)
        return (stage, f"name={self.named(name)}", *common, *words)

    def folder(self, stage: str, name: str) -> Path:
        return self.options.runs / stage / self.named(name)

    def teacher(self, name: str, *words: str) -> Command:
        """A teacher: mn04 and yamnet are pretrained, and keep features; cp_resnet is trained from scratch."""
        builder = {"mn04": "efficientat", "yamnet": "yamnet", "cp_resnet": "cp_resnet"}[name]
        weights = {"mn04": self.options.efficientat, "yamnet": self.options.yamnet}.get(name)
        given = [f"teacher={builder}"]
        if name in PRETRAINED:
            given.append(f"teacher.features={POOLED}")
        if weights is not None:
            given.append(f"teacher.weights={weights}")
        return self.command("teacher", _teacher_name(name, words), *given, *words)

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


def distilled_cell(fold: Fold, method: str, teachers: Sequence[str], settings: Sequence[str], *words: str) -> Cell:
    """A student that learns from some teachers, all of them trained with the same settings.

    Args:
        fold: where.
        method: name of the student.
        teachers: names.
        settings: of the teachers, and of the student if there are no `words`.
        words: settings of the student.
    """
    commands = [fold.teacher(name, *settings) for name in teachers]
    student = fold.command("student", method, fold.logits(teachers, *settings), *(words or settings))
    return fold.cell(method, [*commands, student])


def quantized_cell(fold: Fold, method: str, student: Cell, *words: str) -> Cell:
    """A student of another cell as a network of integers.

    Args:
        fold: where.
        method: name of the integers.
        student: the other cell.
        words: settings of the quantisation.
    """
    command = fold.command("quantize", method, f"checkpoint={student.run / CHECKPOINT}", *words)
    return fold.cell(method, [*student.commands, command], stage="quantize")


def required(value: Path | None, option: str) -> Path:
    """An option that this study needs.

    Raises:
        UserError: it was not given.
    """
    if value is None:
        raise UserError(f"this study needs {option}=FOLDER, the folder of its data set")
    return value
