"""What Weights & Biases shows of runs: tables and plots of each, and one workspace that lays them all out.

Conventions: names are the same in every stage: rows of training as in runs/tracking.py, metrics as in score.json,
tables tables/<kind>, plots figures/<title>. A run's summary has what a person compares runs by; all metrics are in a
table. The workspace stage uploads the layout, once for a project; it needs a key.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.evaluation.multi_label import TITLES
from experiments.report.page import Section
from experiments.report.render import png
from experiments.report.tables import WHOLE, metric_rows
from experiments.runs.reader import RunFiles

NAME = "scenelet"
HEADLINE = ("test/accuracy", "test/log_loss", "test/calibration_error")
COSTS = ("parameter_bytes", "macs", "peak_bytes")
GROUPS = ("real", "seen", "unseen")
PLOTS = ("confusions", "devices", "scenes", "reliability", "coverage_and_accuracy", "layers")
TABLES = ("test", "scores", "confusions", "layers")
TRAINING = ("train/loss", "train/hard_loss", "train/soft_loss", "train/learning_rate", "train/clips_per_second")
VALIDATION = ("validation/log_loss", "validation/accuracy")
DPI = 160
WIDE = 2  # columns of panels whose text is to be read


def headline(scores: Mapping[str, float]) -> dict[str, float]:
    """Metrics of all clips and of groups of devices, costs and energy, without those of single devices, scenes and
    thresholds, and without intervals."""
    groups = {f"test/accuracy/group/{group}" for group in GROUPS}
    return {
        name: value
        for name, value in scores.items()
        if name.count("/") < 2 or name in groups or (name.startswith("energy/") and name.endswith("/kWh"))
    }


def media_of(section: Section, run: RunFiles | None = None) -> dict[str, Any]:
    """The plots and leading tables of a page's section, and the tables of the run that it is about, as W&B's own kinds
    of media, by name."""
    import wandb
    from PIL import Image

    tables = {} if run is None else tables_of(run)
    tables |= {f"tables/{_key(grid.title)}": (list(grid.columns), [*map(list, grid.rows)]) for grid in section.lead}
    media: dict[str, Any] = {
        name: wandb.Table(columns=[*columns], data=[*rows]) for name, (columns, rows) in tables.items()
    }
    for plot in section.plots:
        file = io.BytesIO(png(plot.figure, DPI))
        media[f"figures/{_key(plot.title)}"] = wandb.Image(Image.open(file), caption=plot.caption)
    return media


def tables_of(run: RunFiles) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """Tables of numbers by name, each its columns and rows; those that the run has nothing for are left out."""
    found: dict[str, tuple[list[str], list[list[Any]]]] = {}
    if rows := [row for subset, row in metric_rows(run.scores).items() if subset != WHOLE]:
        cells = [[row.subset, row.accuracy, *(row.interval or (None, None)), row.log_loss] for row in rows]
        found["tables/test"] = (["subset", "accuracy", "low", "high", "log_loss"], cells)
    if run.scores:
        found["tables/scores"] = (["metric", "value"], [[name, value] for name, value in sorted(run.scores.items())])
    if run.counts:
        cells = [
            [truth, predicted, count]
            for truth, row in zip(run.scenes, run.counts, strict=True)
            for predicted, count in zip(run.scenes, row, strict=True)
        ]
        found["tables/confusions"] = (["scene", "predicted", "clips"], cells)
    if run.layers:
        columns = list(run.layers[0])
        found["tables/layers"] = (columns, [[row.get(column) for column in columns] for row in run.layers])
    return found


def _key(title: str) -> str:
    return title.lower().replace(" ", "_")


def workspace(entity: str, project: str) -> Any:
    """The layout, as wandb_workspaces' own object: main metrics, costs, training, devices, plots, tables."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    def section(name: str, panels: Sequence[Any], columns: int = 3) -> Any:
        layout = ws.SectionLayoutSettings(columns=columns)
        return ws.Section(name=name, panels=list(panels), is_open=True, layout_settings=layout)

    def lines(names: Sequence[str]) -> list[Any]:
        return [wr.LinePlot(title=name, x="epoch", y=[name]) for name in names]

    def bars(names: Sequence[str]) -> list[Any]:
        return [wr.BarPlot(title=name, metrics=[wr.SummaryMetric(name)]) for name in names]

    trade_off = [
        wr.ScatterPlot(
            x=wr.SummaryMetric(cost), y=wr.SummaryMetric(HEADLINE[0]), title=f"accuracy over {cost}", log_x=True
        )
        for cost in COSTS[:2]
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            section("Test split", bars(HEADLINE)),
            section("Test split, several classes a clip", bars([f"test/{name}" for name in TITLES])),
            section("Groups of devices", bars([f"test/accuracy/group/{group}" for group in GROUPS])),
            section("Accuracy over costs", [*trade_off, *bars(COSTS)]),
            section("Validation", lines([*VALIDATION, *(f"validation/{name}" for name in TITLES)])),
            section("Training", lines(TRAINING)),
            section("Plots", [wr.MediaBrowser(media_keys=[f"figures/{name}"]) for name in PLOTS], WIDE),
            section("Tables", [wr.MediaBrowser(media_keys=[f"tables/{name}"]) for name in TABLES], WIDE),
        ],
    )
