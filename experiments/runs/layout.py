"""Where results lie: run folders, the files in them, and what the command line names.

Conventions: a run is runs/<stage>/<name>/; a job of a sweep adds its own overrides to the name. Files get their name
when they are whole.
"""

import glob
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from data.errors import UserError
from data.files import write_whole

RECORD = "run.json"  # written last: it says that the run is complete
CONFIG, HISTORY = "config.yaml", "history.jsonl"
CHECKPOINT, LOGITS, MODEL = "checkpoint.safetensors", "logits.h5", "model.tflite"
RESUME = "resume.pt"  # of a training that is not finished
SCORES, ENERGY, NOT_FINITE = "score.json", "energy.json", "not_finite.txt"
REPORT, PACKAGE = "report.html", "submission.zip"
PREDICTIONS, CONFUSION, RELIABILITY = "predictions.csv", "confusion.csv", "reliability.csv"  # of the test split
LAYERS, OPERATORS = "layers.json", "operators.json"
ONNX, PROGRAM = "model.onnx", "student.pt2"  # on request
# What one run must not leave to the next of its name.
RESULTS = (
    *(RECORD, SCORES, REPORT, NOT_FINITE, CHECKPOINT, LOGITS, MODEL),
    *(PREDICTIONS, CONFUSION, RELIABILITY, LAYERS, OPERATORS, ONNX, PROGRAM, PACKAGE),
)

LONGEST = 200  # bytes of a folder's name; file systems take 255
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def folder_of(cfg: DictConfig, stage: str) -> Path:
    """runs/<stage>/<name>, where a job of a sweep adds its own overrides to the name.

    Raises:
        UserError: the name would be no plain folder name, or too long a one.
    """
    if not _NAME.fullmatch(cfg.name):
        raise UserError(
            f"name={cfg.name!r} must be letters, digits, '.', '_' and '-', and begin with a letter or digit"
        )
    folder = "-".join([cfg.name, *_swept(cfg)])
    if len(folder.encode()) > LONGEST:
        raise UserError(f"the run's folder, {folder}, has a name too long: shorten name=..., or sweep fewer settings")
    return Path(cfg.runs) / stage / folder


def existing(cfg: DictConfig, stage: str, file: str) -> Path:
    """A file of an earlier stage: of the same job of a sweep if it is there, else of the plain name.

    Raises:
        UserError: that run was started and not finished; what lies there may be of an earlier training.
    """
    own = folder_of(cfg, stage) / file
    path = own if own.exists() else Path(cfg.runs) / stage / cfg.name / file
    if path.exists() and not (path.parent / RECORD).exists():
        raise UserError(f"{path.parent} is an unfinished run: run stage={stage} again, or name files by hand")
    return path


def logits_files(cfg: DictConfig) -> list[Path]:
    """The files that `logits` names: a path, a pattern like runs/teacher/*/logits.h5, or a list of them.

    Without it, the teacher's of the same name.

    Raises:
        UserError: a pattern that matches nothing.
    """
    if cfg.logits is None:
        return [existing(cfg, "teacher", LOGITS)]
    return matches("logits", cfg.logits)


def matches(key: str, named: Any) -> list[Path]:
    """What a setting names: a path, a pattern, or a list of both. A path need not exist.

    Raises:
        UserError: a pattern that matches nothing, or an empty list.
    """
    several = isinstance(named, Sequence) and not isinstance(named, str)
    if several and not named:
        raise UserError(f"{key}=[] names nothing: give a path, a pattern, or a list of them")
    found: list[Path] = []
    for name in map(str, named if several else [named]):
        paths = sorted(map(Path, glob.glob(name))) if glob.has_magic(name) else [Path(name)]
        if not paths:
            raise UserError(f"{key}={name} matches no file or folder")
        found += paths
    return found


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename."""
    write_whole(path, text.encode())


def sha256(path: str | Path) -> str:
    """Fingerprint of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _swept(cfg: DictConfig) -> list[str]:
    """What distinguishes this job of a sweep, such as "seed_1"; a swept name already does."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    values = {key: choices.get(key, OmegaConf.select(cfg, key)) for key in cfg.swept if key != "name"}
    pairs = [f"{key.split('.')[-1]}_{value}" for key, value in values.items()]
    return ["".join(c if c.isalnum() or c in "_." else "_" for c in pair) for pair in pairs]
