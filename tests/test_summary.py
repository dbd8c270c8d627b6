"""stage=summary on run folders made by hand: what it prints and writes, and its mistakes."""

import csv
import json
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from data.scenes import ClipSet
from experiments.command.sweeps import ends_with_summary, without_summary
from experiments.command.sweeps import summary_of as summary_of_jobs
from experiments.evaluation.seeds import Result, Setting
from experiments.report.summary import summary_grids, summary_markdown, summary_of, summary_plots
from experiments.run import resolve
from experiments.settings.stages import Summary

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


def run(folder: Path, *arguments: str, stage: str = "stage=summary") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "experiments.run", stage, *arguments]
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


def test_every_figure_has_a_mean_and_a_deviation(sweep: Path) -> None:
    """Oracle: Python's statistics.stdev, the deviation of the sample, of all that the page has "mean and standard
    deviation of the performance from these 10 independent trials" of, and of whatever else score.json holds; what only
    one seed has, has none; and the words for a part of the test split. Edges of the runs' own intervals are averaged
    nowhere."""
    scenes = {"test/log_loss/scene/bus/device/a": 1.0, "test/accuracy/scene/bus": 0.5, "test/calibration_error": 0.1}
    counts = {"test/clips/scene/bus/device/a": 70.0, "test/clips/scene/tram/device/b": 5.0}
    for seed in range(3):
        folder = sweep / f"runs/quantize/b-seed_{seed}"
        figures = {name: value + seed**2 / 100 for name, value in scenes.items()} | counts
        figures |= {"test/accuracy": 0.4, "test/log_loss": 1.5, "float/log_loss": 1.25, "macs": 29_238_120}
        edges = {"test/accuracy/low": 0.3, "test/accuracy/high": 0.5}
        write_run(folder, seed, 1.0, figures | edges | ({"energy/student/kWh": 2e-5} if seed == 1 else {}))
        (folder / "config.yaml").write_text("data: {kind: tau22}\n")
    found = run(sweep, "summary.runs=runs/quantize/b-*", "name=all", "summary.by_device=true")
    assert found.returncode == 0, found.stderr
    content = list(csv.DictReader((sweep / "runs/summary/all/summary.csv").read_text().splitlines()))
    rows = {row["metric"]: row for row in content}
    assert rows.keys() == {*figures, "energy/student/kWh"}
    for name, value in scenes.items():
        values = [value + seed**2 / 100 for seed in range(3)]
        expected = [statistics.mean(values), statistics.stdev(values)]
        np.testing.assert_allclose([float(rows[name][key]) for key in ("mean", "deviation")], expected, rtol=1e-12)
    assert [rows["energy/student/kWh"][key] for key in ("seeds", "mean", "deviation")] == ["1", "2e-05", ""]
    text = (sweep / "runs/summary/all/summary.md").read_text()
    assert "| bus | | 1.017 ± 0.021 | | 51.7 % ± 2.08 |" in " ".join(text.split())
    for said in (found.stdout, text, (sweep / "runs/summary/all/report.html").read_text()):
        assert "test metrics are of 75 of 29,680 clips of the official test split" in said
        assert "log loss by scene and device" in said


def test_a_summary_at_the_end_of_a_command_is_of_its_own_runs() -> None:
    """Oracle: by hand: folders of the last stage that depends on a seed, of each job; with runs named, without a stage
    before it that has a seed, or in another place, it is a stage like others."""
    words = ["stage.steps=[student,quantize,summary]", "student=baseline", "name=x", "runs=r"]
    asked = resolve(words)
    jobs = [replace(asked, seed=seed, job=(f"seed_{seed}",)) for seed in range(3)]
    assert all(map(ends_with_summary, jobs))
    assert [without_summary(job).steps for job in jobs] == [("student", "quantize")] * 3
    found = summary_of_jobs(jobs)
    assert found.of(Summary).runs == [f"r/quantize/x-seed_{seed}" for seed in range(3)]
    assert (found.steps, found.job, found.name) == (("summary",), (), "x")
    for others in ("summary", "data summary", "summary student", "student"):
        assert not ends_with_summary(replace(asked, steps=tuple(others.split())))
    assert not ends_with_summary(replace(found, steps=asked.steps))


@pytest.mark.slow  # two trainings of the baseline, twice
def test_one_command_trains_the_baseline_with_several_seeds_and_averages_it(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: the page's "trained and tested 10 times; mean and standard deviation", with two seeds: numpy on the
    scores of the two runs; the same command again trains nothing."""
    words = ["-m", "seed=range(2)", "student=baseline", f"data.root={miniature.root}", "name=b", "epochs=1"]
    first = run(tmp_path, *words, "tracking=none", stage="stage.steps=[student,summary]")
    assert first.returncode == 0, first.stderr
    folders = [tmp_path / f"runs/student/b-seed_{seed}" for seed in range(2)]
    scores = [json.loads((folder / "score.json").read_text()) for folder in folders]
    figures = json.loads((tmp_path / "runs/summary/b/summary.json").read_text())["settings"]["b"]["figures"]
    for name in ("test/log_loss", "test/log_loss/scene/bus", "test/calibration_error"):
        values = [each[name] for each in scores]
        expected = [np.mean(values), np.std(values, ddof=1)]
        np.testing.assert_allclose([figures[name]["mean"], figures[name]["deviation"]], expected, rtol=1e-12)
    assert first.stdout.count("stage summary") == 1
    again = run(tmp_path, *words, "tracking=none", stage="stage.steps=[student,summary]")
    assert again.stdout.count("the result is reused") == 2
    assert again.stdout.count("stage summary") == 1


def test_one_seed_has_a_mean_and_no_interval(sweep: Path) -> None:
    """Oracle: the row by hand; a run named twice counts once; one setting has no differences; and the words."""
    name = "runs/student/s-hard_weight_1.0-seed_1"
    found = run(sweep, f"summary.runs=[{name},{sweep / name}]")
    assert found.returncode == 0, found.stderr
    text = (sweep / "runs/summary/default/summary.md").read_text()
    assert "| test log loss | s-hard_weight_1.0 | 1 | 2.1000 | - | too few |" in text
    assert "paired" not in text + found.stdout
    assert "- s-hard_weight_1.0: of one seed a deviation is not defined" in text


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
