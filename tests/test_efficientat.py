"""EfficientAT: its published sizes, names and answers."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchinfo
from command import run
from sounds import scores_of_sounds
from torch import nn

from data.errors import UserError
from data.front_ends import build_front_end
from data.logits import read_logits
from data.scenes import ClipSet
from experiments.submission.resources import resource_of
from teachers import build_teacher, find_teacher
from teachers.efficientat import SIZES, _SqueezeExcitation
from teachers.entry import Pretraining
from teachers.layers import layers_of

# Of the release's README: millions of parameters with 527 classes.
PUBLISHED = {"mn04": 0.983, "mn05": 1.43, "mn10": 4.88, "mn20": 17.91, "mn30": 39.09, "mn40": 68.43}
MEL = {"window": 800, "hop": 320, "fft": 1024, "mels": 128, "high": 15_000.0, "edge_jitter": 2_000.0}


def audioset(size: str = "mn04") -> nn.Module:
    """With AudioSet's classes, as published."""
    return build_teacher("efficientat", classes=527, pretrained=False, size=size).eval()


@pytest.mark.parametrize("size", SIZES)
def test_each_size_has_as_many_parameters_as_published(size: str) -> None:
    """Oracle: the release's table, to its last digit (0.9836 million are printed as 0.983)."""
    with torch.device("meta"):
        found = sum(p.numel() for p in audioset(size).parameters()) / 1e6
    assert found == pytest.approx(PUBLISHED[size], abs=0.0051 if size != "mn04" else 0.0007)


def test_ten_seconds_cost_what_is_published() -> None:
    """Oracle: the release's table: 0.11 billion multiply-accumulates for 10 s of mn04."""
    macs = torchinfo.summary(audioset(), (1, 1, 128, 1000), verbose=0).total_mult_adds
    assert macs == pytest.approx(0.11e9, rel=0.05)


def test_squeeze_excitation_by_hand() -> None:
    """Oracle: two channels of constants 1 and 3: squeezed to relu(1 + 2 * 3) = 7 and relu(-1) = 0, then sigmoid(7 / 7)
    and sigmoid(-14 / 7)."""
    block = _SqueezeExcitation(2, 2)
    (layer,) = block.conc_se_layers
    with torch.no_grad():
        layer.fc1.weight[:] = torch.tensor([[1.0, 2.0], [-1.0, 0.0]])
        layer.fc2.weight[:] = torch.tensor([[1 / 7, 5.0], [-2 / 7, 5.0]])
        layer.fc1.bias.zero_()
        layer.fc2.bias.zero_()
        x = torch.stack([torch.ones(3, 4), 3 * torch.ones(3, 4)])[None]
        found = block(x)
    expected = torch.tensor([0.731059, 3 * 0.119203])[None, :, None, None].expand(1, 2, 3, 4)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_weights_of_a_release_are_taken_over_and_get_a_new_head(tmp_path: Path, suffix: str) -> None:
    """Oracle: a state dict of the published form, made here; all but the last layer is the file's; every parameter is
    in one layer, of which a block is one."""
    path, state = tmp_path / f"mn04.{suffix}", audioset().state_dict()
    torch.save(state, path) if suffix == "pt" else safetensors.torch.save_file(state, path)
    network = build_teacher("efficientat", weights=path)
    own = network.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], state[name]) for name in state if not name.startswith("classifier.5."))
    assert own["classifier.5.weight"].shape == (10, 512)
    layers = layers_of(network)
    assert len(layers) == 18  # stem, fifteen blocks, the last convolution, the classifier
    assert sum(p.numel() for layer in layers for p in layer) == sum(p.numel() for p in network.parameters())


@pytest.mark.slow  # some seconds
def test_weights_of_another_width_are_named(tmp_path: Path) -> None:
    """Oracle: the messages: mn05 where mn04 is wanted (both have 8 channels in their first layer), and what is of no
    published width lists the differences; the command says so before it makes a data set."""
    state = audioset("mn05").state_dict()
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w.pt is mn05, width 0.5, not mn04, .*teacher.arguments.size=mn05"):
        build_teacher("efficientat", weights=tmp_path / "w.pt")
    result = run(tmp_path, "teacher", "teacher=efficientat", "teacher.weights=w.pt", "tracking=none")
    assert (result.returncode, "is mn05, width 0.5" in result.stderr) == (1, True)
    assert not (tmp_path / "cache").exists()
    build_teacher("efficientat", weights=tmp_path / "w.pt", size="mn05")
    torch.save(state | {"features.0.0.weight": torch.ones(9, 1, 3, 3)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"features.0.0.weight: \(9, 1, 3, 3\) in the file, \(8, 1, 3, 3\)"):
        build_teacher("efficientat", weights=tmp_path / "w.pt", size="mn05")
    with pytest.raises(UserError, match="unknown EfficientAT size 'mn07'; choose one of: mn04, mn05"):
        build_teacher("efficientat", size="mn07")


def test_it_is_on_the_list_from_2024_on() -> None:
    """Oracle: the organisers' lists of 2023 and 2024; random weights come from nowhere, those of PaSST are listed."""
    entry = find_teacher("efficientat")
    assert resource_of(entry.pretraining({}, pretrained=True, weights=None).model.name) is None
    assert entry.pretraining({}, pretrained=False, weights=None) == Pretraining()
    for name in ("passt", "ast", "yamnet"):
        assert resource_of(find_teacher(name).pretraining({}, pretrained=True, weights=None).model.name) is not None


def test_real_weights_know_dogs_rain_and_sirens(shared_data: Path) -> None:
    """Oracle: every published name has its place; AudioSet's names of the outputs: on eight seconds of each sound its
    class has the highest score of the three, ten times those of the two others."""
    network = audioset()
    network.load_state_dict(safetensors.torch.load_file(shared_data / "weights/mn04_as.safetensors"), strict=True)
    names = (shared_data / "weights/audioset_527_classes.txt").read_text().splitlines()
    table = scores_of_sounds(network, build_front_end(32_000, MEL), shared_data / "esc50-16k", names)
    assert (table.diag() > 10 * (table - table.diag().diag()).amax(1)).all(), table


@pytest.mark.slow  # four commands, each with a training: half a minute
def test_small_pretrained_teachers_make_one_ensemble(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: the mean of the members' logits, which three networks of three front ends wrote."""
    members = ("efficientat", "yamnet", "passt_small")
    common = [f"data.root={miniature.root}", "tracking=none", "epochs=1"]
    for name in members:
        arguments = ["teacher", f"name={name}", f"teacher={name}", "teacher.pretrained=false", *common]
        assert (result := run(tmp_path, *arguments)).returncode == 0, result.stderr
    paths = [tmp_path / f"runs/teacher/{name}/logits.h5" for name in members]
    result = run(tmp_path, "ensemble", "name=three", f"logits=[{','.join(map(str, paths))}]", *common[:2])
    assert result.returncode == 0, result.stderr
    each = [read_logits(path, miniature.filenames, miniature.scenes) for path in paths]
    found = read_logits(tmp_path / "runs/ensemble/three/logits.h5", miniature.filenames, miniature.scenes)
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-5)
