"""teacher.folds: logits of train clips by teachers that were not trained on them."""

import json
from pathlib import Path

import numpy as np
import pytest
from command import QUICK, run

from data.errors import UserError
from data.logits import load_logits
from data.readers.tau22 import read_tau22
from data.scenes import ClipSet
from data.splits import location_folds
from data.waves import WaveStore
from experiments.datasets.datamodule import DataModule
from experiments.run import resolve
from experiments.runs.lineage import teachers_behind
from experiments.stages.beginning import require_unheard
from experiments.training import checkpoint
from teachers import build_teacher

TEACHER = [argument for argument in QUICK if not argument.startswith(("student", "quantize"))]


@pytest.mark.slow  # trains three teachers
def test_a_train_clip_has_the_logits_of_the_teacher_that_was_not_trained_on_it(
    tmp_path: Path, miniature: ClipSet
) -> None:
    """Oracle: the folds of the train locations, by the function that divides them; the logits of the folds' own runs;
    for other clips, those of validation and test, the mean of the three. The same command again trains nothing."""
    command = ["stage=teacher", f"data.root={miniature.root}", "teacher.folds=3", *TEACHER]
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs/teacher"
    clips = read_tau22(miniature.root).clips
    folds = location_folds([clip for clip in clips if clip.split == "train"], folds=3, seed=0)
    files = [load_logits(folder / f"default.fold{number}/logits.h5") for number in range(3)]
    found = load_logits(folder / "default/logits.h5")
    mean = np.mean([file.logits for file in files], axis=0)
    fold_of = {location: number for number, locations in enumerate(folds) for location in locations}
    for row, clip in enumerate(clips):
        expected = files[fold_of[clip.location]].logits[row] if clip.split == "train" else mean[row]
        np.testing.assert_allclose(found.logits[row], expected, rtol=1e-6)
    assert len({file.logits.tobytes() for file in files}) == 3
    for number, locations in enumerate(folds):
        said = f"fold {number} of 3, {sum(clip.location in locations for clip in clips if clip.split == 'train')} clips"
        assert said in done.stdout
    assert json.loads((folder / "default/score.json").read_text())["test/accuracy"] >= 0

    again = run(tmp_path, *command)
    assert again.returncode == 0
    assert "epoch" not in again.stdout
    student = run(tmp_path, "stage=student", f"data.root={miniature.root}", *QUICK)
    assert student.returncode == 0, student.stderr
    assert "maybe on clips that are held out here" not in student.stdout
    folders, missing = teachers_behind(tmp_path / "runs", [tmp_path / "runs/student/default"])
    assert (sorted(each.name for each in folders), missing) == ([f"default.fold{n}" for n in range(3)], [])


def test_a_class_that_a_fold_takes_whole_is_named_before_a_training(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: by hand: a table whose class `rare` has one train location, which lies in one of the folds."""
    rows = [f"{clip.filename},{clip.scene},{clip.location},{clip.split}" for clip in miniature.clips]
    rare = next(clip for clip in miniature.clips if clip.split == "train")
    rows = [f"{row.split(',')[0]},rare,{row.split(',', 2)[2]}" if rare.location in row else row for row in rows]
    table = tmp_path / "clips.csv"
    table.write_text("filename,label,location,split\n" + "\n".join(rows) + "\n")
    command = ["stage=teacher", "data=folder", f"data.root={miniature.root}", f"data.csv={table}", "teacher.folds=2"]
    refused = run(tmp_path, *command, *TEACHER)
    assert refused.returncode == 1
    assert "teacher.folds=2: all train clips of these classes are in one fold" in refused.stderr
    assert "rare" in refused.stderr
    assert not (tmp_path / "runs").exists()


def test_folds_and_refit_are_not_combined(tmp_path: Path) -> None:
    """Oracle: the message: with both, every fold's teacher would have been trained on the validation clips."""
    refused = run(tmp_path, "stage=teacher", "teacher.folds=3", "refit=true", *TEACHER)
    assert refused.returncode == 1
    assert "teacher.folds and refit=true" in refused.stderr
    assert not (tmp_path / "cache").exists()


def test_folds_do_not_begin_with_a_teacher_of_all_train_clips(
    tmp_path: Path, miniature: ClipSet, miniature_waves: WaveStore
) -> None:
    """Oracle: the message, of a teacher of the same train clips, or of these and those held out (refit=true); one of
    other clips may be gone on from."""
    arguments = {"classes": 10, "pretrained": False, "base_channels": 8, "cut_channels": [0, 0, 0]}
    network, path = build_teacher("cp_resnet", **arguments), tmp_path / "c.safetensors"
    data = DataModule(miniature, miniature_waves, None)
    settings = resolve(["stage=teacher", "teacher.folds=3", f"teacher.start={path}"])
    heard = data.fingerprint["clips"], data.with_all_trained.fingerprint["clips"]
    for clips in ("others", *heard):
        blueprint = checkpoint.Blueprint("cp_resnet", arguments, {"mels": 64}, miniature.scenes, 32_000, clips)
        checkpoint.save(path, network, blueprint)
        if clips == "others":
            require_unheard(settings, data)
            continue
        with pytest.raises(UserError, match=r"teacher.folds=3 wants .*c.safetensors was trained on all"):
            require_unheard(settings, data)
