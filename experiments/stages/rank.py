"""The rank stage: where one's own systems would stand among others, by the rule of a year's challenge.

Conventions: systems over the limits, or of which the rule needs what is not known, are named and not ranked.
"""

import logging
from pathlib import Path

from rich.console import Console

from data.errors import UserError, listed
from experiments.evaluation.entrants import caveats, entrants, reasons_of, rule_of, weights_of
from experiments.evaluation.ranking import rank
from experiments.evaluation.systems import PUBLISHED, read_runs, read_systems
from experiments.report.ranking import ranking_table, write_ranking, write_ranking_page
from experiments.runs.claims import claim
from experiments.runs.layout import SCORES, matches
from experiments.settings.shared import Settings
from experiments.settings.stages import Rank
from experiments.stages.whereabouts import layout_of

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    if (path := settings.of(Rank).systems) is not None:
        read_systems(path)


def run(settings: Settings) -> None:
    """Rank the systems of `rank.systems` and the runs of `rank.runs`; write ranking.csv, ranking.json and
    report.html, always anew; print the table."""
    asked = settings.of(Rank)
    path = PUBLISHED if asked.systems is None else asked.systems
    own = read_runs(_runs(settings))
    systems = [*read_systems(path), *own]
    if twice := sorted({s.name for s in own} & {s.name for s in systems if not s.own}):
        raise UserError(f"{path} has systems of your runs' names:\n{listed(twice)}\nrename them there")
    found, excluded = entrants(systems, asked.year, asked.set)
    standings, rule = rank(found, weights_of(asked.year)), f"{asked.year}: {rule_of(asked.year)}"
    warnings = caveats(standings, asked.year)
    if not own:
        warnings.append("no system of your own is ranked: name runs with rank.runs=runs/quantize/NAME")

    folder = layout_of(settings).folder("rank")
    claim(folder)
    write_ranking(folder, standings, excluded, warnings)
    places = [f"{s.system.name} would be number {s.place} of {len(standings)}" for s in standings if s.system.own]
    warnings = [*reasons_of(excluded), *warnings]
    remarks = [*places, *(f"{warning[0].upper()}{warning[1:]}" for warning in warnings)]
    write_ranking_page(folder, standings, remarks, rule)
    if standings:
        Console().print(ranking_table(standings, rule))
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
