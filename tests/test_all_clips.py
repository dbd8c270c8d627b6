"""Commands with data.validation_fraction=0, which trains on all train clips, by teacher and student."""

import json
from pathlib import Path

import h5py
import pytest
from command import QUICK, run
from safetensors.torch import load_file

from data.errors import UserError
from data.readers import read
from data.scenes import ClipSet
from data.splits import hold_out
from experiments.datasets.datamodule import require_held_out
from experiments.run import resolve
from experiments.training.state import HELD_OUT


def test_nothing_is_held_out(miniature: ClipSet) -> None:
    """Oracle: the clips as they were; a third of them is held out by the same call otherwise."""
    train = [clip._replace(split="train") for clip in miniature.clips]
    assert hold_out(train, fraction=0) == train
    assert hold_out(train, fraction=0.3) != train
    with pytest.raises(UserError, match="must be from 0 to below 1"):
        hold_out(train, fraction=1)


def test_a_data_set_may_be_without_validation_clips_only_where_that_is_asked_for(
    miniature: ClipSet, tmp_path: Path
) -> None:
    """Oracle: the train clips of the two ways of reading: those of the one are train and validation of the other."""
    found = read("tau22", miniature.root, {"validation_fraction": 0}, cache=tmp_path)
    assert not found.has_validation
    assert found.scored == ("test",)
    before = {clip.filename for clip in miniature.clips if clip.split in ("train", "validation")}
    assert {clip.filename for clip in found.clips if clip.split == "train"} == before
    assert {clip.filename for clip in miniature.clips if clip.split == "train"} < before
    with pytest.raises(UserError, match="has no validation clips"):
        found.indices("validation")


@pytest.mark.parametrize(
    "held_out", ["data=folder data.validation_fraction=0", "data.validation_fraction=0 data.folds=2 data.fold=0", ""]
)
def test_what_may_have_validation_clips_is_not_refused_before_they_are_read(held_out: str) -> None:
    """Oracle: by hand: a table may name validation clips, a fold is some, and so is the default share."""
    require_held_out(resolve(["student", *held_out.split()]).data, "this")
    with pytest.raises(UserError, match=r"^this needs validation clips"):
        require_held_out(resolve(["student", "data=tau22", "data.validation_fraction=0"]).data, "this")


@pytest.mark.slow  # trains a teacher and two students: ten seconds
def test_all_train_clips_are_trained_on_and_the_last_weights_kept(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: no metric of validation anywhere; the weights that are kept are those of the last epoch, as the same
    command with keep=last says; what is fitted on validation clips is refused."""
    everything = [f"data.root={miniature.root}", *QUICK, "data.validation_fraction=0"]
    done = run(tmp_path, "stage=all", "stage.steps=[teacher,student]", *everything, "name=all")
    assert done.returncode == 0, done.stderr
    assert "no clips are held out: the last weights are kept" in done.stdout
    assert "validation accuracy" not in done.stdout
    for stage in ("teacher", "student"):
        folder = tmp_path / "runs" / stage / "all"
        scores = json.loads((folder / "score.json").read_text())
        assert "test/accuracy" in scores
        assert not [name for name in scores if name.startswith("validation")]
        assert (folder / "report.html").exists()
    rows = [json.loads(line) for line in (tmp_path / "runs/student/all/history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert not [name for row in rows for name in row if name in HELD_OUT]
    with h5py.File(tmp_path / "runs/teacher/all/logits.h5") as file:
        assert "test_accuracy" in file.attrs
        assert "validation_accuracy" not in file.attrs

    logits = f"logits={tmp_path}/runs/teacher/all/logits.h5"
    assert run(tmp_path, "stage=student", *everything, "name=last", logits, "student.fit.keep=last").returncode == 0
    kept, last = (load_file(tmp_path / f"runs/student/{name}/checkpoint.safetensors") for name in ("all", "last"))
    assert all((kept[name] == last[name]).all() for name in last)

    for refused, reason in {
        ("stage=ensemble", "name=no", "ensemble.weights=fit", logits): "weights=fit",
        ("stage=ensemble", "name=no", "ensemble.temperature=true", logits): "temperature=true needs validation clips",
        (
            "stage=quantize",
            "name=all",
            "quantize.bits=auto",
            "quantize.budget=5000",
            "force=true",
        ): "quantize.bits=auto",
    }.items():
        told = run(tmp_path, *refused, *(each for each in everything if not each.startswith("student.size")))
        assert told.returncode == 1, refused
        assert reason in told.stderr
        assert "data.validation_fraction=0" in told.stderr
    equal = run(tmp_path, "stage=ensemble", "name=equal", logits, *everything)
    assert equal.returncode == 0, equal.stderr
