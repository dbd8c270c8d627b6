"""Teachers: their published form, and weights that others trained."""

import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from data.errors import UserError
from teachers import build_teacher
from teachers.cp_resnet import kernel_size
from teachers.weights import read_weights

SMALL = {"width": 32, "depth": 1, "heads": 2, "frequency_patchout": 2}


def small_passt(**arguments: object) -> nn.Module:
    return build_teacher("passt", **{**SMALL, "pretrained": False, **arguments})


def test_passt_has_its_published_size() -> None:
    """Oracle: 85.36 million parameters for 10 s (99 time embeddings, two heads); ours has 10 embeddings and one head
    less."""
    found = sum(p.numel() for p in build_teacher("passt", pretrained=False).parameters())
    assert found + (99 - 10) * 768 + 768 * 10 + 10 == pytest.approx(85.36e6, abs=5e3)


def test_passt_is_silent_and_gives_logits(capsys: pytest.CaptureFixture) -> None:
    """Oracle: nothing on either stream; (B, classes), different with and without patchout."""
    network = small_passt()
    pictures = torch.randn(2, 1, 128, 100)
    with torch.no_grad():
        evaluated = network.eval()(pictures)
        assert torch.equal(network(pictures), evaluated)
        assert not torch.equal(network.train()(pictures), evaluated)
    assert evaluated.shape == (2, 10)
    assert capsys.readouterr() == ("", "")


def test_every_parameter_of_passt_learns() -> None:
    """Oracle: each parameter has a gradient that is not zero everywhere."""
    network = small_passt()
    network(torch.randn(2, 1, 128, 100)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_audioset_weights_are_cut_to_one_second_and_get_a_new_head(tmp_path: Path, suffix: str) -> None:
    """Oracle: a checkpoint of the published form (527 classes, 998 frames, second head), made here; every block is
    taken over."""
    from hear21passt.models.passt import PaSST

    official = PaSST(
        img_size=(128, 998), stride=(10, 10), num_classes=527, embed_dim=32, depth=1, num_heads=2, distilled=True
    )
    path, state = tmp_path / f"weights.{suffix}", official.state_dict()
    if suffix == "pt":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path)
    own = small_passt(pretrained=True, weights=path).state_dict()
    for name, value in state.items():
        if name.startswith("head"):
            continue
        expected = value[..., :10] if name == "time_new_pos_embed" else value
        assert torch.equal(own[f"network.{name}"], expected), name
    assert own["network.head.1.weight"].shape == (10, 32)


def test_weights_of_another_geometry_list_the_differences(tmp_path: Path) -> None:
    """Oracle: a width of 64 against 32."""
    torch.save(small_passt(width=64).network.state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"does not fit the network, \d+ differences") as caught:
        small_passt(weights=tmp_path / "w.pt")
    assert "cls_token: (1, 1, 64) in the file, (1, 1, 32) in the network" in str(caught.value)


def test_a_file_that_wants_to_run_code_is_refused(tmp_path: Path) -> None:
    """Oracle: a pickle whose reading would create a file; it must not appear."""

    class Wicked:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    (tmp_path / "w.pt").write_bytes(pickle.dumps({"x": Wicked()}, protocol=2))
    with pytest.raises(UserError, match="could run anything"):
        read_weights(tmp_path / "w.pt")
    assert not (tmp_path / "touched").exists()
    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="damaged"):
        read_weights(tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="is no file"):
        read_weights(tmp_path / "absent.pt")


def test_no_network_names_the_url_and_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the message, with the download replaced by a failing one."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(UserError, match=r"passt-s-f128-p16-s10-ap\.476-swa\.pt") as caught:
        small_passt(pretrained=True)
    for way in (str(tmp_path / "checkpoints"), "teacher.weights=FILE", "teacher.pretrained=false"):
        assert way in str(caught.value)


def test_rho_says_how_many_convolutions_are_3x3() -> None:
    """Oracle: Koutini et al. 2021: the first is 3x3, the second 1x1, and rho more 3x3 follow."""
    for rho in range(9):
        kernels = [kernel_size(position, rho) for position in range(24)]
        assert kernels[:2] == [3, 1]
        assert kernels[2:].count(3) == rho
        assert kernels[2:] == sorted(kernels[2:], reverse=True)


def test_impossible_teachers_are_refused() -> None:
    """Oracle: the messages."""
    with pytest.raises(UserError, match="choose one of: cp_resnet, passt"):
        build_teacher("past")
    with pytest.raises(UserError, match=r"teacher\.pretrained=false"):
        build_teacher("cp_resnet", pretrained=True)
    with pytest.raises(UserError, match="blocks=\\[5, 1, 1\\]"):
        build_teacher("cp_resnet", blocks=[5, 1, 1])
    with pytest.raises(UserError, match="leave none"):
        small_passt(frequency_patchout=12)
    with pytest.raises(UserError, match="passt_s_kd_p16_128_ap486"):
        small_passt(arch="passt_xxl")
