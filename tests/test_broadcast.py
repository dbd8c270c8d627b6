"""Dilated convolutions, those of parts of the rows, and sums with a single row, as integers: BC-ResNet has all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import randomise_norms
from torch import nn

from data.errors import UserError
from students.bc_resnet import bc_resnet
from students.blocks import SubSpectralNorm
from students.complexity import layer_macs, tflite_complexity, tflite_operators
from students.device.network import network_files
from students.quantize.calibrate import calibrate, correct_biases
from students.quantize.exact import calibrate_exactly
from students.quantize.fake import FakeQuantized
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import CONVOLUTION, FoldedNetwork
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel, has_micro
from students.quantize.tflite import to_tflite, write_tflite
from students.quantize.tflite_float import float_logits, write_float_tflite

BASE, FRAMES = 4, 12
SHAPE = (1, 1, 40, FRAMES)
LOUDNESS = torch.tensor([0.3, 1.0, 3.0, 9.0])[:, None, None, None]  # clips that are answered differently
SPECTROGRAMS = LOUDNESS * torch.randn(4, *SHAPE[1:], generator=torch.Generator().manual_seed(1))


def folded(sub_bands: int = 5) -> FoldedNetwork:
    torch.manual_seed(0)
    return fold(randomise_norms(bc_resnet(base_channels=BASE, sub_bands=sub_bands)), SHAPE)


@pytest.mark.parametrize("sub_bands", [1, 5])
def test_folding_keeps_the_function_in_floats_and_in_tflite(sub_bands: int, tmp_path: Path) -> None:
    """Oracle: the network itself; LiteRT on a file of floats. Tolerance 1e-5 of the largest logit."""
    network = folded(sub_bands)
    torch.manual_seed(0)
    with torch.no_grad():
        expected = randomise_norms(bc_resnet(base_channels=BASE, sub_bands=sub_bands))(SPECTROGRAMS)
        assert (network(SPECTROGRAMS) - expected).abs().max() <= 1e-5 * expected.abs().max()
    path = write_float_tflite(network, calibrate(network, [SPECTROGRAMS]), tmp_path / "f.tflite", {})
    assert (float_logits(path, SPECTROGRAMS) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    ("sub_bands", "activations"),
    [(5, 8), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((1, 8), (5, 16)))],  # seconds each
)
def test_the_file_equals_its_simulation_in_every_byte(sub_bands: int, activations: int, tmp_path: Path) -> None:
    """Oracle: LiteRT's reference kernels and tflite-micro's, layers of 4 and of 8 bits; what is read back has the same
    bytes again and the same layers."""
    network = folded(sub_bands)
    bits = dict.fromkeys([*network.convolutions][::2], 4 if activations == 8 else 8)
    ours = calibrate(network, [SPECTROGRAMS], bits=bits, activations=activations)
    path, expected = write_tflite(ours, tmp_path / "m.tflite", {}), ours.logits(SPECTROGRAMS)
    assert len(expected.unique()) > 10
    for kernels in ("device", *(["micro"] if has_micro() else [])):
        assert torch.equal(TFLiteModel(path, kernels=kernels).logits(SPECTROGRAMS), expected), kernels
    back, _ = read_tflite(path)
    assert to_tflite(back, {}) == path.read_bytes()
    assert [replace(layer, name="", inputs=()) for layer in back.layers] == [
        replace(layer, name="", inputs=()) for layer in ours.layers
    ]


@pytest.mark.slow  # seconds
def test_quantisation_aware_training_sees_the_integers(tmp_path: Path) -> None:
    """Oracle: LiteRT's reference kernels on the file. A rounding that falls otherwise is carried through the layers: a
    logit may differ by 6 steps of 256, all of them by 1 on average. Every step and weight gets a gradient."""
    fake = FakeQuantized(folded(), calibrate(folded(), [SPECTROGRAMS]))
    fake(SPECTROGRAMS).square().sum().backward()
    assert all(parameter.grad is not None for parameter in fake.parameters())
    integers = fake.integers()
    model = TFLiteModel(write_tflite(integers, tmp_path / "m.tflite", {}))
    with torch.no_grad():
        steps = ((model.logits(SPECTROGRAMS) - fake(SPECTROGRAMS)) / integers.output.scale).abs()
    assert steps.max() <= 6
    assert steps.mean() <= 1


def test_costs_are_counted_by_hand(tmp_path: Path) -> None:
    """Oracle: arithmetic by NeSsi's rules, at 40 bands and 12 frames, base 4: convolutions weights of a filter x
    outputs, means their cells, sums their values; bytes of int8 weights, five times as many of filters in frequency,
    and of int32 biases. Amounts of slices are no parameters. Layers have the same multiply-accumulates."""
    frames, macs, size = FRAMES, 8 * 25 * 20 * FRAMES, 8 * 25 + 4 * 8
    for stage, (count, inputs, channels, bands) in enumerate(
        ((2, 8, 4, 20), (2, 4, 6, 20), (4, 6, 8, 10), (4, 8, 10, 5))
    ):
        below, expands = bands // 2 if stage in (1, 2) else bands, inputs != channels
        cells = channels * below * frames
        macs += count * (3 * cells + cells + 3 * channels * frames + channels**2 * frames + 2 * cells) - expands * cells
        size += count * (5 * (3 + 4) * channels + (3 + 4) * channels + channels**2 + 4 * channels)
        macs += expands * inputs * channels * bands * frames
        size += expands * (inputs * channels + 4 * channels)
    macs += 25 * 10 * frames + 10 * 16 * frames + 16 * frames + 16 * 10
    size += 10 * (25 + 4) + 16 * (10 + 4) + 10 * (16 + 4)
    path = write_tflite(calibrate(folded(), [SPECTROGRAMS]), tmp_path / "m.tflite", {})
    cost, operators = tflite_complexity(path), tflite_operators(path)
    assert (cost.macs, cost.parameter_bytes) == (macs, size)
    assert sum(each.parameter_bytes for each in operators) == size
    each = layer_macs(operators)
    assert (len(each), sum(each)) == (len(read_tflite(path)[0].layers), macs)
    assert each[2] == 3 * 4 * 20 * frames


@pytest.mark.slow  # seconds
def test_devices_have_filters_of_parts_of_their_own(tmp_path: Path) -> None:
    """Oracle: by hand: one device has biases and scales of its own of a layer of five parts of four channels, 20 of 4
    bytes each, which are counted once; read back, its network answers as before."""
    general = calibrate(folded(), [SPECTROGRAMS])
    one = general.weights["stage1_block1_frequency"]
    own = replace(one, bias=one.bias + 9, scale=one.scale * 2)
    network = replace(general, sets={"a": {"stage1_block1_frequency": own}})
    plain = write_tflite(general, tmp_path / "plain.tflite", {})
    path = write_tflite(network, tmp_path / "m.tflite", {})
    assert tflite_complexity(path).parameter_bytes - tflite_complexity(plain).parameter_bytes == 2 * 20 * 4
    more = [a.parameter_bytes - b.parameter_bytes for a, b in zip(*map(tflite_operators, (path, plain)), strict=True)]
    assert [size for size in more if size] == [2 * 20 * 4]
    back, expected = read_tflite(path)[0].of_device("a"), network.of_device("a").logits(SPECTROGRAMS)
    assert torch.equal(back.logits(SPECTROGRAMS), expected)
    assert not torch.equal(expected, general.logits(SPECTROGRAMS))


def test_each_part_s_mean_is_corrected() -> None:
    """Oracle: Nagel et al.: after the correction the mean of each channel in each part of its rows is the float
    network's, to within a step of the bias and of the output's rounding."""
    parts = nn.Conv2d(4, 4, 3, padding=1, groups=4), SubSpectralNorm(4, 5)
    network = fold(randomise_norms(nn.Sequential(nn.Conv2d(1, 4, 1), *parts, nn.AdaptiveAvgPool2d(1))), (1, 1, 10, 12))
    x = torch.randn(6, 1, 10, 12, generator=torch.Generator().manual_seed(2))
    integers = calibrate(network, [x], bits=dict.fromkeys(network.convolutions, 4))
    (name,) = [layer.name for layer in network.layers if layer.parts > 1]

    def error(ours: IntegerNetwork) -> float:
        exact: dict[str, torch.Tensor] = {}
        record: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            network(x, lambda layer, tensor: exact.setdefault(layer, tensor))
        ours.run(ours.quantities["input"].quantize(x), record)
        found = ours.quantities[name].dequantize(record[name]) - exact[name]
        return float(found.unflatten(2, (5, -1)).mean((0, 3, 4)).abs().max() / ours.quantities[name].scale)

    assert error(correct_biases(network, integers, x)) < 0.2 < error(integers)


def test_what_cannot_be_written_is_refused_with_the_layer(tmp_path: Path) -> None:
    """Oracle: the messages: means of an even number of cells in exact integers, parts in ONNX, and on devices dilated
    convolutions of all channels and sums over frames."""
    with pytest.raises(UserError, match="stage1_block1_average has 20 cells"):
        calibrate_exactly(folded(), [SPECTROGRAMS])
    integers = calibrate(folded(), [SPECTROGRAMS])
    pytest.importorskip("onnx")
    from students.quantize.export import write_onnx

    with pytest.raises(UserError, match=r"stage1_block1_frequency has weights of its own .*sub_bands=1"):
        write_onnx(integers, tmp_path / "m.onnx")
    network = nn.Sequential(nn.Conv2d(1, 2, 3, dilation=2), nn.AdaptiveAvgPool2d(1))
    dense = calibrate(fold(network, SHAPE), [SPECTROGRAMS])
    with pytest.raises(UserError, match=r"layer 0 is dilated by \(2, 2\)"):
        network_files(dense)


class _OverFrames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.mean, self.all = nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d((None, 1)), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(x)
        return self.all(x + self.mean(x))


def test_a_sum_over_frames_is_that_of_every_runtime(tmp_path: Path) -> None:
    """Oracle: LiteRT's reference kernels and tflite-micro's, in every logit; the network itself within a step."""
    torch.manual_seed(0)
    network = _OverFrames().eval()
    ours = calibrate(fold(network, SHAPE), [SPECTROGRAMS])
    assert [layer.kind for layer in ours.layers if layer.kind == CONVOLUTION] == [CONVOLUTION]
    path = write_tflite(ours, tmp_path / "m.tflite", {})
    for kernels in ("device", *(["micro"] if has_micro() else [])):
        assert torch.equal(TFLiteModel(path, kernels=kernels).logits(SPECTROGRAMS), ours.logits(SPECTROGRAMS)), kernels
    with torch.no_grad():
        np.testing.assert_allclose(
            ours.logits(SPECTROGRAMS), network(SPECTROGRAMS).flatten(1), atol=2 * ours.output.scale
        )
