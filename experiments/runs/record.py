"""One stage's run: whether its results are there already, and what it writes.

Conventions: config.yaml is what was asked, run.json what the results depend on (settings and fingerprints of inputs)
and from which runs these came; run.json is written last, so its presence says that the run is complete. Rows and
scores are JSON.
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from data.errors import UserError, listed
from experiments.runs.layout import (
    CHECKPOINT,
    CONFIG,
    ENERGY,
    HISTORY,
    LOGITS,
    MODEL,
    RECORD,
    REPORT,
    RESULTS,
    RESUME,
    SCORES,
    folder_of,
    write_text,
)
from experiments.runs.reader import flat
from experiments.runs.tracking import Tracker, commit

log = logging.getLogger(__name__)


class Run:
    """One stage's folder. Of several processes only the first writes; the others' calls do nothing.

    Attributes:
        stage, folder: which and where.
        identity: settings and inputs.
    """

    def __init__(
        self,
        cfg: DictConfig,
        stage: str,
        *,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str],
        sources: Sequence[Path] = (),
    ) -> None:
        """Nothing is written yet.

        Args:
            cfg: the whole config.
            stage: name of the stage.
            settings: what of the config the results depend on.
            inputs: name to fingerprint of each file they depend on.
            sources: those of the files that other stages made.
        """
        self.cfg, self.stage = cfg, stage
        self.folder = folder_of(cfg, stage)
        self.identity = {"settings": json.loads(json.dumps(settings)), "inputs": dict(inputs)}
        self._sources = sources
        self._tracker: Tracker | None = None

    @classmethod
    def of(cls, cfg: DictConfig, folder: Path) -> "Run":
        """The finished run of a folder, as it was."""
        before = json.loads((folder / RECORD).read_text())
        run = cls(cfg, folder.parent.name, **{**before, "sources": [Path(path) for path in before.get("sources", [])]})
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
            before = {key: value for key, value in json.loads(record.read_text()).items() if key in self.identity}
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
        if is_first() and not (self.folder / REPORT).is_file():
            self._report()
        return True

    def start(self, rows: Sequence[Mapping[str, float]] = ()) -> None:
        """Make the folder, note the config, start tracking.

        Args:
            rows: of an earlier training that goes on; without them one that was stopped is forgotten.
        """
        if not is_first():
            return
        # What an earlier run left must not be taken for this one's, should this one be stopped.
        old = [*RESULTS, *([] if rows else [RESUME, ENERGY])]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in [*(self.folder / name for name in old), *self.folder.glob("*.tmp")]:
                path.unlink(missing_ok=True)
            by = commit()
            config = f"# by scenelet's commit {by or 'unknown'}\n{OmegaConf.to_yaml(self.cfg, resolve=True)}"
            write_text(self.folder / CONFIG, config)
            write_text(self.folder / HISTORY, "".join(json.dumps(row) + "\n" for row in rows))
        except OSError as error:
            raise UserError(
                f"cannot write to {self.folder} ({error.strerror}): choose another folder with runs=..."
            ) from error
        self._tracker = Tracker(
            self.cfg.tracking.kind,
            project=self.cfg.tracking.project,
            entity=self.cfg.tracking.entity,
            stage=self.stage,
            name=self.folder.name,
            folder=self.folder,
            config={**OmegaConf.to_container(self.cfg, resolve=True), "commit": by, **self.identity["inputs"]},
            sources=self._sources,
        )
        for row in rows:
            self._tracker.log(row)

    def log(self, row: Mapping[str, float]) -> None:
        """Record one row, an epoch's."""
        if is_first():
            with open(self.folder / HISTORY, "a") as file:
                file.write(json.dumps(row) + "\n")
            self._tracker.log(row)

    def finish(self, scores: Mapping[str, float]) -> None:
        """Write the scores and mark the run complete."""
        if is_first():
            write_text(self.folder / SCORES, json.dumps(scores, indent=1))
            sources = [str(path) for path in self._sources]
            write_text(self.folder / RECORD, json.dumps({**self.identity, "sources": sources}, indent=1))
            (self.folder / RESUME).unlink(missing_ok=True)
            media = self._report()
            if self._tracker is not None:
                paths = [self.folder / name for name in (CHECKPOINT, LOGITS, MODEL)]
                self._tracker.finish(scores, [path for path in paths if path.exists()], media)

    def _report(self) -> dict[str, Any]:
        """Write the page; returns what of it goes to W&B. A result is there without it: what is wrong is only said."""
        from experiments.report import dashboard, sections  # pictures take a second to import, and are wanted here only

        try:
            read, section = sections.write_report(self.folder)
        except UserError as error:
            log.warning("no report: %s", error)
            return {}
        log.info("report: %s", self.folder / REPORT)
        return dashboard.media_of(section, read) if self._tracker is not None and self._tracker.is_on else {}


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


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What two identities have not in common, in words."""
    before, now = flat(before), flat(now)
    keys = sorted(before.keys() | now.keys())
    return [f"{k}: {before.get(k)} there, {now.get(k)} asked for" for k in keys if before.get(k) != now.get(k)]
