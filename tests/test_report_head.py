"""The head of a run's page: what it is of, its files, and whether it keeps the limits."""

import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from test_report import make_run, page_of

from data.scenes import ClipSet
from experiments.report.comparison import comparison_of
from experiments.report.head import facts_of, tiles_of, warning_of
from experiments.report.publish import refresh
from experiments.report.sections import joules_of, section_of
from experiments.runs.reader import read_run
from experiments.runs.record import Run
from students.device.cost import Estimate
from students.limits import Complexity

CONFIG = """# by scenelet 0.2.0, commit 0123456789abcdef0123456789abcdef01234567-dirty, 2026-11-30 12:00 UTC
data: {kind: tau22, root: /somewhere/TAU-2022, subset: 25}
"""


def written(folder: Path, clips: ClipSet, config: str, settings: dict, sources: tuple[Path, ...] = ()) -> Path:
    """A finished run with a config and settings of its own."""
    make_run(folder, clips, sources=sources)
    (folder / "config.yaml").write_text(config)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "settings": settings}))
    return folder


@pytest.mark.slow  # some seconds
def test_a_head_says_what_it_is_of_and_links_its_files(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: the files written here; a model is named by the student that it was made from; each link leads to a file
    or folder, from the run's own page and from another folder's."""
    student = written(
        tmp_path / "runs/student/a b", miniature, CONFIG, {"student": {"builder": "cp_mobile", "size": "61k"}}
    )
    (student / "checkpoint.safetensors").touch()
    sources = (student / "checkpoint.safetensors",)
    integers = written(tmp_path / "runs/quantize/a b", miniature, CONFIG, {"quantize": {"bits": 4}}, sources)
    (integers / "model.tflite").touch()
    section = section_of(read_run(integers), integers)
    assert dict(section.facts) == {
        "data": "TAU Urban Acoustic Scenes 2022 Mobile, development set (TAU-2022), 25 % of the train clips",
        "model": "cp_mobile 61k with integers of 4 bits",
        "date": "2026-11-30 12:00 UTC",
        "scenelet": "0.2.0 commit 0123456789ab-dirty",
    }
    assert [link.words for link in section.files] == ["model.tflite", "predictions"]
    deployed = make_run(tmp_path / "runs/deploy/a b", miniature, sources=(integers / "model.tflite",))
    refresh(integers)
    assert "C for devices" in (integers / "report.html").read_text()
    assert "a%20b" in (integers / "report.html").read_text()
    for here in (integers, tmp_path):
        *_, last = section_of(read_run(integers), here).files
        assert last.words == "C for devices"
        assert (here / last.address.replace("%20", " ")).resolve() == deployed.resolve()
    refresh(tmp_path)  # no run, and nothing to write


def test_the_date_and_the_commit_are_those_that_a_run_wrote(tmp_path: Path) -> None:
    """Oracle: the line that Run.start writes is read back whole; the line of version 0.1.0 still is."""
    made = Run(tmp_path / "student/a", settings={}, inputs={"clips": "c"}, config={"data": {"kind": "synthetic"}})
    made.start()
    made.finish({})
    run = read_run(made.folder)
    found = dict(facts_of(run))
    assert found["date"].endswith(" UTC")
    assert found["date"] in run.config
    assert found["scenelet"].split()[0] in run.config
    assert warning_of(run).startswith("Synthetic toy data")
    old = dataclasses.replace(run, config="# by scenelet's commit 0123456789abcdef\ndata: {kind: esc50}\n")
    assert dict(facts_of(old))["scenelet"] == "commit 0123456789ab"
    assert warning_of(old) == ""
    assert facts_of(dataclasses.replace(run, config="[", inputs={})) == []
    assert facts_of(dataclasses.replace(run, config="data: {kind: [1]}")) == [("data", "[1]")]
    several = dataclasses.replace(run, folder=tmp_path / "ensemble/a", sources=[Path("a"), Path("b")], config="")
    assert facts_of(several, [{"teacher.builder": "passt"}]) == [("model", "ensemble of 2 teachers")]


@pytest.mark.parametrize(
    ("parameters", "layers", "words"),
    [
        (61_148, [], ("244,592", "61,148 at 8 bits, of 128,000", "ok")),
        (128_001, [], ("512,004", "128,001 at 8 bits, of 128,000", "over")),
        (61_148, [{"layer": "a", "bits": 8, "bytes": 1}], ("244,592", "of 128,000", "over")),
    ],
)
def test_a_float_network_keeps_the_limits_if_it_does_with_a_byte_a_parameter(
    tmp_path: Path, miniature: ClipSet, parameters: int, layers: list, words: tuple[str, str, str]
) -> None:
    """Oracle: the check before the training, by hand: 61,148 and 128,001 parameters of one byte against 128,000; of an
    integer file the bytes that it has. What older versions wrote of the verdict does not count."""
    run = read_run(make_run(tmp_path / "runs/student/a", miniature))
    cost = Complexity(26_954_388, parameters, 4 * parameters, 524_288)
    assert cost.metrics(stored=False)["within_limit/parameter_bytes"] == (parameters <= 128_000)
    scores = {**cost.metrics(), "within_limit/parameter_bytes": 0.0}
    tiles = {tile.label: tile[1:] for tile in tiles_of(dataclasses.replace(run, scores=scores, layers=layers))}
    assert tiles["bytes of parameters"] == words
    assert tiles["multiply-accumulates"] == ("26,954,388", "of 30,000,000", "ok")


def test_what_a_device_and_a_computer_need_stands_beside_bytes(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: by hand: 6,000,000 cycles of 120 MHz are 50 ms, and 2e-6 kWh (3.6e6 J each) of 90 clips 0.08 J each, of
    this very file; of another file, or where the measurement is damaged, there is none."""
    folder = make_run(tmp_path / "runs/quantize/a", miniature)
    (folder / "model.tflite").write_bytes(b"a model")
    energy = tmp_path / "runs/energy/other"
    energy.mkdir(parents=True)
    (energy / "score.json").write_text("{}")
    phase = {"kWh": 2e-6, "seconds": 1.0, "estimated": False, "clips": 90}
    (energy / "energy.json").write_text(json.dumps({"inference": phase}))
    digest = hashlib.sha256(b"a model").hexdigest()
    (energy / "run.json").write_text(json.dumps({"settings": {}, "inputs": {"model": digest}}))
    run = read_run(folder)
    run = dataclasses.replace(run, scores={**run.scores, **Estimate(70_000, 50_000, 6_000_000).metrics()})
    tiles = {tile.label: tile[1:] for tile in tiles_of(run)}
    assert tiles["RAM on a device, bytes"] == ("70,000", "estimated for a Cortex-M4", "")
    assert tiles["flash on a device, bytes"][0] == "50,000"
    assert tiles["cycles on a device"] == ("6,000,000", "estimated for a Cortex-M4, 50 ms at 120 MHz", "")
    assert "0.08" in [tile.value for tile in section_of(run, folder).tiles if tile.label == "J a clip, metered"]
    other = dataclasses.replace(run, folder=Path(shutil.copytree(folder, folder.with_name("b"))))
    anchors = {each.folder.resolve(): each.name for each in (run, other)}
    rows = {row[0]: row[1:] for grid in comparison_of([run, other], anchors).lead for row in grid.rows}
    assert rows["cycles on a device"] == ["6,000,000"] * 2
    assert (rows["ms at 120 MHz"], rows["J a clip, metered"]) == (["50"] * 2, ["0.08"] * 2)
    (energy / "energy.json").write_text("{")
    assert joules_of(run) is None
    (energy / "energy.json").write_text(json.dumps({"inference": phase}))
    (folder / "model.tflite").write_bytes(b"another one")
    assert joules_of(run) is None


def test_a_page_shows_a_toy_in_colour_and_a_column_has_one_alignment(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: the classes of the page's own elements: a warning, and in each column of each table one class alone."""
    folder = written(tmp_path / "runs/quantize/a", miniature, "data: {kind: synthetic}\n", {})
    text = page_of(folder).read_text()
    assert '<p class="warning">Synthetic toy data' in text
    tables = re.findall("<table>.*?</table>", text, flags=re.S)
    assert tables
    for table in tables:
        rows = [re.findall(r"<t[hd]\b([^>]*)>", row)[1:] for row in re.findall("<tr>.*?</tr>", table, flags=re.S)]
        kinds = {tuple("number" in cell for cell in row) for row in rows}
        assert len(kinds) == 1
