"""The statistics over seeds as JSON, as tables on a terminal and a page, and as Markdown.

Conventions: accuracies are shown in percent and their differences in percentage points, log losses in nats.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box

from experiments.evaluation.seeds import FEWEST, LEVEL, Estimate, Setting, estimate, paired
from experiments.report.estimates import Estimated, estimates
from experiments.report.page import Grid, Plot
from experiments.report.terminal import Table

LABELS = ("metric", "setting")  # the first columns
TOO_FEW = "too few"  # seeds for an interval
STATISTICS = ("mean", "deviation", f"{100 * LEVEL:g} % interval")  # the last ones


def summary_of(settings: Sequence[Setting], reference: Setting, metrics: Sequence[str]) -> dict[str, Any]:
    """What summary.json holds: label -> metric -> n, mean, deviation, low, high, of settings and of differences.

    Args:
        settings: groups of runs that differ in the seed only.
        reference: the one of them that the others are compared with.
        metrics: names in score.json.
    """
    found: dict[str, Any] = {"level": LEVEL, "reference": reference.label, "settings": {}, "differences": {}}
    for setting in settings:
        samples = {metric: setting.sample(metric) for metric in metrics}
        found["settings"][setting.label] = {
            "runs": {seed: run.folder for seed, run in setting.runs.items()},
            "figures": {
                metric: {"values": sample, **estimate(list(sample.values()))._asdict()}
                for metric, sample in samples.items()
            },
        }
        if setting is not reference:
            found["differences"][setting.label] = {
                metric: paired(sample, reference.sample(metric))._asdict() for metric, sample in samples.items()
            }
    return found


def summary_grids(summary: Mapping[str, Any]) -> list[Grid]:
    """The means, a row for each metric and setting; with several settings also the paired differences."""
    metrics = list(next(iter(summary["settings"].values()))["figures"])
    means = [
        [metric, label, *_cells(_estimate(setting["figures"][metric]), metric)]
        for metric in metrics
        for label, setting in summary["settings"].items()
    ]
    differences = [
        [metric, label, *_cells(_estimate(found[metric]), metric, sign="+")]
        for metric in metrics
        for label, found in summary["differences"].items()
    ]
    title = f"paired differences to the reference: {summary['reference']}"
    grids = [Grid("mean over seeds", [*LABELS, "seeds", *STATISTICS], means)]
    return [*grids, Grid(title, [*LABELS, "pairs", *STATISTICS], differences)] if differences else grids


def summary_plots(summary: Mapping[str, Any]) -> list[Plot]:
    """Accuracy and log loss of the test split, a row for each setting: its seeds, their mean and its interval."""
    drawn = []
    for metric, factor, unit, digits in (("test/accuracy", 100, ", %", 1), ("test/log_loss", 1, ", nats", 3)):
        rows = []
        for label, setting in summary["settings"].items():
            found = setting["figures"].get(metric)
            if found and found["mean"] is not None:
                edges = (factor * found["low"], factor * found["high"]) if found["n"] >= FEWEST else None
                samples = [factor * value for value in found["values"].values()]
                rows.append(Estimated(label, factor * found["mean"], edges, samples))
        if rows:
            caption = f"Rings: seeds; diamonds: means; lines: 95 % intervals of the means of {FEWEST} seeds or more."
            title = title_of(metric).removesuffix(" (%)")
            drawn.append(Plot(title.capitalize(), caption, estimates(rows, f"{title}{unit}", digits), "summary"))
    return drawn


def summary_table(grid: Grid) -> Table:
    """A grid of summary_grids for the terminal, with a section for each metric."""
    table = Table(grid.title, box=box.SIMPLE)
    table.add_column("setting", overflow="fold")
    for column in grid.columns[len(LABELS) :]:
        table.add_column(column, justify="right", no_wrap=True)
    last = None
    for metric, setting, *cells in grid.rows:
        if metric != last:
            table.add_section()
            table.add_row(title_of(metric))
        table.add_row(f"  {setting}", *cells)
        last = metric
    return table


def with_titles(grid: Grid) -> Grid:
    """The grid with metrics as title_of calls them."""
    return grid._replace(rows=[[title_of(metric), *cells] for metric, *cells in grid.rows])


def summary_markdown(grids: Sequence[Grid], warnings: Sequence[str]) -> str:
    """The grids as Markdown, with a list of warnings below."""
    lines = []
    for grid in map(with_titles, grids):
        lines += [f"### {grid.title}", "", grid.markdown(len(LABELS))]
    return "\n".join([*lines, *(f"- {warning}" for warning in warnings)]).rstrip() + "\n"


def title_of(metric: str) -> str:
    """test/accuracy/group/unseen -> test accuracy, unseen devices (%)"""
    split, name, *rest = metric.split("/")
    unit = " (%)" if name == "accuracy" else ""
    subset = f", {rest[-1]} devices" if rest else ", macro" if unit else ""
    return f"{split} {name.replace('_', ' ')}{subset}{unit}"


def _estimate(found: Mapping[str, Any]) -> Estimate:
    return Estimate(found["n"], found["mean"], found["deviation"], found["low"], found["high"])


def _cells(found: Estimate, metric: str, sign: str = "") -> list[str]:
    """n, mean, deviation and interval."""
    scale, digits = (100, 2) if "accuracy" in metric else (1, 4)

    def word(value: float | None, sign: str = "") -> str:
        return "-" if value is None else f"{scale * value:{sign}z.{digits}f}"

    interval = f"{word(found.low, sign)} to {word(found.high, sign)}" if found.n >= FEWEST else TOO_FEW
    interval = interval if found.n else "-"
    return [str(found.n), word(found.mean, sign), word(found.deviation), interval]
