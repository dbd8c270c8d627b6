"""Recording of metrics with Weights & Biases; no other module records any.

Conventions: without a key everything is recorded offline, in the run's own folder, and `wandb sync` sends it later;
there is never a prompt. A training that was stopped and goes on continues its recording: the step of a row is its
epoch, which is also the axis of its plots. What history.jsonl calls `loss` is `train/loss` there, so that W&B has a
section of the training and one of the validation. Logits, checkpoints and models are artifacts, named stage-run-kind;
those that a run used and those that it made are recorded, so that W&B links a teacher's checkpoint with an integer
network.
"""

import hashlib
import logging
import netrc
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.errors import unknown
from experiments.runs.recordings import recorded_epochs, recording_id, remove_empty, require_whole

KINDS = ("wandb", "none")
LONGEST_NAME = 128  # of an artifact, by W&B's rules
LONGEST_TAG = 64
BY_EPOCH = ("train/*", "validation/*")  # metrics whose plots have the epoch as axis
PATIENCE = 3600.0  # seconds for the last uploads; what is not sent then, `wandb sync` sends
DELAY = 1.0  # seconds until a row is on the disk; what was not, a process that is killed takes with it

log = logging.getLogger(__name__)
_open: list[Any] = []  # W&B's runs that are not finished


class Tracker:
    """Records rows and a summary of one run; with kind none it does nothing.

    Nothing that W&B does costs a training: when it fails, one line says so, and nothing more is recorded there.
    """

    def __init__(
        self,
        kind: str,
        *,
        project: str,
        entity: str | None = None,
        stage: str,
        name: str,
        group: str | None = None,
        tags: Sequence[str] = (),
        folder: Path,
        config: Mapping[str, object],
        sources: Sequence[Path] = (),
        rows: Sequence[Mapping[str, float]] = (),
    ) -> None:
        """Start recording.

        Args:
            kind: wandb or none.
            project, entity: where it belongs; the entity (a person or team) is W&B's default if it is None.
            stage, name: what the run is called.
            group: of runs that belong together; None: by itself.
            tags: by which runs are found, besides the stage.
            folder: of the run.
            config: all settings.
            sources: files in other runs' folders that this run learns from.
            rows: of an earlier training that goes on; those that its recordings lack are recorded now.

        Raises:
            UserError: unknown kind.
        """
        if kind not in KINDS:
            unknown("tracking.kind", kind, KINDS)
        self._run: Any = None  # W&B's own kind of run
        self._folder, self._epochs = folder, set[int]()
        wanted = os.environ.get("WANDB_MODE", "online")
        if kind == "none" or wanted == "disabled":
            return
        reason = f"WANDB_MODE={wanted}" if wanted != "online" else None if has_key() else "no key"
        with self._unharmed():
            self._id = recording_id(folder, goes_on=bool(rows))
            remove_empty(folder, self._id)
            about = {"project": project, "entity": entity, "name": f"{stage}/{name}", "job_type": stage, "group": group}
            named = [*dict.fromkeys(tag[:LONGEST_TAG] for tag in (stage, *tags))]
            own = {"config": dict(config), "tags": named, "id": self._id, "dir": folder.absolute()}
            self._run = self._begun({**about, **own}, reason)
            self._run.define_metric("epoch", hidden=True)
            for names in BY_EPOCH:
                self._run.define_metric(names, step_metric="epoch")
            _open.append(self._run)
            for path in sources:
                self._record(path, used=True)
            there = recorded_epochs(folder, self._id) if self._run.offline else set(range(self._run.step))
            for row in rows:
                if row["epoch"] not in there:
                    self.log(row)

    def _begun(self, about: dict[str, Any], reason: str | None) -> Any:
        """A recording of W&B's, or one that goes on; offline for a reason, or because W&B cannot be reached."""
        import wandb

        settings = wandb.Settings(
            silent=True,
            console="off",
            reinit="create_new",
            finish_timeout=PATIENCE,
            x_transaction_log_flush_interval=DELAY,
        )
        about |= {"resume": "allow", "settings": settings}
        if reason is None:
            try:
                run = wandb.init(**about, mode="online")
                log.info("W&B: %s", run.url)
                return run
            except wandb.errors.Error as error:
                reason = str(error).splitlines()[0]
        recordings = f"{shlex.quote(str(self._folder))}/wandb/offline-run-*-{self._id}*"
        log.info("W&B: %s, recording offline; send it later with: wandb sync %s", reason, recordings)
        return wandb.init(**about, mode="offline")

    def log(self, row: Mapping[str, float]) -> None:
        """Record one row of metrics, whose step is its epoch; see `recorded`."""
        if self._run is not None:
            with self._unharmed():
                epoch = int(row["epoch"]) if "epoch" in row else None
                self._run.log(recorded(row), step=epoch, commit=True)
                if epoch is not None:
                    self._epochs.add(epoch)

    @property
    def is_on(self) -> bool:
        """Whether anything is recorded."""
        return self._run is not None

    def finish(
        self, summary: Mapping[str, float], products: Sequence[Path] = (), media: Mapping[str, Any] | None = None
    ) -> None:
        """Record the run's results, the files it made, tables and plots by name (W&B's own kinds), and stop."""
        if self._run is None:
            return
        with self._unharmed():
            if media:
                self._run.log(dict(media))
            self._run.summary.update(dict(summary))
            for path in products:
                self._record(path, used=False)
            self._run.finish()
            _open.remove(self._run)
            if self._run.offline:
                require_whole(self._folder, self._id, self._epochs)

    @contextmanager
    def _unharmed(self) -> Iterator[None]:
        """End the recording where W&B raises anything."""
        try:
            yield
        except (Exception, SystemExit) as error:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            log.warning("W&B failed, its recording of %s is not whole (%s); the folder has all", self._folder, what)
            self._run = None

    def _record(self, path: Path, *, used: bool) -> None:
        import wandb

        # Kept beside the recording: by the time of `wandb sync` another training may have replaced the file. Our files
        # are replaced and never written into, so that a second name for the same bytes is enough.
        folder = Path(self._run.dir).parent / "artifacts"
        folder.mkdir(exist_ok=True)
        # Numbered, because files of one name may come from several places.
        kept = folder / f"{sum(1 for _ in folder.iterdir())}-{_artifact_name(path)}" / path.name
        kept.parent.mkdir()
        try:
            os.link(path, kept)
        except OSError:  # another file system, or one without links
            shutil.copy2(path, kept)
        artifact = wandb.Artifact(_artifact_name(path), type=path.stem)
        artifact.add_file(str(kept), name=path.name, policy="immutable", skip_cache=True)
        # What run.log_artifact and, for a file that W&B has not, run.use_artifact call: but the latter refuses to be
        # offline. The same bytes become one version, whoever sends them first.
        self._run._log_artifact(artifact, is_user_created=True, use_after_commit=used)


def recorded(row: Mapping[str, float]) -> dict[str, float]:
    """A row of history.jsonl under W&B's names: those without a group, but for the epoch, are of the training."""
    return {name if "/" in name or name == "epoch" else f"train/{name}": value for name, value in row.items()}


def give_up() -> None:
    """End the recordings of runs that failed, or the next job of a sweep would find them open."""
    while _open:
        try:
            _open.pop().finish(exit_code=1)
        except (Exception, SystemExit) as error:
            log.warning("W&B failed (%s: %s)", type(error).__name__, error)


def _artifact_name(path: Path) -> str:
    """runs/teacher/mini/logits.h5 -> teacher-mini-logits."""
    folder = path.resolve().parent
    name = f"{folder.parent.name}-{folder.name}-{path.stem}"
    allowed = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    if allowed == name and len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{allowed[: LONGEST_NAME - len(digest) - 1]}-{digest}"


def commit() -> str | None:
    """The commit that this code is, with "-dirty" if it was changed since; None where it is in no repository."""
    here = Path(__file__)
    try:
        for command in (
            ["ls-files", "--error-unmatch", here.name],
            ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        ):
            found = subprocess.run(["git", *command], cwd=here.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def has_key() -> bool:
    """Whether there is a key of W&B's, in its variable or in ~/.netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return any("wandb" in host for host in netrc.netrc().hosts)
    except (OSError, netrc.NetrcParseError):
        return False
