"""stage=rank: where one's own systems would stand among others, by the challenge's formula.

Conventions: the table of systems has the columns name, accuracy (a share from 0 to 1), parameter_bytes and macs, and
may have set (development: its test split; evaluation) and source. Without one, the published systems of 2023 that come
with the code are taken. Systems over the limits are named and not ranked, as the organisers do.
"""

import csv
import dataclasses
import io
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.errors import UserError, listed
from data.tables import read_table
from experiments.paths import RECORD, REPORT, SCORES, existing, folder_of, matches, write_text
from experiments.ranking import WEIGHTS, Standing, System, over_limits, pareto, rank
from experiments.report import figures
from experiments.report.page import Grid, Picture, Section, percent, write_page
from students.limits import LIMITS

PUBLISHED = Path(__file__).parent / "published_2023.csv"
SETS = {"development": "the development set's test split", "evaluation": "the evaluation set", "": "a set not named"}
COLUMNS = ("place", "points", *(f"rank_{f}" for f in WEIGHTS), "pareto", *(f.name for f in dataclasses.fields(System)))
FIGURES = {"accuracy": "test/accuracy", "parameter_bytes": "parameter_bytes", "macs": "macs"}  # names in score.json

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Rank the systems of `cfg.systems` and the runs of `cfg.rank.runs`; write ranking.csv, ranking.json and
    report.html, always anew; print the table."""
    path = PUBLISHED if cfg.systems is None else cfg.systems
    own = read_runs(_runs(cfg))
    systems = [*read_systems(path), *own]
    if twice := sorted({s.name for s in own} & {s.name for s in systems if not s.own}):
        raise UserError(f"{path} has systems of your runs' names:\n{listed(twice)}\nrename them there")
    excluded = {s.name: "; ".join(over) for s in systems if (over := over_limits(s))}
    standings = rank([s for s in systems if s.name not in excluded])
    warnings = caveats(standings)
    if not own:
        warnings.append("no system of your own is ranked: name runs with rank.runs=runs/quantize/NAME")

    folder = folder_of(cfg, "rank")
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row(standing) for standing in standings]
    content = {"systems": rows, "over_limits": excluded, "warnings": warnings}
    write_text(folder / "ranking.csv", _as_csv(rows))
    write_text(folder / "ranking.json", json.dumps(content, indent=1))
    places = [f"{s.system.name} would be number {s.place} of {len(standings)}" for s in standings if s.system.own]
    warnings = [*(f"not ranked: {name} has {why}" for name, why in excluded.items()), *warnings]
    _page(folder, standings, [*places, *(f"{warning[0].upper()}{warning[1:]}" for warning in warnings)])
    if standings:
        Console().print(table(standings))
    for warning in warnings:
        log.warning("%s", warning)
    for place in places:
        log.info("%s", place)
    log.info("%s", folder)


def read_systems(path: str | Path) -> list[System]:
    """The systems of a table.

    Raises:
        UserError: it is no such table, or empty, or has names twice, figures out of range or unknown sets: all listed.
    """
    columns = read_table(path, ["name", *WEIGHTS])
    systems, wrong = [], []
    for number, values in enumerate(zip(*columns.values(), strict=True), start=1):
        texts = {key: text.strip() for key, text in zip(columns, values, strict=True)}
        name, kind = texts["name"], texts.get("set", "")
        at = f"system {number}, {name!r}"
        figures = {key: _figure(key, texts[key]) for key in WEIGHTS}
        wrong += [f"{at}: {value}" for value in figures.values() if isinstance(value, str)]
        if not name or not name.isprintable():
            wrong.append(f"{at}: it needs a name")
        if kind not in SETS:
            wrong.append(f"{at}: set {kind!r} is none of {', '.join(filter(None, SETS))}")
        systems.append(System(name, **figures, set=kind, source=texts.get("source", "")))
    names = [system.name for system in systems]
    wrong += [f"{name!r}: there {names.count(name)} times" for name in dict.fromkeys(names) if names.count(name) > 1]
    if not systems:
        wrong.append("it holds no system")
    if wrong:
        raise UserError(f"{path} has {len(wrong)} defects:\n{listed(wrong)}")
    return systems


def read_runs(folders: Sequence[Path]) -> list[System]:
    """One's own systems, of finished runs; each is named by its folder.

    Raises:
        UserError: folders that are no finished runs of a quantised student; every one is listed.
    """
    systems, wrong = [], []
    for folder in {path.resolve(): path for path in folders}.values():
        try:
            scores = json.loads((folder / SCORES).read_text())
            figures = {key: _figure(key, str(scores[name])) for key, name in FIGURES.items()}
        except OSError:
            wrong.append(f"{folder}: it has no {SCORES}")
            continue
        except (ValueError, KeyError, TypeError):
            wrong.append(f"{folder}: its {SCORES} lacks one of {', '.join(FIGURES.values())}, or is damaged")
            continue
        wrong += [f"{folder}: {value}" for value in figures.values() if isinstance(value, str)]
        if not (folder / RECORD).is_file():
            wrong.append(f"{folder}: it is unfinished")
        systems.append(System(str(folder), **figures, set="development", source="own run", own=True))
    if wrong:
        raise UserError(
            f"rank.runs must name finished runs of stage=quantize:\n{listed(wrong)}\nrun stage=quantize again"
        )
    return systems


def caveats(standings: Sequence[Standing]) -> list[str]:
    """What a reader must know: accuracies of several sets stand in one column, and whose are of which."""
    names = {kind: [s.system.name for s in standings if s.system.set == kind] for kind in SETS}
    names = {kind: found for kind, found in names.items() if found}
    found = []
    if len(names) > 1:
        of = "; ".join(f"{SETS[kind]}: {', '.join(members)}" for kind, members in names.items())
        found.append(f"accuracies of different sets are compared here, which the organisers would not do: {of}")
    if any(s.system.own for s in standings):
        found.append(
            "your accuracies are of the test split that your runs were given, maybe not the whole official one"
        )
    return found


def row(standing: Standing) -> dict[str, Any]:
    """A line of ranking.csv."""
    system = dataclasses.asdict(standing.system)
    ranks = {f"rank_{figure}": value for figure, value in standing.ranks.items()}
    return {"place": standing.place, "points": standing.points, **ranks, "pareto": standing.pareto, **system}


def table(standings: Sequence[Standing]) -> Table:
    """Figures with their ranks; own systems are marked >, those on the Pareto front *."""
    out = Table(title="0.5 rank of accuracy + 0.25 of memory + 0.25 of multiply-accumulates")
    for column in ("place", "system", "points", "accuracy", "bytes", "MACs", "front"):
        out.add_column(column, justify="left" if column == "system" else "right", overflow="fold")
    for standing in standings:
        s, ranks = standing.system, standing.ranks
        out.add_row(
            f"{'> ' if s.own else ''}{standing.place}",
            escape(s.name),
            f"{standing.points:.2f}",
            f"{100 * s.accuracy:.1f} % ({ranks['accuracy']})",
            f"{s.parameter_bytes:,} ({ranks['parameter_bytes']})",
            f"{s.macs:,} ({ranks['macs']})",
            "*" if standing.pareto else "",
            style="bold" if s.own else None,
        )
    out.caption = "in brackets: the rank; >: your own; *: nobody is as good in all three and better in one"
    return out


def as_system(name: str, scores: Mapping[str, float]) -> System:
    """A run of one's own among those that are ranked."""
    figures = {figure: scores[key] for figure, key in FIGURES.items()}
    return System(name, **figures, set="development", source="own run", own=True)


def trade_off_of(systems: Sequence[System], page: str) -> Picture:
    """One's own systems among others, over what they cost; the front is of those within the limits."""
    allowed = [system for system in systems if not over_limits(system)]
    front = {system.name for system, best in zip(allowed, pareto(allowed), strict=True) if best}
    points = []
    for s in sorted(systems, key=lambda system: not system.own):
        name = Path(s.name).name.split(",")[0] if s.own or s.name in front else ""
        group = "own" if s.own else f"published, {s.set or 'unknown'} set"
        points.append(figures.Point(name, s.accuracy, s.parameter_bytes, s.macs, group, s.name in front))
    caption = "A ring: no other is as good in all three and better in one. Accuracies of different sets are not alike."
    return Picture("Accuracy over costs", caption, figures.trade_off(points, LIMITS), page)


def _page(folder: Path, standings: Sequence[Standing], remarks: Sequence[str]) -> None:
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
    pictures = [trade_off_of([standing.system for standing in standings], title)] if standings else []
    grids = [Grid("0.5 rank of accuracy + 0.25 of memory + 0.25 of multiply-accumulates", columns, rows)]
    write_page(folder / REPORT, title, [Section(title, summary, pictures=pictures, grids=grids)])


def _runs(cfg: DictConfig) -> list[Path]:
    """The folders of `cfg.rank.runs`; without it that of the same name, if it is there."""
    if cfg.rank.runs is not None:
        return matches("rank.runs", cfg.rank.runs)
    path = existing(cfg, "quantize", SCORES)
    return [path.parent] if path.exists() else []


def _figure(key: str, text: str) -> float | int | str:
    """The number that a text gives; or, as a text, what is wrong with it."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if key == "accuracy":
        return value if 0 <= value <= 1 else f"accuracy {text!r} is no share from 0 to 1 (58.7 % is 0.587)"
    if not (math.isfinite(value) and value.is_integer() and value >= 1):
        return f"{key} {text!r} is no whole number of at least 1"
    return int(value)


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
