"""stage=summary: several runs, many seeds: means with their intervals, and paired differences to a reference."""

import dataclasses
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.errors import UserError, listed
from experiments.evaluation.seeds import (
    LEVEL,
    Estimate,
    Result,
    Setting,
    caveats,
    estimate,
    figures_of,
    group,
    paired,
    reference_of,
)
from experiments.report.page import Grid, Section, write_page
from experiments.runs.layout import RECORD, REPORT, matches, write_text
from experiments.runs.reader import flat
from experiments.settings.shared import Settings
from experiments.settings.stages import Summary
from experiments.stages.context import layout_of

_FIRST = ("figure", "setting")
_COLUMNS = ("mean", "deviation", f"{100 * LEVEL:g} % interval")

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    if settings.of(Summary).runs is None:
        raise UserError(
            "the summary stage needs the run folders: summary.runs=runs/student/mine-* or a list [a,b] of them"
        )


def run(settings: Settings) -> None:
    """Summarise the runs of `summary.runs`; write summary.json, summary.md and report.html, always
    anew; print the tables."""
    asked = settings.of(Summary)
    results, unfinished = read(matches("summary.runs", asked.runs))
    groups = group(results)
    reference, figures = reference_of(groups, asked.reference), figures_of(groups)
    if not figures:
        raise UserError(f"no figure of a test split is in the runs' score.json:\n{listed([r.folder for r in results])}")
    warnings = [f"{folder} is unfinished and left out" for folder in unfinished] + caveats(groups, reference)
    content = contents(groups, reference, figures) | {"unfinished": unfinished, "warnings": warnings}
    reports = [table_of_settings(content), *([table_of_differences(content)] if len(groups) > 1 else [])]

    folder = layout_of(settings).folder("summary")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "summary.json", json.dumps(content, indent=1))
    write_text(folder / "summary.md", markdown(reports, warnings))
    words = [grid._replace(rows=[[_title(figure), *cells] for figure, *cells in grid.rows]) for grid in reports]
    title = f"summary {folder.name}"
    write_page(folder / REPORT, title, [Section(title, " ".join(f"{w}." for w in warnings), lead=words)])
    show(reports)
    for warning in warnings:
        log.warning("%s", warning)
    log.info("summary of %d runs in %d settings: %s", len(results), len(groups), folder)


def read(folders: Sequence[Path]) -> tuple[list[Result], list[str]]:
    """The finished runs, and the folders of those that are not finished.

    Raises:
        UserError: folders that are no runs, damaged files, or no finished run at all; every one is listed.
    """
    results, unfinished, wrong = [], [], []
    for folder in {path.resolve(): path for path in folders}.values():
        if not (folder / RECORD).is_file() and not (folder / "config.yaml").is_file():
            wrong.append(f"{folder} is no run: it has neither {RECORD} nor config.yaml")
        elif not (folder / RECORD).is_file():
            unfinished.append(str(folder))
        else:
            try:
                results.append(_result(folder))
            except UserError as error:
                wrong.append(str(error))
    if wrong:
        raise UserError(f"summary.runs must name folders of runs with a seed, runs/<stage>/<name>:\n{listed(wrong)}")
    if not results:
        raise UserError(f"none of these runs is finished:\n{listed(unfinished)}\nrun their stage again")
    return results, unfinished


def contents(settings: Sequence[Setting], reference: Setting, figures: Sequence[str]) -> dict[str, Any]:
    """What summary.json holds: label -> figure -> n, mean, deviation, low, high, of settings and of differences."""
    out: dict[str, Any] = {"level": LEVEL, "reference": reference.label, "settings": {}, "differences": {}}
    for s in settings:
        samples = {figure: s.sample(figure) for figure in figures}
        out["settings"][s.label] = {
            "runs": {seed: run.folder for seed, run in s.runs.items()},
            "figures": {
                f: {"values": sample, **dataclasses.asdict(estimate(list(sample.values())))}
                for f, sample in samples.items()
            },
        }
        if s is not reference:
            out["differences"][s.label] = {
                f: dataclasses.asdict(paired(sample, reference.sample(f))) for f, sample in samples.items()
            }
    return out


def table_of_settings(content: Mapping[str, Any]) -> Grid:
    """A row for each figure and setting."""
    rows = []
    for figure in _figures(content):
        for label, setting in content["settings"].items():
            given = {key: value for key, value in setting["figures"][figure].items() if key != "values"}
            rows.append([figure, label, *_cells(Estimate(**given), figure)])
    return Grid("mean over seeds", [*_FIRST, "seeds", *_COLUMNS], rows)


def table_of_differences(content: Mapping[str, Any]) -> Grid:
    """A row for each figure and setting but the reference."""
    rows = []
    for figure in _figures(content):
        for label, figures in content["differences"].items():
            cells = _cells(Estimate(**figures[figure]), figure, sign="+")
            rows.append([figure, label, *cells])
    title = f"paired differences to the reference: {content['reference']}"
    return Grid(title, [*_FIRST, "pairs", *_COLUMNS], rows)


def show(reports: Sequence[Grid]) -> None:
    """Print the tables, a section for each figure."""
    for report in reports:
        table = Table(title=escape(report.title), box=box.SIMPLE)
        table.add_column("setting", overflow="fold")
        for column in report.columns[len(_FIRST) :]:
            table.add_column(column, justify="right", no_wrap=True)
        last = None
        for figure, setting, *cells in report.rows:
            if figure != last:
                table.add_section()
                table.add_row(escape(_title(figure)))
            table.add_row(f"  {escape(setting)}", *cells)
            last = figure
        Console().print(table)


def markdown(reports: Sequence[Grid], warnings: Sequence[str]) -> str:
    """The tables and what is to be known of them."""
    lines = []
    for report in reports:
        lines += [f"### {report.title}", ""]
        edge = ["---"] * len(_FIRST) + ["---:"] * (len(report.columns) - len(_FIRST))
        for row in (report.columns, edge, *([_title(figure), *cells] for figure, *cells in report.rows)):
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |")
        lines.append("")
    return "\n".join([*lines, *(f"- {warning}" for warning in warnings)]).rstrip() + "\n"


def _figures(content: Mapping[str, Any]) -> list[str]:
    return list(next(iter(content["settings"].values()))["figures"])


def _cells(e: Estimate, figure: str, sign: str = "") -> list[str]:
    """n, mean, deviation, interval; accuracies in percent (their differences in percentage points)."""
    scale, digits = (100, 2) if "accuracy" in figure else (1, 4)

    def word(value: float | None, sign: str = "") -> str:
        return "-" if value is None else f"{scale * value:{sign}z.{digits}f}"

    interval = "-" if e.low is None else f"{word(e.low, sign)} to {word(e.high, sign)}"
    return [str(e.n), word(e.mean, sign), word(e.deviation), interval]


def _title(figure: str) -> str:
    """test/accuracy/group/unseen -> test accuracy, unseen (%)"""
    split, name, *rest = figure.split("/")
    unit = " (%)" if name == "accuracy" else ""
    subset = f", {rest[-1]} devices" if rest else ", macro" if unit else ""
    return f"{split} {name.replace('_', ' ')}{subset}{unit}"


def _result(folder: Path) -> Result:
    """A finished run's settings, inputs and scores.

    Raises:
        UserError: a file is missing or is not what it should be.
    """
    content = {}
    for name in (RECORD, "score.json"):
        try:
            content[name] = json.loads((folder / name).read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{folder / name} is damaged or missing ({error}): run the stage with force=true") from None
    record, scores = content[RECORD], content["score.json"]
    if not isinstance(record, Mapping) or not all(isinstance(record.get(k), Mapping) for k in ("settings", "inputs")):
        raise UserError(f"{folder / RECORD} is damaged: it must hold settings and inputs")
    if not isinstance(scores, Mapping) or not all(
        isinstance(value, int | float) and math.isfinite(value) for value in scores.values()
    ):
        raise UserError(f"{folder / 'score.json'} is damaged: it must be names with numbers")
    settings = flat(record["settings"])
    if not isinstance(seed := settings.pop("seed", None), int):
        raise UserError(f"{folder} depends on no seed: such runs have nothing to be averaged over")
    return Result(str(folder), seed, settings, record["inputs"], scores)
