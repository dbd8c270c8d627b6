"""Teachers: their published form, and weights that others trained."""

import pickle
import re
from itertools import pairwise
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torchinfo
import yaml
from torch import nn
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

from data.errors import UserError
from data.front_ends.kaldi_fbank import KaldiFbank
from teachers import build_teacher
from teachers.cp_resnet import LAYOUTS, kernel_size
from teachers.layers import layers_of
from teachers.passt import ARCHITECTURES
from teachers.weights import read_weights

ROOT = Path(__file__).parent.parent
SMALL = {"width": 32, "depth": 1, "heads": 2, "frequency_patchout": 2}


def small_passt(**arguments: object) -> nn.Module:
    return build_teacher("passt", **{**SMALL, "pretrained": False, **arguments})


def test_passt_has_its_published_size() -> None:
    """Oracle: 85.36 million parameters for 10 s (99 time embeddings, two heads); ours has 10 embeddings and one head
    less."""
    found = sum(p.numel() for p in build_teacher("passt", pretrained=False).parameters())
    assert found + (99 - 10) * 768 + 768 * 10 + 10 == pytest.approx(85.36e6, abs=5e3)


def test_passt_prints_nothing_and_returns_logits(capsys: pytest.CaptureFixture) -> None:
    """Oracle: nothing on either stream; (B, classes), different with and without patchout."""
    network = small_passt()
    spectrograms = torch.randn(2, 1, 128, 100)
    with torch.no_grad():
        evaluated = network.eval()(spectrograms)
        assert torch.equal(network(spectrograms), evaluated)
        assert not torch.equal(network.train()(spectrograms), evaluated)
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
    with pytest.raises(UserError, match="does not fit the network:") as caught:
        small_passt(weights=tmp_path / "w.pt")
    assert "cls_token: (1, 1, 64) in the file, (1, 1, 32) in the network" in str(caught.value)


def test_a_file_that_wants_to_run_code_is_refused(tmp_path: Path) -> None:
    """Oracle: a pickle whose reading would create a file; it must not appear."""

    class Wicked:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    (tmp_path / "w.pt").write_bytes(pickle.dumps({"x": Wicked()}, protocol=2))
    with pytest.raises(UserError, match="needs the class or function getattr, which is code"):
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


def test_every_published_passt_can_be_named() -> None:
    """Oracle: the package's own list of weights; the stride that stands in a name."""
    from hear21passt.models.passt import default_cfgs

    assert set(ARCHITECTURES) == {name for name in default_cfgs if "passt" in name}
    for name, architecture in ARCHITECTURES.items():
        in_name = [int(n) for n in re.findall(r"p16[_-]s(\d+)", name)]
        assert in_name in ([], [architecture.stride])


def test_fused_attention_is_the_packages_own() -> None:
    """Oracle: hear21passt's PaSST with its own attention and the same weights; logits and gradients within 1e-5."""
    from hear21passt.models.passt import PaSST

    ours = small_passt(frequency_patchout=0, depth=2).network
    theirs = PaSST(
        img_size=(128, 100), stride=(10, 10), num_classes=10, embed_dim=32, depth=2, num_heads=2, distilled=True
    )
    missing = theirs.load_state_dict(ours.state_dict(), strict=False).missing_keys
    assert {name.split(".")[0] for name in missing} == {"head_dist"}
    spectrograms = torch.randn(3, 1, 128, 100)
    found, expected = (network.train()(spectrograms)[0] for network in (ours, theirs))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    for logits in (found, expected):
        logits.square().sum().backward()
    expected_of = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected_of[name].grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("builder", ["passt", "ast"])
def test_checkpointing_changes_memory_and_nothing_else(builder: str) -> None:
    """Oracle: the same weights without it: equal logits and gradients; and fewer tensors kept for the backward pass."""
    shape = {"passt": (2, 1, 128, 100), "ast": (2, 1, 128, 98)}[builder]
    small = {"passt": {**SMALL, "frequency_patchout": 0}, "ast": SMALL_AST}[builder]
    plain, frugal = (build_teacher(builder, pretrained=False, checkpointing=c, **small) for c in (False, True))
    frugal.load_state_dict(plain.state_dict())
    spectrograms, kept, results = torch.randn(shape), [], []
    for network in (plain.train(), frugal.train()):
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            logits = network(spectrograms)
        logits.square().sum().backward()
        kept.append(sum(sizes))
        results.append([logits, *(p.grad for p in network.parameters())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)
    assert kept[1] < kept[0] / 2


SMALL_AST = {"width": 32, "depth": 2, "heads": 2}


def save_ast(folder: Path) -> ASTForAudioClassification:
    """A network of the published form (10 s, 527 classes), narrow, as `save_pretrained` writes it."""
    config = ASTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128, num_labels=527
    )
    official = ASTForAudioClassification(config)
    for parameter in official.parameters():  # positions would be zero
        torch.nn.init.normal_(parameter, std=0.1)
    official.save_pretrained(folder)
    return official.eval()


def test_ast_has_its_published_size() -> None:
    """Oracle: transformers' own network of the default configuration, less 101 - 9 columns of 12 positions and 517
    classes."""
    official = sum(p.numel() for p in ASTForAudioClassification(ASTConfig(num_labels=527)).parameters())
    ours = sum(p.numel() for p in build_teacher("ast", pretrained=False).parameters())
    assert ours == official - 12 * (101 - 9) * 768 - 517 * (768 + 1)


def test_ast_weights_of_ten_seconds_are_cut_to_one(tmp_path: Path) -> None:
    """Oracle: the official network itself at its own length gives the same features; cut positions are the first
    columns of every row, interpolated ones go from the first column to the last."""
    official = save_ast(tmp_path / "ast")
    whole = build_teacher("ast", weights=tmp_path / "ast", frames=1024).eval()
    spectrograms = torch.randn(2, 1, 128, 1024)
    features = []
    for network in (official, whole.network):
        network.classifier.dense = nn.Identity()
        features.append(network(spectrograms[:, 0].transpose(1, 2)).logits)
    torch.testing.assert_close(features[1], features[0], atol=1e-5, rtol=1e-5)

    old = official.audio_spectrogram_transformer.embeddings.position_embeddings
    grid = old[:, 2:].unflatten(1, (12, 101))
    for positions in ("cut", "interpolate"):
        network = build_teacher("ast", weights=tmp_path / "ast", positions=positions)
        new = network.network.audio_spectrogram_transformer.embeddings.position_embeddings
        assert new.shape == (1, 2 + 12 * 9, 32)
        assert torch.equal(new[:, :2], old[:, :2])
        found = new[:, 2:].unflatten(1, (12, 9))
        if positions == "cut":
            assert torch.equal(found, grid[:, :, :9])
        else:  # 101 / 9 columns each, sampled at their middle: 101 / 18 - 1/2 = 5.11
            torch.testing.assert_close(
                found[:, :, 0], 0.8889 * grid[:, :, 5] + 0.1111 * grid[:, :, 6], atol=1e-4, rtol=0
            )
        assert network(torch.randn(2, 1, 128, 98)).shape == (2, 10)


def test_ast_prints_nothing_and_every_parameter_learns(capsys: pytest.CaptureFixture) -> None:
    """Oracle: nothing on either stream; a gradient everywhere, but for the keys' biases, which no softmax can see."""
    network = build_teacher("ast", pretrained=False, **SMALL_AST)
    network(torch.randn(2, 1, 128, 98)).square().sum().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert all("k_proj.bias" in name for name in still)
    assert capsys.readouterr() == ("", "")


def test_ast_folders_that_cannot_be_read_are_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: no folder, a corrupt file, spectrograms that are too long; and the hub out of reach."""
    save_ast(tmp_path / "ast")
    with pytest.raises(UserError, match=r"must be a folder with config.json and model.safetensors"):
        build_teacher("ast", weights=tmp_path)
    with pytest.raises(UserError, match=r"at most 1024 frames"):
        build_teacher("ast", weights=tmp_path / "ast", frames=2000)
    with pytest.raises(UserError, match="holds no patch"):
        build_teacher("ast", pretrained=False, frames=10)
    with pytest.raises(UserError, match="choose one of: cut, interpolate"):
        build_teacher("ast", pretrained=False, positions="stretch")
    (tmp_path / "ast/model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"model.safetensors is damaged"):
        build_teacher("ast", weights=tmp_path / "ast")

    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(ASTForAudioClassification, "from_pretrained", fail)
    with pytest.raises(UserError, match=r"huggingface.co/MIT/ast-finetuned.*teacher.weights=FOLDER.*pretrained=false"):
        build_teacher("ast", pretrained=True)


def test_a_timm_network_sums_its_three_colours_to_one_channel(tmp_path: Path) -> None:
    """Oracle: timm's own network on an image with the same values in all three channels: equal features."""
    official = timm.create_model("resnet18", pretrained=False).eval()
    safetensors.torch.save_file(official.state_dict(), tmp_path / "w.safetensors")
    ours = build_teacher("timm_cnn", model_name="resnet18", weights=tmp_path / "w.safetensors").eval()
    spectrograms = torch.randn(2, 1, 64, 43)
    with torch.no_grad():
        found, expected = (
            ours.forward_features(spectrograms),
            official.forward_features(spectrograms.expand(-1, 3, -1, -1)),
        )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert ours(spectrograms).shape == (2, 10)


def test_timm_networks_that_cannot_be_had_are_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a misspelt name, weights of another network, a corrupt file, and the hub out of reach."""
    with pytest.raises(UserError, match=r"no model 'resnet18d0'; close to it: .*resnet18"):
        build_teacher("timm_cnn", model_name="resnet18d0")
    safetensors.torch.save_file(timm.create_model("resnet10t").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"w.safetensors does not fit the network:[^$]*the weights of resnet18"):
        build_teacher("timm_cnn", model_name="resnet18", weights=tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="damaged"):
        build_teacher("timm_cnn", model_name="resnet18", weights=tmp_path / "w.safetensors")

    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", fail)
    with pytest.raises(UserError, match=r"huggingface.co/timm/resnet18.*weights=FILE.*pretrained=false"):
        build_teacher("timm_cnn", model_name="resnet18", pretrained=True)


def test_rho_says_how_many_convolutions_are_3x3() -> None:
    """Oracle: Koutini et al. 2021: the first is 3x3, the second 1x1, and rho more 3x3 follow; the light network begins
    one later."""
    for name, fewer in (("full", 0), ("light", 1)):
        for rho in range(1, 9):
            kernels = [kernel_size(position, rho, LAYOUTS[name]) for position in range(24)]
            assert kernels[:2] == [3, 1]
            assert kernels[2:].count(3) == rho - fewer
            assert kernels[2:] == sorted(kernels[2:], reverse=True)


def test_cp_resnet_has_its_published_sizes() -> None:
    """Oracle: "128K" parameters within 30 MMAC (torchinfo) for the light network at rho 8; by hand: 126,408 weights of
    convolutions and 1,276 of BatchNorms. The paper's 128-channel network has about 4 million."""
    light = build_teacher("cp_resnet")
    assert sum(p.numel() for p in light.parameters()) == 126_408 + 1_276
    assert torchinfo.summary(light, (1, 1, 256, 43), verbose=0).total_mult_adds < 30e6
    wide = {"layout": "full", "base_channels": 128, "blocks": [4, 4, 4], "groups": [1] * 3, "cut_channels": [0] * 3}
    assert sum(p.numel() for p in build_teacher("cp_resnet", rho=7, **wide).parameters()) == pytest.approx(
        4e6, rel=0.02
    )


TEACHERS = {
    "passt": {**SMALL, "depth": 2},
    "ast": {"width": 32, "depth": 2, "heads": 2},
    "cp_resnet": {"base_channels": 8, "cut_channels": [0, 0, 0]},
    "timm_cnn": {"model_name": "tf_efficientnet_b0"},
}


@pytest.mark.parametrize("builder", TEACHERS)
def test_layers_are_all_parameters_once_from_input_to_output(builder: str) -> None:
    """Oracle: the list of parameters; and hooks that note the order of modules in the forward pass: no layer begins or
    ends before a lower one does."""
    network = build_teacher(builder, pretrained=False, **TEACHERS[builder]).eval()
    layers = layers_of(network)
    assert len(layers) >= 4
    assert sorted(id(p) for layer in layers for p in layer) == sorted(id(p) for p in network.parameters())
    turn: dict[int, int] = {}
    for module in network.modules():
        if own := list(module.parameters(recurse=False)):
            module.register_forward_pre_hook(
                lambda *_, own=own: [turn.setdefault(id(p), len(turn)) for p in own] and None
            )
    with torch.no_grad():
        network(torch.randn(1, 1, 128, 98))
    turns = [[turn[id(p)] for p in layer if id(p) in turn] for layer in layers]
    for lower, upper in pairwise([t for t in turns if t]):
        assert min(lower) < min(upper)
        assert max(lower) < max(upper)


def test_ast_pads_short_pictures_as_its_extractor_does() -> None:
    """Oracle: transformers' own feature extractor on a short clip, padded to 98 frames. Tolerance 1e-3."""
    extractor = ASTFeatureExtractor(max_length=98)
    wave = torch.randn(1, 8_000, generator=torch.Generator().manual_seed(0)) / 10
    official = extractor(wave[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_values  # (1, 98, 128)
    seen: list[torch.Tensor] = []
    network = build_teacher("ast", pretrained=False, **TEACHERS["ast"]).eval()
    network.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(KaldiFbank(sample_rate=16_000)(wave))
    torch.testing.assert_close(seen[0], official, atol=1e-3, rtol=0)


def test_impossible_teachers_are_refused() -> None:
    """Oracle: the messages; the names of all teachers are those in the files of settings."""
    settings = [yaml.safe_load(path.read_text()) for path in (ROOT / "experiments/conf/teacher").glob("*.yaml")]
    names = sorted({content["builder"] for content in settings if "builder" in content})
    with pytest.raises(UserError, match=f"choose one of: {', '.join(names)}$"):
        build_teacher("past")
    with pytest.raises(UserError, match=r"teacher\.pretrained=false"):
        build_teacher("cp_resnet", pretrained=True)
    with pytest.raises(UserError, match="blocks=\\[3, 1, 1\\] must be three numbers from 1 to 2"):
        build_teacher("cp_resnet", blocks=[3, 1, 1])
    with pytest.raises(UserError, match=r"stages of \[32, 64, 92\] channels cannot be divided into \[1, 3, 1\] groups"):
        build_teacher("cp_resnet", groups=[1, 3, 1])
    with pytest.raises(UserError, match="choose one of: full, light"):
        build_teacher("cp_resnet", layout="heavy")
    with pytest.raises(UserError, match="leave none"):
        small_passt(frequency_patchout=12)
    with pytest.raises(UserError, match="passt_s_kd_p16_128_ap486"):
        small_passt(arch="passt_xxl")
