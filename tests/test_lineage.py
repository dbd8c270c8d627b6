"""Which trainings led to a model file, and what they cost together: sums by hand, of runs that are made up."""

import hashlib
import json
from pathlib import Path

import pytest

from data.errors import UserError
from experiments.runs.baseline import baseline_training
from experiments.runs.formats import Metered, not_metered
from experiments.runs.lineage import teachers_behind, trainings
from experiments.runs.meter import ratio

WRITING = 0.25  # kWh of writing logits
PTQ = {"quantize": {"method": "ptq"}}


def reading(kwh: float, seconds: float, *, estimated: bool = True) -> Metered:
    return {"kWh": kwh, "seconds": seconds, "cpu": "x", "gpu": None, "estimated": estimated, "codecarbon": "3"}


def a_run(folder: Path, file: str, inputs: dict | None = None, settings: dict | None = None, kwh: float = 0) -> str:
    """A finished run with a file in it, which took so much energy, and WRITING if it is of logits; returns the file's
    fingerprint."""
    folder.mkdir(parents=True)
    (folder / file).write_text(str(folder))
    (folder / "run.json").write_text(json.dumps({"settings": settings or {}, "inputs": inputs or {}}))
    if kwh:
        phases = {folder.parent.name: reading(kwh, 10 * kwh, estimated=kwh > 1)}
        phases |= {"logits": reading(WRITING, 10 * WRITING, estimated=False)} if file == "logits.h5" else {}
        (folder / "energy.json").write_text(json.dumps(phases))
    return hashlib.sha256(str(folder).encode()).hexdigest()


def test_the_line_from_model_to_teachers_is_followed_by_content(tmp_path: Path) -> None:
    """Oracle: by hand: 0.5 (integers) + 1 (student) + 2 + 4 + 8 (teachers; two of them by an ensemble, one of those
    through a run that only listened) + three times 0.25 (their logits) = 16.25, whatever the runs are called; others,
    and the logits that the third wrote of itself, are left out. One that two learnt from counts once."""
    data = {"waves": "w", "clips": "c", "impulses": "i"}
    one = a_run(tmp_path / "teacher/x", "logits.h5", data, kwh=2)
    two = a_run(tmp_path / "teacher/y", "logits.h5", data, kwh=4)
    weights = a_run(tmp_path / "teacher/z", "checkpoint.safetensors", data, kwh=8)
    energy(tmp_path / "teacher/z", teacher=reading(8, 80), logits=reading(1000, 1))
    three = a_run(tmp_path / "teacher/ears", "logits.h5", {**data, "checkpoint": weights}, {"only": "logits"})
    energy(tmp_path / "teacher/ears", logits=reading(WRITING, 10 * WRITING, estimated=False))
    a_run(tmp_path / "teacher/other", "logits.h5", kwh=1000)
    mixed = a_run(tmp_path / "ensemble/e", "logits.h5", {**data, "y": two, "ears": three})
    student = a_run(tmp_path / "student/s", "checkpoint.safetensors", {**data, "logits": f"{one} {mixed}"}, kwh=1)
    settings = {"quantize": {"method": "qat"}}
    a_run(tmp_path / "quantize/q", "model.tflite", {"checkpoint": student, "logits": one}, settings, kwh=0.5)
    found = trainings(tmp_path / "quantize/q/model.tflite", {"checkpoint_sha256": student}, tmp_path)
    assert {phase: entry["kWh"] for phase, entry in found.items()} == {
        "training/quantize": 0.5,
        "training/student": 1,
        "training/teacher": 14,
        "training/logits": 0.75,
        "training/all": 16.25,
    }
    assert found["training/teacher"]["runs"] == {str(tmp_path / f"teacher/{n}"): e for n, e in zip("xyz", (2, 4, 8))}  # noqa: B905
    assert found["training/all"]["seconds"] == 162.5
    assert [entry["estimated"] for entry in found.values()] == [False, False, True, False, True]
    assert not any(entry.get("missing") for entry in found.values())


def test_what_is_not_known_is_said_and_not_guessed(tmp_path: Path) -> None:
    """Oracle: one teacher of two is gone, the student has no energy.json: neither sum is given, nor that of all; what
    is known of a part stays."""
    one = a_run(tmp_path / "teacher/x", "logits.h5", kwh=2)
    student = a_run(tmp_path / "student/s", "checkpoint.safetensors", {"logits": f"{one} {'f' * 64}"})
    a_run(tmp_path / "quantize/q", "model.tflite", {}, PTQ)
    model, about = tmp_path / "quantize/q/model.tflite", {"checkpoint_sha256": student}
    found = trainings(model, about, tmp_path)
    assert {phase: entry["kWh"] for phase, entry in found.items()} == dict.fromkeys(
        f"training/{phase}" for phase in ("quantize", "student", "teacher", "logits", "all")
    )
    assert found["training/quantize"]["missing"] == [f"{tmp_path / 'quantize/q'}: quantisation not metered"]
    assert found["training/student"]["missing"] == [f"{tmp_path / 'student/s'}: training not metered"]
    for phase, kwh in (("teacher", 2), ("logits", WRITING)):
        found_of = found[f"training/{phase}"]
        assert found_of["missing"] == [f"no run in {tmp_path / 'teacher'} has the logits.h5 ffffffffffff"]
        assert found_of["runs"] == {str(tmp_path / "teacher/x"): kwh}
    energy(tmp_path / "teacher/x", teacher=reading(2, 20))
    (tmp_path / "student/s/energy.json").write_text("{")
    found = trainings(model, about, tmp_path)
    assert f"{tmp_path / 'teacher/x'}: writing of logits not metered" in found["training/logits"]["missing"]
    assert found["training/student"]["missing"] == [f"{tmp_path / 'student/s'}: its energy.json is damaged"]
    (tmp_path / "student/s/run.json").write_text("[]")  # damaged: as good as gone
    strange = tmp_path / "elsewhere.tflite"
    strange.write_text("?")
    for path, metadata in ((model, about), (model, {}), (strange, about)):
        found = trainings(path, metadata, tmp_path)
        assert all(entry["kWh"] is None for entry in found.values())
        assert "the student's teachers: its own run is not known" in found["training/teacher"]["missing"]


def test_learning_from_labels_has_no_teacher(tmp_path: Path) -> None:
    """Oracle: by hand: a student without logits costs itself, and its quantisation; ten times the kWh of each are ten
    times the sum, and what two phases say of their hardware, and of what was killed, stands by the sum."""
    student = a_run(tmp_path / "student/s", "checkpoint.safetensors", {"logits": ""}, kwh=3)
    a_run(tmp_path / "quantize/q", "model.tflite", {}, PTQ, kwh=0.5)
    model = tmp_path / "quantize/q/model.tflite"
    found = trainings(model, {"checkpoint_sha256": student}, tmp_path)
    phases = {phase: entry["kWh"] for phase, entry in found.items()}
    assert phases == {"training/quantize": 0.5, "training/student": 3, "training/all": 3.5}
    energy(tmp_path / "student/s", student={**reading(30, 1), "on": ["a GPU"], "lost": ["a part"]})
    energy(tmp_path / "quantize/q", quantize={**reading(5, 1), "on": ["a CPU"]})
    found = trainings(model, {"checkpoint_sha256": student}, tmp_path)
    assert {phase: entry["kWh"] for phase, entry in found.items()} == {k: 10 * kwh for k, kwh in phases.items()}
    assert sorted(found["training/all"]["on"]) == ["a CPU", "a GPU"]
    assert found["training/student"]["lost"] == [f"{tmp_path / 'student/s'}: a part"]


def test_what_a_student_began_with_is_counted_with_its_teachers(tmp_path: Path) -> None:
    """Oracle: by hand: a student (1) that began with one (2) that began with one (4); the last had a teacher (8). If
    that one is gone, the sums are not known."""
    logits = a_run(tmp_path / "teacher/t", "logits.h5", kwh=8)
    eldest = a_run(tmp_path / "student/a", "checkpoint.safetensors", {"logits": logits}, kwh=4)
    middle = a_run(tmp_path / "student/b", "checkpoint.safetensors", {"logits": "", "weights": eldest}, kwh=2)
    student = a_run(tmp_path / "student/c", "checkpoint.safetensors", {"logits": "", "weights": middle}, kwh=1)
    a_run(tmp_path / "quantize/q", "model.tflite", {}, PTQ, kwh=0.5)
    model = tmp_path / "quantize/q/model.tflite"
    assert cost(model, student, tmp_path) == [0.5, 7, 8]
    (tmp_path / "student/a/checkpoint.safetensors").unlink()
    found = trainings(model, {"checkpoint_sha256": student}, tmp_path)
    assert found["training/all"]["kWh"] is None
    (why,) = found["training/student"]["missing"]
    assert why == f"no run in {tmp_path / 'student'} has the checkpoint.safetensors {eldest[:12]}"


def test_published_weights_that_answer_are_a_teacher_that_cost_nothing(tmp_path: Path) -> None:
    """Oracle: by hand: a student (1) that began with one (2) whose teacher was not trained here, and whose logits
    cost."""
    logits = a_run(tmp_path / "teacher/heard", "logits.h5", {"weights": "w"}, {"only": "logits"}, kwh=100)
    before = a_run(tmp_path / "student/a", "checkpoint.safetensors", {"logits": logits}, kwh=2)
    student = a_run(tmp_path / "student/b", "checkpoint.safetensors", {"logits": "", "weights": before}, kwh=1)
    a_run(tmp_path / "quantize/q", "model.tflite", {}, PTQ, kwh=0.5)
    assert cost(tmp_path / "quantize/q/model.tflite", student, tmp_path) == [0.5, 3, 0]
    found = trainings(tmp_path / "quantize/q/model.tflite", {"checkpoint_sha256": student}, tmp_path)
    assert found["training/logits"]["kWh"] == WRITING
    assert teachers_behind(tmp_path, [tmp_path / "student/a"]) == ([tmp_path / "teacher/heard"], [])


def energy(folder: Path, **phases: Metered) -> None:
    """Write what a run metered."""
    (folder / "energy.json").write_text(json.dumps(phases))


def twins(tmp_path: Path, stage: str, file: str, inputs: dict | None = None, settings: dict | None = None) -> str:
    """Runs a, b and c of a stage with equal files, of 1, 2 and 4 kWh; returns the files' fingerprint."""
    for name, kwh in (("a", 1), ("b", 2), ("c", 4)):
        a_run(tmp_path / stage / name, file, inputs, settings, kwh=kwh)
        (tmp_path / stage / name / file).write_text(stage)
    return hashlib.sha256(stage.encode()).hexdigest()


def cost(model: Path, digest: str, runs: Path, name: str | None = None) -> list[float | None]:
    found = trainings(model, {"checkpoint_sha256": digest}, runs, name)
    return [found.get(f"training/{stage}", {}).get("kWh") for stage in ("quantize", "student", "teacher")]


def sources(folder: Path, *paths: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "sources": [*map(str, paths)]}))


def test_of_equal_files_the_one_that_was_used_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: by hand: all twins have equal bytes; a run.json names the middle one by its path, also after the runs
    were moved, or were at a relative path; then the twin of the same name; then nothing tells."""
    logits = twins(tmp_path, "teacher", "logits.h5")
    digest = twins(tmp_path, "student", "checkpoint.safetensors", {"logits": logits})
    twins(tmp_path, "quantize", "model.tflite", {"checkpoint": digest}, {"quantize": {"method": "qat"}})
    model = tmp_path / "quantize/c/model.tflite"
    assert cost(model, digest, tmp_path) == [4, 4, 4]
    sources(model.parent, tmp_path / "student/a/checkpoint.safetensors")
    sources(tmp_path / "student/a", tmp_path / "teacher/b/logits.h5")
    assert cost(model, digest, tmp_path) == [4, 1, 2]
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert cost(moved / "quantize/c/model.tflite", digest, moved) == [4, 1, 2]
    monkeypatch.chdir(moved.parent)
    sources(moved / "quantize/c", Path("moved/student/b/checkpoint.safetensors"))
    assert cost(Path("moved/quantize/c/model.tflite"), digest, Path("moved")) == [4, 2, 2]
    copy = moved / "copy.tflite"
    copy.write_text("quantize")
    assert cost(copy, digest, moved, "a") == [1, 1, 2]
    found = trainings(copy, {"checkpoint_sha256": digest}, moved, "d")
    assert found["training/all"]["kWh"] is None
    (why,) = found["training/quantize"]["missing"]
    assert why.startswith(", ".join(str(moved / "quantize" / name) for name in "abc"))


def test_the_baseline_s_training_is_found_or_named(tmp_path: Path) -> None:
    """Oracle: by hand: of a student, a distilled baseline, the first phase of another run and one trained on labels, it
    is the last; of two it is the one that is named; a name of something else is refused, and none is no 0. Its kWh over
    another's is a figure on one hardware alone: 6 over 3 are 2. One that was shortened is said to be."""
    assert "none: train it by stage=student student=baseline" in baseline_training(tmp_path, None)["missing"][0]
    own = {"student": {"builder": "baseline"}}
    a_run(tmp_path / "student/s", "checkpoint.safetensors", {}, {"student": {"builder": "cp_mobile"}}, kwh=1)
    a_run(tmp_path / "student/taught", "checkpoint.safetensors", {"logits": "x"}, own, kwh=2)
    a_run(tmp_path / "student/b.held_out", "checkpoint.safetensors", {}, own, kwh=4)
    a_run(tmp_path / "student/b", "checkpoint.safetensors", {"logits": ""}, own, kwh=6)
    found = baseline_training(tmp_path, None)
    assert (found["kWh"], found["runs"], found["missing"]) == (6, {str(tmp_path / "student/b"): 6}, [])
    a_run(tmp_path / "student/c", "checkpoint.safetensors", {}, own, kwh=8)
    several = baseline_training(tmp_path, None)
    assert several["kWh"] is None
    assert f"b, c in {tmp_path / 'student'} are: name one by energy.baseline=NAME" in several["missing"][0]
    assert baseline_training(tmp_path, "c")["kWh"] == 8
    for name in ("s", "taught", "gone", ".."):
        with pytest.raises(UserError, match=f"energy.baseline={name}: .* is no finished training of student=baseline"):
            baseline_training(tmp_path, name)
    a_run(
        tmp_path / "student/d",
        "checkpoint.safetensors",
        {},
        {"student": {**own["student"], "fit": {"epochs": 200}}, "epochs": 1},
        kwh=1,
    )
    assert baseline_training(tmp_path, "d")["lost"] == [
        f"{tmp_path / 'student/d'}: its recipe is of 200 epochs, and epochs=1"
    ]
    assert "lost" not in baseline_training(tmp_path, "c")
    (tmp_path / "student/c/energy.json").unlink()
    assert baseline_training(tmp_path, "c")["missing"] == [f"{tmp_path / 'student/c'}: training not metered"]
    assert ratio({**found, "on": ["x"]}, {**reading(3, 1), "on": ["x"]}) == 2
    assert ratio({**found, "on": ["x"]}, {**reading(3, 1), "on": ["y"]}) is None
    assert ratio(several, reading(3, 1)) is None


def test_a_training_in_another_folder_of_runs_is_not_taken_for_its_twin_here(tmp_path: Path) -> None:
    """Oracle: by hand: the path in run.json leads elsewhere, where the same bytes cost 2 kWh and not 4."""
    here, there = tmp_path / "here", tmp_path / "there"
    digest = twins(here, "student", "checkpoint.safetensors")
    assert twins(there, "student", "checkpoint.safetensors") == digest
    a_run(here / "quantize/c", "model.tflite", {"checkpoint": digest}, PTQ, kwh=0.5)
    sources(here / "quantize/c", there / "student/b/checkpoint.safetensors")
    assert cost(here / "quantize/c/model.tflite", digest, here) == [0.5, 2, None]
    (there / "student/b/checkpoint.safetensors").write_text("trained anew")
    assert cost(here / "quantize/c/model.tflite", digest, here) == [0.5, 2, None]
    assert trainings(here / "quantize/c/model.tflite", {"checkpoint_sha256": digest}, here)["training/student"][
        "runs"
    ] == {str(here / "student/b"): 2}


def test_one_training_under_two_paths_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: by hand: the student names its teacher by an absolute path, the training of integers by a relative
    one."""
    monkeypatch.chdir(tmp_path)
    logits = a_run(Path("runs/teacher/t"), "logits.h5", kwh=2)
    student = a_run(Path("runs/student/s"), "checkpoint.safetensors", {"logits": logits}, kwh=1)
    settings = {"quantize": {"method": "qat"}}
    a_run(Path("runs/quantize/q"), "model.tflite", {"checkpoint": student, "logits": logits}, settings, kwh=1)
    sources(Path("runs/student/s"), tmp_path / "runs/teacher/t/logits.h5")
    sources(Path("runs/quantize/q"), Path("runs/student/s/checkpoint.safetensors"), Path("runs/teacher/t/logits.h5"))
    assert cost(Path("runs/quantize/q/model.tflite"), student, Path("runs")) == [1, 1, 2]


def test_a_training_whose_meter_failed_makes_the_sum_unknown(tmp_path: Path) -> None:
    """Oracle: by hand: the reason stands by the run's name, the teacher's own kWh stay."""
    logits = a_run(tmp_path / "teacher/t", "logits.h5", kwh=2)
    student = a_run(tmp_path / "student/s", "checkpoint.safetensors", {"logits": logits})
    (tmp_path / "student/s/energy.json").write_text(json.dumps({"student": not_metered("no meter")}))
    a_run(tmp_path / "quantize/q", "model.tflite", {}, PTQ, kwh=0.5)
    found = trainings(tmp_path / "quantize/q/model.tflite", {"checkpoint_sha256": student}, tmp_path)
    assert {name: phase["kWh"] for name, phase in found.items()} == {
        "training/quantize": 0.5,
        "training/student": None,
        "training/teacher": 2,
        "training/logits": WRITING,
        "training/all": None,
    }
    assert found["training/student"]["missing"] == [f"{tmp_path / 'student/s'}: no meter"]
    assert found["training/student"]["runs"] == {str(tmp_path / "student/s"): None}
