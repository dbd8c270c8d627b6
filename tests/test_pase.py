"""PASE and PASE+: their published names, their answers, and their weights as published."""

import argparse
from pathlib import Path

import fuzzing
import numpy as np
import panns
import pase as files
import pytest
import safetensors.torch
import torch
from command import run
from torch import nn

from data.errors import UserError
from data.front_ends import build_front_end
from data.logits import read_logits
from data.scenes import ClipSet
from teachers import build_teacher, find_teacher
from teachers.layers import head_of, layers_of
from teachers.pase_network import SHORTEST, Pase, _BandPasses, _Recurrent, _shortened

# Mean over time of features 0, 1, 2 and the last, of the two clips of `sounds`, by the authors' code (the classes that
# teachers/pase_network.py names, with the settings of cfg/PASE.cfg and of PASE+_gru.cfg with a quasi-recurrent layer
# and the loop of torchqrnn, in torch 2.11) with the weights of tests/pase.py.
REFERENCE = {
    "pase": [1.87542, -0.95405, 0.51067, 0.02783, 1.62369, -0.80267, 0.4562, 0.13722],
    "pase+": [3.61886, -0.91615, 0.61762, 0.62227, 3.75912, -0.60696, -0.543, 0.02434],
}


def sounds() -> torch.Tensor:
    """Two clips whose length no stride divides."""
    first = panns.sounds(16_000)
    return torch.cat([first, first[:, :4321].flip(1)], dim=1)


@pytest.mark.parametrize("size", ["pase+", pytest.param("pase", marks=pytest.mark.slow)])  # a second each
def test_a_published_file_is_heard_as_by_the_authors_code(tmp_path: Path, size: str) -> None:
    """Oracle: REFERENCE, within 1e-4; the head's answer is that to its embedding."""
    files.write(tmp_path / "w.ckpt", size)
    network = build_teacher("pase", weights=tmp_path / "w.ckpt", size=size).eval()
    with torch.no_grad():
        waves = build_front_end(16_000, {"kind": "waveform", "rate": 16_000})(sounds())
        found = network.body(waves)
        torch.testing.assert_close(network(waves), network.head(found))
    np.testing.assert_allclose(found[:, [0, 1, 2, -1]].flatten(), REFERENCE[size], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("size", "parameters"), [("pase", 5_818_020), ("pase+", 7_832_896)])
def test_names_and_shapes_are_those_of_the_published_file(size: str, parameters: int) -> None:
    """Oracle: the names that a public conversion of FE_e199.ckpt to TensorFlow reads; by hand 5,766,720 parameters of
    the convolutions, with BatchNorm and PReLU, and 51,300 of the last layer; PASE+ has 360,448 of the skips, 1,574,400
    of the recurrent and 131,328 of the last layer."""
    with torch.device("meta"):
        body = Pase(size)
    assert {name: tuple(tensor.shape) for name, tensor in body.state_dict().items()} == files.names(size)
    rest = 51_300 if size == "pase" else 360_448 + 1_574_400 + 131_328
    assert sum(p.numel() for p in body.parameters()) == parameters == 5_766_720 + rest


def test_kernels_are_band_passes() -> None:
    """Oracle: SincNet's equation in doubles, 2 f2 sinc(2 pi f2 n) - 2 f1 sinc(2 pi f1 n), over its value in the middle,
    by the Hamming window of its code; a tone within the band passes, those half of its width outside do not."""
    layer = _BandPasses(64, 251)
    low = 50 + layer.low_hz_.detach().double().numpy()
    high = low + 50 + layer.band_hz_.detach().double().numpy()
    n = np.arange(-125, 126) / 16_000
    ideal = (2 * high * np.sinc(2 * high * n) - 2 * low * np.sinc(2 * low * n)) / (2 * (high - low))
    half = 0.54 - 0.46 * np.cos(2 * np.pi * np.linspace(0, 124.5, 125) / 251)
    expected = ideal * np.concatenate([half, [1], half[::-1]])
    found = layer.kernels().detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    gains = np.abs(np.fft.rfft(found[60], 16_000))
    middle, width = (low[60, 0] + high[60, 0]) / 2, high[60, 0] - low[60, 0]
    assert gains[round(middle)] > 10 * gains[round(middle - width)]
    assert gains[round(middle)] > 10 * gains[round(middle + width)]


def test_the_recurrent_layer_is_quasi_recurrent() -> None:
    """Oracle: by hand, from its publication (Bradbury et al., 2017): with gates of 0.5 each, and values of the frame
    alone, the sums halve from frame to frame; the frame before the first one is 0."""
    layer = _Recurrent(1, 1)
    linear = layer.layers[0].linear
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    linear.weight.data[0] = torch.tensor([1.0, 0.0])
    impulse = torch.tensor([[[[0.0, 2.0, 0.0, 0.0]]]])
    expected = torch.tensor(2.0).tanh() * 0.5 * 0.5 * torch.tensor([0.0, 1.0, 0.5, 0.25])
    torch.testing.assert_close(layer(impulse)[0, 0, 0], expected)
    linear.weight.data[0] = torch.tensor([0.0, 1.0])  # of the frame before
    torch.testing.assert_close(layer(impulse)[0, 0, 0, 1:], expected[:3])


def test_maps_are_shortened_to_means_of_neighbours() -> None:
    """Oracle: by hand: of seven values for three, means of two and nothing of the last."""
    found = _shortened(torch.tensor([[[[1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 99.0]]]]), 3)
    assert found.tolist() == [[[[2.0, 6.0, 10.0]]]]


def test_short_clips_are_completed_with_zeros() -> None:
    """Oracle: the network on as many samples as it takes at least, the last of which are 0; one less is an error of
    torch's, as there is too little to be mirrored."""
    network = build_teacher("pase", pretrained=False, size="pase").eval()
    whole = torch.randn(2, 1, 1, SHORTEST, generator=torch.Generator().manual_seed(0)) / 10
    whole[..., 300:] = 0
    with torch.no_grad():
        torch.testing.assert_close(network(whole[..., :300]), network(whole))
        with pytest.raises(RuntimeError, match="Padding size should be less than"):
            network.body(whole[..., 1:])


def test_the_head_alone_may_be_trained() -> None:
    """Oracle: the head is the last of the layers, which have every parameter once: three a block but the skips, the
    recurrent and the last layer of PASE+ and the head."""
    network = build_teacher("pase", classes=7, pretrained=False, hidden=16)
    head = head_of(network, torch.zeros(1, 1, 1, 1600))
    layers = layers_of(network)
    assert len(layers) == 3 * 8 + 7 + 2 + 1
    assert {id(p) for p in layers[-1]} == {id(p) for p in head.parameters()}
    assert sum(p.numel() for layer in layers for p in layer) == sum(p.numel() for p in network.parameters())


@pytest.mark.slow  # seven files of eight million weights
def test_files_of_other_networks_are_named(tmp_path: Path) -> None:
    """Oracle: the messages: the other size, a GRU in the place of the recurrent layer, code beside the weights, a file
    without its last quarter, no file; what the authors' trainer saves, and a checkpoint of this project, are read."""
    path, state = tmp_path / "w.ckpt", files.write(tmp_path / "w.ckpt")

    def refused(match: str, size: str = "pase+") -> None:
        with pytest.raises(UserError, match=match):
            build_teacher("pase", weights=path, size=size)

    refused(r"w.ckpt is pase\+, not pase: set teacher.arguments.size=pase\+, or give", size="pase")
    torch.save({"step": 9, "state_dict": state}, path)
    network = build_teacher("pase", weights=path, classes=3)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "c")
    for body in (network.body, build_teacher("pase", weights=tmp_path / "c").body):
        assert all(torch.equal(body.state_dict()[name], value) for name, value in state.items())
    recurrent = {"rnn.weight_ih_l0": torch.ones(768, 512)}
    torch.save({**{name: value for name, value in state.items() if "rnn" not in name}, **recurrent}, path)
    refused(r"2 only in the network: rnn.layers.0.linear.weight, .*\n  1 only in the file: rnn.weight_ih_l0")
    torch.save({"state_dict": state, "args": argparse.Namespace(cuda=True)}, path)
    refused(r"w.ckpt needs the class or function argparse.Namespace, which is code")
    files.write(path, "pase")
    refused(r"w.ckpt is pase, not pase\+")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    refused(r"w.ckpt is damaged")
    with pytest.raises(UserError, match=r"fetch FE_e199.ckpt by hand, from https://github.com/santi-pdp/pase"):
        build_teacher("pase")


@pytest.mark.slow  # some seconds
def test_damaged_files_are_messages(tmp_path: Path, fuzz: int) -> None:
    """Oracle: tests/fuzzing.py: each copy of a file whose beginning, the names and shapes, is damaged is read, or is a
    message that says so."""
    files.write(tmp_path / "w.ckpt", "pase")
    original, head = (tmp_path / "w.ckpt").read_bytes(), 6000
    damaged = [(change, first + original[head:]) for change, first in fuzzing.mutants(original[:head], fuzz // 10)]

    def read(file: Path) -> None:
        build_teacher("pase", weights=file, size="pase")

    fuzzing.survive(read, original, damaged, tmp_path, "d.ckpt")


def test_what_they_were_trained_on_is_declared() -> None:
    """Oracle: the README and LICENSE of santi-pdp/pase: LibriSpeech; of PASE+ the authors do not publish all."""
    find = find_teacher("pase").pretraining
    found = find({"size": "pase"}, pretrained=True, weights=None)
    assert [each.name for each in found.resources] == ["PASE", "LibriSpeech"]
    assert (found.model.licence, found.is_complete) == ("MIT", True)
    plus = find({}, pretrained=True, weights=None)
    assert (plus.model.name, plus.is_complete) == ("PASE+", False)


@pytest.mark.slow  # two commands with a training each: half a minute
def test_a_student_learns_from_a_frozen_one(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: logits of every clip, finite and different, and a student's score; the weights of the file in the body of
    the checkpoint."""
    state = files.write(tmp_path / "w.ckpt", "pase")
    common = [f"data.root={miniature.root}", "tracking=none", "epochs=1", "refit=false"]
    teacher = ["teacher", "teacher=pase_head", "teacher.weights=w.ckpt", "teacher.views=1", *common]
    teacher += ["teacher.arguments.size=pase"]
    assert (result := run(tmp_path, *teacher)).returncode == 0, result.stderr
    folder = tmp_path / "runs/teacher/default"
    own = safetensors.torch.load_file(folder / "checkpoint.safetensors")
    assert all(torch.equal(own[f"body.{name}"], value) for name, value in state.items())
    logits = read_logits(folder / "logits.h5", miniature.filenames, miniature.scenes)
    assert np.isfinite(logits).all()
    assert (logits.std(axis=0) > 0).all()
    student = ["student", "student.size=6k", f"logits={folder / 'logits.h5'}", *common]
    assert (result := run(tmp_path, *student)).returncode == 0, result.stderr
    assert (tmp_path / "runs/student/default/score.json").exists()
