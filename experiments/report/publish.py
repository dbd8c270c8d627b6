"""The end of a run: its scores and record, its page, and what is recorded of it elsewhere."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from data.errors import UserError
from experiments.distributed.processes import is_first
from experiments.evaluation.multi_label import TITLES
from experiments.report import dashboard, sections
from experiments.runs.layout import REPORT, SCORES
from experiments.runs.lineage import first_phase_by
from experiments.runs.reader import is_run, read_scores
from experiments.runs.record import Run

CHOSEN_BY = ("accuracy", "log_loss", *TITLES, "divergence")  # of the clips held out, as far as there are labels

log = logging.getLogger(__name__)


def publish(run: Run, scores: Mapping[str, float]) -> None:
    """Write report.html of a finished run; tables and plots go where its metrics are recorded.

    The run is finished without its page: whatever goes wrong with a page is only said. The first process does this.
    """
    if not is_first():
        return
    path, media = run.folder / REPORT, {}
    with only_said(f"{path} is not written", "then give the same command again, which writes it"):
        read, section = sections.write_report(run.folder)
        log.info("report: %s", path)
        if run.is_tracked:
            with only_said(f"W&B has no plots and tables of {run.folder}", f"they are in {path}"):
                media = dashboard.media_of(section, read)
    run.stop_tracking(dashboard.headline(scores), media)


@contextmanager
def only_said(what: str, remedy: str) -> Iterator[None]:
    """Say on one line what could not be done, whatever goes wrong."""
    try:
        yield
    except Exception as error:
        why = " ".join((str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}").split())
        log.warning("the run is finished, but %s (%s): mend that, %s", what, why, remedy)


def refresh(folder: Path) -> None:
    """Write the page of a finished run anew, for it links to what was made from the run since."""
    if is_first() and is_run(folder):
        with only_said(f"{folder / REPORT} is not written anew", "then run stage=report"):
            sections.write_report(folder)


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
    """Write the scores, mark the run complete, and publish it.

    A run with refit=true has no validation clips: settings are chosen by those that its first phase held out, whose
    metrics are added to the scores as held_out/..., as long as that run is there.
    """
    first = first_phase_by(run.folder, run.identity["inputs"])
    if first is not None and (first / SCORES).is_file():
        validated = read_scores(first / SCORES)
        chosen_by = {f"held_out/{name}": validated.get(f"validation/{name}") for name in CHOSEN_BY}
        scores = {**scores, **{name: value for name, value in chosen_by.items() if value is not None}}
    run.finish(scores)
    publish(run, scores)
