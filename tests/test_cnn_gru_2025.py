"""Products of maps, sigmoids, maps that are turned, learnt shares, as integers: 2025's CNN-GRU has all of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import randomise_norms
from torch import nn
from torch.nn import functional as F

from data.errors import UserError
from students.cnn_gru_2025 import CnnGru2025, cnn_gru_2025
from students.complexity import layer_macs, tflite_complexity, tflite_operators
from students.device.plan import planned
from students.quantize.arithmetic import Quantity
from students.quantize.calibrate import calibrate
from students.quantize.exact import calibrate_exactly
from students.quantize.export import write_onnx
from students.quantize.fake import FakeQuantized
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import CONVOLUTION, GLOBAL_MEAN, INPUT, MULTIPLY, SIGMOID, TURN, FoldedNetwork, Layer
from students.quantize.products import agreed, multiplied
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel, has_micro
from students.quantize.silu import SIGMOIDS, sigmoids
from students.quantize.tflite import to_tflite, write_tflite

SHAPE = (1, 1, 256, 9)
OTHER = (1, 1, 72, 11)  # whose bands are averaged to another number
LOUDNESS = torch.tensor([0.3, 1.0, 3.0, 9.0])[:, None, None, None]  # clips that are answered differently
SPECTROGRAMS = LOUDNESS * torch.randn(4, *SHAPE[1:], generator=torch.Generator().manual_seed(1))
KERNELS = ("device", *(["micro"] if has_micro() else []))


def student() -> CnnGru2025:
    torch.manual_seed(0)
    network = randomise_norms(cnn_gru_2025(base_channels=4))
    assert isinstance(network, CnnGru2025)
    with torch.no_grad():
        network.shares.copy_(torch.tensor([0.3, 0.6, 0.45, 0.7]))
        for name, parameter in network.named_parameters():  # so that clips differ in their gains, states and logits
            parameter *= 6 if "recurrence" in name or "excite" in name else 3 if parameter.ndim == 4 else 1
    return network


def folded() -> FoldedNetwork:
    return fold(student(), SHAPE)


def clips_of(shape: tuple[int, ...]) -> torch.Tensor:
    return LOUDNESS * torch.randn(4, *shape[1:], generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def by_the_report(network: CnnGru2025, x: torch.Tensor) -> torch.Tensor:
    """The network as it is described: each excitation multiplies its map before it is pooled."""

    def excited(layers: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
        x = layers[:-1](x)
        squeeze, excite = layers[-1].squeeze, layers[-1].excite
        return x * torch.sigmoid(excite(F.relu(squeeze(x.mean((2, 3))))))[:, :, None, None]

    a, b, c, d = network.shares
    x = excited(network.stem, x)
    largest, mean = excited(network.of_largest, F.max_pool2d(x, 2)), excited(network.of_mean, F.avg_pool2d(x, 2))
    first = a * F.avg_pool2d(mean, 2) + (1 - a) * F.avg_pool2d(largest, 2)
    second = b * F.max_pool2d(largest, 2) + (1 - b) * F.max_pool2d(mean, 2)
    x = c * first + (1 - c) * second
    steps = network.narrowed(network.joined(x) + x)[..., 0]
    states, _ = nn.GRU.forward(network.recurrence, steps)
    return network.head(F.silu(d * steps.mean(2) + (1 - d) * states.mean(2)))


def test_gains_and_shares_give_what_is_described() -> None:
    """Oracle: the network with its gains before the pools and its shares behind them, step by step, of 33 frames."""
    network, x = student(), 3 * torch.randn(2, 1, 256, 33)
    with torch.no_grad():
        torch.testing.assert_close(network(x), by_the_report(network, x), rtol=1e-4, atol=1e-5)


def test_folding_keeps_the_function() -> None:
    """Oracle: the network itself, to 1e-5 of the largest logit. By hand: shares are factors of gains, and a mean that a
    share multiplies is the convolution that does both."""
    network = folded()
    for shape in (SHAPE, OTHER):
        spectrograms = clips_of(shape)
        with torch.no_grad():
            expected = student()(spectrograms)
            assert (fold(student(), shape)(spectrograms) - expected).abs().max() <= 1e-5 * expected.abs().max()
    kinds = [layer.kind for layer in network.layers]
    assert [kinds.count(kind) for kind in (SIGMOID, MULTIPLY, TURN, GLOBAL_MEAN)] == [3, 6, 1, 3]
    means = [convolution.weight for convolution in network.convolutions.values() if len(convolution.weight) == 1]
    torch.testing.assert_close(means[0], torch.full((1, 16, 1, 1), 0.7 / 16))
    torch.testing.assert_close(means[1], torch.full((1, 64, 1, 1), 0.3 / 64))


@pytest.mark.parametrize(
    ("bits", "shape"), [(8, OTHER), *(pytest.param(bits, SHAPE, marks=pytest.mark.slow) for bits in (4, 8))]
)
def test_the_file_equals_its_simulation_in_every_byte(bits: int, shape: tuple[int, ...], tmp_path: Path) -> None:
    """Oracle: LiteRT's reference kernels and tflite-micro's, with weights of 8 bits, or of 4 where they may; what is
    read back has the same bytes again and the same layers, as many as have costs."""
    network, spectrograms = fold(student(), shape), clips_of(shape)
    widths = {name: max(bits, min(network.widths(name))) for name in network.convolutions}
    ours = calibrate(network, [spectrograms], bits=widths)
    path, expected = write_tflite(ours, tmp_path / "m.tflite", {}), ours.logits(spectrograms)
    assert len(expected.unique()) > 10
    for kernels in KERNELS:
        assert torch.equal(TFLiteModel(path, kernels=kernels).logits(spectrograms), expected), kernels
    back, _ = read_tflite(path)
    assert to_tflite(back, {}) == path.read_bytes()
    assert [replace(layer, name="", inputs=()) for layer in back.layers] == [
        replace(layer, name="", inputs=()) for layer in ours.layers
    ]
    assert len(layer_macs(tflite_operators(path))) == len(ours.layers)
    assert sum(layer_macs(tflite_operators(path))) == tflite_complexity(path).macs


def test_integers_are_near_the_network() -> None:
    """Oracle: the float network: with 8 bits no logit is further away than a fifth of how far clips are apart."""
    with torch.no_grad():
        expected = student()(SPECTROGRAMS)
    found = calibrate(folded(), [SPECTROGRAMS], percentile=100).logits(SPECTROGRAMS)
    assert (found - expected).abs().max() <= 0.2 * (expected.amax(0) - expected.amin(0)).max()


@pytest.mark.parametrize(("scale", "zero_point"), [(0.004, -128), (0.0371, -31), (0.3, 100), (3.0, 127)])
def test_sigmoids_are_what_the_kernels_make_of_every_integer(scale: float, zero_point: int, tmp_path: Path) -> None:
    """Oracle: LiteRT's reference kernels and tflite-micro's, of all 256 integers; torch's sigmoid within a step."""
    read = Quantity(scale, zero_point, (256, 1, 1))
    wanted = replace(SIGMOIDS, shape=(256, 1, 1))
    network = IntegerNetwork((Layer("s", SIGMOID, (INPUT,)),), {}, {INPUT: read, "s": wanted})
    real = torch.sigmoid(scale * (torch.arange(-128, 128) - zero_point))
    assert (wanted.dequantize(sigmoids(read)) - real.clamp(max=255 / 256)).abs().max() <= 1.01 / 256
    path = write_tflite(network, tmp_path / "m.tflite", {})
    q = torch.arange(-128, 128).to(torch.int8).view(1, 1, 1, 256).numpy()
    for kernels in KERNELS:
        assert TFLiteModel(path, kernels=kernels).run_integers(q)[0].tolist() == sigmoids(read).tolist(), kernels


@pytest.mark.parametrize("sides", [(0.02, 0.03, -128, 127), (0.7, 2.0**-8, 5, -128), (0.011, 0.9, -100, 3)])
def test_products_are_what_the_kernels_make_of_them(sides: tuple[float, float, int, int], tmp_path: Path) -> None:
    """Oracle: LiteRT's reference kernels and tflite-micro's, of maps of which either has a single band and frame, and
    of equal maps; float arithmetic within 0.51 steps. A scale is changed by a millionth at most."""
    shapes = ((9, 5, 7), (9, 1, 1))
    first, second = (Quantity(sides[n], sides[2 + n], shapes[n]) for n in (0, 1))
    guess = Quantity(255 * first.scale * second.scale, -7, shapes[0])
    wanted = agreed(first, second, guess)
    assert guess.scale * (1 - 1e-7) <= wanted.scale <= guess.scale * (1 + 1e-6)
    generator = torch.Generator().manual_seed(3)
    a = torch.randint(-128, 128, (2, *shapes[0]), generator=generator).to(torch.int8)
    # The smaller side is the mean of the map: a network has one input.
    quantities = {INPUT: first, "m": replace(first, shape=shapes[1])}
    for inputs in ((INPUT, "m"), ("m", INPUT), (INPUT, INPUT)):
        own = agreed(*(quantities[name] for name in inputs), guess)
        layers = (Layer("m", GLOBAL_MEAN, (INPUT,)), Layer("p", MULTIPLY, inputs), Layer("e", GLOBAL_MEAN, ("p",)))
        end = {"p": own, "e": replace(own, shape=shapes[1])}
        network, record = IntegerNetwork(layers, {}, quantities | end), dict[str, torch.Tensor]()
        expected = network.run(a, record)
        left, right = (quantities[name].dequantize(record[name]) for name in inputs)
        inside = (left * right / own.scale + own.zero_point).clamp(-128, 127)
        assert (record["p"] - inside).abs().max() <= 0.51
        path = write_tflite(network, tmp_path / "m.tflite", {})
        for kernels in KERNELS:
            found = TFLiteModel(path, kernels=kernels).run_integers(a.permute(0, 2, 3, 1).numpy())
            assert torch.equal(torch.from_numpy(found).view_as(expected), expected), (inputs, kernels)
    both = multiplied(a.long(), torch.full((2, 9, 1, 1), 11), first, second, wanted)
    real = first.dequantize(a) * (11 - second.zero_point) * second.scale / wanted.scale + wanted.zero_point
    assert (both - real).abs().max() <= 0.51


@pytest.mark.slow  # seconds
def test_quantisation_aware_training_sees_the_integers(tmp_path: Path) -> None:
    """Oracle: LiteRT's reference kernels on the file. A rounding that falls otherwise is carried through the layers: a
    logit may differ by 8 steps of 256, all of them by 2 on average. Every step and weight gets a gradient, and
    sigmoids keep their scale."""
    network = folded()
    fake = FakeQuantized(network, calibrate(network, [SPECTROGRAMS]))
    fake(SPECTROGRAMS).square().sum().backward()
    assert all(parameter.grad is not None for parameter in fake.parameters())
    with torch.no_grad():
        for step in fake.steps.values():
            step *= 1.01
    integers = fake.integers()
    assert {integers.quantities[layer.name].scale for layer in integers.layers if layer.kind == SIGMOID} == {2.0**-8}
    model = TFLiteModel(write_tflite(integers, tmp_path / "m.tflite", {}))
    with torch.no_grad():
        steps = ((model.logits(SPECTROGRAMS) - fake(SPECTROGRAMS)) / integers.output.scale).abs()
    assert steps.max() <= 8
    assert steps.mean() <= 2


class _Functions(nn.Module):
    """Functions and methods where other networks have modules, and factors of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 0.1])[:, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        y = self.second(x) * self.scale * torch.sigmoid(2 * x)
        y = y.mean(2, keepdim=True) + F.avg_pool2d(F.silu(x), (1, 1)) * self.scale.sigmoid()
        return self.last(torch.flatten(F.adaptive_avg_pool2d(y, 1), 1))


def test_functions_are_what_their_modules_are(generator: torch.Generator) -> None:
    """Oracle: the network itself, to 1e-5 of the largest logit; by hand: a factor of channels behind a convolution, or
    behind a pool, is none of its own."""
    network, x = _Functions().eval(), torch.randn(3, 1, 10, 12, generator=generator)
    layers = fold(network, (1, 1, 10, 12))
    with torch.no_grad():
        assert (layers(x) - network(x)).abs().max() <= 1e-5 * network(x).abs().max()
    assert [layer.name for layer in layers.layers if layer.kind == CONVOLUTION] == [
        *("first", "second", "mul_1", "avg_pool2d", "last")
    ]


def test_rows_are_kept_until_they_are_pooled() -> None:
    """Oracle: by hand: of a map that several pools read as many rows are kept as the highest window has, although the
    mean of all rows is needed before any other pool's row is."""
    plan = planned(calibrate(folded(), [SPECTROGRAMS]))
    assert (plan.maps["stem_10"].rows, plan.maps["of_largest_6"].rows, plan.maps["of_mean_6"].rows) == (2, 2, 2)


def test_what_it_does_not_have_is_refused(tmp_path: Path) -> None:
    """Oracle: the messages."""
    network = folded()
    with pytest.raises(UserError, match="activations=16: stem_10 is a SiLU"):
        calibrate(network, [SPECTROGRAMS], activations=16)
    with pytest.raises(UserError, match="exact=all: stem_10 is a SiLU"):
        calibrate_exactly(network, [SPECTROGRAMS])
    ours = calibrate(network, [SPECTROGRAMS])
    with pytest.raises(UserError, match="ONNX files have no form of here"):
        write_onnx(ours, tmp_path / "m.onnx")
    product = next(layer.name for layer in ours.layers if layer.kind == MULTIPLY)
    sigmoid = next(layer.name for layer in ours.layers if layer.kind == SIGMOID)
    changes: dict[str, Callable[[Quantity], Quantity]] = {
        f"the product '{product}' has the scales": lambda q: replace(q, scale=1e9),
        f"the sigmoid '{sigmoid}' has the scale": lambda q: replace(q, scale=0.01),
    }
    for message, change in changes.items():
        name = product if "product" in message else sigmoid
        wrong = replace(ours, quantities={**ours.quantities, name: change(ours.quantities[name])})
        with pytest.raises(UserError, match=message):
            read_tflite(write_tflite(wrong, tmp_path / "m.tflite", {}))
