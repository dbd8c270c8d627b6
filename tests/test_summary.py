"""stage=summary on run folders made by hand: what it prints and writes, and its mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from experiments.evaluation.seeds import Result, Setting
from experiments.report.summary import summary_grids, summary_markdown, summary_of, summary_plots

ROOT = Path(__file__).parent.parent


def write_run(folder: Path, seed: int, weight: float, scores: dict) -> None:
    folder.mkdir(parents=True)
    settings = {"student": {"size": "6k", "distill": {"hard_weight": weight}}, "seed": seed, "epochs": None}
    (folder / "config.yaml").write_text("")
    (folder / "run.json").write_text(json.dumps({"settings": settings, "inputs": {"waves": "w", "clips": "c"}}))
    (folder / "score.json").write_text(json.dumps(scores))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two settings of three seeds, and one run that was stopped."""
    for weight, losses in ((1.0, (2.0, 2.1, 2.3)), (0.2, (1.8, 2.0, 2.05))):
        for seed, loss in enumerate(losses):
            figures = {"test/accuracy": 1 - loss / 4, "test/accuracy/group/unseen": 0.25, "test/log_loss": loss}
            folder = tmp_path / f"runs/student/s-hard_weight_{weight}-seed_{seed}"
            write_run(folder, seed, weight, {**figures, "validation/log_loss": loss + 1})
    stopped = tmp_path / "runs/student/s-hard_weight_0.2-seed_3"
    stopped.mkdir()
    (stopped / "config.yaml").write_text("")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "experiments.run", "stage=summary", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "140"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)


def test_the_stage_prints_and_writes_what_the_runs_say(sweep: Path) -> None:
    """Oracle: scipy.stats on the losses that the fixture wrote; the table's cells formatted by hand; the stopped run
    is said and left out."""
    found = run(sweep, "summary.runs=runs/student/s-*", "summary.reference='hard_weight=1.0'", "name=both")
    assert found.returncode == 0, found.stderr
    content = json.loads((sweep / "runs/summary/both/summary.json").read_text())
    losses = {"distill.hard_weight=0.2": [1.8, 2.0, 2.05], "distill.hard_weight=1.0": [2.0, 2.1, 2.3]}
    assert content["settings"].keys() == losses.keys()
    for label, values in losses.items():
        figure = content["settings"][label]["figures"]["test/log_loss"]
        assert list(figure["values"].values()) == values
        interval = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
        np.testing.assert_allclose([figure["low"], figure["high"]], interval, rtol=1e-9)
    assert content["reference"] == "distill.hard_weight=1.0"
    (figures,) = content["differences"].values()
    expected = stats.ttest_rel(*losses.values()).confidence_interval(0.95)
    np.testing.assert_allclose(
        [figures["test/log_loss"][end] for end in ("low", "high")], [expected.low, expected.high], rtol=1e-9
    )
    assert content["unfinished"] == ["runs/student/s-hard_weight_0.2-seed_3"]
    text = (sweep / "runs/summary/both/summary.md").read_text()
    low, high = expected
    assert f"| test log loss | distill.hard_weight=0.2 | 3 | -0.1833 | 0.0764 | {low:+.4f} to {high:+.4f} |" in text
    assert "| test accuracy, unseen devices (%) | distill.hard_weight=1.0 | 3 | 25.00 | 0.00 | 25.00 to 25.00 |" in text
    page = (sweep / "runs/summary/both/report.html").read_text()
    assert f'<td class="number">{low:+.4f} to {high:+.4f}</td>' in page
    assert "seed_3 is unfinished and left out" in text
    assert "seed_3 is unfinished and left out" in found.stdout
    assert f"{low:+.4f} to {high:+.4f}" in found.stdout
    assert not list(sweep.rglob("*.tmp"))


def test_one_seed_has_a_mean_and_no_interval(sweep: Path) -> None:
    """Oracle: the row by hand; a run named twice counts once; one setting has no differences."""
    name = "runs/student/s-hard_weight_1.0-seed_1"
    found = run(sweep, f"summary.runs=[{name},{sweep / name}]")
    assert found.returncode == 0, found.stderr
    text = (sweep / "runs/summary/default/summary.md").read_text()
    assert "| test log loss | s-hard_weight_1.0 | 1 | 2.1000 | - | too few |" in text
    assert "paired" not in text + found.stdout


@pytest.mark.parametrize(("seeds", "interval"), [(2, "too few"), (3, "1.7539 to 2.5128")])
def test_an_interval_is_shown_of_three_seeds_or_more(seeds: int, interval: str) -> None:
    """Oracle: by hand, of 2.0, 2.1 and 2.3: 2.1333 and, to both sides, 4.3027 (t with 2 degrees of freedom) times the
    deviation 0.15275 over the root of 3; of two seeds the words in the table, and no line in the plot."""
    losses = (2.0, 2.1, 2.3)[:seeds]
    runs = {n: Result(f"runs/student/a-seed_{n}", n, {}, {}, {"test/log_loss": x}) for n, x in enumerate(losses)}
    found = summary_of([setting := Setting("a", runs)], setting, ["test/log_loss"])
    assert summary_grids(found)[0].rows[0][-1] == interval
    assert summary_markdown(summary_grids(found), []).count("too few") == (seeds < 3)
    (plot,) = summary_plots(found)
    (axis,) = plot.figure.axes
    rings, *_ = [line for line in axis.lines if line.get_markerfacecolor() == "none"]
    np.testing.assert_allclose(rings.get_xdata(), losses)
    edges = [line.get_xdata() for line in axis.lines if line.get_marker() == "None"]
    assert [f"{low:.4f} to {high:.4f}" for low, high in edges] == ([interval] if seeds == 3 else [])


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ("null", ["summary.runs=runs/student/mine-*"]),
        ("runs/teacher/*", ["summary.runs=runs/teacher/* matches no file or folder"]),
        ("[nowhere,gone]", ["summary.runs=nowhere does not exist", "summary.runs=gone does not exist"]),
        ("[odd,runs/student]", ["odd is no run", "runs/student is no run: it has neither run.json nor"]),
        ("runs/student/*-seed_3", ["none of these runs is finished", "s-hard_weight_0.2-seed_3"]),
        ("odd/*", ["cut/score.json is damaged or missing", "list/run.json is damaged", "nan/score.json is damaged"]),
        ("seedless/*", ["seedless/a depends on no seed"]),
        ("blank/*", ["no metric of a test split", "blank/a"]),
    ],
)
def test_a_mistake_is_one_message(sweep: Path, runs: str, words: list[str]) -> None:
    """Oracle: what the message must name; every folder that is wrong is in it; nothing is written."""
    for name in ("odd/cut", "odd/list", "odd/nan", "seedless/a", "blank/a"):
        write_run(sweep / name, 0, 1.0, {"macs": 1.0})
    (sweep / "odd/cut/score.json").write_text('{"test/accuracy": 0.')
    (sweep / "odd/list/run.json").write_text("[]")
    (sweep / "odd/nan/score.json").write_text('{"test/accuracy": NaN}')
    (sweep / "seedless/a/run.json").write_text(json.dumps({"settings": {"only": "logits"}, "inputs": {}}))
    found = run(sweep, f"summary.runs={runs}")
    assert found.returncode == 1
    for word in words:
        assert word in found.stderr
    assert "Traceback" not in found.stderr + found.stdout
    assert not (sweep / "runs/summary").exists()
