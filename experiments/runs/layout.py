"""Where results lie: run folders, the files in them, and what settings name.

Conventions: a run is runs/<stage>/<name>/; a job of a sweep adds its own overrides to the name. Files get their name
when they are whole.
"""

import glob
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import write_whole

RECORD = "run.json"  # written last: where it is, the run is complete
CONFIG, HISTORY = "config.yaml", "history.jsonl"
CHECKPOINT, LOGITS, MODEL = "checkpoint.safetensors", "logits.h5", "model.tflite"
RESUME = "resume.pt"  # of a training that is not finished
SCORES, ENERGY, NOT_FINITE = "score.json", "energy.json", "not_finite.txt"
REPORT, PACKAGE = "report.html", "submission.zip"
PREDICTIONS, CONFUSION, RELIABILITY = "predictions.csv", "confusion.csv", "reliability.csv"  # of the test split
MISTAKES = "mistakes.json"  # the most confident ones
DOUBTS = "doubts.txt"  # what speaks against a result, a sentence a line
LAYERS, OPERATORS = "layers.json", "operators.json"
COST = "cost.json"  # of a network on a device
ONNX, PROGRAM = "model.onnx", "student.pt2"  # on request
# What is deleted when a run of the same name begins.
RESULTS = (
    *(RECORD, SCORES, REPORT, NOT_FINITE, CHECKPOINT, LOGITS, MODEL),
    *(PREDICTIONS, CONFUSION, RELIABILITY, MISTAKES, DOUBTS, LAYERS, OPERATORS, COST, ONNX, PROGRAM, PACKAGE),
)

FIRST_PHASE = ".held_out"  # ends the name of the run that chose the number of steps of a run with refit=true
FOLD = ".fold"  # and a number end the names of the runs of teacher.folds
DEVICE = ".device"  # and a number end the names of the runs of the specialize stage
# Ends the names of runs that are part of another one.
_PART = re.compile(rf"({re.escape(FIRST_PHASE)}|({re.escape(FOLD)}|{re.escape(DEVICE)})\d+)(?=$|\.|/)")
LONGEST = 200  # bytes of a folder's name; file systems take 255
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Layout:
    """Where the runs of one command lie.

    Attributes:
        root: folder of all runs.
        name: of the run.
        job: of a sweep: the settings in which this job differs from the others.
    """

    root: Path
    name: str
    job: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UserError(
                f"name={self.name!r} must be letters, digits, '.', '_' and '-', and begin with a letter or digit"
            )
        if len(self._folder.encode()) > LONGEST:
            raise UserError(
                f"the run's folder, {self._folder}, has a name too long: shorten name=..., or sweep fewer settings"
            )

    @property
    def _folder(self) -> str:
        return "-".join([self.name, *self.job])

    def folder(self, stage: str) -> Path:
        """<root>/<stage>/<name>, where a job of a sweep adds its own overrides to the name."""
        return self.root / stage / self._folder

    def existing(self, stage: str, file: str) -> Path:
        """A file of an earlier stage: of the same job of a sweep if it is there, else of the plain name.

        Raises:
            UserError: that run was started and not finished; what lies there may be of an earlier training.
        """
        own = self.folder(stage) / file
        path = own if own.exists() else self.root / stage / self.name / file
        if path.exists() and not (path.parent / RECORD).exists():
            raise UserError(
                f"{path.parent} is an unfinished run: wait for it if it is under way, else run stage={stage} again, "
                "or name files by hand"
            )
        return path

    def model(self) -> Path:
        """The network of the quantised student, see model_in; of which run, and what is raised: see existing."""
        path = self.existing("quantize", model_in(self.folder("quantize")).name)
        return path if path.exists() else self.existing("quantize", model_in(path.parent).name)


def is_float(model: Path) -> bool:
    """Whether a model file holds floats, as checkpoints do, and not the integers of a TFLite file."""
    return model.suffix == Path(CHECKPOINT).suffix


def model_in(folder: Path) -> Path:
    """The network of a run as it is handed in: its file of integers, or else, of a run that stored floats, its
    checkpoint; either may not be there."""
    model, checkpoint = folder / MODEL, folder / CHECKPOINT
    return checkpoint if checkpoint.is_file() and not model.is_file() else model


def as_name(text: str) -> str:
    """A run's name made of any text, such as the name of a file: its letters A to Z and digits, or, of a text without
    any, a digest."""
    found = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-").rstrip("-")
    return found[:LONGEST] or hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def first_phase_of(folder: Path) -> Path:
    """The folder of the run that chose the number of steps of a run with refit=true, which is there or not."""
    return folder.with_name(folder.name + FIRST_PHASE)


def logits_files(layout: Layout, logits: Any) -> list[Path]:
    """The files that the setting `logits` names: a path, a pattern like runs/teacher/*/logits.h5, or a list of them;
    None: the teacher's of the same name.

    Raises:
        UserError: a pattern that matches nothing.
    """
    return [layout.existing("teacher", LOGITS)] if logits is None else matches("logits", logits)


def matches(key: str, named: Any) -> list[Path]:
    """What a setting names: a path, a pattern, or a list of both. A path need not exist. A pattern does not mean the
    parts of other runs, such as NAME.held_out and NAME.fold0, unless it names them.

    Raises:
        UserError: a pattern that matches nothing, or an empty list.
    """
    several = isinstance(named, Sequence) and not isinstance(named, str)
    if several and not named:
        raise UserError(f"{key}=[] names nothing: give a path, a pattern, or a list of them")
    found: list[Path] = []
    for name in map(str, named if several else [named]):
        paths = [Path(name)]
        if glob.has_magic(name):
            paths = [path for path in sorted(map(Path, glob.glob(name))) if not _is_part(path) or _PART.search(name)]
        if not paths:
            raise UserError(f"{key}={name} matches no file or folder")
        found += paths
    return found


def _is_part(path: Path) -> bool:
    """Whether a path is in the folder of a run that is part of another one, or is that folder."""
    return any(
        (found := _PART.search(folder.name)) and folder.with_name(folder.name[: found.start()]).is_dir()
        for folder in (path, path.parent)
    )


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename."""
    write_whole(path, text.encode())
