"""The report stage: several runs on one page, side by side and each in full."""

import logging
from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError, listed
from experiments.report.comparison import sections_of
from experiments.report.dashboard import media_of
from experiments.report.page import Section, write_page
from experiments.report.publish import only_said
from experiments.runs.claims import claim
from experiments.runs.layout import REPORT, matches
from experiments.runs.reader import is_run, read_run
from experiments.runs.tracking import Tracker
from experiments.settings.shared import Settings
from experiments.settings.stages import Report
from experiments.stages.whereabouts import layout_of

# The stages whose runs may share a name.
CHAIN = ("teacher", "ensemble", "student", "specialize", "quantize", "deploy", "score", "energy")

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Write runs/report/<name>/report.html of the runs of `report.runs`; without it, of all runs of the name."""
    runs = [read_run(folder) for folder in _folders(settings)]
    here = layout_of(settings).folder("report")
    claim(here)
    sections = sections_of(runs, here)
    path = write_page(here / REPORT, f"report {here.name}", sections, embed=settings.of(Report).embed)
    _record(settings, here, [str(run.folder) for run in runs], sections[0])
    log.info("report of %d runs: %s", len(runs), path)


def _folders(settings: Settings) -> list[Path]:
    """Of the runs that are shown; a warning names those that are not finished.

    Raises:
        UserError: there is none.
    """
    layout, named = layout_of(settings), settings.of(Report).runs
    if named is None:
        folders = [path for stage in CHAIN if is_run(path := layout.folder(stage))]
        if not folders:
            raise UserError(
                f"there is no finished run named {settings.name} in {settings.runs}: give another name=..., "
                "or report.runs=runs/student/mine-* or a list [a,b] of run folders"
            )
        return folders
    folders = list({folder.resolve(): folder for folder in matches("report.runs", named)}.values())
    if unfinished := [str(folder) for folder in folders if not is_run(folder)]:
        if len(unfinished) == len(folders):
            raise UserError(f"report.runs names no finished run:\n{listed(unfinished)}\nrun their stages first")
        log.warning("no finished runs, and left out:\n%s", listed(unfinished))
    return [folder for folder in folders if is_run(folder)]


def _record(settings: Settings, here: Path, folders: Sequence[str], section: Section) -> None:
    """Record the first section's plots and tables, where metrics are recorded."""
    tracking = settings.tracking
    tracker = Tracker(
        tracking.kind,
        project=tracking.project,
        entity=tracking.entity,
        stage="report",
        name=here.name,
        folder=here,
        config={"runs": folders},
    )
    if tracker.is_on:
        with only_said(f"W&B has no plots and tables of {here}", f"they are in {here / REPORT}"):
            tracker.finish({}, media=media_of(section))
