"""What a search found, as tables, plots and a page: the Pareto front, the four systems that a team would hand in, and
the networks drawn at random beside it.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from data.errors import counted
from data.files import write_whole
from data.tables import write_table
from experiments.report.front import LABELS, TITLES, front_plot
from experiments.report.numbers import interval, nats, percent, word
from experiments.report.page import Grid, Plot, Section, write_page
from experiments.report.render import png
from experiments.report.terminal import Table
from experiments.runs.layout import REPORT
from experiments.search.front import Energy, Searched, on_front
from experiments.search.halving import Outcome, Plan
from experiments.search.published import Published
from experiments.search.results import Results
from experiments.settings.search import COSTS

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Searches:
    """A search that is over.

    Attributes:
        plan, outcome, results: what was searched, trained and found.
        published: whom the found systems are ranked among.
        energies: of the systems that are picked.
        costs: that the front is of, beside accuracy.
        budget: by the names of costs.
        command: how a system is trained in full.
    """

    plan: Plan
    outcome: Outcome
    results: Results
    published: Published
    energies: Sequence[Energy | None]
    costs: Sequence[str]
    budget: Mapping[str, float]
    command: Callable[[Searched], str]

    @cached_property
    def front(self) -> list[Searched]:
        """The found systems on it."""
        found = self.results.found
        return [system for system, is_best in zip(found, on_front(found, self.costs), strict=True) if is_best]

    @cached_property
    def picks(self) -> list[Searched]:
        """The best first."""
        return self.published.picks(self.results.found)

    def row(self, system: Searched) -> dict[str, object]:
        """Of front.csv."""
        found, energy = system.metrics, self._energy(system)
        low, high = found.interval or ("", "")
        return {
            "kind": system.kind,
            "range": system.place + 1,
            "network": system.network.words,
            "bits": system.bits,
            "front": system in self.front,
            "pick": self.picks.index(system) + 1 if system in self.picks else "",
            "accuracy": found.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
            "log_loss": found.log_loss,
            **{f"accuracy_{number}": value for number, value in enumerate(found.accuracies)},
            **system.cost._asdict(),
            "metered_millijoules": "" if energy is None else energy.millijoules,
            "metered_normalised": "" if energy is None else energy.normalised,
            "points": self.published.points(system),
            "trials": " ".join(system.trials),
        }

    def systems_grid(self) -> Grid:
        """The found systems, cheapest first."""
        rows = []
        for system in self.results.found:
            energy = self._energy(system)
            rows.append(
                [
                    f"{'* ' if system in self.front else ''}{system.name}",
                    _accuracy(system),
                    nats(system.metrics.log_loss),
                    *(word(value, 2) for value in system.cost),
                    "" if energy is None else f"{energy.millijoules:.1f} ({energy.normalised:.2f})",
                    f"{self.published.points(system):.2f}",
                ]
            )
        costs = [TITLES[name] for name in COSTS]
        title = f"Found, {counted(self.plan.seeds, 'seed')} each; *: on the Pareto front"
        return Grid(title, ["", "accuracy", "log loss", *costs, "mJ metered here (baseline's over it)", "points"], rows)

    def random_grid(self) -> Grid:
        """What was found beside what was drawn at random, for as many epochs."""
        by_place = {(each.kind, each.place): each for each in reversed(self.results.systems)}  # those with most bits
        rows = []
        for name, found in self.results.differences.items():
            place = int(name) - 1 if name.isdigit() else None
            both = [by_place[kind, place] for kind in LABELS] if place is not None else []
            rows.append(
                [
                    f"range {name}" if both else name,
                    *([each.name for each in both] or ["", ""]),
                    *([_accuracy(each) for each in both] or ["", ""]),
                    f"{100 * found.accuracy:+.1f}{_within(interval(found.accuracy_interval))}",
                    f"{found.log_loss:+.3f}{_within(interval(found.log_loss_interval, 1, 3))}",
                ]
            )
        columns = ["", "found", "at random", "accuracy", "and at random", "difference, points", "of log loss"]
        return Grid("Beside the best of networks drawn at random, for as many epochs", columns, rows)

    def picks_grid(self) -> Grid:
        """The four systems that can expect the best rank, and how each is trained in full."""
        rows = [[each.name, f"{self.published.points(each):.2f}", self.command(each)] for each in self.picks]
        return Grid("Those that can expect the best rank", ["", "points", "trained in full by"], rows)

    def trainings_grid(self) -> Grid:
        """How many networks were trained how long."""
        rungs = self.outcome.rungs
        rows = [[f"{trials[0].epochs} epochs", f"{len(trials)}"] for trials in rungs]
        epochs = sum(trial.epochs for trials in rungs for trial in trials)
        random = self.plan.drawn * len(self.outcome.control)
        rows.append(["epochs of the search, by one seed", f"{epochs}"])
        rows.append(["epochs of networks drawn at random, by one seed", f"{random * self.plan.epochs}"])
        return Grid("Trainings", ["", "networks"], rows)

    def _energy(self, system: Searched) -> Energy | None:
        return self.energies[self.picks.index(system)] if system in self.picks else None


def _accuracy(system: Searched) -> str:
    return f"{percent(system.metrics.accuracy)}{_within(interval(system.metrics.interval))}"


def _within(edges: str) -> str:
    return edges and f" ({edges})"


def publish(folder: Path, about: Searches) -> None:
    """Write front.csv, front.png and report.html, and print the tables."""
    title, results = f"search {folder.name}", about.results
    columns = {name: [row[name] for row in map(about.row, results.systems)] for name in about.row(results.systems[0])}
    write_table(folder / "front.csv", columns, separator=",")
    figure = front_plot(results.systems, about.costs, about.budget)
    write_whole(folder / "front.png", png(figure))
    names = ", ".join(TITLES[cost] for cost in about.costs)
    summary = f"{len(about.front)} of {len(results.found)} systems are on the Pareto front of accuracy, {names}."
    plot = Plot("Accuracy over costs", "Intervals of 95 % over recordings. A ring: on the front.", figure, title)
    grids = [about.systems_grid(), *([about.random_grid()] if results.random else []), about.picks_grid()]
    others = about.published
    remarks = [
        "Accuracies are of the clips held out, by trainings that may be shorter than the recipe's. No clip of the test "
        "split was read.",
        f"Points: what a system can expect by the rule of {others.year} among {len(others.others)} published systems, "
        "if its accuracy is normally distributed with its interval. Published accuracies are of other clips.",
    ]
    lead = [*grids, about.trainings_grid()]
    write_page(folder / REPORT, title, [Section(title, summary, plots=[plot], lead=lead, remarks=remarks)])
    Console().print(
        _short(about.systems_grid(), ("", "accuracy", "log loss", "bytes", TITLES["macs"], "cycles", "points"))
    )
    for grid in [about.random_grid()] if results.random else []:
        Console().print(_short(grid, ("", "found", "at random", *grid.columns[-2:])))
    for number, system in enumerate(about.picks, start=1):
        log.info("pick %d, %.2f points: %s", number, about.published.points(system), about.command(system))
    log.info("%s %s", summary, folder / REPORT)


def _short(grid: Grid, columns: Sequence[str]) -> Table:
    """Some columns of a grid for a terminal."""
    table, numbers = Table(grid.title), [[*grid.columns].index(column) for column in columns]
    for column in columns:
        table.add_column(column, justify="left" if column in ("", "found", "at random") else "right", overflow="fold")
    for row in grid.rows:
        table.add_row(*(row[number] for number in numbers))
    return table
