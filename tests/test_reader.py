"""Run folders read back: every file that is damaged or of other types is named in one message."""

import json
from pathlib import Path

import pytest
from test_report import make_run

from data.errors import UserError
from data.scenes import ClipSet
from experiments.evaluation.results import read_results
from experiments.evaluation.systems import read_runs
from experiments.runs.lineage import trainings
from experiments.runs.reader import find_record, read_phases, read_record, read_run, read_scores
from experiments.runs.record import Run

DEEP = "[" * 200_000
PHASE = {"kWh": 1.0, "seconds": 2.0, "estimated": False}
FOREIGN = {
    "score.json": ["5", "[]", '{"test/accuracy": "much"}', '{"a": null}', '{"a": Infinity}', f'{{"a": 1{"0" * 400}}}'],
    "run.json": [
        *("5", '{"settings": 5, "inputs": {}}', '{"settings": {}, "inputs": []}', '{"settings": {}}'),
        *('{"settings": {}, "inputs": {"waves": 5}}', '{"settings": {}, "inputs": {}, "sources": [1]}'),
        '{"settings": {}, "inputs": {}, "sources": "abc"}',
        json.dumps({"settings": {}, "inputs": {}, "sources": [f"runs/{'x' * 256}/logits.h5"]}),  # no file is called so
    ],
    "history.jsonl": ["5", '{"loss": 1}', '{"epoch": 1, "loss": []}', '{"epoch": 1}\n{'],
    "energy.json": [
        *("[]", '{"a": 5}', '{"a": {}}', json.dumps({"a": {**PHASE, "kWh": "much"}})),
        *(json.dumps({"a": {**PHASE, key: value}}) for key, value in (("missing", 5), ("runs", []), ("clips", 0))),
        *(json.dumps({"a": {**PHASE, key: "x"}}) for key in ("seconds", "estimated", "clips")),
    ],
    "layers.json": ["{}", "[5]", '[{"layer": "a"}]', '[{"layer": 1, "bits": 8, "bytes": 1}]'],
    "operators.json": ["{}", "[5]", '[{"output": "a"}]', '[{"output": "a", "macs": "many"}]'],
    "cost.json": [
        *("[]", "{}", '{"layers": {}, "front_end": {}, "ram": {}, "flash": {}}'),
        '{"front_end": {"instructions": 1, "cycles": -1}, "layers": [], "ram": {}, "flash": {}}',
        '{"layers": [{"name": "a", "instructions": 1, "cycles": 1}], "front_end": {}, "ram": {}, "flash": {}}',
        *('{"layers": [], "front_end": {"cycles": 5}, "ram": {}, "flash": {}}', '{"layers": [], "front_end": []}'),
        '{"layers": [], "front_end": {}, "ram": {"arena": "large"}, "flash": {}}',
    ],
    "confusion.csv": ["", "scene,a\nb,1\n", "scene,a,b\na,1,2\n", "scene,a\na,-1\n", "scene,a\na,1.5\n"],
    "reliability.csv": ["low,high\n1,2\n", "low,high,items,confidence,accuracy\n0,1,x,0,0\n"],
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in FOREIGN.items() for text in (*texts, "{", DEEP)]
)
def test_what_is_no_file_of_ours_is_named(tmp_path: Path, miniature: ClipSet, name: str, text: str) -> None:
    """Oracle: the message names the file; texts that are no JSON, no table, or hold other types, by hand."""
    folder = make_run(tmp_path / "runs/quantize/a", miniature)
    assert read_run(str(folder)).folder == folder
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=f"files of {folder} are damaged:\n  {folder / name}"):
        read_run(folder)
    for reader, file in ((read_record, "run.json"), (lambda where: read_scores(where / "score.json"), "score.json")):
        if file == name:
            with pytest.raises(UserError, match=f"{folder / name} is damaged or missing"):
                reader(folder)
            with pytest.raises(UserError, match=str(folder)):
                read_results([folder])
    if name == "score.json":
        with pytest.raises(UserError, match=f"{folder}: "):
            read_runs([folder])
    if name == "run.json":
        assert find_record(folder) is None
        (folder / "model.tflite").write_bytes(b"")
        assert trainings(folder / "model.tflite", {}, tmp_path / "runs")["training/all"]["kWh"] is None
        run = Run(folder, settings={}, inputs={})
        for asked in (run.is_done, run.reopened):
            with pytest.raises(UserError, match="is damaged or missing"):
                asked()
    if name == "energy.json":
        assert read_phases(folder) == {}


def test_a_record_is_what_a_run_wrote(tmp_path: Path) -> None:
    """Oracle: what was given to the run, and that a run of the same folder with its record has the same identity."""
    settings, inputs = {"student": {"size": "6k"}, "seed": 3}, {"waves": "ab"}
    folder, source = tmp_path / "student/a", tmp_path / "teacher/a/logits.h5"
    made = Run(folder, settings=settings, inputs=inputs, sources=[source])
    made.start()
    made.finish({"macs": 12})
    record = read_record(folder)
    assert (record.settings, record.inputs, record.sources) == (settings, inputs, [source])
    assert made.reopened().identity == made.identity
    assert Run(folder, settings=settings, inputs=inputs).is_done()
    assert read_run(folder).settings == {"student.size": "6k", "seed": 3}
