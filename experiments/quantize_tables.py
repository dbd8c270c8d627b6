"""The tables of stage=quantize: float and integer student side by side, and the integer one layer by layer."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.paths import LAYERS, SCORES
from students.limits import LIMITS, Complexity

TITLES = {"float": "float", "ptq": "integer, before", "test": "integer", "host": "host"}  # of the columns
HALVES = "16-bit floats"  # where nothing is integer


def show(folder: Path) -> None:
    """Print the tables of a finished run."""
    scores = json.loads((folder / SCORES).read_text())
    layers = json.loads((folder / LAYERS).read_text()) if (folder / LAYERS).exists() else []
    if len({layer["bits"] for layer in layers}) > 1:
        Console().print(table_of_layers(layers))
    Console().print(table(scores))


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
