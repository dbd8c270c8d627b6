"""One student for several devices: what each device has of its own, and what all share."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from command import QUICK, run, run_in_subprocess
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional as F

from data.augmentation import Augmentation
from data.errors import UserError
from data.front_ends import build_front_end
from data.readers.folder import read_folder
from data.scenes import SCENES, ClipSet
from data.waves import WaveStore
from experiments.datasets.datamodule import DataModule
from experiments.evaluation.devices import compared
from experiments.inference.classifier import load_classifier
from experiments.inference.network import predict
from experiments.runs.lineage import trainings
from experiments.runs.record import Run
from experiments.settings.parts import Hardware, Recipe
from experiments.submission.lineage import read_lineage
from experiments.training import checkpoint
from experiments.training.devices import (
    CLASSIFIER,
    COUNTER,
    NORM,
    names_of_set,
    parameters_of_set,
    predict_by_device,
    set_of,
    train_only,
)
from experiments.training.trainer import Trainer
from students import build_student
from students.quantize.read import read_tflite
from students.quantize.sets import own_arrays
from students.quantize.tflite import to_tflite

SHAPE = (1, 1, 64, 32)
MEL = {"mels": 64, "hop": 1000}
TRAINED = ("a", "b", "c", "s1", "s2", "s3")  # devices of the miniature's train clips


def student(size: str = "6k") -> nn.Module:
    return build_student("cp_mobile", classes=10, size=size).eval()


def channels(network: nn.Module) -> int:
    """Of all BatchNorms together."""
    return sum(layer.num_features for layer in network.modules() if isinstance(layer, nn.BatchNorm2d))


def test_a_set_is_every_norm_or_the_last_layer_with_its_norm() -> None:
    """Oracle: by hand: weight, bias, mean and variance of each BatchNorm, of which the first two are parameters; the
    last convolution has ten outputs, and a BatchNorm behind it."""
    network = student()
    norms = names_of_set(network, NORM, SHAPE)
    count = sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    assert len(norms) == 4 * count
    assert {name.rpartition(".")[2] for name in norms} == {"weight", "bias", "running_mean", "running_var"}
    assert sum(network.state_dict()[name].numel() for name in norms) == 4 * channels(network)
    assert parameters_of_set(network, norms) == 2 * channels(network)
    last = names_of_set(network, CLASSIFIER, SHAPE)
    shapes = [tuple(network.state_dict()[name].shape) for name in last]
    assert len({name.split(".")[0] for name in last}) == 1
    assert shapes[0][0] == 10
    assert shapes[1:] == [(10,)] * 4
    assert parameters_of_set(network, last) == network.state_dict()[last[0]].numel() + 20
    plain = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    assert names_of_set(plain, CLASSIFIER, SHAPE) == ("3.weight", "3.bias")
    with pytest.raises(UserError, match=r"no BatchNorm; give specialize\.layers=classifier"):
        names_of_set(plain, NORM, SHAPE)


@pytest.fixture(scope="module")
def data(miniature: ClipSet, miniature_waves: WaveStore) -> DataModule:
    return DataModule(miniature, miniature_waves, None)


@pytest.mark.parametrize("layers", [NORM, CLASSIFIER])
def test_training_changes_the_set_alone(data: DataModule, tmp_path: Path, layers: str) -> None:
    """Oracle: bit equality of all other tensors after an epoch with weight decay, as the training leaves them; of the
    set all have changed, statistics of BatchNorm too, and with them, and nowhere else, its counters."""
    network, part = student(), data.of_device("b")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    names = names_of_set(network, layers, SHAPE)
    train_only(network, names)
    recipe = Recipe(
        epochs=1, batch_size=8, learning_rate=1e-2, weight_decay=0.1, constant_until=1, down_over=0, floor=1.0
    )
    hardware = Hardware(accelerator="cpu", compile=False)
    trainer = Trainer(recipe=recipe, augmentation=Augmentation(), hardware=hardware, residency="disk", seed=0)
    run, front_end = Run(tmp_path / "run", settings={}, inputs={}), build_front_end(32_000, MEL)
    network = trainer.train(run, part, network, front_end, loss=lambda z, batch: F.cross_entropy(z, batch.labels))
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    counters = {name.replace("running_mean", COUNTER) for name in names if name.endswith("running_mean")}
    assert counters
    assert changed == {*names} | counters


def test_every_clip_is_answered_by_the_tensors_of_its_device(data: DataModule) -> None:
    """Oracle: a network with the tensors of device b, applied to its clips, bit for bit. All other answers, those of
    the sets that are as the general network's, are those without sets to the last bit, and so is the network
    afterwards."""
    network, front_end, fabric = student(), build_front_end(32_000, MEL), Fabric(accelerator="cpu", devices=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    names = names_of_set(network, NORM, SHAPE)
    own = {name: tensor + 0.1 for name, tensor in set_of(network, names).items()}
    sets = {device: set_of(network, names) for device in TRAINED}
    general, same, other = (
        predict_by_device(network, some, front_end, data, "test", fabric) for some in ({}, sets, {**sets, "b": own})
    )
    assert np.array_equal(same, general)
    of_b = np.array([data.clips.clips[row].device == "b" for row in data.clips.indices("test")])
    assert np.array_equal(other[~of_b], general[~of_b])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    network.load_state_dict({**before, **own})
    batches = data.of_device("b").batches("test", batch_size=64, device=torch.device("cpu"))
    assert np.array_equal(other[of_b], predict(network, front_end, batches)[0])
    assert not np.array_equal(other[of_b], general[of_b])


def test_what_is_gained_is_the_difference_of_the_metrics(data: DataModule) -> None:
    """Oracle: by hand: answers that are right on device b alone, beside answers that are wrong everywhere; the
    interval of the difference of all clips contains it."""
    clips, rows = data.clips, data.clips.indices("test")
    labels = clips.labels[rows]
    wrong = np.full((len(rows), 10), 0.01)
    wrong[np.arange(len(rows)), (labels + 1) % 10] = 0.91
    better, of_b = wrong.copy(), np.array([clips.clips[row].device == "b" for row in rows])
    better[of_b] = np.where(np.eye(10)[labels[of_b]] > 0, 0.91, 0.01)
    found = compared(clips, "test", better, wrong)
    assert found["test/general/accuracy"] == 0
    assert found["test/minus_general/accuracy/device/b"] == 1
    assert found["test/minus_general/accuracy/device/a"] == found["test/minus_general/log_loss/device/a"] == 0
    assert found["test/minus_general/log_loss/device/b"] == pytest.approx(np.log(0.01 / 0.91))
    low, high = (found[f"test/minus_general/log_loss/{edge}"] for edge in ("low", "high"))
    assert low < found["test/minus_general/log_loss"] < high < 0


def test_a_checkpoint_has_shared_tensors_once_and_a_set_for_each_device(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the tensors themselves, and how many values the file has, by hand; without sets the file is as earlier
    versions wrote it, byte for byte, but for the metadata's own text. Who takes the general student is told."""
    caplog.set_level("INFO")
    network, path = student(), tmp_path / "checkpoint.safetensors"
    names = names_of_set(network, NORM, SHAPE)
    sets = [{name: tensor + k for name, tensor in set_of(network, names).items()} for k in (1, 2, 3)]
    devices = ("a", "b", "Zoom \u00e4")
    blueprint = checkpoint.Blueprint("cp_mobile", {"classes": 10, "size": "6k"}, MEL, SCENES, 32_000, "1", devices)
    checkpoint.save(path, network, blueprint, sets)
    found, described, own = checkpoint.load_with_sets(path, build_student)
    assert described == blueprint
    assert list(own) == list(devices)
    for device, expected in zip(devices, sets, strict=True):
        assert own[device].keys() == expected.keys()
        assert all(torch.equal(own[device][name], tensor) for name, tensor in expected.items())
    assert not caplog.messages
    general, without = checkpoint.load_student(path)
    assert without.devices == ()
    assert caplog.messages == [f"{path} has tensors of 3 devices; the general student is taken"]
    for one in (found, general):
        assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in one.state_dict().items())
    values = sum(tensor.numel() for tensor in safetensors.torch.load_file(path).values())
    assert values == sum(t.numel() for t in network.state_dict().values()) + 3 * 4 * channels(network)
    assert "devices" not in checkpoint.Blueprint("cp_mobile", {}, MEL, SCENES, 32_000, "1").described()


def test_a_checkpoint_whose_sets_are_not_alike_is_refused(tmp_path: Path) -> None:
    """Oracle: the messages: a set that lacks a tensor, sets without devices, and a device that is there twice."""
    network, path = student(), tmp_path / "checkpoint.safetensors"
    names = names_of_set(network, CLASSIFIER, SHAPE)
    whole, part = set_of(network, names), set_of(student(), names[1:])
    blueprint = checkpoint.Blueprint("cp_mobile", {"classes": 10, "size": "6k"}, MEL, SCENES, 32_000, "1")
    for devices, sets, message in (
        (("a", "b"), [whole, part], f"device/1/{names[0]}"),
        ((), [whole], f"device/0/{names[0]}"),
        (("a", "a"), [whole, part], "must be names, each there once"),
    ):
        checkpoint.save(path, network, replace(blueprint, devices=devices), sets)
        with pytest.raises(UserError, match=message):
            checkpoint.load_with_sets(path, build_student)


@pytest.mark.slow  # trains a student first
def test_what_cannot_be_specialised_is_refused_before_a_training(
    trained: Path, miniature: ClipSet, miniature_waves: WaveStore
) -> None:
    """Oracle: the messages: a data set of one device, a student that six sets would carry over the limits, and one
    that was trained on other splits, whose validation clips may not be held out here."""
    rows = [f"{clip.filename},{clip.scene},{clip.location},{clip.split}" for clip in miniature.clips]
    table = trained / "clips.csv"
    table.write_text("filename,label,location,split\n" + "\n".join(rows) + "\n")
    of_one, of_six = trained / "of_one.safetensors", trained / "of_six.safetensors"
    for path, clips in ((of_one, read_folder(miniature.root, csv=table)), (of_six, miniature)):
        digest = DataModule(clips, miniature_waves, None).fingerprint["clips"]
        blueprint = checkpoint.Blueprint("cp_mobile", {"classes": 10, "size": "127k"}, MEL, SCENES, 32_000, digest)
        checkpoint.save(path, student("127k"), blueprint)
    command = ["stage=specialize", "distill=none", f"data.root={miniature.root}", *QUICK]
    for path, more, message in (
        (of_one, ["data=folder", f"data.csv={table}"], "needs clips of several devices, and all train clips of"),
        (of_six, [], "the student with the sets of 6 devices is over the task's limits"),
        (of_six, ["data.validation_fraction=0.5"], "held out here: give the data settings that it was trained with"),
        (of_six, ["specialize.fit.frozen_layers=1"], "specialize.layers says what is trained"),
        (of_six, ["specialize.layers=all"], "choose one of: norm, classifier"),
    ):
        refused = run(trained, *command, f"checkpoint={path}", *more)
        assert refused.returncode == 1
        assert message in " ".join(refused.stderr.split())
    assert not (trained / "runs/specialize").exists()


@pytest.mark.slow  # trains six sets of tensors, and makes integers
def test_the_stage_trains_a_set_for_each_device_and_scores_both(trained: Path, miniature: ClipSet) -> None:
    """Oracle: the general student's checkpoint for all tensors that are shared, bit for bit, and with a device's set in
    its own run; parameters, shared + 6 x set, by hand; the general student's own metrics; differences by hand, and none
    for devices that were not trained on. The same command again trains nothing. A device's checkpoint becomes integers
    as any student's, whose training took the energy of two runs."""
    command = ["name=first", f"data.root={miniature.root}", *QUICK]
    done = run(trained, "stage=specialize", *command)
    assert done.returncode == 0, done.stderr
    assert "test clips of s4, s5, s6 are answered by the general student" in done.stdout
    general, _ = checkpoint.load_student(trained / "runs/student/first/checkpoint.safetensors")
    path = trained / "runs/specialize/first/checkpoint.safetensors"
    found, blueprint, sets = checkpoint.load_with_sets(path, build_student)
    assert blueprint.devices == TRAINED
    own = general.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in found.state_dict().items())
    for number, values in enumerate(sets.values()):
        one, _ = checkpoint.load_student(trained / f"runs/specialize/first.device{number}/checkpoint.safetensors")
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, values.get(name, own[name])), name
        assert any(not torch.equal(tensor, own[name]) for name, tensor in values.items())
    scores = json.loads((path.parent / "score.json").read_text())
    before = json.loads((trained / "runs/student/first/score.json").read_text())
    parameters = sum(parameter.numel() for parameter in general.parameters())
    assert scores["parameters"] == parameters + 6 * 2 * channels(general)
    assert scores["parameter_bytes"] == 4 * scores["parameters"]
    for metric in ("accuracy", "log_loss", "accuracy/device/a"):
        assert scores[f"test/general/{metric}"] == pytest.approx(before[f"test/{metric}"], abs=1e-6)
        difference = scores[f"test/{metric}"] - scores[f"test/general/{metric}"]
        assert scores[f"test/minus_general/{metric}"] == pytest.approx(difference, abs=1e-12)
    assert all(scores[f"test/minus_general/log_loss/device/{device}"] == 0 for device in ("s4", "s5", "s6"))
    assert scores["test/minus_general/log_loss"] != 0
    page = (path.parent / "report.html").read_text()
    assert "by the general student and by the tensors of each device" in page
    assert f"{100 * scores['test/minus_general/accuracy/device/b']:+.1f}" in page
    again = run(trained, "stage=specialize", *command)
    assert again.returncode == 0
    assert "epoch" not in again.stdout
    assert "s3" in again.stdout
    device = "checkpoint=runs/specialize/first.device0/checkpoint.safetensors"
    integers = run(trained, "stage=quantize", "name=a", device, *command[1:])
    assert integers.returncode == 0, integers.stderr
    model = trained / "runs/quantize/a/model.tflite"
    spent = trainings(model, read_tflite(model)[1], trained / "runs")
    for stage, name in (("specialize", "first.device0"), ("student", "first")):
        assert [Path(folder).name for folder in spent[f"training/{stage}"]["runs"]] == [name]
        assert spent[f"training/{stage}"]["missing"] == []
    check_integers_of_all(trained, path, command[1:], scores, miniature)


def check_integers_of_all(
    trained: Path, path: Path, command: list[str], before: dict[str, float], miniature: ClipSet
) -> None:
    """Oracle: the file's networks of devices, each given the clips of its device alone; costs, from the sizes of the
    arrays of the file's own; those of the float student as the specialize stage has them; the general student's own
    file without sets, whose metrics are those without the device."""
    integers = run(trained, "stage=quantize", "name=all", f"checkpoint={path}", *command)
    assert integers.returncode == 0, integers.stderr
    folder = trained / "runs/quantize/all"
    network, metadata = read_tflite(folder / "model.tflite")
    assert tuple(network.sets) == tuple(metadata["devices"]) == TRAINED
    scores = json.loads((folder / "score.json").read_text())
    alone = run(
        trained, "stage=quantize", "name=general", "checkpoint=runs/student/first/checkpoint.safetensors", *command
    )
    assert alone.returncode == 0, alone.stderr
    general = json.loads((trained / "runs/quantize/general/score.json").read_text())
    plain, _ = read_tflite(trained / "runs/quantize/general/model.tflite")
    assert to_tflite(replace(network, sets={}), {}) == to_tflite(plain, {})
    for name, value in general.items():
        is_detail = name.endswith(("/low", "/high")) or {"scene", "device"} <= {*name.split("/")}
        if name.startswith("test/") and "_float" not in name and not is_detail:
            assert scores[name.replace("test", "test/general", 1)] == value
    assert scores["macs"] == general["macs"]
    own = [
        values
        for some in network.sets.values()
        for layer, weights in some.items()
        for values in own_arrays(network.weights[layer], weights).values()
    ]
    assert {values.itemsize for values in own} == {4}
    assert scores["parameters"] == general["parameters"] + sum(values.size for values in own)
    assert scores["parameter_bytes"] == general["parameter_bytes"] + 4 * sum(values.size for values in own)
    layers = json.loads((folder / "layers.json").read_text())
    assert sum(layer["bytes"] for layer in layers) == scores["parameter_bytes"]
    for name in ("parameters", "parameter_bytes", "macs"):
        assert scores[f"float/{name}"] == before[name]
    assert scores["float/log_loss"] == pytest.approx(before["test/log_loss"], abs=1e-6)
    table = pd.read_csv(folder / "predictions.csv", sep="\t").set_index("filename")
    classifier = load_classifier(folder / "model.tflite")
    for device in ("b", "s2", "s5"):
        clips = [clip for clip in miniature.clips if clip.split == "test" and clip.device == device]
        found = classifier.of_device(device).classify_clips([miniature.root / clip.filename for clip in clips])
        wanted = table.loc[[clip.filename for clip in clips], list(SCENES)].to_numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        for metric in ("accuracy", "log_loss"):
            name = f"{metric}/device/{device}"
            difference = scores[f"test/{name}"] - scores[f"test/general/{name}"]
            assert scores[f"test/minus_general/{name}"] == pytest.approx(difference, abs=1e-12)
    assert scores["test/minus_general/log_loss/device/s5"] == 0 != scores["test/minus_general/log_loss/device/b"]
    assert "by the general student and by the tensors of each device" in " ".join(integers.stdout.split())
    spent = trainings(folder / "model.tflite", metadata, trained / "runs")["training/specialize"]
    assert spent["missing"] == []
    assert [Path(each).name for each in spent["runs"]] == [f"first.device{number}" for number in range(len(TRAINED))]
    with pytest.raises(UserError, match=r"made of .*specialize/first, a student with tensors of devices"):
        read_lineage(folder)
    lineage = read_lineage(folder, device_is_known=True)
    assert (lineage.specialized.name, lineage.student.name, lineage.student.stage) == ("first", "first", "student")


def with_a_lone_device(folder: Path, miniature: ClipSet, count: int) -> list[str]:
    """The command that trains a student and its sets on a table of the devices 0, 1 and `lone`, which has so many train
    clips."""
    lone = [clip.filename for clip in miniature.clips if clip.split == "train"][:count]
    rows = []
    for number, clip in enumerate(miniature.clips):
        is_lone = clip.filename in lone or (clip.split == "test" and number % 3 == 0)
        rows.append(f"{clip.filename},{clip.scene},{clip.location},{clip.split},{'lone' if is_lone else number % 2}")
    table = folder / "clips.csv"
    table.write_text("filename,label,location,split,device\n" + "\n".join(rows) + "\n")
    command = ["stage.steps=[student,specialize]", "data=folder", f"data.root={miniature.root}", f"data.csv={table}"]
    return [*command, "distill=none", "specialize.layers=classifier", *QUICK]


@pytest.mark.slow  # trains a student and two sets of tensors
def test_a_device_of_one_clip_is_answered_by_the_general_student(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: by hand: a table where one train clip is of the device `lone`; the message, the devices of the
    checkpoint, and no difference for its test clips."""
    done = run(tmp_path, *with_a_lone_device(tmp_path, miniature, 1))
    assert done.returncode == 0, done.stderr
    assert "device lone has fewer than 2 train clips: the general student answers for it" in done.stdout
    path = tmp_path / "runs/specialize/default/checkpoint.safetensors"
    assert checkpoint.load_with_sets(path, build_student)[1].devices == ("0", "1")
    scores = json.loads((path.parent / "score.json").read_text())
    assert scores["test/minus_general/log_loss/device/lone"] == 0
    assert scores["test/minus_general/log_loss/device/0"] != 0


@pytest.mark.slow  # starts two commands of two processes, the first of which trains
def test_two_processes_give_every_device_two_clips_each_and_go_on_where_they_were_stopped(
    tmp_path: Path, miniature: ClipSet
) -> None:
    """Oracle: by hand: three clips are too few for two processes. The command that was stopped after the last device's
    training gives the files of the one that was not, and trains nothing."""
    hardware = ["fabric.accelerator=cpu", "fabric.devices=2", "fabric.strategy=ddp"]
    command = [*with_a_lone_device(tmp_path, miniature, 3), *hardware]
    done = run_in_subprocess(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert "device lone has fewer than 4 train clips: the general student answers for it" in done.stdout
    folder = tmp_path / "runs/specialize/default"
    files = [folder / name for name in ("run.json", "score.json", "checkpoint.safetensors")]
    before = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    again = run_in_subprocess(tmp_path, *command)
    assert again.returncode == 0, again.stderr
    assert "clips/s" in done.stdout
    assert "clips/s" not in again.stdout
    assert [file.read_bytes() for file in files] == before
