"""refit=true: the number of steps is chosen with clips held out, then all train clips are trained on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from command import QUICK, run

from data.scenes import ClipSet
from experiments.run import resolve
from experiments.runs.layout import matches
from experiments.runs.lineage import trainings
from experiments.settings.shared import Settings
from experiments.stages.fitting import what_is_trained
from experiments.training import checkpoint
from experiments.training.budget import best_epoch, refitted
from students.quantize.read import read_tflite
from teachers.ensemble import fit_temperature

RECIPE = resolve(["data=tau22", "student.fit.batch_size=10"]).student.fit


@pytest.mark.parametrize(("keep", "epochs"), [("best", 11), ("last", 120)])
def test_as_many_steps_are_trained_as_were_best(keep: str, epochs: int) -> None:
    """Oracle: by hand: the losses are lowest around the 14th of 150 epochs of 8 steps, 112 steps, which are 11.2 epochs
    of 10; or all 1,200 steps, where the last weights are kept. The schedule is scaled along."""
    recipe = RECIPE if keep == "best" else replace(RECIPE, keep="last")
    rows = [{"epoch": number, "validation/log_loss": abs(number - 14) + 1.0} for number in range(1, 151)]
    found = refitted(recipe, rows, 85, 109)
    assert (found.epochs, found.keep) == (epochs, "last")
    assert found.warm_up == pytest.approx(14 * epochs / 150)


def test_one_lucky_epoch_does_not_choose_the_number_of_steps() -> None:
    """Oracle: by hand: losses that fall to the end, one of them below those after it; of losses without noise the
    lowest one, also if the first or the last of them is far below; and the lowest one of so few epochs that a window
    is a single one."""
    falling = [3 - number / 100 for number in range(100)]
    assert best_epoch(falling) == 100
    assert best_epoch([*falling[:59], falling[59] - 0.05, *falling[60:]]) == 100
    for lowest in (20, 50, 80, 100):
        smooth = [abs(number - lowest) / 100 for number in range(1, 101)]
        assert best_epoch(smooth) == lowest
        if lowest == 50:
            assert best_epoch([-0.3, *smooth[1:]]) == best_epoch([*smooth[:-1], -0.3]) == 50
    assert best_epoch([3, 2, 0, 2, 1, 1]) == 3


@pytest.mark.parametrize(("best", "average"), [(75, 0.0), (76, 0.5), (150, 0.5)])
def test_weights_are_averaged_where_those_that_were_best_were(best: int, average: float) -> None:
    """Oracle: by hand: of 150 epochs the weights after the 76th and later ones are averaged, so the best
    weights were plain or a mean; with keep=last the mean of all of these is kept."""
    rows = [{"epoch": number, "validation/log_loss": abs(number - best) + 1.0} for number in range(1, 151)]
    recipe = replace(RECIPE, average=0.5)
    assert refitted(recipe, rows, 85, 109).average == average
    assert refitted(replace(recipe, keep="last"), rows, 85, 109).average == 0.5


def test_smaller_batches_are_said_by_the_first_phase_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: by hand: one line of a command with two phases; 1,000 clips of 30 batches at least are 33 a batch."""
    settings = resolve(["student", "data=tau22", "refit=true", f"runs={tmp_path}"])
    clips = SimpleNamespace(indices=lambda split: np.arange({"train": 1_000, "validation": 100}[split]))
    data = SimpleNamespace(clips=clips, require_validation=lambda what: None)

    def first_phase(phase: Settings) -> None:
        recipe, _ = what_is_trained(phase, "student", phase.student.fit, data, first_phase)  # type: ignore[arg-type]
        assert recipe.batch_size == 33
        raise InterruptedError

    with pytest.raises(InterruptedError):
        what_is_trained(settings, "student", settings.student.fit, data, first_phase)  # type: ignore[arg-type]
    (said,) = caplog.messages
    assert said == "batch_size 256 is too large for 1000 train clips: using 33"


@pytest.fixture(scope="module")
def refit(tmp_path_factory: pytest.TempPathFactory, miniature: ClipSet) -> Path:
    """A folder in which teacher and student were trained twice each."""
    folder = tmp_path_factory.mktemp("refit")
    done = run(
        folder, "stage=all", "stage.steps=[teacher,student]", f"data.root={miniature.root}", "refit=true", *QUICK
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refit on all 400 train clips") == 2
    return folder


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


@pytest.mark.slow  # trains two teachers and two students first
def test_the_first_phase_is_a_run_like_any_other(refit: Path, miniature: ClipSet) -> None:
    """Oracle: the same command without refit, byte for byte, with the logits of the teacher's first phase, which was
    not trained on the validation clips; the second phase has no metric of validation, its network was trained on other
    splits, and for as many epochs as the first one's best, 17 steps of 16 clips, has steps. Under the name of a network
    that was trained once nothing is trained."""
    plain = run(
        refit,
        "stage=student",
        f"data.root={miniature.root}",
        "name=plain",
        "logits=runs/teacher/default.held_out/logits.h5",
        *QUICK,
    )
    assert plain.returncode == 0, plain.stderr
    first, second, alone = (refit / "runs/student" / name for name in ("default.held_out", "default", "plain"))
    assert (first / "checkpoint.safetensors").read_bytes() == (alone / "checkpoint.safetensors").read_bytes()
    best = min(rows_of(first), key=lambda row: row["validation/log_loss"])["epoch"]
    assert [row["epoch"] for row in rows_of(second)] == list(range(1, 1 + round(best * (280 // 16) / (400 // 16))))
    scores = [json.loads((each / "score.json").read_text()) for each in (first, second)]
    assert not [name for name in scores[1] if name.startswith("validation")]
    for name in ("accuracy", "log_loss"):
        assert scores[1][f"held_out/{name}"] == scores[0][f"validation/{name}"]
    splits = [checkpoint.load_student(each / "checkpoint.safetensors")[1].clips for each in (first, second)]
    assert splits[0] != splits[1]
    fitted = json.loads((second / "run.json").read_text())["settings"].get("fitted", {})
    assert "epochs" not in fitted  # what was chosen is no setting
    own = "logits=runs/teacher/default/logits.h5"
    once = run(refit, "stage=student", f"data.root={miniature.root}", "refit=true", "name=plain", own, *QUICK)
    assert once.returncode == 1
    assert "plain holds the result of one training, without refit=true: choose another name" in once.stderr
    assert not (refit / "runs/student/plain.held_out").exists()
    again = run(refit, "stage=student", f"data.root={miniature.root}", "refit=true", *QUICK)
    assert again.returncode == 0
    assert again.stdout.count("the result is reused") == 2


@pytest.mark.slow  # trains two teachers and two students first
def test_bits_are_chosen_by_the_network_that_was_not_trained_on_the_validation_clips(
    refit: Path, miniature: ClipSet
) -> None:
    """Oracle: the sensitivities of the first phase's own network; without it nothing is chosen."""
    arguments = ["stage=quantize", f"data.root={miniature.root}", *QUICK, "quantize.bits=auto", "quantize.budget=5200"]
    arguments = [each for each in arguments if not each.startswith(("epochs", "student", "teacher"))]
    rows = {}
    for name, path in {"default": None, "first": "runs/student/default.held_out/checkpoint.safetensors"}.items():
        done = run(refit, *arguments, f"name={name}", *([f"checkpoint={path}"] if path else []))
        assert done.returncode == 0, done.stderr
        rows[name] = json.loads((refit / f"runs/quantize/{name}/layers.json").read_text())
    measured = {name: [row.get("sensitivity_4") for row in rows[name]] for name in rows}
    assert measured["default"] == measured["first"]
    assert len(set(measured["default"])) > 2
    shutil.copytree(refit / "runs/student/default", refit / "runs/student/alone")
    for leftover in (False, True):
        if leftover:  # of another training
            shutil.copytree(refit / "runs/student/default", refit / "runs/student/alone.held_out")
        alone = run(refit, *arguments, "name=alone")
        assert alone.returncode == 1
        assert "was trained on other splits, maybe on these clips" in alone.stderr
        assert "or quantize.bits=8, which needs none" in " ".join(alone.stderr.split())

    model = refit / "runs/quantize/default/model.tflite"
    spent = trainings(model, read_tflite(model)[1], refit / "runs")
    for stage in ("student", "teacher"):
        assert {Path(folder).name for folder in spent[f"training/{stage}"]["runs"]} == {"default", "default.held_out"}


@pytest.mark.slow  # trains two teachers and two students first
def test_what_was_trained_on_all_train_clips_is_quantized_and_scored_as_such(refit: Path, miniature: ClipSet) -> None:
    """Oracle: while it is rounded the student is trained on 400 clips, so many in a batch, and not on the 280 of a
    first phase; integers and logits have no metrics of clips that their networks were trained on."""
    common = (f"data.root={miniature.root}", "name=whole", "tracking=none")
    done = run(
        refit,
        *("stage=quantize", *common, "checkpoint=runs/student/default/checkpoint.safetensors"),
        *("quantize.method=qat", "distill=none", "epochs=1", "quantize.fit.batch_size=400"),
    )
    assert done.returncode == 0, done.stderr
    shutil.copytree(refit / "runs/teacher/default", refit / "runs/teacher/whole")
    for words in ([], ["teacher.shifts=3"], ["name=else", "checkpoint=runs/teacher/default/checkpoint.safetensors"]):
        done = run(refit, "stage=teacher", "only=logits", *common, *words)
        assert done.returncode == 0, done.stderr
        assert "maybe on clips that are held out here" not in done.stderr + done.stdout
    for folder in ("quantize/whole", "teacher/whole", "teacher/else"):
        scores = json.loads((refit / "runs" / folder / "score.json").read_text())
        assert "test/accuracy" in scores
        assert not [name for name in scores if "validation" in name]


@pytest.mark.slow  # trains two teachers and two students first
def test_temperatures_are_fitted_to_answers_of_the_first_phase(refit: Path, miniature: ClipSet) -> None:
    """Oracle: the temperature that fits the first phase's logits of the validation clips; what the second phase's
    teacher, which was trained on them, answers to these clips changes nothing, and is not scored."""
    other = refit / "runs/teacher/other"
    shutil.copytree(refit / "runs/teacher/default", other)
    shutil.copytree(refit / "runs/teacher/default.held_out", other.with_name("other.held_out"))
    rows = miniature.indices("validation")
    with h5py.File(refit / "runs/teacher/default.held_out/logits.h5") as file:
        expected = fit_temperature(file["logits"][:][rows].astype(np.float64), miniature.labels[rows])
    with h5py.File(other / "logits.h5", "r+") as file:
        logits = file["logits"][:]
        logits[rows] *= 7
        file["logits"][:] = logits
    for name in ("default", "other"):
        done = run(
            refit,
            *("stage=ensemble", f"data.root={miniature.root}", f"name={name}", "ensemble.temperature=true"),
            *(f"logits=runs/teacher/{name}/logits.h5", "tracking=none"),
        )
        assert done.returncode == 0, done.stderr
        scores = json.loads((refit / f"runs/ensemble/{name}/score.json").read_text())
        assert scores[f"{name}/temperature"] == pytest.approx(expected)
        scored = {key.removeprefix(f"{name}/").split("/")[0] for key in scores if "accuracy" in key}
        assert scored == {"test"}  # of clips that it was trained on it has no score
        done = run(
            refit,
            *("stage=student", f"data.root={miniature.root}", f"name={name}.auto", "refit=true", "epochs=1"),
            *("student.distill.temperature=auto", f"logits=runs/teacher/{name}/logits.h5", "tracking=none"),
        )
        assert done.returncode == 0, done.stderr
        for phase in ("", ".held_out"):
            scores = json.loads((refit / f"runs/student/{name}.auto{phase}/score.json").read_text())
            assert scores["distill/temperature/0"] == pytest.approx(expected)


def test_patterns_leave_parts_of_other_runs_out(tmp_path: Path) -> None:
    """Oracle: by hand: of a run and its parts the run; parts whose run is not there, and those that are named."""
    for name in ("a", "a.held_out", "a.fold0", "a.fold0.held_out", "b.fold1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "logits.h5").touch()
    found = matches("logits", f"{tmp_path}/*/logits.h5")
    assert [path.parent.name for path in found] == ["a", "b.fold1"]
    assert [path.name for path in matches("summary.runs", f"{tmp_path}/*")] == ["a", "b.fold1"]
    assert [path.name for path in matches("summary.runs", f"{tmp_path}/*.held_out")] == [
        "a.fold0.held_out",
        "a.held_out",
    ]


def test_a_refit_is_not_under_trained_by_the_floor_of_its_first_phase() -> None:
    """Oracle: by hand: fewer steps than the recipe's floor, because they were best."""
    rows = [{"epoch": number, "validation/log_loss": abs(number - 4) + 1.0} for number in range(1, 151)]
    assert refitted(replace(RECIPE, least_steps=1000), rows, 85, 109).least_steps is None


def test_nothing_is_chosen_without_clips_that_are_held_out(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: the message."""
    everything = [f"data.root={miniature.root}", *QUICK, "refit=true", "data.validation_fraction=0", "distill=none"]
    refused = run(tmp_path, "stage=student", *everything)
    assert refused.returncode == 1
    assert "refit=true, which chooses the number of steps, needs validation clips" in refused.stderr
