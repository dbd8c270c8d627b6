"""What Weights & Biases shows of runs: tables and pictures of each, and one workspace that lays them all out.

Conventions: names are the same in every stage: rows of training as in history.jsonl, figures as in score.json, tables
tables/<kind>, pictures figures/<title>. stage=workspace uploads the layout, once for a project; it needs a key.
"""

import io
import logging
from collections.abc import Sequence
from typing import Any

from experiments.evaluation.metrics import metrics_under
from experiments.report.page import Section
from experiments.report.render import png
from experiments.runs.reader import RunFiles

NAME = "scenelet"
HEADLINE = ("test/accuracy", "test/log_loss", "test/calibration_error")
COSTS = ("parameter_bytes", "macs", "peak_bytes")
GROUPS = ("real", "seen", "unseen")
PICTURES = ("confusions", "devices", "scenes", "reliability", "layers")
TABLES = ("test", "confusions", "layers")
DPI = 110

log = logging.getLogger(__name__)


def media_of(section: Section, run: RunFiles | None = None) -> dict[str, Any]:
    """The pictures and leading tables of a page's section, and the tables of the run that it is about, as W&B's own
    kinds of media by name."""
    import wandb
    from PIL import Image

    tables = {} if run is None else tables_of(run)
    tables |= {f"tables/{_key(grid.title)}": (list(grid.columns), list(grid.rows)) for grid in section.lead}
    media = {name: wandb.Table(columns=columns, data=rows) for name, (columns, rows) in tables.items()}
    for picture in section.pictures:
        file = io.BytesIO(png(picture.figure, DPI))
        media[f"figures/{_key(picture.title)}"] = wandb.Image(Image.open(file), caption=picture.caption)
    return media


def tables_of(run: RunFiles) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """Tables of numbers by name, each its columns and rows; those that the run has nothing for are left out."""
    s, found = run.scores, {}
    if subsets := metrics_under("test/accuracy/", s):
        rows = [
            [
                subset,
                s[f"test/accuracy/{subset}"],
                s.get(f"{key}/low"),
                s.get(f"{key}/high"),
                s[f"test/log_loss/{subset}"],
            ]
            for key in subsets
            for subset in [key.removeprefix("test/accuracy/")]
        ]
        found["tables/test"] = (["subset", "accuracy", "low", "high", "log_loss"], rows)
    if run.counts:
        cells = [
            [truth, answer, count]
            for truth, row in zip(run.scenes, run.counts, strict=True)
            for answer, count in zip(run.scenes, row, strict=True)
        ]
        found["tables/confusions"] = (["scene", "taken_for", "clips"], cells)
    if run.layers:
        columns = list(run.layers[0])
        found["tables/layers"] = (columns, [[row.get(column) for column in columns] for row in run.layers])
    return found


def _key(title: str) -> str:
    return title.lower().replace(" ", "_")


def workspace(entity: str, project: str) -> Any:
    """The layout, as wandb_workspaces' own object: headline figures, costs, training, devices, pictures, tables."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    def section(name: str, panels: Sequence[Any]) -> Any:
        return ws.Section(name=name, panels=list(panels), is_open=True)

    def bars(names: Sequence[str]) -> list[Any]:
        return [wr.BarPlot(title=name, metrics=[wr.SummaryMetric(name)]) for name in names]

    trade_off = [
        wr.ScatterPlot(
            x=wr.SummaryMetric(cost), y=wr.SummaryMetric(HEADLINE[0]), title=f"accuracy over {cost}", log_x=True
        )
        for cost in COSTS[:2]
    ]
    lines = ("loss", "validation/log_loss", "validation/accuracy", "learning_rate", "clips_per_second")
    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            section("Test split", bars(HEADLINE)),
            section("Groups of devices", bars([f"test/accuracy/group/{group}" for group in GROUPS])),
            section("Accuracy over costs", [*trade_off, *bars(COSTS)]),
            section("Training", [wr.LinePlot(title=name, x="epoch", y=[name]) for name in lines]),
            section("Pictures", [wr.MediaBrowser(media_keys=[f"figures/{name}"]) for name in PICTURES]),
            section("Tables", [wr.MediaBrowser(media_keys=[f"tables/{name}"]) for name in TABLES]),
        ],
    )
