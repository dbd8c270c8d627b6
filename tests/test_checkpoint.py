"""A checkpoint rebuilds its network by itself."""

import dataclasses
import math
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from data.errors import UserError
from data.scenes import SCENES
from experiments.stages.same_data import as_trained_on
from experiments.training import checkpoint
from students import build_student
from teachers import build_teacher

BLUEPRINT = checkpoint.Blueprint("cp_mobile", {"size": "6k", "grn": False}, {"hop": 500}, SCENES, 32_000, "clips")


def test_the_rebuilt_network_answers_the_same(tmp_path: Path) -> None:
    """Oracle: the outputs of the network that was saved."""
    network = build_student("cp_mobile", **BLUEPRINT.arguments)
    network(torch.randn(4, 1, 64, 64))  # moves the BatchNorm statistics
    checkpoint.save(tmp_path / "c.safetensors", network, BLUEPRINT)
    again, blueprint = checkpoint.load(tmp_path / "c.safetensors", build_student)
    spectrograms = torch.randn(2, 1, 64, 64)
    assert torch.equal(again(spectrograms), network.eval()(spectrograms))
    assert blueprint == BLUEPRINT


def test_what_is_no_student_is_refused(tmp_path: Path) -> None:
    """Oracle: a teacher's checkpoint, and a student's as a teacher's; weights of another size, a cut file, an absent
    one."""
    path = tmp_path / "c.safetensors"
    with pytest.raises(UserError, match="does not exist"):
        checkpoint.load(path, build_student)
    teacher = checkpoint.Blueprint("cp_resnet", {}, {}, SCENES, 32_000, "clips")
    checkpoint.save(path, build_teacher("cp_resnet"), teacher)
    with pytest.raises(UserError, match="is a checkpoint of cp_resnet: name one of a student"):
        checkpoint.load(path, build_student)
    checkpoint.save(path, build_student("cp_mobile", size="12k"), BLUEPRINT)
    with pytest.raises(UserError, match="is a checkpoint of cp_mobile: name one of a teacher"):
        checkpoint.load_teacher(path)
    with pytest.raises(UserError, match="does not fit the network:"):
        checkpoint.load(path, build_student)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(path, build_student)


def test_the_classes_of_another_data_set_are_named_in_short() -> None:
    """Oracle: the message, of 527 classes and of one."""
    many = tuple(f"class {number}" for number in range(527))
    blueprint = checkpoint.Blueprint("cp_mobile", {}, {}, many, 32_000, "1")
    data = SimpleNamespace(
        clips=SimpleNamespace(scenes=("a",), is_multi_label=False), store=SimpleNamespace(sample_rate=32_000)
    )
    with pytest.raises(UserError, match=r"scenes \['class 0', .*\.\.\. at .* has \['a'\] at 32000 Hz: give") as refused:
        as_trained_on(Path("some.safetensors"), blueprint, data)
    assert len(str(refused.value)) < 400


def test_equal_networks_make_equal_files(tmp_path: Path) -> None:
    """Oracle: the bytes of ten files: logits and students hang on the fingerprint of a checkpoint."""
    network = build_student(BLUEPRINT.builder, **BLUEPRINT.arguments)
    for number in range(10):
        checkpoint.save(tmp_path / f"{number}", network, BLUEPRINT)
    assert len({(tmp_path / f"{number}").read_bytes() for number in range(10)}) == 1


def described(arguments: dict, builder: str = "cp_mobile", **changes: object) -> checkpoint.Blueprint:
    return dataclasses.replace(BLUEPRINT, builder=builder, arguments=arguments, **changes)


@pytest.mark.parametrize(
    ("blueprint", "said"),
    [
        (described({"pretrained": True}, "passt"), "pretrained=True, but the weights of a checkpoint are those in it"),
        (described({"weights": "/etc/passwd"}, "cp_resnet"), "weights='/etc/passwd', but the weights"),
        (described({"base_channels": 512}), r"a tensor of the shape \(.*\) is larger than the file allows"),
        (described({"base_channels": 10**30}), "base_channels=1000000000000000000000000000000 must be from 1 to 512"),
        (described({"blocks": [200, 1, 1]}), "together 100 at most"),
        (described({"depth": 200, "width": 4, "heads": 1}, "ast"), "far more parts than the file has tensors"),
        (described({"base_channels": "8"}), "base_channels='8' must be a whole number from 1 to 512, or null"),
        (described({"grn": 1}), "grn=1 must be true or false"),
        (described({"weight": 1}), "unexpected keyword argument 'weight'; it takes classes, size"),
        (described({"expansion_rate": math.inf}), "Infinity is no number"),
        (described({"classes": 9}), "classes=9 for 10 scenes"),
        (described({}, scenes=("a", "a")), "must be names, each there once"),
        (described({}, scenes=("a", "\x1b[31m")), r"'\\x1b\[31m' can be no name of a class"),
        (described({}, sample_rate=10**9), "sample_rate=1000000000 must be from 1000 to 384000 Hz"),
        (described({}, mel={"fft": 10**12, "hop": 500}), "larger than the file allows|cannot be built|fft"),
        (described({}, mel={"kind": ["log_mel"]}), "unknown front end"),
    ],
)
def test_what_a_checkpoint_says_of_its_network_is_checked_before_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blueprint: checkpoint.Blueprint, said: str
) -> None:
    """Oracle: the message for each value; no connection is made."""
    monkeypatch.setattr(socket, "socket", None)
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, build_student("cp_mobile", size="6k"), blueprint)
    load = checkpoint.load_student if blueprint.builder == "cp_mobile" else checkpoint.load_teacher
    with pytest.raises(UserError, match=said) as caught:
        load(path)
    assert "c.safetensors" in str(caught.value)


def test_a_damaged_checkpoint_of_a_run_names_the_command_that_makes_it_anew(tmp_path: Path) -> None:
    """Oracle: the run's stage and name, and the file of its settings."""
    folder = tmp_path / "runs/student/first"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 0\n")
    (folder / "checkpoint.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"scenelet student name=first force=true .*runs/student/first/config.yaml"):
        checkpoint.load_student(folder / "checkpoint.safetensors")
