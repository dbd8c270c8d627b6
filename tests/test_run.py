"""The command line as a user meets it: whole paths on small sets, and every mistake a message."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import ai_edge_litert.schema_py_generated as schema
import h5py
import numpy as np
import pytest
import soundfile
import torch
from command import QUICK, ROOT, run, run_until
from safetensors import safe_open

from data.front_ends import build_front_end
from data.scenes import SCENES, ClipSet
from data.tables import read_table
from data.waves import WaveStore
from experiments.evaluation.metrics import is_edge
from experiments.training import checkpoint
from students import build_student
from students.complexity import torch_complexity
from students.limits import over_limits
from students.quantize.runtime import TFLiteModel
from teachers import build_teacher


def test_all_stages_leave_their_artefacts(trained_once: Path) -> None:
    """Oracle: the list of artefacts in the README, each read by its own library; every clip has logits."""
    for stage, names in {
        "teacher": ["checkpoint.safetensors", "logits.h5"],
        "student": ["checkpoint.safetensors"],
        "quantize": ["model.tflite"],
    }.items():
        for name in [*names, "config.yaml", "run.json", "score.json", "history.jsonl"]:
            assert (trained_once / "runs" / stage / "first" / name).is_file(), (stage, name)
    with h5py.File(trained_once / "runs/teacher/first/logits.h5") as file:
        assert file["logits"].shape == (520, 10)
        assert file["done"][:].all()
        assert json.loads(file.attrs["scenes"]) == list(SCENES)
        assert 0 <= file.attrs["test_accuracy"] <= 1
    rows = [json.loads(line) for line in (trained_once / "runs/student/first/history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert not list(trained_once.rglob("*.tmp")) + list(trained_once.rglob("*.partial.h5"))


def test_the_table_shows_what_is_in_the_scores(trained_once: Path) -> None:
    """Oracle: score.json's macro accuracies, formatted by hand."""
    scores = json.loads((trained_once / "runs/quantize/first/score.json").read_text())
    (line,) = [x for x in (trained_once / "stdout.txt").read_text().splitlines() if "all (macro)" in x]
    for model in ("float", "test", "host"):
        assert f"{100 * scores[f'{model}/accuracy']:.1f} %  {scores[f'{model}/log_loss']:.3f}" in line
    assert scores["parameter_bytes"] < scores["float/parameter_bytes"] / 3
    assert scores["within_limit/parameter_bytes"] == scores["float/within_limit/macs"] == 1
    assert "test/accuracy/device/s6" in scores
    assert "test/log_loss/group/unseen" in scores


def test_an_unchanged_stage_is_reused_and_a_changed_one_refused(trained: Path, miniature: ClipSet) -> None:
    """Oracle: the checkpoint's time of change; the message lists what differs; another name is free."""
    path = trained / "runs/student/first/checkpoint.safetensors"
    before = path.stat().st_mtime_ns
    again = run(trained, "stage=student", f"data.root={miniature.root}", "name=first", *QUICK)
    assert again.returncode == 0
    assert "reused" in again.stdout
    changed = run(trained, "stage=student", f"data.root={miniature.root}", "name=first", *QUICK, "seed=3")
    assert changed.returncode == 1
    assert "settings.seed: 0 there, 3 asked for" in changed.stderr
    assert "force=true" in changed.stderr
    assert path.stat().st_mtime_ns == before


@pytest.mark.slow  # kills a process: ten seconds until one is at work
def test_a_run_with_a_damaged_record_is_not_thrown_away(trained: Path, miniature: ClipSet) -> None:
    """Oracle: the bytes of everything in the folder, before and after the same command and one with other settings."""
    folder = trained / "runs/student/first"
    record = folder / "run.json"
    record.write_bytes(record.read_bytes()[:100])
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for more in ([], ["seed=3"]):
        told = run(trained, "stage=student", f"data.root={miniature.root}", "name=first", *QUICK, *more)
        assert told.returncode == 1
        assert "run.json is damaged" in told.stderr
        assert "force=true" in told.stderr
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.slow  # two trainings in processes of their own
def test_a_killed_rerun_is_not_mistaken_for_its_predecessor(trained: Path, miniature: ClipSet) -> None:
    """Oracle: a forced teacher killed in its training leaves nothing that the next stage would learn from."""
    shutil.copytree(trained / "runs/teacher/first", trained / "runs/teacher/killed")
    again = ["stage=teacher", f"data.root={miniature.root}", "name=killed", *QUICK, "epochs=500", "force=true"]
    run_until(trained, "epoch   1/500", *again, "fabric.compile=false")
    result = run(trained, "stage=student", f"data.root={miniature.root}", "name=killed", *QUICK)
    assert result.returncode == 1
    assert "runs/teacher/killed/logits.h5 does not exist: run the teacher stage under this name first" in result.stderr


@pytest.mark.slow  # kills a process: ten seconds until one is at work
def test_a_killed_training_goes_on_and_ends_as_if_nothing_had_been(
    tmp_path: Path, trained: Path, miniature: ClipSet
) -> None:
    """Oracle: the undisturbed run's logits and history, bit for bit; a resume.pt of other settings is refused and left
    alone, a damaged one too."""
    arguments = ["stage=teacher", f"data.root={miniature.root}", f"cache={trained / 'cache'}", *QUICK, "epochs=4"]
    assert run(tmp_path, *arguments, "name=whole").returncode == 0
    run_until(tmp_path, "epoch   2/4", *arguments, "name=killed")
    resume = tmp_path / "runs/teacher/killed/resume.pt"
    before = resume.read_bytes()
    other = run(tmp_path, *arguments, "name=killed", "seed=1")
    assert other.returncode == 1
    assert "unfinished training of other settings or inputs:\n  settings.seed: 0 there, 1 asked for" in other.stderr
    resume.write_bytes(before[:1000])
    damaged = run(tmp_path, *arguments, "name=killed")
    assert damaged.returncode == 1
    assert "resume.pt is damaged" in damaged.stderr
    resume.write_bytes(before)
    again = run(tmp_path, *arguments, "name=killed")
    assert again.returncode == 0, again.stderr
    assert "going on after epoch" in again.stdout
    assert "epoch   1/4" not in again.stdout
    assert not resume.exists()
    logits, histories = [], []
    for name in ("whole", "killed"):
        with h5py.File(tmp_path / f"runs/teacher/{name}/logits.h5") as file:
            logits.append(file["logits"][:])
        rows = (tmp_path / f"runs/teacher/{name}/history.jsonl").read_text().splitlines()
        histories.append([{k: v for k, v in json.loads(row).items() if k != "clips_per_second"} for row in rows])
    np.testing.assert_array_equal(*logits)
    assert histories[0] == histories[1]
    assert len(histories[0]) == 4


@pytest.mark.slow  # four trainings
def test_logits_are_written_anew_for_whoever_asks_for_others(tmp_path: Path, trained: Path, miniature: ClipSet) -> None:
    """Oracle: the checkpoint's time of change, for the teacher is never trained again; three shifts give the mean of
    the logits of clips rolled by hand; the same again reuses the file; without shifts the file is what it was."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    folder = tmp_path / "runs/teacher/first"
    arguments = ["stage=teacher", f"data.root={miniature.root}", f"cache={trained / 'cache'}", "name=first", *QUICK]
    trained_at = (folder / "checkpoint.safetensors").stat().st_mtime_ns
    with h5py.File(folder / "logits.h5") as file:
        clean, names = file["logits"][:], [name.decode() for name in file["filename"][:]]
    for more in (["teacher.shifts=3"], ["only=logits", "teacher.shifts=3"]):
        result = run(tmp_path, *arguments, *more)
        assert result.returncode == 0, result.stderr
        assert ("the logits are reused" in result.stdout) == ("only=logits" in more)
    assert (folder / "checkpoint.safetensors").stat().st_mtime_ns == trained_at
    network, blueprint = checkpoint.load(folder / "checkpoint.safetensors", build_teacher)
    front_end = build_front_end(blueprint.sample_rate, blueprint.mel)
    waves = WaveStore(next((trained / "cache").glob(f"{miniature.root.name}-*/waves_32000.h5"))).read(np.arange(8))
    with torch.no_grad():
        rolled = [network(front_end(waves.roll(shift, 1))) for shift in (-4000, 0, 4000)]
    with h5py.File(folder / "logits.h5") as file:
        assert [name.decode() for name in file["filename"][:]] == names
        np.testing.assert_allclose(file["logits"][:8], torch.stack(rolled).mean(0), atol=1e-5)
        assert np.abs(file["logits"][:] - clean).max() > 1e-4
    assert run(tmp_path, *arguments, "only=logits").returncode == 0
    with h5py.File(folder / "logits.h5") as file:
        np.testing.assert_array_equal(file["logits"][:], clean)


@pytest.mark.slow  # two trainings
def test_a_teacher_that_was_trained_on_held_out_clips_is_named(
    tmp_path: Path, trained: Path, miniature: ClipSet
) -> None:
    """Oracle: the warning, when logits of the same checkpoint are asked for with other splits."""
    logits = ["stage=teacher", f"data.root={miniature.root}", f"cache={trained / 'cache'}", "only=logits", "name=other"]
    logits += [f"checkpoint={trained / 'runs/teacher/first/checkpoint.safetensors'}", "tracking=none"]
    assert "was trained on other clips or splits" not in run(tmp_path, *logits).stdout
    told = run(tmp_path, *logits, "data.seed=0", "data.validation_fraction=0.5", "force=true")
    assert told.returncode == 0, told.stderr
    assert "was trained on other clips or splits" in told.stdout


@pytest.mark.slow  # two trainings
def test_a_teacher_outlives_who_only_asks_for_logits(tmp_path: Path, trained: Path, miniature: ClipSet) -> None:
    """Oracle: the bytes of checkpoint, logits and record, while logits of it are asked for in every wrong way."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    folder = tmp_path / "runs/teacher/first"
    shutil.copytree(folder, tmp_path / "runs/teacher/second")
    kept = ("checkpoint.safetensors", "logits.h5", "run.json")
    before = {name: (folder / name).read_bytes() for name in kept}
    logits = ["stage=teacher", "only=logits", f"data.root={miniature.root}", f"cache={trained / 'cache'}", *QUICK]
    checkpoint = f"checkpoint={folder / 'checkpoint.safetensors'}"
    told = run(tmp_path, *logits, "name=first", "data.validation_fraction=0.5")
    assert "was trained on other clips, splits or waves" in told.stderr
    told = run(tmp_path, *logits, "name=second", checkpoint, "force=true")
    assert "holds a training of its own" in told.stderr
    assert run(tmp_path, *logits, "name=first", checkpoint, "force=true").returncode == 0
    assert {name: (folder / name).read_bytes() for name in kept} == before
    (folder / "run.json").unlink()
    told = run(tmp_path, *logits, "name=first", checkpoint, "force=true")
    assert "is an unfinished run" in told.stderr
    assert (folder / "checkpoint.safetensors").read_bytes() == before["checkpoint.safetensors"]


@pytest.mark.slow  # some seconds
def test_a_sweep_gives_every_job_a_run_of_its_own(trained: Path, miniature: ClipSet) -> None:
    """Oracle: two folders named after the swept seed, both taught by the plain name's logits."""
    swept = ["-m", "seed=1,2", "epochs=1", "student.size=6k", "student.mel.mels=64", "tracking=none"]
    result = run(trained, "stage=student", f"data.root={miniature.root}", "name=first", *swept)
    assert result.returncode == 0, result.stderr
    done = sorted(path.parent.name for path in (trained / "runs/student").glob("first-*/run.json"))
    assert done == ["first-seed_1", "first-seed_2"]


@pytest.mark.slow  # a training
def test_a_student_learns_from_several_teachers(trained: Path, miniature: ClipSet) -> None:
    """Oracle: the inputs that run.json records."""
    shutil.copytree(trained / "runs/teacher/first", trained / "runs/teacher/second")
    files = "logits=[runs/teacher/first/logits.h5,runs/teacher/second/logits.h5]"
    result = run(trained, "stage=student", f"data.root={miniature.root}", "name=two", files, *QUICK)
    assert result.returncode == 0, result.stderr
    record = json.loads((trained / "runs/student/two/run.json").read_text())
    assert len(record["inputs"]["logits"].split()) == 2


@pytest.mark.slow  # some seconds
def test_the_control_learns_from_labels_alone(tmp_path: Path, trained: Path, miniature: ClipSet) -> None:
    """Oracle: no logits among the inputs, none needed on the disk; the energy of the training is in the scores."""
    arguments = [f"data.root={miniature.root}", f"cache={trained / 'cache'}", "name=control", "distill=none", *QUICK]
    result = run(tmp_path, "stage=student", *arguments)
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "runs/student/control/run.json").read_text())["inputs"]["logits"] == ""
    energy = json.loads((tmp_path / "runs/student/control/energy.json").read_text())["student"]
    scores = json.loads((tmp_path / "runs/student/control/score.json").read_text())
    assert scores["energy/student/kWh"] == energy["kWh"] > 0
    assert scores["energy/student/seconds"] == energy["seconds"] > 0


@pytest.mark.slow  # some seconds
def test_wandb_records_offline_without_a_key_and_says_so(trained: Path, miniature: ClipSet) -> None:
    """Oracle: an offline run in the run's folder, one line about it, no prompt (pytest's standard input refuses)."""
    home = {"HOME": str(trained), "WANDB_API_KEY": "", "WANDB_MODE": "online"}
    arguments = [f"data.root={miniature.root}", "name=first", "force=true", "quantize.clips=8"]
    result = run(trained, "stage=quantize", *arguments, environment=home)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("no key, recording offline") == 1
    (recording,) = (trained / "runs/quantize/first/wandb").glob("offline-run-*")
    assert list(recording.glob("*.wandb"))
    kept = {str(path.relative_to(recording / "artifacts")) for path in recording.glob("artifacts/*/*")}
    assert kept == {"0-student-first-checkpoint/checkpoint.safetensors", "1-quantize-first-model/model.tflite"}


def test_help_is_quick_and_names_stages_and_groups(tmp_path: Path) -> None:
    """Oracle: the names; heavy packages are not imported."""
    words = {
        (): ("teacher", "student", "quantize"),
        ("data",): ("synthetic", "tau22"),
        ("student",): ("cp_mobile", "baseline"),
        ("teacher",): ("cp_resnet", "passt"),
    }
    for stage, names in words.items():
        result = run(tmp_path, *stage, "--help")
        assert result.returncode == 0
        assert all(name in result.stdout for name in names)
    check = "import sys, experiments.run; sys.exit(bool({'torch', 'wandb', 'pandas', 'h5py'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0


MISTAKES = {
    "a wrong stage": (["stage=teach"], ["stage/teach", "teacher"]),
    "a misspelt key": (["studnt.size=12k"], ["'studnt.size' is no setting; did you mean student.size"]),
    "a misspelt argument": (["teacher.arguments.rhoo=3"], ["did you mean teacher.arguments.rho"]),
    "a wrong type": (["epochs=many"], ["epochs=many must be a whole number from 1"]),
    "a wrong choice": (["teacher=pasta"], ["pasta", "passt"]),
    "a broken override": (["epochs=[1"], ["no viable alternative at input '[1'"]),
    "no root": (["data=tau22", "data.download=false"], ["data.download=false forbids", "zenodo.org/records/6337421"]),
    "a missing root": (
        ["stage=teacher", "data=tau22", "data.root=nowhere"],
        ["nowhere is no folder", "data.download=true"],
    ),
    "a foreign root": (["stage=data", "data=tau22", "data.root={root}"], ["is not empty and has no meta.csv"]),
    "a folder without table": (["data=folder", "data.root={root}"], ["clips.csv is missing", "data.csv=FILE"]),
    "a folder without a place": (["data=folder"], ["data.root=FOLDER (with clips.csv), or data.csv=FILE"]),
    "an unknown subset": (["data.root={miniature}", "data.subset=7"], ["data.subset 7", "5, 10, 25, 50, 100"]),
    "a subset without lists": (
        ["stage=teacher", "data.root={miniature}", "data.subset=5"],
        ["split5.csv is missing", "data.subset_lists"],
    ),
    "half a fold": (["data.root={miniature}", "data.folds=3"], ["data.folds=3 and data.fold=None: give both"]),
    "too many folds": (["data.root={miniature}", "data.folds=300", "data.fold=0"], ["from 2 to the number of train"]),
    "no samples": (
        ["stage=data", "data.root={miniature}", "data.clip_seconds=0"],
        ["data.clip_seconds=0.0 must be above 0 and at most 600 seconds"],
    ),
    "a strange residency": (["stage=teacher", "data.root={miniature}", "data.residency=ram"], ["device, memory, disk"]),
    "a setting of another kind": (
        ["data=folder", "data.root={root}", "data.subset=5"],
        ["means nothing to data=folder"],
    ),
    "crops of half clips": (
        ["stage=teacher", "data.root={miniature}", "data.clip_seconds=0.5", "teacher.augment.crop=true"],
        ["joins neighbouring clips of 1 s", "are 0.5 s long"],
    ),
    "an endless clip": (["stage=data", "data.root={miniature}", "data.clip_seconds=inf"], ["data.clip_seconds=inf"]),
    "weights for nobody": (
        ["stage=ensemble", "data.root={miniature}", "logits={logits}", "ensemble.weights=[1,2]"],
        ["ensemble.weights=[1.0, 2.0] must be 1 numbers"],
    ),
    "a pattern of nothing": (["stage=ensemble", "data.root={miniature}", "logits=no*.h5"], ["no*.h5 matches no file"]),
    "a student of crops": (
        ["stage=student", "data.root={miniature}", "student.augment.crop=true", "logits=[{logits}]"],
        ["is for teachers"],
    ),
    "a model of nobody": (
        ["stage.steps=[data,predict]", "data.root={miniature}", "predict.audio={root}", "name=none"],
        ["does not exist: run the quantize stage under this name first, or give model=FILE"],
    ),
    "logits of nobody": (
        ["stage.steps=[data,student]", "data.root={miniature}", "name=none"],
        ["does not exist: run the teacher stage under this name first, or give logits=FILE"],
    ),
    "systems of nobody": (
        ["stage.steps=[data,rank]", "data.root={miniature}", "rank.systems=nope.csv"],
        ["rank.systems=nope.csv does not exist"],
    ),
    "two weights for the teacher to come": (
        ["stage=all", "data.root={miniature}", "student.distill.weights=[1,2]"],
        ["student.distill.weights=[1, 2] must be 1 numbers"],
    ),
    "a probability over 1": (["stage=all", "teacher.augment.impulse_p=2"], ["teacher.augment.impulse_p=2.0"]),
    "no teacher yet": (["stage=student", "data.root={miniature}"], ["run the teacher stage under this name first"]),
    "no student yet": (
        ["stage=quantize", "data.root={miniature}"],
        ["run the student stage under this name first"],
    ),
    "no such impulses": (
        ["stage=data", "data.root={miniature}", "data.impulses=none"],
        ["impulses=none does not exist"],
    ),
    "an argument of a wrong type": (
        ["data.root={miniature}", "stage=teacher", "teacher.arguments.rho=wide"],
        ["teacher cp_resnet: rho='wide' must be a whole number"],
    ),
    "no epochs": (["data.root={miniature}", "stage=teacher", "epochs=0"], ["epochs=0"]),
    "a negative rate": (
        ["data.root={miniature}", "stage=teacher", "teacher.fit.learning_rate=-1"],
        ["learning_rate=-1"],
    ),
    "a negative shift": (
        ["data.root={miniature}", "stage=teacher", "teacher.augment.roll=-1"],
        ["teacher.augment.roll=-1 must be from 0"],
    ),
    "no hop": (
        ["data.root={miniature}", "stage=teacher", "teacher.mel.hop=0"],
        ["front end log_mel: hop=0 must be from 1"],
    ),
    "BatchNorm over CPUs": (["data.root={miniature}", "stage=teacher", "fabric.sync_batchnorm=true"], ["needs CUDA"]),
    "an even number of shifts": (["data.root={miniature}", "stage=teacher", "teacher.shifts=2"], ["must be odd"]),
    "only something": (["data.root={miniature}", "stage=teacher", "only=scores"], ["choose one of: logits"]),
    "only logits of nothing": (["data.root={miniature}", "stage=teacher", "only=logits"], ["needs a trained teacher"]),
    "two weights for one teacher": (
        ["stage=student", "data.root={miniature}", "student.distill.weights=[1,2]", "logits=[{logits}]"],
        ["student.distill.weights=[1, 2] must be 1 numbers"],
    ),
    "distilling in a strange way": (
        ["stage=student", "data.root={miniature}", "distill=some", "logits=[{logits}]"],
        ["unknown distill 'some'", "kd, none"],
    ),
    "a strange optimiser": (["stage=teacher", "data.root={miniature}", "teacher.fit.optimizer=sgd"], ["adam, adamw"]),
    "layers of a student": (
        ["stage=student", "data.root={miniature}", "student.fit.layer_decay=0.5", "logits=[{logits}]"],
        ["are for teachers"],
    ),
    "all layers frozen": (
        ["stage=teacher", "data.root={miniature}", "teacher.fit.frozen_layers=99"],
        ["leaves nothing to train"],
    ),
    "half a precision": (["stage=teacher", "data.root={miniature}", "fabric.precision=bf16-true"], ["bf16-mixed"]),
    "machines that do not meet": (
        ["stage=teacher", "data.root={miniature}", "fabric.num_nodes=2"],
        ["torchrun or SLURM"],
    ),
    "parts of a clip": (
        ["stage=teacher", "data.root={miniature}", "teacher.fit.accumulate=100", "fabric.compile=false"],
        ["accumulate=100 parts of 16 clips are too small"],
    ),
    "a chance over 1": (["stage=teacher", "data.root={miniature}", "teacher.augment.mixup_p=2"], ["mixup_p=2"]),
    "long crops for a short memory": (
        [
            "stage=teacher",
            "teacher=passt_small",
            "data.root={miniature}",
            "teacher.augment.crop=true",
            "teacher.augment.crop_seconds=10",
        ],
        ["teacher.arguments.frames=100 is too few for 10 s: train one with 1000"],
    ),
    "a name that leaves the folder": (["data.root={miniature}", "stage=teacher", "name=../x"], ["name='../x'"]),
    "a cache that is a file": (
        ["stage=data", "cache={logits}"],
        ["move the file that is there, or choose another folder with cache=..."],
    ),
    "the same logits twice": (
        ["stage=student", "data.root={miniature}", "logits=[{logits},{logits}]"],
        ["names a file twice"],
    ),
    "no distance": (
        ["stage=student", "data.root={miniature}", "student.mel.mels=0", "logits=[{logits}]"],
        ["front end log_mel: mels=0 must be from 4"],
    ),
    "a percentile over 100": (
        ["stage=quantize", "data.root={miniature}", "checkpoint={student}", "quantize.percentile=101"],
        ["quantize.percentile=101"],
    ),
    "weights that are not there": (
        ["stage=teacher", "data.root={miniature}", "teacher.weights=no.pt"],
        ["teacher.weights=no.pt is no file: name a file of weights"],
    ),
    "an impossible device": (
        ["stage=teacher", "data.root={miniature}", "fabric.accelerator=tpu", "tracking=none"],
        ["is not possible here"],
    ),
    "impossible bands": (["stage=teacher", "data.root={miniature}", "teacher.mel.high=16000"], ["half of sample_rate"]),
    "a wrong student size": (
        ["stage=student", "data.root={miniature}", "student.size=7k", "logits=[{logits}]"],
        ["unknown cp_mobile size '7k'"],
    ),
    "a student over the limits": (
        ["stage=student", "data.root={miniature}", "student.size=61k", "student.mel.hop=250", "logits=[{logits}]"],
        ["multiply-accumulates, at most 30,000,000", "student.size", "limits=warn"],
    ),
    "a batch of more clips than there are": (
        ["stage=student", "data.root={miniature}", "student.fit.batch_size=5000", "logits=[{logits}]"],
        ["batch_size=5000 is more than the", "train clips"],
    ),
    "a name as long as a path": (
        ["stage=student", "data.root={miniature}", "distill=none", "name=" + "x" * 300],
        ["too long: shorten name="],
    ),
    "targets of shifts that are not in the file": (
        ["stage=student", "data.root={miniature}", "student.distill.shifts=nearest", "logits=[{logits}]"],
        ["teacher.shifts=3", "student.distill.shifts=mean"],
    ),
    "half precision without its hardware": (
        [
            "stage=student",
            "data.root={miniature}",
            "fabric.precision=16-mixed",
            "logits=[{logits}]",
            "fabric.accelerator=cpu",
        ],
        ["16-mixed needs CUDA"],
    ),
    "more smoothing than there is": (
        ["stage=student", "data.root={miniature}", "student.distill.label_smoothing=1.5", "distill=none"],
        ["student.distill.label_smoothing=1.5"],
    ),
    "a width that there is not": (
        ["stage=quantize", "data.root={miniature}", "checkpoint={student}", "quantize.bits=3"],
        ["quantize.bits=3 must be 8, 4, auto, 16f, or a mapping"],
    ),
    "a layer that there is not": (
        ["stage=quantize", "data.root={miniature}", "checkpoint={student}", "quantize.bits={{stem:4}}"],
        ["4 bits for the weights of stem", "the layers with weights are stem_1, stem_2"],
    ),
    "a budget that nothing keeps": (
        ["stage=quantize", "data.root={miniature}", "checkpoint={student}", "quantize.bits=auto", "quantize.budget=99"],
        ["quantize.budget=99 bytes is below the smallest possible"],
    ),
    "a budget for fixed widths": (
        ["stage=quantize", "data.root={miniature}", "checkpoint={student}", "quantize.budget=9999"],
        ["bits=auto needs a budget"],
    ),
    "a strange limit": (
        ["stage=student", "data.root={miniature}", "limits=none", "logits=[{logits}]"],
        ["unknown limits 'none'; choose one of: error, warn"],
    ),
    "the widest of what has no width": (
        ["stage=student", "student=baseline", "data.root={miniature}", "student.size=widest", "logits=[{logits}]"],
        ["student.size=widest is for bc_resnet, cnn_gru_2025, cp_mobile"],
    ),
    "a clip too short for its pools": (
        ["stage=student", "student=baseline", "data.root={miniature}", "student.mel.hop=16000", "logits=[{logits}]"],
        ["40 bands and 3 frames are too small"],
    ),
    "a teacher's checkpoint": (
        ["stage=quantize", "data.root={miniature}", "checkpoint={teacher}"],
        ["is a checkpoint of cp_resnet: name one of a student"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message_and_exit_code_1(
    mistake: str, tmp_path: Path, miniature: ClipSet, trained: Path
) -> None:
    """Oracle: what the message must name; no traceback, at most a screen, and no run left behind."""
    arguments, words = MISTAKES[mistake]
    places = {
        "root": ROOT / "tests",
        "miniature": miniature.root,
        "logits": trained / "runs/teacher/first/logits.h5",
        "teacher": trained / "runs/teacher/first/checkpoint.safetensors",
        "student": trained / "runs/student/first/checkpoint.safetensors",
    }
    given = [a.format(**places) for a in arguments]
    quiet = [] if any(a.startswith("cache=") for a in given) else [f"cache={trained / 'cache'}"]
    result = run(tmp_path, *given, *quiet)
    assert result.returncode == 1
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert len(result.stderr.splitlines()) <= 30
    assert not list(tmp_path.glob("runs/*/*/*.*"))


@pytest.mark.slow  # a training more: ten seconds
def test_a_student_learns_to_be_rounded(trained: Path, miniature: ClipSet) -> None:
    """Oracle: the file's own constants against the table of the layers and the budget; a student of both widths that
    has learnt differs from the one that was only rounded; the same command again reuses it."""
    arguments = [f"data.root={miniature.root}", "name=learnt", "checkpoint=runs/student/first/checkpoint.safetensors"]
    arguments += ["logits=runs/teacher/first/logits.h5", "quantize.bits=auto", "quantize.budget=5200", *QUICK]
    arguments += ["quantize.method=qat", "quantize.fit.learning_rate=1e-3"]
    itself = run(
        trained, "stage=quantize", *arguments[:1], "name=itself", *arguments[2:], "quantize.learns_from=student"
    )
    assert itself.returncode == 0, itself.stderr
    scores = json.loads((trained / "runs/quantize/itself/score.json").read_text())
    assert scores["test/agreement_with_float"] > 0.5
    result = run(trained, "stage=quantize", *arguments)
    assert result.returncode == 0, result.stderr
    folder = trained / "runs/quantize/learnt"
    layers, scores = (json.loads((folder / name).read_text()) for name in ("layers.json", "score.json"))
    assert {layer["bits"] for layer in layers} == {4, 8}
    assert sum(layer["bytes"] for layer in layers) == scores["parameter_bytes"] <= 5200
    assert all(layer["sensitivity_4"] >= layer["sensitivity_8"] >= 0 for layer in layers)
    model = schema.ModelT.InitFromPackedBuf(bytearray((folder / "model.tflite").read_bytes()), 0)
    kinds = {tensor.name: tensor.type for tensor in model.subgraphs[0].tensors}
    for layer in layers:
        kind = schema.TensorType.INT4 if layer["bits"] == 4 else schema.TensorType.INT8
        assert kinds[f"{layer['layer']}/weight".encode()] == kind
    assert scores["ptq/log_loss"] != scores["test/log_loss"]
    for name in ("ptq/minus_float/accuracy", "host/minus_float/log_loss"):
        assert scores[f"{name}/low"] <= scores[name] <= scores[f"{name}/high"]
    assert scores["energy/quantize/kWh"] > 0
    assert len((folder / "history.jsonl").read_text().splitlines()) == 2
    exact = [a for a in arguments if "bits" not in a and "budget" not in a and "name=" not in a]
    result = run(trained, "stage=quantize", *exact, "name=exact", "quantize.exact=all", "quantize.clips=33")
    assert result.returncode == 0, result.stderr
    scores = json.loads((trained / "runs/quantize/exact/score.json").read_text())
    assert scores["test/log_loss"] == scores["host/log_loss"] != scores["ptq/log_loss"]
    again = run(trained, "stage=quantize", *arguments)
    assert "the result is reused" in again.stdout
    assert "layers: bits, bytes" in again.stdout


def test_a_student_is_stored_as_halves(trained: Path, miniature: ClipSet) -> None:
    """Oracle: 2 bytes a parameter, safetensors' own dtype, and the float student's answers."""
    arguments = [f"data.root={miniature.root}", "checkpoint=runs/student/first/checkpoint.safetensors", *QUICK]
    result = run(trained, "stage=quantize", *arguments, "name=half", "quantize.bits=16f")
    assert result.returncode == 0, result.stderr
    folder = trained / "runs/quantize/half"
    scores = json.loads((folder / "score.json").read_text())
    assert scores["parameter_bytes"] == 2 * scores["float/parameters"] == scores["float/parameter_bytes"] / 2
    assert scores["test/agreement_with_float"] > 0.98
    with safe_open(folder / "checkpoint.safetensors", "pt") as file:
        kinds = {name: file.get_tensor(name).dtype for name in list(file.keys())}
    assert {kinds[name] for name in kinds if "running" not in name and "num_" not in name} == {torch.float16}


@pytest.mark.slow  # a command and a runtime
def test_activations_of_16_bits_are_nearly_floats(trained: Path, miniature: ClipSet) -> None:
    """Oracle: the float student's log loss, within 5e-3 nats; the bytes of the table of layers."""
    arguments = [f"data.root={miniature.root}", "checkpoint=runs/student/first/checkpoint.safetensors", *QUICK]
    wide = run(trained, "stage=quantize", *arguments, "name=wide", "quantize.activations=16")
    assert wide.returncode == 0, wide.stderr
    scores = json.loads((trained / "runs/quantize/wide/score.json").read_text())
    assert scores["test/log_loss"] == pytest.approx(scores["host/log_loss"], abs=1e-4)
    assert scores["test/log_loss"] == pytest.approx(scores["float/log_loss"], abs=5e-3)
    layers = json.loads((trained / "runs/quantize/wide/layers.json").read_text())
    assert sum(layer["bytes"] for layer in layers) == scores["parameter_bytes"]


@pytest.mark.slow  # torch.export and ONNX take their time
def test_other_runtimes_get_files_of_their_own(trained: Path, miniature: ClipSet) -> None:
    """Oracle: the exported float program and the ONNX file, each run by its own library, against the student."""
    arguments = [f"data.root={miniature.root}", "checkpoint=runs/student/first/checkpoint.safetensors", *QUICK]
    for name, bits, export in (("program", "16f", "[torch]"), ("exported", "8", "[]"), ("exported", "8", "[onnx]")):
        given = [f"name={name}", f"quantize.bits={bits}", f"quantize.export={export}"]  # which may be asked for later
        result = run(trained, "stage=quantize", *arguments, *given)
        assert result.returncode == 0, result.stderr
    assert "reused" in result.stdout
    network, _ = checkpoint.load(trained / "runs/student/first/checkpoint.safetensors", build_student)
    spectrograms = torch.randn(3, 1, 64, 64)
    program = torch.export.load(trained / "runs/quantize/program/student.pt2").module()
    with torch.no_grad():
        torch.testing.assert_close(program(spectrograms), network(spectrograms))
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # see test_export.py
    session = onnxruntime.InferenceSession(trained / "runs/quantize/exported/model.onnx", options)
    found = session.run(None, {"input": spectrograms.numpy()})[0]
    device = TFLiteModel(trained / "runs/quantize/exported/model.tflite").logits(spectrograms).numpy()
    assert np.abs(found - device).max() < 0.1 * np.abs(device).max() + 0.05


@pytest.mark.slow  # two trainings more: ten seconds
def test_other_students_go_all_the_way(trained: Path, miniature: ClipSet) -> None:
    """Oracle: their costs, computed by hand in tests/test_baseline.py and tests/test_cnn_gru.py, and their bytes as
    files of integers: those published of the baseline; of the other by hand, convolutions 51,984 + 4 x 184, the GRU
    192 x (128 + 64) + 192 x (4 + 8), head 640 + 4 x 10."""
    for student, macs, stored in (("baseline", 29_271_638, 46_512), ("cnn_gru", 15_342_586, 92_568)):
        arguments = [f"student={student}", f"data.root={miniature.root}", f"name={student}", "tracking=none"]
        logits = f"logits={trained}/runs/teacher/first/logits.h5"
        result = run(trained, "stage=student", *arguments, logits, "epochs=1")
        assert result.returncode == 0, result.stderr
        assert ("labels alone, and logits= is not read" in result.stdout) == (student == "baseline")
        scores = json.loads((trained / f"runs/student/{student}/score.json").read_text())
        assert scores["macs"] == macs
        result = run(trained, "stage=quantize", *arguments[1:])  # which student, and which rate, its checkpoint says
        assert result.returncode == 0, result.stderr
        scores = json.loads((trained / f"runs/quantize/{student}/score.json").read_text())
        assert scores["parameter_bytes"] == stored


@pytest.mark.slow  # two trainings
def test_limits_may_be_ignored_or_filled(trained: Path, miniature: ClipSet) -> None:
    """Oracle: the warning of a student that limits=error refuses; of the widest, eight channels more than its
    checkpoint's break a limit."""
    logits = f"logits={trained}/runs/teacher/first/logits.h5"
    arguments = ["stage=student", f"data.root={miniature.root}", logits, *QUICK, "epochs=1", "student.mel.mels=16"]
    over = ["student.size=61k", "student.arguments.base_channels=48"]
    refused = run(trained, *arguments, "name=over", *over)
    assert refused.returncode == 1
    told = run(trained, *arguments, "name=over", *over, "limits=warn")
    assert told.returncode == 0, told.stderr
    for text in (refused.stderr, told.stdout):
        assert "parameters, bytes at 8 bits, at most 128,000" in text
    full = run(trained, *arguments, "name=full", "student.size=widest")
    assert full.returncode == 0, full.stderr
    network, blueprint = checkpoint.load(trained / "runs/student/full/checkpoint.safetensors", build_student)
    assert over_limits(torch_complexity(network, (1, 1, 16, 64))) == []
    wider = {**blueprint.arguments, "base_channels": blueprint.arguments["base_channels"] + 8}
    assert over_limits(torch_complexity(build_student(blueprint.builder, **wider), (1, 1, 16, 64)))


@pytest.mark.slow  # three commands
def test_an_ensemble_is_compared_and_taught_from(trained: Path, miniature: ClipSet) -> None:
    """Oracle: three teachers by a pattern: the file holds the mean of their logits, the scores those of each one's own
    run, the table every name; and a student learns from it."""
    for seed in (1, 2):
        shutil.copytree(trained / "runs/teacher/first", trained / f"runs/teacher/e{seed}")
        with h5py.File(trained / f"runs/teacher/e{seed}/logits.h5", "r+") as file:
            file["logits"][:] = np.random.default_rng(seed).normal(size=file["logits"].shape)
    files = f"logits=[{trained}/runs/teacher/first/logits.h5,{trained}/runs/teacher/e?/logits.h5]"
    arguments = [f"data.root={miniature.root}", "name=all", "tracking=none"]
    result = run(trained, "stage=ensemble", files, *arguments, "data.validation_fraction=0.3")
    assert result.returncode == 0, result.stderr
    members = []
    for name in ("e1", "e2", "first"):
        with h5py.File(trained / f"runs/teacher/{name}/logits.h5") as file:
            members.append(file["logits"][:])
        assert name in result.stdout
    with h5py.File(trained / "runs/ensemble/all/logits.h5") as file:
        np.testing.assert_allclose(file["logits"][:], np.mean(members, axis=0), atol=1e-6)
    scores = json.loads((trained / "runs/ensemble/all/score.json").read_text())
    teacher = json.loads((trained / "runs/teacher/first/score.json").read_text())
    details = [name for name in teacher if is_edge(name, teacher) or {"scene", "device"} <= {*name.split("/")}]
    kept = [name for name in teacher if not name.startswith("energy/") and name not in details]
    of_logits = {f"first/{name}": teacher[name] for name in kept}
    assert of_logits.items() <= scores.items()
    again = run(trained, "stage=ensemble", files, *arguments)
    assert "the result is reused" in again.stdout
    taught = run(trained, "stage=student", f"logits={trained}/runs/ensemble/all/logits.h5", *arguments, *QUICK)
    assert taught.returncode == 0, taught.stderr


@pytest.mark.slow  # several commands
def test_data_that_did_not_change_are_left_alone(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: the store's time of change and the message; then a list, a sound file and a setting that did change."""
    root = Path(shutil.copytree(miniature.root, tmp_path / "set"))
    settings = ["stage=data", f"data.root={root}", "data.clip_seconds=0.1"]
    first = run(tmp_path, *settings)
    assert first.returncode == 0, first.stderr
    store = next(tmp_path.glob("cache/*/waves_32000.h5"))
    before = store.stat().st_mtime_ns
    assert "nothing to do" in run(tmp_path, *settings).stdout
    for touched in (root / "meta.csv", next((root / "audio").glob("*.wav"))):
        os.utime(touched)
        again = run(tmp_path, *settings)
        assert again.returncode == 0
        assert "nothing to do" not in again.stdout
    assert "packed 1 clips" in again.stdout
    assert store.stat().st_mtime_ns > before
    assert "nothing to do" in run(tmp_path, *settings).stdout
    assert "nothing to do" not in run(tmp_path, *settings, "data.validation_fraction=0.4").stdout


@pytest.mark.slow  # three stages
def test_any_data_set_goes_all_the_way(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: three classes from a table, in files of several rates, lengths and formats: the scores name them, the
    checkpoint and the file of integers have three outputs, and half-second clips have half of the frames."""
    rows = ["filename,label,device,location,split"]
    chosen = [c for c in miniature.clips if c.scene in ("bus", "park", "tram")]
    for number, clip in enumerate(chosen):
        samples, _ = soundfile.read(miniature.root / clip.filename)
        rate, end = ((44_100, "wav"), (22_050, "flac"), (48_000, "ogg"))[number % 3]
        name = f"{number}.{end}"
        soundfile.write(tmp_path / name, samples[: 10_000 + 400 * number], rate)
        split = "test" if clip.split == "test" else "train"
        rows.append(f"{name},{clip.scene.upper()},phone {clip.device},{clip.location},{split}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    short = ["teacher.fit.batch_size=8", "student.fit.batch_size=8", "student.size=6k", "epochs=1", "quantize.clips=8"]
    crops = ["teacher.augment.crop=true", "data.residency=memory"]
    where = ["data=folder", f"data.root={tmp_path}", "data.clip_seconds=0.5", "name=mine", "tracking=none"]
    result = run(tmp_path, "stage=all", *where, *short, *crops)
    assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / "runs/quantize/mine/score.json").read_text())
    assert {name for name in scores if name.startswith("test/accuracy/scene/")} == {
        f"test/accuracy/scene/{label}" for label in ("BUS", "PARK", "TRAM")
    }
    assert "test/accuracy/group/unseen" in scores
    model = TFLiteModel(tmp_path / "runs/quantize/mine/model.tflite")
    assert model.logits(torch.zeros(1, 1, 256, 32)).shape == (1, 3)
    assert model.metadata["clip_seconds"] == 0.5
    done = run(tmp_path, "stage=predict", "audio=0.wav", "name=mine", "predict.out=p.csv")
    assert done.returncode == 0, done.stderr
    assert list(read_table(tmp_path / "p.csv", ["start", "BUS", "PARK", "TRAM"])["start"]) == ["0"]


@pytest.mark.slow  # real clips are packed, and networks of their published size trained on them
def test_the_three_commands_run_on_real_clips(tmp_path: Path, shared_data: Path) -> None:
    """Oracle: the README's commands, shortened: 75 test clips scored by all three kinds of kernels."""
    where = [
        "name=mini",
        "data=tau22",
        f"data.root={shared_data / 'tau22-mini'}",
        f"data.impulses={shared_data / 'micirp'}",
        "epochs=1",
        "tracking=none",
    ]
    for stage in (["stage=teacher", "teacher=cp_resnet"], ["stage=student"], ["stage=quantize"]):
        result = run(tmp_path, *stage, *where)
        assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / "runs/quantize/mini/score.json").read_text())
    assert {
        "float/accuracy",
        "test/accuracy",
        "host/accuracy",
        "test/accuracy/scene/park",
    } <= scores.keys()
    assert "all (macro)" in result.stdout
