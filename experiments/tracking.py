"""Figures for a dashboard: one module between the stages and Weights & Biases.

Without a key everything is recorded offline, in the run's own folder, and `wandb sync` sends it later. There is never
a prompt.
"""

import logging
import netrc
import os
from collections.abc import Mapping
from pathlib import Path

from data.errors import unknown

KINDS = ("wandb", "none")

log = logging.getLogger(__name__)


class Tracker:
    """Records rows and a summary of one run; with kind none it does nothing."""

    def __init__(
        self, kind: str, *, project: str, stage: str, name: str, folder: Path, config: Mapping[str, object]
    ) -> None:
        """Start recording.

        Raises:
            UserError: unknown kind.
        """
        if kind not in KINDS:
            unknown("tracking.kind", kind, KINDS)
        self._run = None
        if kind == "none":
            return
        import wandb

        wanted = os.environ.get("WANDB_MODE", "online")
        reason = "no key" if not _has_key() else f"WANDB_MODE={wanted}" if wanted != "online" else None
        about = {"project": project, "group": stage, "name": f"{stage}/{name}", "dir": folder, "config": dict(config)}
        settings = wandb.Settings(silent=True, console="off")
        if reason is None:
            try:
                self._run = wandb.init(**about, mode="online", settings=settings)
            except wandb.errors.Error as error:
                reason = str(error).splitlines()[0]
        if self._run is None:
            log.info(
                "W&B: %s, recording offline; send it later with: wandb sync %s/wandb/offline-run-*", reason, folder
            )
            self._run = wandb.init(**about, mode="disabled" if wanted == "disabled" else "offline", settings=settings)

    def log(self, row: Mapping[str, float]) -> None:
        """Record one row of figures."""
        if self._run is not None:
            self._run.log(dict(row))

    def finish(self, summary: Mapping[str, float]) -> None:
        """Record the run's results and stop."""
        if self._run is not None:
            self._run.summary.update(dict(summary))
            self._run.finish()


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return any("wandb" in host for host in netrc.netrc().hosts)
    except (OSError, netrc.NetrcParseError):
        return False
