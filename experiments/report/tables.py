"""The tables that stages print: accuracy and log loss by form or member, costs, and layers."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from experiments.evaluation.metrics import metrics_under
from experiments.runs.reader import RunFiles
from students.limits import LIMITS, Complexity

TITLES = {"float": "float", "ptq": "integer, before", "test": "integer", "host": "host"}  # of the columns
HALVES = "16-bit floats"  # where nothing is integer
ENSEMBLE = "ensemble"  # its row among the members'


def quantization_tables(run: RunFiles) -> list[Table]:
    """Of a finished run of the quantize stage: the layers, where their bits differ, and the forms side by side."""
    mixed = len({layer["bits"] for layer in run.layers}) > 1
    return [*([table_of_layers(run.layers)] if mixed else []), table(run.scores)]


def table_of_layers(layers: Sequence[Mapping[str, Any]]) -> Table:
    """Bits, bytes and sensitivities, layer by layer."""
    out = Table(title="layers: bits, bytes, divergence (nats) if rounded alone")
    for column in layers[0]:
        out.add_column(column.replace("_", " "), justify="left" if column == "layer" else "right")
    for layer in layers:
        out.add_row(*(f"{value:.4f}" if isinstance(value, float) else str(value) for value in layer.values()))
    return out


def table(scores: Mapping[str, float]) -> Table:
    """Float and integer student side by side: accuracy and log loss by subset, differences to the float one
    with their 95 % intervals over recordings, then costs against the limits."""
    out = Table(title="test split: accuracy and log loss")
    names = [name for name in TITLES if f"{name}/accuracy" in scores]
    titles = TITLES if "host" in names else {**TITLES, "test": HALVES}
    for column in ("", *(titles[name] for name in names)):
        out.add_column(column, justify="left" if not column else "right")
    figures = [key.removeprefix("float/") for key in scores if key.startswith("float/accuracy")]
    for figure in figures:
        subset = figure.removeprefix("accuracy").strip("/").replace("/", " ") or "all (macro)"
        loss = figure.replace("accuracy", "log_loss", 1)
        cells = [f"{100 * scores[f'{n}/{figure}']:5.1f} %  {scores[f'{n}/{loss}']:.3f}" for n in names]
        out.add_row(escape(subset), *cells, end_section=figure == figures[-1])
    agreements = [scores.get(f"{n}/agreement_with_float") for n in names]
    cells = ["" if share is None else f"{100 * share:5.1f} %" for share in agreements]
    out.add_row("same class as float", *cells)
    for figure, factor, digits in (("accuracy", 100, 1), ("log_loss", 1, 3)):
        cells = ["" if n == "float" else _interval(scores, f"{n}/minus_float/{figure}", factor, digits) for n in names]
        out.add_row(f"minus float: {figure.replace('_', ' ')}", *cells, end_section=figure == "log_loss")
    for cost in (field.name for field in dataclasses.fields(Complexity)):
        limit = f", at most {LIMITS[cost]:,}" if cost in LIMITS else ""
        prefixes = ["" if n == "test" else f"{n}/" for n in names]
        cells = [
            f"{int(scores[p + cost]):,}{_verdict(scores.get(f'{p}within_limit/{cost}'))}" if p + cost in scores else ""
            for p in prefixes
        ]
        out.add_row(cost.replace("_", " ") + limit, *cells)
    return out


def _interval(scores: Mapping[str, float], name: str, factor: int, digits: int) -> str:
    if name not in scores:
        return ""
    value, low, high = (f"{factor * scores[name + end]:+.{digits}f}" for end in ("", "/low", "/high"))
    return f"{value} ({low} to {high})"


def _verdict(holds: float | None) -> str:
    return "" if holds is None else "  ok" if holds else "  over"


def ensemble_tables(scores: Mapping[str, float], names: Sequence[str]) -> list[Table]:
    """Members and ensemble side by side: overall metrics of both splits, then accuracy by device."""
    everyone = [*names, ENSEMBLE]
    overall = Table(title="accuracy (macro), log loss, calibration error")
    for column in ("", "weight", "temperature", "validation", "test"):
        overall.add_column(column, justify="left" if not column else "right")
    for name in everyone:
        prefix = _prefix(name)
        cells = [f"{scores[f'{prefix}{key}']:.3f}" if prefix else "" for key in ("weight", "temperature")]
        for split in ("validation", "test"):
            accuracy, loss, error = (
                scores[f"{prefix}{split}/{figure}"] for figure in ("accuracy", "log_loss", "calibration_error")
            )
            cells.append(f"{100 * accuracy:5.1f} %  {loss:.3f}  {error:.3f}")
        overall.add_row(escape(name), *cells)
    devices = Table(title="accuracy by device: validation | test")
    kinds = [key.split("/accuracy/")[1] for key in metrics_under("test/accuracy/device/", scores)]
    for column in ("", *everyone):
        devices.add_column(column, justify="left" if not column else "right")
    for kind in kinds:
        cells = []
        for name in everyone:
            values = [scores.get(f"{_prefix(name)}{split}/accuracy/{kind}") for split in ("validation", "test")]
            cells.append(" | ".join("-" if value is None else f"{100 * value:5.1f} %" for value in values))
        devices.add_row(escape(kind.removeprefix("device/")), *cells)
    return [table for table in (overall, devices) if table.row_count]


def _prefix(name: str) -> str:
    """Of the figures' names in score.json; the ensemble's own are named as those of any run."""
    return "" if name == ENSEMBLE else f"{name}/"
