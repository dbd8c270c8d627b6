"""Where a stage's results go, and whether they are there already.

Conventions: a run is runs/<stage>/<name>/. config.yaml is what was asked, run.json what the results depend on
(settings and fingerprints of inputs); run.json is written last, so its presence says that the run is complete. Rows
and scores are JSON.
"""

import glob
import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from data.errors import UserError, listed
from experiments.tracking import Tracker

RECORD = "run.json"
CHECKPOINT, LOGITS, MODEL = "checkpoint.safetensors", "logits.h5", "model.tflite"
RESUME = "resume.pt"  # of a training that is not finished
SCORES, ENERGY, NOT_FINITE = "score.json", "energy.json", "not_finite.txt"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

log = logging.getLogger(__name__)


class Run:
    """One stage's folder. Of several processes only the first writes; the others' calls do nothing.

    Attributes:
        stage, folder: which and where.
        identity: settings and inputs.
    """

    def __init__(self, cfg: DictConfig, stage: str, *, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
        """Nothing is written yet.

        Args:
            cfg: the whole config.
            stage: name of the stage.
            settings: what of the config the results depend on.
            inputs: name to fingerprint of each file they depend on.
        """
        self.cfg, self.stage = cfg, stage
        self.folder = folder_of(cfg, stage)
        self.identity = {"settings": json.loads(json.dumps(settings)), "inputs": dict(inputs)}
        self._tracker: Tracker | None = None

    @classmethod
    def of(cls, cfg: DictConfig, folder: Path) -> "Run":
        """The finished run of a folder, as it was."""
        before = json.loads((folder / RECORD).read_text())
        run = cls(cfg, folder.parent.name, **before)
        run.folder = folder
        return run

    @property
    def is_finished(self) -> bool:
        """Whether a result is there, of whatever settings."""
        return (self.folder / RECORD).is_file()

    def is_done(self, *files: str) -> bool:
        """Whether the results are there already.

        Raises:
            UserError: results of other settings or inputs are there; the differences are listed.
        """
        record = self.folder / RECORD
        if self.cfg.force or not self.is_finished:
            return False
        try:
            before = json.loads(record.read_text())
        except ValueError:
            return False
        if found := differences(before, self.identity):
            raise UserError(
                f"{self.folder} holds a result of other settings or inputs:\n{listed(found)}\n"
                "choose another name=..., or replace it with force=true"
            )
        if missing := [name for name in files if not (self.folder / name).is_file()]:
            log.info("%s: %s is gone, running again", self.folder, ", ".join(missing))
            return False
        log.info("%s: inputs and config are unchanged, the result is reused (force=true runs it again)", self.folder)
        return True

    def start(self, rows: Sequence[Mapping[str, float]] = ()) -> None:
        """Make the folder, note the config, start tracking.

        Args:
            rows: of an earlier training that goes on; without them one that was stopped is forgotten.
        """
        if not is_first():
            return
        # What an earlier run left must not be taken for this one's, should this one be stopped.
        old = [RECORD, SCORES, CHECKPOINT, LOGITS, MODEL, NOT_FINITE, *([] if rows else [RESUME, ENERGY])]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in [*(self.folder / name for name in old), *self.folder.glob("*.tmp")]:
                path.unlink(missing_ok=True)
            write_text(self.folder / "config.yaml", OmegaConf.to_yaml(self.cfg, resolve=True))
            write_text(self.folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        except OSError as error:
            raise UserError(
                f"cannot write to {self.folder} ({error.strerror}): choose another folder with runs=..."
            ) from error
        self._tracker = Tracker(
            self.cfg.tracking.kind,
            project=self.cfg.tracking.project,
            stage=self.stage,
            name=self.folder.name,
            folder=self.folder,
            config=OmegaConf.to_container(self.cfg, resolve=True),
        )
        for row in rows:
            self._tracker.log(row)

    def log(self, row: Mapping[str, float]) -> None:
        """Record one row, an epoch's."""
        if is_first():
            with open(self.folder / "history.jsonl", "a") as file:
                file.write(json.dumps(row) + "\n")
            self._tracker.log(row)

    def finish(self, scores: Mapping[str, float]) -> None:
        """Write the scores and mark the run complete."""
        if is_first():
            write_text(self.folder / SCORES, json.dumps(scores, indent=1))
            write_text(self.folder / RECORD, json.dumps(self.identity, indent=1))
            (self.folder / RESUME).unlink(missing_ok=True)
            if self._tracker is not None:
                self._tracker.finish(scores)


def started_processes() -> int:
    """How many processes torchrun, SLURM or Fabric started for this command; 1 if none of them did."""
    if (size := int(os.environ.get("WORLD_SIZE", "0"))) > 0:
        return size
    # As Lightning: a shell that SLURM gave has its variables too, and is one process.
    alone = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return 1 if alone or "SLURM_PROCID" not in os.environ else int(os.environ.get("SLURM_NTASKS", "1"))


def is_first() -> bool:
    """Whether this process is the only one or the first one; known before anything is connected."""
    names = ["RANK", "LOCAL_RANK", "SLURM_PROCID"] if started_processes() > 1 else []
    return all(int(os.environ.get(name, "0")) == 0 for name in [*names, "NODE_RANK"])


def folder_of(cfg: DictConfig, stage: str) -> Path:
    """runs/<stage>/<name>, where a job of a sweep adds its own overrides to the name.

    Raises:
        UserError: the name would be no plain folder name.
    """
    if not _NAME.fullmatch(cfg.name):
        raise UserError(
            f"name={cfg.name!r} must be letters, digits, '.', '_' and '-', and begin with a letter or digit"
        )
    return Path(cfg.runs) / stage / "-".join([cfg.name, *_swept(cfg)])


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
        UserError: a pattern that matches nothing.
    """
    several = isinstance(named, Sequence) and not isinstance(named, str)
    found: list[Path] = []
    for name in map(str, named if several else [named]):
        paths = sorted(map(Path, glob.glob(name))) if glob.has_magic(name) else [Path(name)]
        if not paths:
            raise UserError(f"{key}={name} matches no file or folder")
        found += paths
    return found


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def sha256(path: str | Path) -> str:
    """Fingerprint of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What two identities have not in common, in words."""
    before, now = flat(before), flat(now)
    keys = sorted(before.keys() | now.keys())
    return [f"{k}: {before.get(k)} there, {now.get(k)} asked for" for k in keys if before.get(k) != now.get(k)]


def _swept(cfg: DictConfig) -> list[str]:
    """What distinguishes this job of a sweep, such as "seed_1"; a swept name already does."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    values = {key: choices.get(key, OmegaConf.select(cfg, key)) for key in cfg.swept if key != "name"}
    pairs = [f"{key.split('.')[-1]}_{value}" for key, value in values.items()]
    return ["".join(c if c.isalnum() or c in "_." else "_" for c in pair) for pair in pairs]


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, of dicts in dicts."""
    if isinstance(tree, Mapping):
        return {k: v for key, value in tree.items() for k, v in flat(value, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): tree}
