"""A ranking of systems as tables, as a page, and as a plot of accuracy over costs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.tables import write_table
from experiments.evaluation.entrants import of_parts
from experiments.evaluation.ranking import WEIGHTS, Standing, System, over_limits, pareto
from experiments.report.numbers import percent
from experiments.report.page import Grid, Plot, Section, write_page
from experiments.report.terminal import Table
from experiments.report.trade_off import Point, trade_off
from experiments.runs.layout import REPORT, write_text
from students.limits import LIMITS

SHORT = {"development": "dev", "evaluation": "eval", "": ""}
COLUMNS = ("place", "points", *(f"rank_{f}" for f in WEIGHTS), "pareto", *System._fields)


def row_of(standing: Standing) -> dict[str, Any]:
    """A line of ranking.csv."""
    system = standing.system._asdict()
    ranks = {f"rank_{name}": standing.ranks.get(name, "") for name in WEIGHTS}
    return {"place": standing.place, "points": standing.points, **ranks, "pareto": standing.pareto, **system}


def ranking_table(standings: Sequence[Standing], rule: str) -> Table:
    """Accuracy and costs with their ranks, by a rule in words; own systems are marked >, those on the Pareto front *,
    and accuracies that were chosen by the test split ~."""
    marks = ">: your own; *: nobody is as good in all three and better in one; ~: chosen by the test split"
    out = Table(rule, caption=f"in brackets: the rank; {marks}")
    for column in ("place", "system", "points", "accuracy", "of", "bytes", "MACs", "front"):
        out.add_column(column, justify="left" if column == "system" else "right", overflow="fold")
    for standing in standings:
        s, ranks = standing.system, standing.ranks
        out.add_row(
            f"{'> ' if s.own else ''}{standing.place}",
            s.name,
            f"{standing.points:.2f}",
            f"{'~' if s.selected_on else ''}{100 * s.accuracy:.1f} % ({ranks['accuracy']})",
            SHORT[s.set],
            _cost(s.parameter_bytes, ranks.get("parameter_bytes")),
            _cost(s.macs, ranks.get("macs")),
            "*" if standing.pareto else "",
            style="bold" if s.own else None,
        )
    return out


def trade_off_of(systems: Sequence[System], page: str) -> Plot:
    """One's own systems among others, over what they cost; the front is of those within the limits."""
    systems = [system for system in systems if None not in (system.parameter_bytes, system.macs)]
    allowed = [system for system in systems if not over_limits(system)]
    front = {system.name for system, best in zip(allowed, pareto(allowed), strict=True) if best}
    points = []
    for s in sorted(systems, key=lambda system: not system.own):
        name = Path(s.name).name if s.own else s.name
        label = name.split(",")[0] if s.own or s.name in front else ""
        group = "own" if s.own else f"published, {s.set or 'unknown'} set"
        costs = s.parameter_bytes or 0, s.macs or 0
        points.append(Point(name, s.accuracy, *costs, group, s.name in front, label))
    parts = of_parts([s for s in systems if s.own])
    caption = (
        "A ring: no other is as good in all three and better in one. Accuracies of different sets, and of years with "
        f"other train sets, do not compare.{f' {parts[0].upper()}{parts[1:]}.' if parts else ''}"
    )
    return Plot("Accuracy over costs", caption, trade_off(points, LIMITS), page)


def write_ranking(
    folder: Path, standings: Sequence[Standing], excluded: Mapping[str, str], warnings: Sequence[str]
) -> None:
    """Write ranking.csv and ranking.json.

    Args:
        folder: of the run.
        standings: the ranking.
        excluded: systems that are not ranked, and why.
        warnings: in words.
    """
    rows = [row_of(standing) for standing in standings]
    content = {"systems": rows, "not_ranked": dict(excluded), "warnings": list(warnings)}
    write_table(folder / "ranking.csv", {column: [row[column] for row in rows] for column in COLUMNS}, separator=",")
    write_text(folder / "ranking.json", json.dumps(content, indent=1))


def write_ranking_page(folder: Path, standings: Sequence[Standing], remarks: Sequence[str], rule: str) -> None:
    """Write report.html: the remarks, a plot of accuracy over costs, and the table, by a rule in words."""
    rows = [
        [
            f"{'> ' if standing.system.own else ''}{standing.place}. {standing.system.name}",
            f"{standing.points:.2f}",
            f"{'~' if standing.system.selected_on else ''}{percent(standing.system.accuracy)}",
            standing.system.set,
            _cost(standing.system.parameter_bytes),
            _cost(standing.system.macs),
            "yes" if standing.pareto else "",
            standing.system.source,
        ]
        for standing in standings
    ]
    columns = ["", "points", "accuracy", "of", "bytes", "multiply-accumulates", "Pareto front", "source"]
    title = f"ranking {folder.name}"
    summary, *more = remarks or [""]
    drawn = [trade_off_of([standing.system for standing in standings], title)] if standings else []
    grids = [Grid(f"{rule}; ~: chosen by the test split", columns, rows)]
    write_page(folder / REPORT, title, [Section(title, summary, plots=drawn, lead=grids, remarks=more)])


def _cost(value: int | None, place: int | None = None) -> str:
    """A cost, and its rank in brackets."""
    return "" if value is None else f"{value:,}{'' if place is None else f' ({place})'}"
