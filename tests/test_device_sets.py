"""Integers that recording devices have of their own: what they are, how a file holds them, and what they cost."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from conftest import randomise_norms
from torch import nn

from data.errors import UserError
from data.scenes import SCENES
from experiments.quantization.bits import layer_rows
from experiments.quantization.convert import calibrated
from experiments.quantization.devices import add_sets, float_cost, load_sets
from experiments.settings.parts import Quantize
from experiments.training import checkpoint
from experiments.training.devices import CLASSIFIER, NORM, Weights, names_of_set, set_of
from students.complexity import tflite_complexity, tflite_operators
from students.cp_mobile import cp_mobile
from students.quantize import sets as sets_module
from students.quantize import tflite
from students.quantize.devices import device_weights
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork, Quantity
from students.quantize.integer import Weights as Integers
from students.quantize.layers import CONVOLUTION, GLOBAL_MEAN, INPUT, Layer
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel
from students.quantize.sets import own_arrays, sets_to_bytes
from students.quantize.tflite import Writer, to_tflite, write_tflite

SHAPE = (1, 1, 64, 32)
MEL = {"mels": 64, "hop": 1000}
# Of `handmade` without sets, as the version before sets wrote it.
WITHOUT_SETS = "1b9a5346f8ad5ca273f7d66646c99afcd68a46e5f8da3c4b37f588ffb5d28f03"


class Small(nn.Module):
    """Dense and depthwise convolutions, an addition and the mean, with BatchNorms as a trained student has them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.path = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8))
        last = nn.Conv2d(8, 10, 1, bias=False), nn.BatchNorm2d(10), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.head = nn.Sequential(*last)
        randomise_norms(self, seed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(torch.relu(x + self.path(x)))


def student(layers: str = NORM) -> tuple[nn.Module, dict[str, Weights]]:
    """A network, the same each time, and the tensors that two devices have of their own: a tenth of the way to those of
    other networks, so that the ranges of activations are about the same."""
    torch.manual_seed(0)
    network, others = Small(0), [Small(1), Small(2)]
    names = names_of_set(network, layers, SHAPE)
    own, theirs = set_of(network, names), [set_of(other, names) for other in others]
    sets = [{name: own[name] + 0.1 * (values[name] - own[name]) for name in names} for values in theirs]
    return network.eval(), dict(zip("ab", sets, strict=True))


@cache
def quantised(layers: str = NORM, bits: int = 8, activations: int = 8) -> tuple[IntegerNetwork, torch.Tensor]:
    """The integers of that, and the log-mels that they were calibrated on."""
    network, sets = student(layers)
    spectrograms = torch.randn(8, *SHAPE[1:])
    folded = fold(network, SHAPE)
    widths = dict.fromkeys(folded.convolutions, bits)
    _, general = calibrated(folded, spectrograms, bits=widths, activations=activations)
    return add_sets(general, network, sets, SHAPE, spectrograms), spectrograms


def handmade() -> IntegerNetwork:
    """A 3x3 convolution 1 -> 4, and 1x1 to 3 with weights of 4 bits, then the mean; a device with another bias and
    scale of the first layer and other weights of the second, and one that is as all."""
    layers = (
        Layer("0", CONVOLUTION, (INPUT,), True, (3, 3), (2, 2), (1, 1)),
        Layer("1", CONVOLUTION, ("0",)),
        Layer("2", GLOBAL_MEAN, ("1",)),
    )
    quantities = {
        INPUT: Quantity(0.5, 3, (1, 8, 6)),
        "0": Quantity(0.25, -128, (4, 4, 3)),
        "1": Quantity(0.125, 5, (3, 4, 3)),
        "2": Quantity(0.125, 5, (3, 1, 1)),
    }
    wide, narrow = ((np.arange(n) - n // 2).astype(np.int8) for n in (36, 12))
    bias, scale = np.arange(4, dtype=np.int32), np.full(4, 0.25, np.float32)
    weights = {
        "0": Integers(wide.reshape(4, 1, 3, 3), bias, scale),
        "1": Integers(narrow.reshape(3, 4, 1, 1), bias[:3], 2 * scale[:3], 4),
    }
    own = {
        "0": replace(weights["0"], bias=bias + 1, scale=2 * scale),
        "1": replace(weights["1"], weight=-weights["1"].weight),
    }
    return IntegerNetwork(layers, weights, quantities, sets={"a": own, "b": {}})


@pytest.mark.parametrize(("bits", "activations"), [(8, 8), (4, 8), (8, 16)])
def test_integers_of_a_device_are_those_of_its_own_network_at_the_general_scales(bits: int, activations: int) -> None:
    """Oracle: numpy, from the folded weights of the device's own float network: a weight is within half a step of its
    integer, or cut off; a bias is the nearest multiple of the input's general scale times the channel's. Norms only
    change a channel's scale and bias: the weights' integers are the general network's, of the last layer too."""
    general, _ = quantised(NORM, bits, activations)
    network, sets = student()
    network.load_state_dict({**network.state_dict(), **sets["a"]})
    folded, limit = fold(network, SHAPE), 2 ** (bits - 1) - 1
    for layer in general.layers:
        if layer.kind == CONVOLUTION:
            own, convolution = device_weights(general, folded)[layer.name], folded.convolutions[layer.name]
            weight, bias = (values.detach().double().numpy() for values in (convolution.weight, convolution.bias))
            steps = weight / own.scale[:, None, None, None]
            if bits == 8:
                np.testing.assert_allclose(np.abs(steps).max((1, 2, 3)), 127, rtol=1e-6)
            assert np.abs(steps.clip(-limit, limit) - own.weight).max() <= 0.5 + 1e-4
            read = np.float32(general.quantities[layer.inputs[0]].scale)
            np.testing.assert_array_equal(own.bias, np.round(bias / (np.float64(read) * own.scale)))
            assert np.array_equal(own.weight, general.weights[layer.name].weight)
            assert {*own_arrays(general.weights[layer.name], general.sets["a"][layer.name])} == {"bias", "scale"}


def test_answers_of_a_device_are_near_its_own_float_network() -> None:
    """Oracle: the float network with the device's tensors: no logit is further from it than two steps of the logits,
    on clips that the integers were not calibrated on, while the general network's are many steps away."""
    integers, _ = quantised()
    network, sets = student()
    network.load_state_dict({**network.state_dict(), **sets["a"]})
    spectrograms, step = torch.randn(4, *SHAPE[1:], generator=torch.Generator().manual_seed(1)), integers.output.scale
    with torch.no_grad():
        wanted = network(spectrograms)
    assert (integers.of_device("a").logits(spectrograms) - wanted).abs().max() < 2 * step
    assert (integers.logits(spectrograms) - wanted).abs().max() > 5 * step


def test_sets_of_the_last_layer_leave_all_others_alone() -> None:
    """Oracle: by definition: the last layer with weights is the only one that a device has of its own."""
    general, _ = quantised(CLASSIFIER)
    last = list(general.weights)[-1]
    assert all({*own} == {last} for own in general.sets.values())
    assert "weight" in own_arrays(general.weights[last], general.sets["a"][last])


@pytest.mark.parametrize(("layers", "bits", "activations"), [(NORM, 8, 8), (CLASSIFIER, 4, 8), (NORM, 8, 16)])
def test_runtimes_compute_the_general_network_and_the_reader_all(
    tmp_path: Path, layers: str, bits: int, activations: int
) -> None:
    """Oracle: LiteRT, which is given the file as it is: its integers are those of the general network in memory and of
    the file without sets. The reader's networks of devices are those in memory, as arrays and in their answers, which
    are the reference kernels' too; a device that is not known has the general one."""
    network, spectrograms = quantised(layers, bits, activations)
    plain = replace(network, sets={})
    path = write_tflite(network, tmp_path / "m.tflite", {"x": 1})
    without = write_tflite(plain, tmp_path / "without.tflite", {"x": 1})
    assert to_tflite(replace(read_tflite(path)[0], sets={}), {"x": 1}) == without.read_bytes()
    some = spectrograms[:2]
    general = plain.logits(some)
    runtime = Interpreter(str(path))
    runtime.allocate_tensors()
    runtime.set_tensor(runtime.get_input_details()[0]["index"], TFLiteModel(without).quantize(some)[:1])
    runtime.invoke()
    answers = TFLiteModel(without, kernels="host").run_integers(TFLiteModel(without).quantize(some))
    assert np.array_equal(runtime.get_tensor(runtime.get_output_details()[0]["index"]).ravel(), answers[0])
    found, metadata = read_tflite(path)
    assert metadata == {"x": 1, "devices": ["a", "b"]}
    assert to_tflite(found, metadata) == path.read_bytes()
    assert torch.equal(TFLiteModel(path).logits(some), general)
    for device in "ab":
        for name, own in network.of_device(device).weights.items():
            read = found.of_device(device).weights[name]
            assert not own_arrays(own, read)
            assert [getattr(read, each).dtype for each in sets_module.ARRAYS] == [
                getattr(own, each).dtype for each in sets_module.ARRAYS
            ]
        expected = network.of_device(device).logits(some)
        assert not torch.equal(expected, general)
        assert torch.equal(found.of_device(device).logits(some), expected)
        assert torch.equal(TFLiteModel(path, device=device).logits(some), expected)
    assert torch.equal(found.of_device("c").logits(some), general)
    assert torch.equal(TFLiteModel(path, device="c").logits(some), general)


def test_a_file_without_sets_is_as_before() -> None:
    """Oracle: the digest of the bytes that the version before sets wrote for these numbers."""
    content = to_tflite(replace(handmade(), sets={}), {"scenes": ["a", "b", "c"]})
    assert hashlib.sha256(content).hexdigest() == WITHOUT_SETS


def test_every_number_of_a_set_counts(tmp_path: Path) -> None:
    """Oracle: by hand: 36 + 12 weights (the latter of 4 bits), 4 + 3 biases; of the device's own 4 biases and 4 scales
    of 4 bytes each of the first layer, 12 weights of 4 bits of the second. The multiply-accumulates and the memory are
    those of the file without."""
    network = handmade()
    path = write_tflite(network, tmp_path / "m.tflite", {})
    without = write_tflite(replace(network, sets={}), tmp_path / "without.tflite", {})
    cost, plain = tflite_complexity(path), tflite_complexity(without)
    assert plain.parameters == 36 + 12 + 4 + 3
    assert plain.parameter_bytes == 36 + 6 + 4 * (4 + 3)
    added = 4 * (4 + 4)
    assert cost == plain._replace(parameters=plain.parameters + 20, parameter_bytes=plain.parameter_bytes + added + 6)
    bytes_of = {each.output: each.parameter_bytes for each in tflite_operators(path) if each.parameter_bytes}
    assert list(bytes_of.values()) == [36 + 16 + added, 6 + 12 + 6]
    assert [row["bytes"] for row in layer_rows(network, {})] == [36 + 16 + added, 6 + 12 + 6]
    student_, sets = student()
    channels = sum(layer.num_features for layer in student_.modules() if isinstance(layer, nn.BatchNorm2d))
    more, less = (float_cost(student_, some, SHAPE) for some in (sets, {}))
    assert more.parameters - less.parameters == 2 * 2 * channels
    assert more.parameter_bytes - less.parameter_bytes == 4 * 2 * 2 * channels


def renamed(old: str, new: str) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[new] = arrays.pop(old)

    return change


def replaced(name: str, values: np.ndarray) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda arrays: arrays.update({name: values})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed("0/0/bias", "2/0/bias"), "contain '2/0/bias': there are 2 devices and 2 layers"),
        (renamed("0/0/bias", "0/2/bias"), "contain '0/2/bias'"),
        (renamed("0/0/bias", "0/0/biases"), "contain '0/0/biases'"),
        (renamed("0/0/bias", "00/0/bias"), "stored otherwise than scenelet writes them"),
        (
            replaced("0/0/bias", np.zeros(3, np.int32)),
            r"a bias of int32 and the shape \(3,\), in a layer that has int32",
        ),
        (replaced("0/0/bias", np.zeros(4, np.int64)), r"a bias of int64 and the shape \(4,\)"),
        (replaced("0/1/weight", np.zeros((3, 4, 1, 1), np.uint8)), r"a weight of uint8 and the shape \(3, 4, 1, 1\)"),
        (replaced("0/1/weight", np.zeros((3, 4, 1, 1), np.int8)), "stored otherwise than scenelet writes them"),
        (replaced("0/1/weight", np.full(6, 8, np.uint8)), r"weights of 4 bits that are not from -7 to 7"),
        (replaced("0/0/scale", np.full(4, np.nan, np.float32)), "scales of weights that are no finite numbers"),
        (replaced("0/0/scale", np.full(4, 1e30, np.float32)), "scales of weights from 1e"),
        (replaced("1/0/bias", np.arange(4, dtype=np.int32)), "stored otherwise than scenelet writes them"),
        (replaced("1/0/bias", np.ones(4, np.int32)), "its digest is not that of what it holds"),
        (lambda arrays: arrays.clear(), "its digest is not that of what it holds"),
    ],
)
def test_damaged_sets_are_a_message(
    change: Callable[[dict[str, np.ndarray]], None], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the message, of arrays of no device or layer, of other shapes and types, beyond their range, as the
    general network's, and of those that are right and are not what was signed."""
    network, path = handmade(), tmp_path / "m.tflite"
    metadata = json.loads(json.dumps(read_tflite(write_tflite(network, path, {}))[1]))
    signed = {
        **metadata,
        tflite.DIGEST: tflite.digest(tflite.Graph(tflite.schema.Model.GetRootAs(path.read_bytes())), metadata),
    }
    arrays = sets_module.safetensors.numpy.load(sets_to_bytes(network))
    change(arrays)
    with monkeypatch.context() as patched:
        patched.setattr(tflite, "sets_to_bytes", lambda _: sets_module.safetensors.numpy.save(arrays))
        content = Writer(network).build(signed)
    path.write_bytes(content)
    for read in (read_tflite, tflite_complexity, tflite_operators):
        with pytest.raises(UserError, match=message) as error:
            read(path)
        assert str(error.value).count(str(path)) == 1


@pytest.mark.parametrize("devices", [None, "ab", [], ["a", "a"], ["a", ""], ["a", 1], ["a", "\x1b"], ["a"] * 101])
def test_damaged_names_of_devices_are_a_message(devices: object, tmp_path: Path) -> None:
    """Oracle: the message, of names that lack, are no texts or no labels, are there twice, too few or too many; and of
    a network with too many that is to be written."""
    (tmp_path / "m.tflite").write_bytes(Writer(handmade()).build({"devices": devices}))
    with pytest.raises(
        UserError, match=r"m\.tflite: (devices=.*: a model file has at most 100|its tensors of devices)"
    ):
        read_tflite(tmp_path / "m.tflite")
    many = replace(handmade(), sets={str(number): {} for number in range(101)})
    with pytest.raises(UserError, match="at most 100 devices"):
        to_tflite(many, {})


def test_what_cannot_hold_sets_is_refused_and_floats_take_the_general_student(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the messages, and the tensors of what was saved."""
    caplog.set_level("INFO")
    network = cp_mobile(size="6k")
    names = names_of_set(network, CLASSIFIER, SHAPE)
    sets = {device: set_of(cp_mobile(size="6k"), names) for device in "ab"}
    path = tmp_path / "checkpoint.safetensors"
    blueprint = checkpoint.Blueprint("cp_mobile", {"classes": 10, "size": "6k"}, MEL, SCENES, 32_000, "1", ("a", "b"))
    checkpoint.save(path, network, blueprint, [*sets.values()])
    for own, wanted in ((Quantize(method="qat"), "method=qat"), (Quantize(exact="all"), "exact=all")):
        with pytest.raises(UserError, match=rf"has tensors of 2 devices, and quantize\.{wanted} makes one network"):
            load_sets(path, own)
    found = load_sets(path, Quantize(bits="16f"))[2]
    assert found == {}
    assert caplog.messages == [f"{path} has tensors of 2 devices; the general student is taken"]
    found = load_sets(path, Quantize())[2]
    assert {*found} == {*sets}
    assert all(torch.equal(found[device][name], own) for device in sets for name, own in sets[device].items())
    assert "the file will have them beside the general network" in caplog.messages[-1]
