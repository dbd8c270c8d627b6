"""The rank stage: where one's own systems would stand among others, by the challenge's formula.

Conventions: systems over the limits are named and not ranked, as the organisers do.
"""

import json
import logging
from pathlib import Path

from rich.console import Console

from data.errors import UserError, listed
from data.tables import write_table
from experiments.evaluation.ranking import over_limits, rank
from experiments.evaluation.systems import PUBLISHED, caveats, read_runs, read_systems
from experiments.report.ranking import COLUMNS, row_of, table, write_ranking_page
from experiments.runs.layout import SCORES, matches, write_text
from experiments.settings.shared import Settings
from experiments.settings.stages import Rank
from experiments.stages.context import layout_of

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Rank the systems of `rank.systems` and the runs of `rank.runs`; write ranking.csv, ranking.json and
    report.html, always anew; print the table."""
    asked = settings.of(Rank)
    path = PUBLISHED if asked.systems is None else asked.systems
    own = read_runs(_runs(settings))
    systems = [*read_systems(path), *own]
    if twice := sorted({s.name for s in own} & {s.name for s in systems if not s.own}):
        raise UserError(f"{path} has systems of your runs' names:\n{listed(twice)}\nrename them there")
    excluded = {s.name: "; ".join(over) for s in systems if (over := over_limits(s))}
    standings = rank([s for s in systems if s.name not in excluded])
    warnings = caveats(standings)
    if not own:
        warnings.append("no system of your own is ranked: name runs with rank.runs=runs/quantize/NAME")

    folder = layout_of(settings).folder("rank")
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row_of(standing) for standing in standings]
    content = {"systems": rows, "over_limits": excluded, "warnings": warnings}
    columns = {column: [row[column] for row in rows] for column in COLUMNS}
    write_table(folder / "ranking.csv", columns, separator=",")
    write_text(folder / "ranking.json", json.dumps(content, indent=1))
    places = [f"{s.system.name} would be number {s.place} of {len(standings)}" for s in standings if s.system.own]
    warnings = [*(f"not ranked: {name} has {why}" for name, why in excluded.items()), *warnings]
    write_ranking_page(folder, standings, [*places, *(f"{warning[0].upper()}{warning[1:]}" for warning in warnings)])
    if standings:
        Console().print(table(standings))
    for warning in warnings:
        log.warning("%s", warning)
    for place in places:
        log.info("%s", place)
    log.info("%s", folder)


def _runs(settings: Settings) -> list[Path]:
    """The folders of `rank.runs`; without it that of the same name, if it is there."""
    if (named := settings.of(Rank).runs) is not None:
        return matches("rank.runs", named)
    path = layout_of(settings).existing("quantize", SCORES)
    return [path.parent] if path.exists() else []
