"""A checkpoint rebuilds its network by itself."""

from pathlib import Path

import pytest
import torch

from data.errors import UserError
from data.scenes import SCENES
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
    """Oracle: a teacher's checkpoint, weights of another size, a cut file, an absent one."""
    path = tmp_path / "c.safetensors"
    with pytest.raises(UserError, match="does not exist"):
        checkpoint.load(path, build_student)
    teacher = checkpoint.Blueprint("cp_resnet", {}, {}, SCENES, 32_000, "clips")
    checkpoint.save(path, build_teacher("cp_resnet"), teacher)
    with pytest.raises(UserError, match="another architecture: unknown student 'cp_resnet'"):
        checkpoint.load(path, build_student)
    checkpoint.save(path, build_student("cp_mobile", size="12k"), BLUEPRINT)
    with pytest.raises(UserError, match="does not fit the network:"):
        checkpoint.load(path, build_student)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(path, build_student)


def test_equal_networks_make_equal_files(tmp_path: Path) -> None:
    """Oracle: the bytes of ten files: logits and students hang on the fingerprint of a checkpoint."""
    network = build_student(BLUEPRINT.builder, **BLUEPRINT.arguments)
    for number in range(10):
        checkpoint.save(tmp_path / f"{number}", network, BLUEPRINT)
    assert len({(tmp_path / f"{number}").read_bytes() for number in range(10)}) == 1
