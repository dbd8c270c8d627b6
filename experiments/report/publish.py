"""The end of a run: its scores and record, its page, and what is recorded of it elsewhere."""

import logging
from collections.abc import Mapping

from data.errors import UserError
from experiments.distributed.processes import is_first
from experiments.report import dashboard, sections
from experiments.runs.layout import REPORT
from experiments.runs.record import Run

log = logging.getLogger(__name__)


def publish(run: Run, scores: Mapping[str, float]) -> None:
    """Write report.html of a finished run; tables and plots go where its metrics are recorded.

    A result is there without its page: what is wrong with a page is only said. The first process does this.
    """
    if not is_first():
        return
    media = {}
    try:
        read, section = sections.write_report(run.folder)
        log.info("report: %s", run.folder / REPORT)
        media = dashboard.media_of(section, read) if run.is_tracked else {}
    except (UserError, OSError) as error:
        log.warning("no report: %s", error)
    run.stop_tracking(scores, media)


def is_done(run: Run, *files: str) -> bool:
    """Whether a run's results are there already; then its page is too.

    Raises:
        UserError: results of other settings or inputs are there.
    """
    done = run.is_done(*files)
    if done and is_first() and not (run.folder / REPORT).is_file():
        publish(run, {})
    return done


def finish(run: Run, scores: Mapping[str, float]) -> None:
    """Write the scores, mark the run complete, and publish it."""
    run.finish(scores)
    publish(run, scores)
