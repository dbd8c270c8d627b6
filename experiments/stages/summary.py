"""The summary stage: several runs of many seeds: means with their intervals, and paired differences to a reference."""

import json
import logging

from rich.console import Console

from data.errors import UserError, counted, listed
from experiments.evaluation.results import read_results
from experiments.evaluation.seeds import all_metrics, caveats, doubts_about, group, headline, reference_of
from experiments.report.page import Section, write_page
from experiments.report.summary import (
    all_grid,
    scene_grids,
    scenes_table,
    summary_csv,
    summary_grids,
    summary_markdown,
    summary_of,
    summary_plots,
    summary_table,
    with_titles,
)
from experiments.report.terminal import print_whole
from experiments.runs.claims import claim
from experiments.runs.layout import REPORT, matches, write_text
from experiments.settings.shared import Settings
from experiments.settings.stages import Summary
from experiments.stages.whereabouts import layout_of

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    if settings.of(Summary).runs is None:
        raise UserError(
            "the summary stage needs the run folders: summary.runs=runs/student/mine-* or a list [a,b] of them; or put "
            "it behind the stages whose runs it is to average: -m stage.steps=[student,summary] seed=0,1,2"
        )


def run(settings: Settings) -> None:
    """Summarise the runs of `summary.runs`; write summary.json, summary.csv, summary.md and report.html, always anew;
    print the tables."""
    asked = settings.of(Summary)
    results, unfinished = read_results(matches("summary.runs", asked.runs))
    groups = group(results)
    reference, metrics = reference_of(groups, asked.reference), all_metrics(groups)
    if not headline(metrics):
        raise UserError(f"no metric of a test split is in the runs' score.json:\n{listed([r.folder for r in results])}")
    warnings = [f"{folder} is unfinished and left out" for folder in unfinished]
    warnings += doubts_about(groups) + caveats(groups, reference)
    summary = summary_of(groups, reference, metrics) | {"unfinished": unfinished, "warnings": warnings}
    grids, by_scene = summary_grids(summary), scene_grids(summary)

    folder = layout_of(settings).folder("summary")
    claim(folder)
    write_text(folder / "summary.json", json.dumps(summary, indent=1))
    write_text(folder / "summary.csv", summary_csv(summary))
    write_text(folder / "summary.md", summary_markdown([*map(with_titles, grids), *by_scene], warnings))
    extent = f"{counted(len(results), 'run')} in {counted(len(groups), 'setting')}"
    title, about = f"summary {folder.name}", f"{extent}, averaged over seeds."
    tables, drawn = [with_titles(grid) for grid in grids], summary_plots(summary)
    tables, more = [*tables, *by_scene], [all_grid(summary)]
    write_page(folder / REPORT, title, [Section(title, about, lead=tables, plots=drawn, grids=more, remarks=warnings)])
    for grid in grids:
        Console().print(summary_table(grid))
    for grid in by_scene if asked.by_device else []:
        print_whole(scenes_table(grid))
    for warning in warnings:
        log.warning("%s", warning)
    log.info("summary of %s: %s", extent, folder)
