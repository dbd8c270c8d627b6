"""A run's page, made from its files, and opened in a browser."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from command import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_tracking import records

from data.errors import UserError
from data.scenes import ClipSet
from experiments.evaluation.confidence import curve_scores, threshold_scores
from experiments.evaluation.evaluate import evaluate_and_save
from experiments.report.comparison import comparison_of, labels_of
from experiments.report.numbers import percent
from experiments.report.sections import section_of, write_report
from experiments.runs.reader import read_run
from experiments.runs.relatives import ancestors
from students.quantize.answer import ONE

PHONE = {"width": 360, "height": 740}


COST = {
    "layers": [
        {"name": "0_0", "instructions": 500_000, "cycles": 900_000, "macs": 300_000},
        {"name": "relu", "instructions": 80_000, "cycles": 100_000, "macs": 0},
    ],
    "front_end": {"instructions": 600_000, "cycles": 1_000_000},
    "ram": {"arena": 100_000, "stack": 300},
    "flash": {"code": 20_000},
}


def make_run(folder: Path, clips: ClipSet, seed: int = 0, sources: tuple[Path, ...] = (), *, mistakes: int = 1) -> Path:
    """A finished run of stage=quantize with every file that a report reads; of its mistakes, each of which takes its
    time to draw, so many."""
    folder.mkdir(parents=True)
    labels = clips.labels[clips.indices("test")]
    p = np.random.default_rng(seed).dirichlet(np.ones(10), size=len(labels))
    p[np.arange(len(labels)), labels] += 0.3
    scores = evaluate_and_save(clips, p / p.sum(1, keepdims=True), folder)
    wrong = json.loads((folder / "mistakes.json").read_text())
    (folder / "mistakes.json").write_text(json.dumps(wrong[:mistakes]))
    scores |= {"float/accuracy": 0.5, "float/log_loss": 1.5, "test/agreement_with_float": 0.96}
    sure, right = (p.max(1) / p.sum(1) * ONE).astype(np.uint16), p.argmax(1) == labels
    scores |= curve_scores(sure, right, ONE) | threshold_scores(sure, right, 9_830, ONE, "confidence")
    scores |= {"confidence/temperature": 1.25, "confidence/clips": 1_080.0}
    scores |= {"confidence/log_loss": 1.75, "confidence/calibration_error": 0.0625}
    scores |= {"macs": 4_129_932, "parameter_bytes": 130_000, "peak_bytes": 84_512}
    scores |= {"within_limit/macs": 1.0, "within_limit/parameter_bytes": 0.0}
    rows = [{"epoch": e, "loss": 2 / e, "validation/log_loss": 2.3 / e, "validation/accuracy": 0.1} for e in (1, 2, 3)]
    for name, content in {
        "score.json": json.dumps(scores),
        "history.jsonl": "\n".join(map(json.dumps, rows)),
        "run.json": json.dumps(
            {"settings": {"bits": 8, "seed": seed}, "inputs": {"waves": "ab"}, "sources": [*map(str, sources)]}
        ),
        "config.yaml": "name: <script>alert(1)</script>\ndata: {kind: tau22}\n",
        "energy.json": json.dumps({"quantize": {"kWh": 0.0012, "seconds": 9, "estimated": True, "cpu": "some"}}),
        "layers.json": json.dumps(
            [{"layer": "0_0", "bits": 8, "bytes": 104}, {"layer": "1_0", "bits": 4, "bytes": 60}]
        ),
        "operators.json": json.dumps([{"output": "0_0", "macs": 294_912}, {"output": "1_0", "macs": 10_000}]),
        "cost.json": json.dumps(COST),
    }.items():
        (folder / name).write_text(content)
    return folder


def page_of(folder: Path) -> Path:
    """Its report, written now."""
    write_report(folder)
    return folder / "report.html"


@pytest.fixture
def finished(tmp_path: Path, miniature: ClipSet) -> Path:
    return make_run(tmp_path / "runs/quantize/mine", miniature)


def test_a_network_on_a_device_has_its_times_and_cycles(tmp_path: Path) -> None:
    """Oracle: by hand: 2 million cycles are 25 ms at 80 MHz and 17 at 120; half of them are the front end's; 1 million
    for 300,000 multiply-accumulates."""
    folder = tmp_path / "runs/deploy/mine"
    folder.mkdir(parents=True)
    for name, content in {"run.json": {"settings": {}, "inputs": {}}, "score.json": {}, "cost.json": COST}.items():
        (folder / name).write_text(json.dumps(content))
    _, section = write_report(folder)
    assert section.summary.startswith("One clip takes 2.0 million cycles on a Cortex-M4, 17 ms at 120 MHz")
    assert [tile.value for tile in section.tiles] == ["2,000,000", "3.33", "50.0 %"]
    assert [plot.title for plot in section.plots] == ["Cycles by layer"]
    times, layers, memory = section.grids
    assert times.columns[1:] == ["64 MHz", "80 MHz", "120 MHz"]
    assert times.rows[0] == ["front end", "16 ms", "12 ms", "8 ms"]
    assert times.rows[2] == ["together", "31 ms", "25 ms", "17 ms"]
    assert layers.rows[1] == ["0_0", "300,000", "500,000", "900,000", "3.00", "45.0 %"]
    assert layers.rows[2] == ["relu", "", "80,000", "100,000", "", "5.0 %"]
    assert memory.rows == [["RAM, arena", "100,000"], ["RAM, stack", "300"], ["flash, code", "20,000"]]
    assert "Cycles by layer" in (folder / "report.html").read_text()
    (folder / "cost.json").write_text(json.dumps({"layers": [], "front_end": {}, "ram": {}, "flash": {}}))
    assert write_report(folder)[1].summary.startswith("One clip takes 0.0 million")


def test_what_a_page_says_is_what_is_in_the_scores(finished: Path, miniature: ClipSet) -> None:
    """Oracle: score.json, formatted by hand; the limits' verdicts; no code of a config is code of the page."""
    text = page_of(finished).read_text()
    scores = json.loads((finished / "score.json").read_text())
    low, high = (100 * scores[f"test/accuracy/{edge}"] for edge in ("low", "high"))
    assert f"right on {100 * scores['test/accuracy']:.1f} % (95 %: {low:.1f} to {high:.1f})" in text
    assert f"Of the {len(miniature.indices('test'))} test clips" in text
    for figure in ("accuracy/device/s6", "accuracy/scene/metro_station", "accuracy/group/unseen"):
        assert f'<td class="number">{100 * scores[f"test/{figure}"]:.1f} %</td>' in text
    threshold = [scores[f"confidence/{name}"] for name in ("coverage", "threshold", "accuracy")]
    cells = [f"{100 * threshold[0]:.1f} %", f"threshold {threshold[1]:.3f}", f"{100 * threshold[2]:.1f} %"]
    first, *rest = cells
    row = "".join([f'<th scope="row">{first}</th>', *(f'<td class="number">{cell}</td>' for cell in rest)])
    assert row in "".join(line.strip() for line in text.split("\n"))
    assert "calibrated (fitted to 1,080 validation clips)" in text
    assert '<b>4,129,932</b><span class="ok">of 30,000,000, ok' in text
    assert '<b>130,000</b><span class="over">of 128,000, over' in text
    assert "<b>1.2 Wh</b>" in text
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.slow  # some seconds
def test_a_page_links_to_those_it_came_from(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: the files that the addresses lead to, from the teacher over the student to this run."""
    teacher = make_run(tmp_path / "runs/teacher/big", miniature)
    student = make_run(tmp_path / "runs/student/small", miniature, sources=(teacher / "logits.h5",))
    integers = make_run(tmp_path / "runs/quantize/small", miniature, sources=(student / "checkpoint.safetensors",))
    for folder in (teacher, student, integers):
        write_report(folder)
    links = section_of(read_run(integers), integers).links
    assert [link.words for link in links] == ["teacher big", "student small"]
    assert [(integers / link.address).resolve() for link in links] == [
        (folder / "report.html").resolve() for folder in (teacher, student)
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_at_a_phones_width(finished: Path, browser, scheme: str) -> None:
    """Oracle: Chromium: no message in its console, nothing asked of a network, pictures and tables laid out inside the
    page's width, words that stand out from the paper (WCAG's contrast of 4.5)."""
    page = browser.new_page(viewport=PHONE, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_of(finished).as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    titles = page.locator(".plots h3").all_inner_texts()
    kinds = ["Confusions", "Devices", "Groups of devices", "Scenes", "Reliability", "Coverage and accuracy"]
    assert titles == [*kinds, "Training", "Accuracy over costs", "Layers", "Cycles by layer"]
    for picture in page.locator(".plots svg").all():
        box = picture.bounding_box()
        assert box["width"] > 250
        assert box["height"] > 90
    assert page.locator("table").count() == 9
    assert page.locator("figure svg text", has_text="metro station").count() >= 2
    paper, ink, label = page.evaluate(
        """() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
                  getComputedStyle(document.querySelector('figure svg text')).fill]"""
    )
    assert contrast(paper, ink) > 4.5
    assert contrast(paper, label) > 4.5
    page.close()


@pytest.mark.slow  # some seconds
def test_all_words_can_be_read_at_a_desk_and_a_click_makes_a_plot_larger(finished: Path, browser) -> None:
    """Oracle: Chromium at 1280 pixels: no text of the page or of a plot below 12; a plot that was clicked is as wide as
    all of them together, and smaller again after the next click; what lies under the pointer has its words."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(page_of(finished).as_uri())
    sizes = page.evaluate(
        """() => [...document.querySelectorAll('body *')].filter(e => [...e.childNodes].some(
            c => c.nodeType == 3 && c.textContent.trim()) && !['title', 'STYLE'].includes(e.tagName)).map(e => {
            const svg = e.closest('svg');
            return parseFloat(getComputedStyle(e).fontSize) * (svg ? svg.getScreenCTM().a : 1) })"""
    )
    assert len(sizes) > 100
    assert min(sizes) >= 12
    plot = page.locator("figure", has=page.locator("h3", has_text="Reliability"))
    before = plot.bounding_box()["width"]
    plot.locator("svg").click()
    larger = plot.bounding_box()["width"]
    assert larger > 2 * before
    plot.locator("svg").click()
    assert plot.bounding_box()["width"] == before
    assert "answered" in page.locator("figure svg title").first.text_content()
    page.close()


def contrast(first: str, second: str) -> float:
    """Of two colours "rgb(r, g, b)", by WCAG 2.1."""

    def luminance(colour: str) -> float:
        channels = [int(c) / 255 for c in colour[4:-1].split(",")]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    dark, light = sorted(map(luminance, (first, second)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.slow  # many plots
def test_runs_are_shown_side_by_side(tmp_path: Path, miniature: ClipSet, browser) -> None:
    """Oracle: W&B's own recording has the pictures and the table; the settings that differ and no other, first of all;
    both runs' scores in one row; each run in full below, closed until its link is followed."""
    for seed in (0, 1):
        make_run(tmp_path / f"runs/quantize/seed_{seed}", miniature, seed)
    (tmp_path / "runs/quantize/unfinished").mkdir()
    result = run(
        tmp_path, "stage=report", "report.runs=runs/quantize/*", "name=both", environment={"WANDB_MODE": "offline"}
    )
    assert result.returncode == 0, result.stderr
    assert "runs/quantize/unfinished" in result.stdout
    recorded = {key for r in records(tmp_path / "runs/report/both") for i in r.history.item for key in i.nested_key[:1]}
    assert {"figures/devices", "figures/accuracy_over_costs", "tables/side_by_side"} <= recorded
    page = browser.new_page()
    page.goto((tmp_path / "runs/report/both/report.html").as_uri())
    assert page.locator("h1").all_inner_texts() == ["Comparison", "quantize seed_0", "quantize seed_1"]
    tables = page.locator("section").first.locator("table")
    second = page.locator("details", has=page.locator("#run-2"))
    assert second.locator("h1").inner_text() == "quantize seed_1"
    assert not page.locator("#run-2").is_visible()
    page.locator("p.links a").nth(1).click()
    assert page.locator("#run-2").is_visible()
    scores = [json.loads((tmp_path / f"runs/quantize/seed_{seed}/score.json").read_text()) for seed in (0, 1)]
    row = tables.nth(1).locator("tr").nth(1).inner_text().split("\t")
    assert row == ["accuracy (macro)", *(f"{100 * s['test/accuracy']:.1f} %" for s in scores)]
    assert [r.split("\t") for r in tables.nth(0).locator("tbody tr").all_inner_texts()] == [["seed", "0", "1"]]
    page.close()


def test_names_are_short_and_the_page_says_which_run_is_meant(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: names by hand: short and different ones as they are, with their stage where stages differ; of long ones
    what the others do not have; else numbers with a table; a run of another version lacks figures, and leaves them
    out."""
    short = [read_run(make_run(tmp_path / f"runs/quantize/{name}", miniature)) for name in "ab"]
    assert labels_of(short) == ["a", "b"]
    student = read_run(make_run(tmp_path / "runs/student/a", miniature))
    assert labels_of([short[0], student]) == ["quantize a", "student a"]
    elsewhere = read_run(make_run(tmp_path / "other/quantize/a", miniature))
    assert labels_of([short[0], elsewhere]) == ["1", "2"]
    swept = [tmp_path / f"runs/quantize/study-hard_weight_{w}-mixstyle_p_0.4-seed_0" for w in (0.2, 1.0)]
    runs = [dataclasses.replace(short[0], folder=folder) for folder in swept]
    assert labels_of(runs) == ["hard_weight_0.2", "hard_weight_1.0"]
    old = make_run(tmp_path / f"runs/quantize/{'from_another_version' * 3}", miniature)
    (old / "score.json").write_text(json.dumps({"integer/accuracy": 0.5, "loss": 1.0}))
    runs = [short[0], read_run(old)]
    section = comparison_of(runs, {run.folder.resolve(): "x" for run in runs})
    assert [plot.title for plot in section_of(runs[1], old).plots] == [
        *("Confusions", "Reliability", "Training", "Layers", "Cycles by layer")
    ]
    key, side_by_side = section.lead
    assert [row[0] for row in key.rows] == ["1", "2"]
    assert section.plots[0].title == "Accuracy"
    assert side_by_side.title == "Side by side"
    assert side_by_side.rows[0] == ["accuracy (macro)", percent(short[0].scores["test/accuracy"]), ""]


def test_names_of_strangers_are_words_on_a_page(finished: Path) -> None:
    """Oracle: Python's escapes, by hand; the page's own text has no mark of direction and no control character."""
    scores = {"test/accuracy": 0.5, "test/accuracy/scene/<b>\x1b[2J\u202e": 0.5}
    (finished / "score.json").write_text(json.dumps(scores))
    (finished / "confusion.csv").write_text("scene,\u202ea,b\r\n\u202ea,1,2\r\nb,3,4\r\n")
    page = page_of(finished).read_text()
    assert page.replace("\n", "").isprintable()
    assert r"&lt;b&gt;\x1b[2J\u202e" in page


def test_only_what_is_of_the_challenges_data_stands_among_the_published(finished: Path) -> None:
    """Oracle: the pictures' titles, of a run on the challenge's data and on the synthetic miniature."""
    run = read_run(finished)
    for kind, there in (("tau22", True), ("synthetic", False)):
        section = section_of(dataclasses.replace(run, config=f"data: {{kind: {kind}}}"), finished)
        assert ("Accuracy over costs" in [plot.title for plot in section.plots]) is there


def test_energy_of_trainings_is_counted_once(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: sums by hand: a training's own; of stage=energy what led to the model, without the inference that it
    metered; nothing where a part is not known."""
    run = read_run(make_run(tmp_path / "runs/quantize/a", miniature))
    phase = {"kWh": 0.002, "seconds": 3, "estimated": True}
    metered = {"inference": phase, "training/student": phase, "training/teacher": phase}
    for energy, expected in (
        ({"student": phase}, 0.002),
        ({**metered, "training/all": {**phase, "kWh": 0.004}}, 0.004),
        ({**metered, "training/all": {**phase, "kWh": None, "missing": ["no run"]}}, None),
        ({}, None),
    ):
        assert dataclasses.replace(run, energy=energy).training_kwh == expected
    metered_on = {"on": ["a processor, by RAPL"], "lost": ["a part"], "estimated": False}
    unknown = {"a": phase, "b": {**phase, "kWh": None, "missing": ["no run"]}, "c": {**phase, **metered_on}}
    unknown = dataclasses.replace(run, energy=unknown)
    (grid,) = (grid for grid in section_of(unknown, tmp_path).grids if grid.title == "Energy")
    assert grid.rows == [
        ["a", "2", "3", "", "an estimate"],
        ["b", "not known", "", "", "not known: no run; an estimate"],
        ["c", "2", "3", "", "not counted: a part; on a processor, by RAPL"],
    ]


def test_a_damaged_ancestor_costs_a_link_and_not_the_page(finished: Path, tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: runs that name each other, and one whose record is no JSON: their folders, each once, without an end."""
    student = make_run(tmp_path / "runs/student/a", miniature, sources=(finished / "model.tflite",))
    teacher = make_run(tmp_path / "runs/teacher/a", miniature)
    (teacher / "run.json").write_text("{")
    sources = [str(student / "checkpoint.safetensors"), str(teacher / "logits.h5")]
    record = json.loads((finished / "run.json").read_text())
    (finished / "run.json").write_text(json.dumps({**record, "sources": sources}))
    assert ancestors(finished) == [student, teacher]
    links = section_of(read_run(finished), finished).links
    assert [(link.words, link.address) for link in links] == [("student a", ""), ("teacher a", "")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["name=nobody"], "no finished run named nobody"),
        (["report.runs=nowhere"], "report.runs=nowhere does not exist"),
        (["report.runs=."], "names no finished run"),
        (["report.runs=nowhere/*"], "matches no file or folder"),
        (["report.runs=[]"], "names nothing"),
    ],
)
def test_a_mistake_is_one_message(arguments: list[str], words: str, tmp_path: Path) -> None:
    """Oracle: the message, and no traceback."""
    result = run(tmp_path, "stage=report", *arguments)
    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
@pytest.mark.slow  # some seconds
def test_no_spoilt_file_is_more_than_a_message(finished: Path, data: st.DataObject) -> None:
    """Oracle: a page or our own error, whatever a file was cut to or had written into it."""
    path = finished / data.draw(
        st.sampled_from(
            [
                *("score.json", "run.json", "history.jsonl", "confusion.csv", "reliability.csv", "energy.json"),
                *("layers.json", "operators.json", "cost.json", "mistakes.json"),
            ]
        )
    )
    before = path.read_text()
    at = data.draw(st.integers(0, len(before)))
    until = data.draw(st.integers(at, min(len(before), at + 20)))
    path.write_text(before[:at] + data.draw(st.text(max_size=6)) + before[until:], errors="replace")
    try:
        run = read_run(finished)
        section_of(run, finished)
        comparison_of([run, run], {finished.resolve(): "here"})
    except UserError as error:
        said = str(error)
    else:
        said = str(finished)
    finally:
        path.write_text(before)
    assert str(finished) in said
