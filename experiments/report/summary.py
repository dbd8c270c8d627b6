"""The statistics over seeds as JSON and CSV, as tables on a terminal and a page, and as Markdown.

Conventions: accuracies are shown in percent and their differences in percentage points, log losses in nats.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box

from data.tables import table_text
from experiments.evaluation.multi_label import metric_title
from experiments.evaluation.official_test import is_whole
from experiments.evaluation.seeds import FEWEST, LEVEL, Estimate, Setting, estimate, headline, paired
from experiments.report.estimates import Estimated, estimates
from experiments.report.numbers import word
from experiments.report.page import Grid, Plot
from experiments.report.spread import PUBLISHED, published, spread, spread_rows
from experiments.report.tables import empty_table
from experiments.report.terminal import Table

LABELS = ("metric", "setting")  # the first columns
TOO_FEW = "too few"  # seeds for an interval
COMPARED = ("published_mean", "published_deviation")  # the last columns: of the baseline
MEANS = "mean and standard deviation (n - 1) over seeds"
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
            "of_official_test": all(is_whole(run.scores) for run in setting.runs.values()),
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
    """The means, a row for each metric of the headline and setting, beside the published baseline's if one is of the
    whole official test split; with several settings also the paired differences."""
    metrics = headline(next(iter(summary["settings"].values()))["figures"])
    beside = [PUBLISHED] if any(setting["of_official_test"] for setting in summary["settings"].values()) else []
    means = [
        [
            *(metric, label, *_cells(_estimate(setting["figures"][metric]), metric)),
            *(spread(metric, published(metric)) if setting["of_official_test"] else "" for _ in beside),
        ]
        for metric in metrics
        for label, setting in summary["settings"].items()
    ]
    differences = [
        [metric, label, *_cells(_estimate(found[metric]), metric, sign="+")]
        for metric in metrics
        for label, found in summary["differences"].items()
    ]
    title = f"paired differences to the reference: {summary['reference']}"
    grids = [Grid(MEANS, [*LABELS, "seeds", *STATISTICS, *beside], means)]
    return [*grids, Grid(title, [*LABELS, "pairs", *STATISTICS], differences)] if differences else grids


def scene_grids(summary: Mapping[str, Any]) -> list[Grid]:
    """Of each setting, means and deviations in the layout of the task's page, where there are several devices."""
    found = []
    for label, setting in summary["settings"].items():
        figures = {metric: _estimate(figure) for metric, figure in setting["figures"].items()}
        if rows := spread_rows(figures, is_whole=setting["of_official_test"]):
            title = (
                f"{label}: log loss by scene and device, mean ± standard deviation over {len(setting['runs'])} seeds"
            )
            found.append(Grid(title, rows[0], rows[1:]))
    return found


def all_grid(summary: Mapping[str, Any]) -> Grid:
    """Every metric of score.json, as summary_csv has them."""
    head, *rows = _all_rows(summary)
    return Grid("every metric of score.json", head, [[label, *map(word, row)] for label, *row in rows])


def summary_csv(summary: Mapping[str, Any]) -> str:
    """A row for each setting and metric of score.json; empty is what is not defined, as the deviation of one seed."""
    head, *rows = _all_rows(summary)
    columns = {name: ["" if row[i] is None else row[i] for row in rows] for i, name in enumerate(head)}
    return table_text(columns, separator=",")


def _all_rows(summary: Mapping[str, Any]) -> list[list[Any]]:
    rows: list[list[Any]] = [["setting", "metric", "seeds", "mean", "deviation", "low", "high", *COMPARED]]
    for label, setting in summary["settings"].items():
        for metric, figure in setting["figures"].items():
            known = published(metric) if setting["of_official_test"] else None
            beside = (None, None) if known is None else (known.mean, known.deviation)
            rows.append([label, metric, *_estimate(figure), *beside])
    return rows


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


def scenes_table(grid: Grid) -> Table:
    """A grid of scene_grids for the terminal."""
    table = empty_table(grid.title, grid.columns)
    for row in grid.rows:
        table.add_row(*row)
    return table


def with_titles(grid: Grid) -> Grid:
    """The grid with metrics as title_of calls them."""
    return grid._replace(rows=[[title_of(metric), *cells] for metric, *cells in grid.rows])


def summary_markdown(grids: Sequence[Grid], warnings: Sequence[str]) -> str:
    """Grids as Markdown, with a list of warnings below."""
    lines = []
    for grid in grids:
        names = sum(column in LABELS for column in grid.columns) or 1
        lines += [f"### {grid.title}", "", grid.markdown(names)]
    return "\n".join([*lines, *(f"- {warning}" for warning in warnings)]).rstrip() + "\n"


def title_of(metric: str) -> str:
    """test/accuracy/group/unseen -> test accuracy, unseen devices (%)"""
    split, name, *rest = metric.split("/")
    unit = " (%)" if name == "accuracy" else ""
    subset = f", {rest[-1]} devices" if rest else ", macro" if unit else ""
    return f"{split} {metric_title(name)}{subset}{unit}"


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
