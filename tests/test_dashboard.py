"""What Weights & Biases gets of a run beside its figures, read back from an offline recording."""

import json
from pathlib import Path

import numpy as np
import pytest
from command import run
from PIL import Image
from test_report import make_run
from test_tracking import records, start

from data.scenes import ClipSet
from experiments.evaluation.multi_label import evaluate_multi_label
from experiments.report.dashboard import headline, media_of, tables_of, workspace
from experiments.report.sections import write_report
from experiments.runs.tracking import recorded
from experiments.training.state import HELD_OUT, ROW, TERMS


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_offline")
@pytest.mark.slow  # some seconds
def test_tables_and_pictures_are_recorded(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: score.json and confusion.csv, against the tables' own files; Pillow opens every picture."""
    folder = make_run(tmp_path / "runs/quantize/a", miniature)
    tracker = start(folder)
    read, section = write_report(folder)
    tracker.finish(read.scores, media=media_of(section, read))
    (files,) = folder.glob("wandb/offline-run-*/files")
    logged: dict[str, dict] = {}
    for item in (item for record in records(folder) for item in record.history.item if len(item.nested_key) == 2):
        name, about = item.nested_key
        logged.setdefault(name, {})[about] = json.loads(item.value_json)
    tables = {name: value for name, value in logged.items() if name.startswith("tables/")}
    pictures = {name: value for name, value in logged.items() if name.startswith("figures/")}
    assert set(tables) == {"tables/test", "tables/scores", "tables/confusions", "tables/layers"}
    rows = json.loads((files / tables["tables/scores"]["path"]).read_text())["data"]
    assert {name: pytest.approx(value) for name, value in rows} == read.scores
    found = json.loads((files / tables["tables/test"]["path"]).read_text())
    by_subset = {row[0]: dict(zip(found["columns"], row, strict=True)) for row in found["data"]}
    for subset in ("device/s6", "scene/bus", "group/unseen"):
        assert by_subset[subset]["accuracy"] == pytest.approx(read.scores[f"test/accuracy/{subset}"])
        assert by_subset[subset]["low"] == read.scores.get(f"test/accuracy/{subset}/low")
    cells = json.loads((files / tables["tables/confusions"]["path"]).read_text())["data"]
    assert sum(cell[2] for cell in cells) == len(miniature.indices("test"))
    assert len(pictures) == len(section.plots) == 10
    for value in pictures.values():
        assert Image.open(files / value["path"]).size == (value["width"], value["height"])


def test_the_workspace_shows_what_runs_record(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: the names in a run's own files: every panel is of one of them."""
    read, section = write_report(make_run(tmp_path / "runs/quantize/a", miniature))
    row = dict.fromkeys((*ROW, *TERMS, *HELD_OUT), 0.0)
    rows = set(recorded(row))
    pictures = {f"figures/{plot.title.lower().replace(' ', '_')}" for plot in section.plots}
    several = evaluate_multi_label(np.full((2, 2), 0.5), np.eye(2, dtype=bool), "ab")  # of runs of multi-label sets
    several_rows = recorded({f"validation/{name}": value for name, value in several.items()})
    known = {*headline(read.scores), *rows, *pictures, *tables_of(read), *several_rows}
    known |= {f"test/{name}" for name in several}
    shown = set()
    for part in workspace("someone", "project").sections:
        for panel in part.panels:
            names = [*(getattr(panel, "metrics", None) or []), getattr(panel, "x", None), getattr(panel, "y", None)]
            names = [n for name in names for n in (name if isinstance(name, list) else [name])]
            shown |= {getattr(name, "name", name) for name in names} | set(getattr(panel, "media_keys", None) or [])
    assert shown - {None, "epoch"} <= known
    assert {"test/accuracy", "macs", "train/soft_loss", "figures/confusions", "tables/test"} <= shown
    assert {"test/mean_average_precision", "validation/mean_average_precision"} <= shown
    assert workspace("someone", "project")._to_model().spec.section.panel_bank_config.sections


def test_the_summary_is_what_a_person_compares_runs_by(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: by hand: metrics of all clips, of the three groups of devices, costs; no device, scene, threshold or end
    of an interval; in W&B's own summary, too."""
    read, _ = write_report(make_run(tmp_path / "runs/quantize/a", miniature))
    found = headline({**read.scores, "energy/student/kWh": 0.1, "energy/student/seconds": 9.0})
    expected = {"test/accuracy", "test/log_loss", "test/calibration_error", "macs", "energy/student/kWh"}
    expected |= {f"test/accuracy/group/{group}" for group in ("real", "seen", "unseen")}
    assert expected <= set(found)
    assert not [name for name in found if "device" in name or "scene" in name or name.endswith(("/low", "/high"))]
    assert len(found) <= 30 < 100 < len(read.scores)


def test_without_a_key_the_workspace_is_a_message(tmp_path: Path) -> None:
    """Oracle: the message, and no traceback."""
    result = run(tmp_path, "stage=workspace", environment={"HOME": str(tmp_path), "WANDB_API_KEY": ""})
    assert result.returncode == 1
    assert "needs a key" in result.stderr
    assert "Traceback" not in result.stderr
