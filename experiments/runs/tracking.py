"""Recording of metrics with Weights & Biases; no other module records any.

Conventions: without a key everything is recorded offline, in the run's own folder, and `wandb sync` sends it later;
there is never a prompt. Logits, checkpoints and models are artifacts, named stage-run-kind; those that a run used and
those that it made are recorded, so that W&B links a teacher's checkpoint with an integer network.
"""

import hashlib
import logging
import netrc
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from data.errors import unknown

KINDS = ("wandb", "none")
LONGEST_NAME = 128  # of an artifact, by W&B's rules

log = logging.getLogger(__name__)
_open: list[Any] = []  # W&B's runs that are not finished


class Tracker:
    """Records rows and a summary of one run; with kind none it does nothing."""

    def __init__(
        self,
        kind: str,
        *,
        project: str,
        entity: str | None = None,
        stage: str,
        name: str,
        folder: Path,
        config: Mapping[str, object],
        sources: Sequence[Path] = (),
    ) -> None:
        """Start recording.

        Args:
            kind: wandb or none.
            project, entity: where it belongs; the entity (a person or team) is W&B's default if it is None.
            stage, name: what the run is called.
            folder: of the run.
            config: all settings.
            sources: files in other runs' folders that this run learns from.

        Raises:
            UserError: unknown kind.
        """
        if kind not in KINDS:
            unknown("tracking.kind", kind, KINDS)
        self._run: Any = None  # W&B's own kind of run
        if kind == "none":
            return
        import wandb

        wanted = os.environ.get("WANDB_MODE", "online")
        if wanted == "disabled":
            return
        reason = f"WANDB_MODE={wanted}" if wanted != "online" else None if has_key() else "no key"

        def begin(mode: Literal["online", "offline"]) -> Any:
            return wandb.init(
                project=project,
                entity=entity,
                group=stage,
                name=f"{stage}/{name}",
                dir=folder,
                config=dict(config),
                mode=mode,
                settings=wandb.Settings(silent=True, console="off", reinit="create_new"),
            )

        if reason is None:
            try:
                self._run = begin("online")
            except wandb.errors.Error as error:
                reason = str(error).splitlines()[0]
        if self._run is None:
            log.info(
                "W&B: %s, recording offline; send it later with: wandb sync %s/wandb/offline-run-*", reason, folder
            )
            self._run = begin("offline")
        _open.append(self._run)
        for path in sources:
            self._record(path, used=True)

    def log(self, row: Mapping[str, float]) -> None:
        """Record one row of metrics."""
        if self._run is not None:
            self._run.log(dict(row))

    @property
    def is_on(self) -> bool:
        """Whether anything is recorded."""
        return self._run is not None

    def finish(
        self, summary: Mapping[str, float], products: Sequence[Path] = (), media: Mapping[str, Any] | None = None
    ) -> None:
        """Record the run's results, the files it made, tables and plots by name (W&B's own kinds), and stop."""
        if self._run is not None:
            if media:
                self._run.log(dict(media))
            self._run.summary.update(dict(summary))
            for path in products:
                self._record(path, used=False)
            self._run.finish()
            _open.remove(self._run)

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


def give_up() -> None:
    """End the recordings of runs that failed, or the next job of a sweep would find them open."""
    while _open:
        _open.pop().finish(exit_code=1)


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
