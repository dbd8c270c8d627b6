"""Accuracy and log loss by subset: the same numbers wherever a table of them is shown."""

import io
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table
from test_report import make_run

from data.scenes import DEVICES, SCENES, ClipSet
from experiments.report.dashboard import tables_of
from experiments.report.forms import forms_grids, forms_table
from experiments.report.sections import grids_of
from experiments.report.tables import WHOLE, MetricRow, confusion_table, ensemble_tables, metric_rows, split_table
from experiments.runs.reader import read_run
from experiments.submission.report_results import Measured, metrics_by_subset


def cells(*tables: Table) -> list[list[str]]:
    """The rows of tables as a terminal shows them, spaces stripped."""
    console = Console(width=200, record=True, file=io.StringIO())
    for table in tables:
        console.print(table)
    lines = [line.replace("┃", "│").strip().strip("│") for line in console.export_text().splitlines()]
    return [[cell.strip() for cell in line.split("│")] for line in lines if "│" in line]


def test_rows_are_what_the_scores_say() -> None:
    """Oracle: rows by hand; a class called "low" has a row, the edges of intervals have none."""
    scores = {"test/accuracy": 0.5, "test/log_loss": 1.5, "test/calibration_error": 0.1}
    scores |= {"test/accuracy/low": 0.4, "test/accuracy/high": 0.6, "test/log_loss/low": 1.0, "test/log_loss/high": 2.0}
    scores |= {"test/accuracy/scene/low": 0.25, "test/accuracy/scene/low/low": 0.125, "test/accuracy/scene/low/high": 1}
    scores |= {"test/log_loss/scene/low": 3.0, "test/accuracy/scene/bus": 0.75}
    scores |= {"float/accuracy": 0.75, "validation/log_loss": 9.0}
    assert metric_rows(scores) == {
        WHOLE: MetricRow(WHOLE, 0.5, 1.5, (0.4, 0.6), (1.0, 2.0), 0.1),
        "scene/low": MetricRow("scene/low", 0.25, 3.0, (0.125, 1)),
        "scene/bus": MetricRow("scene/bus", 0.75),
    }
    assert metric_rows(scores, "float") == {WHOLE: MetricRow(WHOLE, 0.75)}
    assert metric_rows(scores, "validation") == {}


def test_every_table_has_the_numbers_of_the_scores(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: score.json, formatted by hand, on a terminal, on a page, on a dashboard and in a PDF."""
    run = read_run(make_run(tmp_path / "runs/quantize/a", miniature))
    scores = json.loads((run.folder / "score.json").read_text())
    subsets = [f"scene/{scene}" for scene in SCENES] + [f"device/{device}" for device in DEVICES]
    subsets = [subset for subset in subsets if f"test/accuracy/{subset}" in scores]
    assert len(subsets) > 15
    printed = {row[0]: row[1:] for row in cells(split_table(scores))}
    (page,) = (grid for grid in grids_of(run) if grid.title == "Test split")
    shown = {row[0]: row[1:] for row in page.rows}
    columns, rows = tables_of(run)["tables/test"]
    recorded = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
    reported = {row[0]: row[1:] for row in metrics_by_subset([Measured("x", scores, is_official=False)])}
    for subset in subsets:
        accuracy, loss = scores[f"test/accuracy/{subset}"], scores[f"test/log_loss/{subset}"]
        edges = [scores.get(f"test/accuracy/{subset}/{edge}") for edge in ("low", "high")]
        between = "" if None in edges else f"{100 * edges[0]:.1f} to {100 * edges[1]:.1f}"
        assert printed[subset.replace("/", " ")] == [f"{100 * accuracy:.1f} %", f"{loss:.3f}"]
        assert shown[subset.replace("/", " ").replace("_", " ")] == [f"{100 * accuracy:.1f} %", f"{loss:.3f}", between]
        assert [recorded[subset][key] for key in ("accuracy", "log_loss", "low", "high")] == [accuracy, loss, *edges]
        assert reported[subset.removeprefix("scene/").replace("/", " ")] == [f"{100 * accuracy:.1f}", f"{loss:.3f}"]
    low, high = (100 * scores[f"test/accuracy/{edge}"] for edge in ("low", "high"))
    assert printed["95 % interval over recordings"][0] == f"{low:.1f} to {high:.1f} %"
    assert reported["all (macro)"] == [f"{100 * scores['test/accuracy']:.1f}", f"{scores['test/log_loss']:.3f}"]


def test_forms_stand_side_by_side() -> None:
    """Oracle: cells by hand; the stored form, whose metrics are named test/..., is the third; what a form lacks is
    empty."""
    scores = {
        **{"float/accuracy": 0.5, "float/log_loss": 1.5, "float/accuracy/scene/bus": 0.25},
        **{"float/log_loss/scene/bus": 2.0, "ptq/accuracy": 0.125, "ptq/log_loss": 2.5, "test/accuracy": 0.75},
        **{"test/log_loss": 1.25, "test/accuracy/scene/bus": 1.0, "test/log_loss/scene/bus": 0.5},
        **{"host/accuracy": 0.75, "host/log_loss": 1.25, "test/agreement_with_float": 0.9},
        **{"test/minus_float/accuracy": 0.25, "test/minus_float/accuracy/low": 0.125},
        **{"test/minus_float/accuracy/high": 0.5, "macs": 7, "within_limit/macs": 1.0, "float/macs": 31_000_000},
        "float/within_limit/macs": 0.0,
    }
    rows = {row[0]: row[1:] for row in cells(forms_table(scores))}
    assert rows[""] == ["float", "integer, before", "integer", "host"]
    assert rows["all (macro)"] == ["50.0 %  1.500", "12.5 %  2.500", "75.0 %  1.250", "75.0 %  1.250"]
    assert rows["scene bus"] == ["25.0 %  2.000", "", "100.0 %  0.500", ""]
    assert rows["same class as float"] == ["", "", "90.0 %", ""]
    assert rows["minus float: accuracy"] == ["", "", "+25.0 (+12.5 to +50.0)", ""]
    assert rows["macs, at most 30,000,000"] == ["31,000,000  over", "", "7  ok", ""]
    scores |= {"float_front_end/accuracy": 0.75, "float_front_end/log_loss": 1.0}
    scores |= {"test/agreement_with_float_front_end": 0.8, "test/minus_float_front_end/log_loss": 0.25}
    scores |= {f"test/minus_float_front_end/log_loss/{edge}": value for edge, value in (("low", 0.0), ("high", 0.5))}
    rows = {row[0]: row[1:] for row in cells(forms_table(scores))}
    assert rows[""] == ["float", "integer, before", "integer, float front end", "integer", "host"]
    assert rows["same class as float front end"] == ["", "", "", "80.0 %", ""]
    assert rows["minus float front end: log loss"] == ["", "", "", "+0.250 (+0.000 to +0.500)", ""]
    (grid,) = forms_grids(scores)
    about = ["log loss minus float (95 %, over recordings)", "log loss minus float front end (95 %, over recordings)"]
    assert grid.columns == [
        *("", "accuracy", "log loss", "same class as float", about[0], "same class as float front end", about[1])
    ]
    assert [list(row) for row in grid.rows[:2]] == [
        ["as stored", "75.0 %", "1.250", "90.0 %", "", "80.0 %", "+0.250 (+0.000 to +0.500)"],
        ["float", "50.0 %", "1.500", "", "", "", ""],
    ]
    halves = {name: value for name, value in scores.items() if not name.startswith(("host", "ptq", "float_front"))}
    assert cells(forms_table(halves))[0] == ["", "float", "16-bit floats"]


def test_members_stand_beside_their_ensemble() -> None:
    """Oracle: cells by hand; a name with brackets is no markup; a device that a split lacks is a dash."""
    metrics = {"accuracy": 0.5, "log_loss": 1.5, "calibration_error": 0.25}
    scores = {f"{split}/{name}": value for split in ("validation", "test") for name, value in metrics.items()}
    scores |= {f"one [x]/{name}": value / 2 for name, value in scores.items()}
    scores |= {"one [x]/weight": 1.0, "one [x]/temperature": 1.25, "test/accuracy/device/a": 0.75}
    scores |= {"one [x]/test/accuracy/device/a": 0.5, "validation/accuracy/device/a": 0.25}
    overall, devices = (cells(table) for table in ensemble_tables(scores, ["one [x]"]))
    assert overall[1:] == [
        ["one [x]", "1.000", "1.250", "25.0 %  0.750  0.125", "25.0 %  0.750  0.125"],
        ["ensemble", "", "", "50.0 %  1.500  0.250", "50.0 %  1.500  0.250"],
    ]
    assert devices == [["", "one [x]", "ensemble"], ["a", "- |  50.0 %", "25.0 % |  75.0 %"]]


def test_a_confusion_matrix_has_the_recalls_beside_its_counts() -> None:
    """Oracle: by hand: 3 of 4 and none; a class without clips has none."""
    rows = cells(confusion_table([[3, 1, 0], [2, 0, 0], [0, 0, 0]], ["bus", "tram", "x"]))
    assert rows[0] == ["", "0", "1", "2", "recall"]
    assert rows[1:] == [
        ["0 bus", "3", "1", ".", "75 %"],
        ["1 tram", "2", ".", ".", "0 %"],
        ["2 x", ".", ".", ".", "-"],
    ]
