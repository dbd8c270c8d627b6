"""A ranking of systems as tables, as a page, and as a plot of accuracy over costs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.tables import write_table
from experiments.evaluation.ranking import WEIGHTS, Standing, System, over_limits, pareto
from experiments.report import plots
from experiments.report.numbers import percent
from experiments.report.page import Grid, Plot, Section, write_page
from experiments.report.terminal import Table
from experiments.runs.layout import REPORT, write_text
from students.limits import LIMITS

COLUMNS = ("place", "points", *(f"rank_{f}" for f in WEIGHTS), "pareto", *System._fields)


def row_of(standing: Standing) -> dict[str, Any]:
    """A line of ranking.csv."""
    system = standing.system._asdict()
    ranks = {f"rank_{name}": value for name, value in standing.ranks.items()}
    return {"place": standing.place, "points": standing.points, **ranks, "pareto": standing.pareto, **system}


def ranking_table(standings: Sequence[Standing]) -> Table:
    """Accuracy and costs with their ranks; own systems are marked >, those on the Pareto front *."""
    out = Table(
        "0.5 rank of accuracy + 0.25 of memory + 0.25 of multiply-accumulates",
        caption="in brackets: the rank; >: your own; *: nobody is as good in all three and better in one",
    )
    for column in ("place", "system", "points", "accuracy", "bytes", "MACs", "front"):
        out.add_column(column, justify="left" if column == "system" else "right", overflow="fold")
    for standing in standings:
        s, ranks = standing.system, standing.ranks
        out.add_row(
            f"{'> ' if s.own else ''}{standing.place}",
            s.name,
            f"{standing.points:.2f}",
            f"{100 * s.accuracy:.1f} % ({ranks['accuracy']})",
            f"{s.parameter_bytes:,} ({ranks['parameter_bytes']})",
            f"{s.macs:,} ({ranks['macs']})",
            "*" if standing.pareto else "",
            style="bold" if s.own else None,
        )
    return out


def trade_off_of(systems: Sequence[System], page: str) -> Plot:
    """One's own systems among others, over what they cost; the front is of those within the limits."""
    allowed = [system for system in systems if not over_limits(system)]
    front = {system.name for system, best in zip(allowed, pareto(allowed), strict=True) if best}
    points = []
    for s in sorted(systems, key=lambda system: not system.own):
        name = Path(s.name).name.split(",")[0] if s.own or s.name in front else ""
        group = "own" if s.own else f"published, {s.set or 'unknown'} set"
        points.append(plots.Point(name, s.accuracy, s.parameter_bytes, s.macs, group, s.name in front))
    caption = "A ring: no other is as good in all three and better in one. Accuracies of different sets do not compare."
    return Plot("Accuracy over costs", caption, plots.trade_off(points, LIMITS), page)


def write_ranking(
    folder: Path, standings: Sequence[Standing], excluded: Mapping[str, str], warnings: Sequence[str]
) -> None:
    """Write ranking.csv and ranking.json.

    Args:
        folder: of the run.
        standings: the ranking.
        excluded: systems over the limits, and why they are not ranked.
        warnings: in words.
    """
    rows = [row_of(standing) for standing in standings]
    content = {"systems": rows, "over_limits": dict(excluded), "warnings": list(warnings)}
    write_table(folder / "ranking.csv", {column: [row[column] for row in rows] for column in COLUMNS}, separator=",")
    write_text(folder / "ranking.json", json.dumps(content, indent=1))


def write_ranking_page(folder: Path, standings: Sequence[Standing], remarks: Sequence[str]) -> None:
    """Write report.html: the remarks, a plot of accuracy over costs, and the table."""
    rows = [
        [
            f"{'> ' if standing.system.own else ''}{standing.place}. {standing.system.name}",
            f"{standing.points:.2f}",
            percent(standing.system.accuracy),
            f"{standing.system.parameter_bytes:,}",
            f"{standing.system.macs:,}",
            "yes" if standing.pareto else "",
            standing.system.source,
        ]
        for standing in standings
    ]
    columns = ["", "points", "accuracy", "bytes", "multiply-accumulates", "Pareto front", "source"]
    title = f"ranking {folder.name}"
    summary = " ".join(f"{remark}." for remark in remarks)
    drawn = [trade_off_of([standing.system for standing in standings], title)] if standings else []
    grids = [Grid("0.5 rank of accuracy + 0.25 of memory + 0.25 of multiply-accumulates", columns, rows)]
    write_page(folder / REPORT, title, [Section(title, summary, plots=drawn, grids=grids)])
