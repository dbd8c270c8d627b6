"""stage=report: several runs on one page, side by side and each in full."""

import logging
from pathlib import Path

from data.errors import UserError, listed
from experiments.report.comparison import comparison_of
from experiments.report.dashboard import media_of
from experiments.report.page import write_page
from experiments.report.sections import section_of
from experiments.runs.layout import REPORT, matches
from experiments.runs.reader import is_run, read_run
from experiments.runs.tracking import Tracker
from experiments.settings.shared import Settings
from experiments.settings.stages import Report
from experiments.stages.context import layout_of

CHAIN = ("teacher", "ensemble", "student", "quantize", "score", "energy")  # what one name may have

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Write runs/report/<name>/report.html of the runs of `report.runs`; without it, of all runs of the name."""
    layout, named, tracking = layout_of(settings), settings.of(Report).runs, settings.tracking
    if named is None:
        folders = [path for stage in CHAIN if is_run(path := layout.folder(stage))]
        if not folders:
            raise UserError(
                f"there is no finished run named {settings.name} in {settings.runs}: give another name=..., "
                "or report.runs=runs/student/mine-* or a list [a,b] of run folders"
            )
    else:
        folders = _finished(matches("report.runs", named))
    runs = [read_run(folder) for folder in folders]
    here = layout.folder("report")
    here.mkdir(parents=True, exist_ok=True)
    anchors = {one.folder.resolve(): f"run-{number}" for number, one in enumerate(runs, 1)}
    sections = [section_of(one, here, anchors) for one in runs]
    if len(runs) > 1:
        sections.insert(0, comparison_of(runs, anchors))
    path = write_page(here / REPORT, f"report {here.name}", sections)
    shown = {"runs": [str(folder) for folder in folders]}
    tracker = Tracker(
        tracking.kind,
        project=tracking.project,
        entity=tracking.entity,
        stage="report",
        name=here.name,
        folder=here,
        config=shown,
    )
    if tracker.is_on:
        tracker.finish({}, media=media_of(sections[0]))
    log.info("report of %d runs: %s", len(runs), path)


def _finished(folders: list[Path]) -> list[Path]:
    """Without those that are not finished, which is said.

    Raises:
        UserError: none is.
    """
    folders = list({folder.resolve(): folder for folder in folders}.values())
    if unfinished := [str(folder) for folder in folders if not is_run(folder)]:
        if len(unfinished) == len(folders):
            raise UserError(f"report.runs names no finished run:\n{listed(unfinished)}\nrun their stages first")
        log.warning("no finished runs, and left out:\n%s", listed(unfinished))
    return [folder for folder in folders if is_run(folder)]
