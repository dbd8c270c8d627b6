"""VGGish: its published names, its answers, its head, and its weights in every file in which they are published."""

import math
from pathlib import Path

import embeddings
import fuzzing
import pytest
import safetensors.torch
import torch
from command import run
from torch import nn
from torch.nn import functional as F

from data.errors import UserError
from data.logits import read_logits
from data.scenes import ClipSet
from teachers import build_teacher, vggish
from teachers.keras_files import read_layers
from teachers.layers import Head, head_of, layers_of
from teachers.vggish_files import MAGIC, read_vggish

# Names and shapes of vggish-10086976.pth: those of torchvggish 0.2 (torchvggish/vggish.py, VGG and make_layers), whose
# state dict torch.hub loads from that file as it is.
CONVOLUTIONS = {0: (64, 1), 3: (128, 64), 6: (256, 128), 8: (256, 256), 11: (512, 256), 13: (512, 512)}
DENSE = {0: (4096, 12_288), 2: (4096, 4096), 4: (128, 4096)}
# Of a conversion to Keras, as in DTaoo/VGGish, vggish.py.
KERAS = {
    **{f"features.{place}": name for place, name in zip(CONVOLUTIONS, ("conv1", "conv2"), strict=False)},
    **{f"features.{place}": f"conv3/conv3_{number}" for place, number in ((6, 1), (8, 2))},
    **{f"features.{place}": f"conv4/conv4_{number}" for place, number in ((11, 1), (13, 2))},
    **{"embeddings.0": "vggish_fc1/fc1_1", "embeddings.2": "vggish_fc1/fc1_2", "embeddings.4": "vggish_fc2"},
}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> vggish.VGGish:
    """VGGish with 8 units in its dense layers, which is then the published network."""
    embeddings.make_narrow(monkeypatch)
    network = vggish.VGGish().eval()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    return network


def patches(count: int, frames: int = 96) -> torch.Tensor:
    return torch.randn(count, 1, 64, frames, generator=torch.Generator().manual_seed(0))


def test_names_and_shapes_are_those_of_the_published_file() -> None:
    """Oracle: torchvggish's names and shapes; by hand, 4,499,712 parameters of the convolutions and 67,641,472 of the
    dense layers: 50,335,744 + 16,781,312 + 524,416."""
    expected = {f"features.{place}": (*shape, 3, 3) for place, shape in CONVOLUTIONS.items()}
    expected |= {f"embeddings.{place}": shape for place, shape in DENSE.items()}
    with torch.device("meta"):
        network = vggish.VGGish()
    state = network.state_dict()
    assert {name: tuple(state[f"{name}.weight"].shape) for name in expected} == expected
    assert set(state) == {f"{name}.{kind}" for name in expected for kind in ("weight", "bias")}
    assert sum(p.numel() for p in network.parameters()) == 4_499_712 + 67_641_472


def test_maps_are_flattened_as_tensorflow_does_it(narrow: vggish.VGGish) -> None:
    """Oracle: slim.flatten of maps (N, time, bands, channels), vggish_slim.py: the unit whose only weight is at
    (t * 4 + b) * 512 + c is the map's value there, whose time has 6 and whose bands 4 places."""
    x = patches(2)
    with torch.no_grad():
        maps = narrow.features(x.transpose(2, 3))
        for layer in (narrow.embeddings[0], narrow.embeddings[2], narrow.embeddings[4]):
            layer.weight.zero_()
            layer.bias.zero_()
            layer.weight[0, 0] = 1
        narrow.embeddings[0].weight[0, 0] = 0
        narrow.embeddings[0].weight[0, (4 * 4 + 3) * 512 + 77] = 1
        found = narrow(x)
    assert maps.shape == (2, 512, 6, 4)
    torch.testing.assert_close(found[:, 0], maps[:, 77, 4, 3])


def test_whole_patches_are_heard_one_behind_the_other(narrow: vggish.VGGish) -> None:
    """Oracle: of 200 frames the head of the mean of the embeddings of 0 to 95 and 96 to 191; a shorter clip is the same
    with silence, log(0.01), behind it; other front ends are refused."""
    network, longer = build_teacher("vggish", pretrained=False, hidden=16).eval(), patches(1, 200)
    with torch.no_grad():
        each = torch.stack([network.body(longer[..., start : start + 96]) for start in (0, 96)])
        torch.testing.assert_close(network(longer), network.head(each.mean(0)), atol=1e-5, rtol=1e-5)
        silence = F.pad(longer[..., :40], (0, 56), value=math.log(0.01))
        assert torch.equal(network(longer[..., :40]), network(silence))
    with pytest.raises(UserError, match=r"have 128 bands, this network hears 64: leave teacher\.mel\.kind=vggish_mel"):
        network(torch.zeros(1, 1, 128, 96))


def test_the_head_alone_may_be_trained(narrow: vggish.VGGish) -> None:
    """Oracle: what the head makes of the embeddings is the network's answer, with a hidden layer or without; the head
    is the last of the layers, of which the body has nine, and all have every parameter once."""
    x = patches(2)
    for hidden, count in ((None, 1), (16, 2)):
        network = build_teacher("vggish", classes=7, pretrained=False, hidden=hidden, dropout=0.5)
        head = head_of(network, torch.zeros(1, 1, 64, 96))
        assert isinstance(head, Head)
        assert len([each for each in head if isinstance(each, nn.Linear)]) == count
        with torch.no_grad():
            torch.testing.assert_close(network(x), head(network.body(x)))
        layers = layers_of(network)
        assert len(layers) == 10
        assert {id(p) for p in layers[-1]} == {id(p) for p in head.parameters()}
        assert sum(p.numel() for layer in layers for p in layer) == sum(p.numel() for p in network.parameters())


def test_files_of_every_kind_start_a_teacher(narrow: vggish.VGGish, tmp_path: Path) -> None:
    """Oracle: the weights that were written, whatever the file is called; a checkpoint of this project is one too."""
    state = narrow.state_dict()
    torch.save(state, tmp_path / "a")
    embeddings.write_keras(tmp_path / "b", KERAS, state)
    safetensors.torch.save_file(build_teacher("vggish", weights=tmp_path / "a").state_dict(), tmp_path / "c")
    for name in "abc":
        network = build_teacher("vggish", weights=tmp_path / name, classes=3)
        assert network.head[-1].weight.shape == (3, 128)
        found = network.body.state_dict()
        assert all(torch.equal(found[key], value) for key, value in state.items()), name


class Code:
    """Whose pickle is a call."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("executed"),)


def test_files_of_other_networks_are_named(
    narrow: vggish.VGGish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the messages: another width, another network, a layer less, TensorFlow's checkpoint, code, a file that is
    cut short; nothing is executed."""
    monkeypatch.chdir(tmp_path)
    state, path = narrow.state_dict(), tmp_path / "w.pth"

    def refused(match: str) -> None:
        with pytest.raises(UserError, match=match):
            build_teacher("vggish", weights=path)

    torch.save(vggish.VGGish(dense=9).state_dict(), path)
    refused(r"embeddings.0.weight: \(9, 12288\) in the file, \(8, 12288\) in the network")
    torch.save(nn.Linear(2, 2).state_dict(), path)
    refused("does not fit the network")
    embeddings.write_keras(path, {name: KERAS[name] for name in list(KERAS)[1:]}, state)
    refused(r"w.pth: it has 8 layers with weights, VGGish 9 \(6 convolutions, 3 dense\)")
    path.write_bytes(b"table" * 20 + MAGIC)
    refused("is a checkpoint of TensorFlow, .* vggish-10086976.pth from the releases")
    torch.save({"features.0.weight": Code()}, path)
    refused("needs the class or function .*, which is code")
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-1000])
    refused("w.pth is damaged or no file of tensors")
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow  # some seconds
def test_damaged_keras_files_are_messages(tmp_path: Path, fuzz: int) -> None:
    """Oracle: tests/fuzzing.py: each damaged copy of a file with nine small layers is read or is a message."""
    state = {f"{name}.weight": torch.ones(2, 2, 3, 3) if "features" in name else torch.ones(2, 2) for name in KERAS}
    state |= {f"{name}.bias": torch.ones(2) for name in KERAS}
    original = embeddings.write_keras(tmp_path / "w.h5", KERAS, state).read_bytes()
    assert read_vggish(tmp_path / "w.h5").keys() == state.keys()
    fuzzing.survive(read_vggish, original, fuzzing.mutants(original, fuzz // 20), tmp_path, "w.h5")


def test_layers_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Oracle: Keras' numbering of layers without names: none, 1, 2, ..., 10."""
    names = [f"conv2d{number}" for number in ("", "_1", "_2", "_9", "_10")]
    state = {f"{name}.{kind}": torch.ones(2, 2) for name in names for kind in ("weight", "bias")}
    path = embeddings.write_keras(tmp_path / "w.h5", {name: name for name in reversed(names)}, state)
    assert list(read_layers(path, "")) == [f"{name}/{name}" for name in names]


@pytest.mark.slow  # 72 million weights: ten seconds
def test_answers_are_those_of_torchvggish() -> None:
    """Oracle: torchvggish 0.2 from the Python package index, with these weights and this patch, both in float64: the
    first five values that are not 0, and the mean. In float32 sums of 12,288 products differ between processors."""
    network = vggish.VGGish().eval()
    for parameter in network.parameters():
        fan_in = parameter[0].numel()
        waves = torch.arange(parameter.numel(), dtype=torch.float64).mul_(0.7).sin_().reshape(parameter.shape)
        parameter.data = waves * 2 / math.sqrt(fan_in) if parameter.ndim > 1 else waves / 10
    patch = torch.arange(96 * 64, dtype=torch.float64).mul(0.37).cos().reshape(1, 1, 96, 64)
    with torch.no_grad():
        found = network(patch.transpose(2, 3))[0]
    expected = [3.7053699351592853, 3.6543096623838967, 3.320234379781669, 0.1507275669632330, 3.2263059618303025]
    assert found[found > 0][:5].tolist() == pytest.approx(expected, abs=1e-9)
    assert found.mean().item() == pytest.approx(1.2726092122351451, abs=1e-9)


@pytest.mark.slow  # 72 million weights in a file, and two trainings: a minute
def test_a_published_file_teaches_a_student(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: the body of the checkpoint is the file's, bit for bit; the logits are the checkpoint's own; a student
    learns from them."""
    network = vggish.VGGish()
    torch.save(network.state_dict(), tmp_path / "vggish.pth")
    common = [f"data.root={miniature.root}", "tracking=none", "epochs=1"]
    teacher = ["teacher", "teacher=vggish_head", "teacher.weights=vggish.pth", "teacher.views=1"]
    assert (result := run(tmp_path, *teacher, *common)).returncode == 0, result.stderr
    folder = tmp_path / "runs/teacher/default"
    found = safetensors.torch.load_file(folder / "checkpoint.safetensors")
    assert all(torch.equal(found[f"body.{name}"], value) for name, value in network.state_dict().items())
    assert read_logits(folder / "logits.h5", miniature.filenames, miniature.scenes).std() > 0
    student = ["student", "student.size=6k", f"logits={folder / 'logits.h5'}"]
    assert (result := run(tmp_path, *student, *common)).returncode == 0, result.stderr
