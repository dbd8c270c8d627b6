"""One stage's run: whether its results are there already, and what it writes.

Conventions: config.yaml is what was asked, run.json what the results depend on (settings and fingerprints of inputs),
from which runs these came, and the fingerprints of the networks that were written; run.json is written last, so its
presence says that the run is complete. Rows and scores are JSON. Of several processes only the first writes; the
others' calls do nothing.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from data.errors import UserError, listed
from data.files import file_sha256
from data.resources import Use, as_rows
from experiments.distributed.processes import is_first
from experiments.runs.claims import claim, tidy
from experiments.runs.identity import differences
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
    write_text,
)
from experiments.runs.reader import read_record
from experiments.runs.tracking import Tracker, commit
from experiments.settings.parts import Tracking

log = logging.getLogger(__name__)


class Run:
    """One stage's folder.

    Attributes:
        folder: runs/<stage>/<name>.
        identity: settings and inputs.
        force: whether results that are there are replaced.
        external: what others made that the result depends on; None: not known. Whoever trains sets it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str],
        sources: Sequence[Path] = (),
        force: bool = False,
        tracking: Tracking | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Nothing is written yet.

        Args:
            folder: runs/<stage>/<name>.
            settings: what of the config the results depend on.
            inputs: name to fingerprint of each file they depend on.
            sources: those of the files that other stages made.
            force: run again although the results are there.
            tracking: where metrics go besides the folder; None: nowhere.
            group, tags: by which the run is found there, see Tracker.
            config: all settings, for config.yaml.
        """
        self.folder, self.force = folder, force
        self.identity = {"settings": json.loads(json.dumps(settings)), "inputs": dict(inputs)}
        self._sources, self._tracking, self._config = sources, tracking or Tracking(kind="none"), dict(config or {})
        self.external: Sequence[Use] | None = None
        self._tracker: Tracker | None = None
        self._group, self._tags = group, tags
        self._rows: list[Mapping[str, float]] = []

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return self.folder.parent.name

    @property
    def is_finished(self) -> bool:
        """Whether a result is there, of whatever settings."""
        return (self.folder / RECORD).is_file()

    def reopened(self) -> "Run":
        """The finished run of this folder with the identity that it has on disk.

        Raises:
            UserError: its record is damaged.
        """
        before = read_record(self.folder)
        again = Run(
            self.folder,
            settings=before.settings,
            inputs=before.inputs,
            sources=before.sources,
            force=self.force,
            tracking=self._tracking,
            group=self._group,
            tags=self._tags,
            config=self._config,
        )
        again.external = before.external
        return again

    def is_done(self, *files: str) -> bool:
        """Whether the results are there already; if not, the run is this process's alone from now on.

        Raises:
            UserError: another process is writing them; or results of other settings or inputs are there (the
                differences are listed), or a record that cannot be read: what it stands for is not thrown away
                without being asked.
        """
        if self._is_done(files):
            tidy(self.folder)
            return True
        claim(self.folder)
        if self._is_done(files):  # another process has finished it meanwhile
            return True
        if self.is_finished and not self.force:
            log.info("%s: %s is gone, running again", self.folder, " or ".join(files))
        return False

    def refuse_others(self, instead: str = "choose another name=...") -> None:
        """Check that no results of other settings or inputs are there, unless they are to be replaced.

        Args:
            instead: of replacing them, for the message.

        Raises:
            UserError: see is_done.
        """
        if self.force or not self.is_finished:
            return
        before = read_record(self.folder)
        if found := differences({"settings": before.settings, "inputs": before.inputs}, self.identity):
            raise UserError(
                f"{self.folder} holds a result of other settings or inputs:\n{listed(found)}\n"
                f"{instead}, or replace it with force=true"
            )

    def _is_done(self, files: Sequence[str]) -> bool:
        self.refuse_others()
        if self.force or not self.is_finished:
            return False
        if not all((self.folder / name).is_file() for name in files):
            return False
        self.external = read_record(self.folder).external
        log.info("%s: inputs and config are unchanged, the result is reused (force=true runs it again)", self.folder)
        return True

    def start(self, rows: Sequence[Mapping[str, float]] = (), *, keeps_energy: bool = False) -> None:
        """Make the folder, note the config, start tracking.

        Args:
            rows: of an earlier training that goes on; without them one that was stopped is forgotten.
            keeps_energy: what was metered stays without rows, too: logits that were stopped go on.
        """
        if not is_first():
            return
        claim(self.folder)
        self._rows = list(rows)
        # What an earlier run left must not be taken for this one's, should this one be stopped.
        for name in [*RESULTS, *([] if rows else [RESUME]), *([] if rows or keeps_energy else [ENERGY])]:
            if name != REPORT or not (self.folder / name).is_dir():  # a page that cannot be written stops no run
                (self.folder / name).unlink(missing_ok=True)
        by = commit()
        text = yaml.safe_dump(self._config, sort_keys=False, allow_unicode=True)
        date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        made = f"# by scenelet {version('scenelet')}, commit {by or 'unknown'}, {date}\n"
        write_text(self.folder / CONFIG, made + text)
        self._write_history()
        self._tracker = Tracker(
            self._tracking.kind,
            project=self._tracking.project,
            entity=self._tracking.entity,
            stage=self.stage,
            name=self.folder.name,
            group=self._group,
            tags=self._tags,
            folder=self.folder,
            config={**self._config, "commit": by, **self.identity["inputs"]},
            sources=self._sources,
            rows=rows,
        )

    def log(self, row: Mapping[str, float]) -> None:
        """Record one row, an epoch's."""
        if is_first():
            self._rows.append(row)
            self._write_history()
            if self._tracker is not None:
                self._tracker.log(row)

    def _write_history(self) -> None:
        """All of it, so that no reader ever finds half a row."""
        write_text(self.folder / HISTORY, "".join(json.dumps(row) + "\n" for row in self._rows))

    def finish(self, scores: Mapping[str, float]) -> None:
        """Write the scores and mark the run complete; the recording of its metrics stays open until `stop_tracking`."""
        if is_first():
            write_text(self.folder / SCORES, json.dumps(scores, indent=1))
            sources = [str(path) for path in self._sources]
            external = {} if self.external is None else {"external": as_rows(self.external)}
            written = {name: self.folder / name for name in (CHECKPOINT, MODEL)}
            models = {name: file_sha256(path) for name, path in written.items() if path.is_file()}
            record = {**self.identity, "sources": sources, "models": models, **external}
            write_text(self.folder / RECORD, json.dumps(record, indent=1))
            (self.folder / RESUME).unlink(missing_ok=True)

    @property
    def is_tracked(self) -> bool:
        """Whether metrics are recorded besides the folder."""
        return self._tracker is not None and self._tracker.is_on

    def stop_tracking(self, scores: Mapping[str, float], media: Mapping[str, Any]) -> None:
        """End the recording with a summary, the run's products, and tables and plots by name."""
        if self._tracker is not None:
            paths = [self.folder / name for name in (CHECKPOINT, LOGITS, MODEL)]
            self._tracker.finish(scores, [path for path in paths if path.exists()], media)
