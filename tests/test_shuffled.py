"""Channels that are taken and joined, convolutions in groups, norms of each clip, as integers: TF-SepNet has all."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import randomise_norms
from torch import nn

from data.errors import UserError
from students.clip_norms import with_measured_norms
from students.complexity import layer_macs, tflite_complexity, tflite_operators
from students.device.network import network_files
from students.quantize.calibrate import calibrate
from students.quantize.exact import calibrate_exactly
from students.quantize.fake import FakeQuantized
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import JOIN, TAKE, FoldedNetwork
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel, has_micro
from students.quantize.tflite import to_tflite, write_tflite
from students.quantize.tflite_float import float_logits, write_float_tflite
from students.tf_sepnet import AdaptiveResidualNorm, ResidualNorm, ShuffledHalf, tf_sepnet

BASE, SHAPE = 8, (1, 1, 64, 32)
LOUDNESS = torch.tensor([0.3, 1.0, 3.0, 9.0])[:, None, None, None]  # clips that are answered differently
SPECTROGRAMS = LOUDNESS * torch.randn(4, *SHAPE[1:], generator=torch.Generator().manual_seed(1))


def student(norm: str) -> nn.Module:
    torch.manual_seed(0)
    return randomise_norms(tf_sepnet(base_channels=BASE, norm=norm))


def folded(norm: str = "none") -> FoldedNetwork:
    return fold(student(norm), SHAPE, SPECTROGRAMS)


@pytest.mark.parametrize("norm", ["none", "residual", pytest.param("adaptive", marks=pytest.mark.slow)])
def test_folding_keeps_the_function_in_floats_and_in_tflite(norm: str, tmp_path: Path) -> None:
    """Oracle: the network itself, with measured norms; LiteRT on a file of floats. Tolerance 1e-5 of the largest
    logit."""
    network = folded(norm)
    with torch.no_grad():
        expected = with_measured_norms(student(norm), SPECTROGRAMS)(SPECTROGRAMS)
        assert (network(SPECTROGRAMS) - expected).abs().max() <= 1e-5 * expected.abs().max()
    path = write_float_tflite(network, calibrate(network, [SPECTROGRAMS]), tmp_path / "f.tflite", {})
    assert (float_logits(path, SPECTROGRAMS) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    ("norm", "activations"),
    [("none", 8), *(pytest.param(*each, marks=pytest.mark.slow) for each in (("adaptive", 8), ("none", 16)))],
)
def test_the_file_equals_its_simulation_in_every_byte(norm: str, activations: int, tmp_path: Path) -> None:
    """Oracle: LiteRT's reference kernels and tflite-micro's, whose GATHER has no 16 bits, layers of 4 and of 8 bits;
    what is read back has the same bytes again and the same layers."""
    network = folded(norm)
    bits = dict.fromkeys([*network.convolutions][::2], 4 if activations == 8 else 8)
    ours = calibrate(network, [SPECTROGRAMS], bits=bits, activations=activations)
    path, expected = write_tflite(ours, tmp_path / "m.tflite", {}), ours.logits(SPECTROGRAMS)
    assert len(expected.unique()) > 10
    for kernels in ("device", *(["micro"] if has_micro() and activations == 8 else [])):
        assert torch.equal(TFLiteModel(path, kernels=kernels).logits(SPECTROGRAMS), expected), kernels
    back, _ = read_tflite(path)
    assert to_tflite(back, {}) == path.read_bytes()
    assert [replace(layer, name="", inputs=()) for layer in back.layers] == [
        replace(layer, name="", inputs=()) for layer in ours.layers
    ]


def test_halves_are_filters_where_the_block_expands() -> None:
    """Oracle: the layers by hand: an expanding convolution is two, without a layer that takes channels; in other blocks
    both halves are taken of what the block before joined, whose summands have one scale."""
    network = folded()
    taken = [layer.name for layer in network.layers if layer.kind == TAKE]
    others = ["stage1_block2", "stage2_block2", "stage3_block2", "stage4_block2", "stage4_block3"]
    assert taken == [f"{block}_{half}" for block in others for half in ("first", "second")]
    assert [len(network.convolutions[f"stage1_block1_{half}"].weight) for half in ("first", "second")] == [BASE / 2] * 2
    quantities = calibrate(network, [SPECTROGRAMS]).quantities
    for layer in network.layers:
        if layer.kind == JOIN:
            same = {(quantities[name].scale, quantities[name].zero_point) for name in (layer.name, *layer.inputs)}
            assert len(same) == 1


@pytest.mark.slow  # seconds
def test_quantisation_aware_training_sees_the_integers(tmp_path: Path) -> None:
    """Oracle: LiteRT's reference kernels on the file. A rounding that falls otherwise is carried through the layers: a
    logit may differ by 6 steps of 256, all of them by 1 on average. Every step and weight gets a gradient."""
    network = folded()
    fake = FakeQuantized(network, calibrate(network, [SPECTROGRAMS]))
    fake(SPECTROGRAMS).square().sum().backward()
    assert all(parameter.grad is not None for parameter in fake.parameters())
    with torch.no_grad():
        for step in fake.steps.values():
            step *= 1.01
    integers = fake.integers()
    model = TFLiteModel(write_tflite(integers, tmp_path / "m.tflite", {}))
    with torch.no_grad():
        steps = ((model.logits(SPECTROGRAMS) - fake(SPECTROGRAMS)) / integers.output.scale).abs()
    assert steps.max() <= 6
    assert steps.mean() <= 1


@pytest.mark.slow  # seconds
def test_costs_are_counted_by_hand(tmp_path: Path) -> None:
    """Oracle: arithmetic by NeSsi's rules, base 8, of maps of 16 x 8: convolutions weights of a filter x outputs, means
    their cells, sums their values, what takes and joins nothing; bytes of int8 weights and int32 biases, those
    of norms too. The channels that are taken are no parameters."""
    stem, channels, cells, bands = 4, 16, 16 * 8, 16
    macs, size = 9 * stem * 32 * 16 + 9 * channels * cells + channels * cells, 9 * stem + 4 * stem + 9 * 16 + 4 * 16
    size += 5 * channels
    for stage, (count, outputs) in enumerate(((2, 8), (2, 12), (2, 16), (3, 20))):
        if stage in (1, 2):
            cells, bands = cells // 4, bands // 2
            macs += 4 * channels * cells
        frames, half = cells // bands, outputs // 2
        macs += channels * outputs * cells
        size += channels * outputs + 4 * outputs
        macs += count * (2 * 3 * half * cells + 2 * half * cells + half**2 * (bands + frames) + outputs * cells)
        size += count * 2 * (3 * half + 4 * half + half**2 + 4 * half)
        macs += outputs * cells
        size += 5 * outputs
        channels = outputs
    macs += channels * 10 * cells + 10 * cells
    size += channels * 10 + 4 * 10
    path = write_tflite(calibrate(folded("adaptive"), [SPECTROGRAMS]), tmp_path / "m.tflite", {})
    cost, operators = tflite_complexity(path), tflite_operators(path)
    assert (cost.macs, cost.parameter_bytes) == (macs, size)
    assert sum(each.parameter_bytes for each in operators) == size
    assert sum(each.amount_bytes for each in operators if each.kind == "GATHER") == 4 * (8 + 12 + 16 + 20 + 20)
    assert (len(layer_macs(operators)), sum(layer_macs(operators))) == (len(read_tflite(path)[0].layers), macs)


@pytest.mark.parametrize("norm", [ResidualNorm(), AdaptiveResidualNorm(6)])
def test_norms_become_those_of_all_clips(norm: nn.Module, generator: torch.Generator) -> None:
    """Oracle: the norm itself, of all clips as if they were one, where the bands have the same statistics; the clips
    are more than are computed at once, and another network is made of them."""
    if isinstance(norm, AdaptiveResidualNorm):
        for parameter in norm.parameters():
            nn.init.normal_(parameter, generator=generator)
    clips = (3 * torch.randn(40, 6, 1, 5, generator=generator) + 1).expand(-1, -1, 4, -1)
    with torch.no_grad():
        measured = with_measured_norms(nn.Sequential(norm), clips)
        together = norm(clips.permute(1, 2, 0, 3).flatten(2)[None])
        torch.testing.assert_close(measured(clips).permute(1, 2, 0, 3).flatten(2)[None], together, rtol=1e-2, atol=1e-2)
        assert (measured(clips) - norm(clips)).abs().max() > 0.1


def test_norms_are_measured_one_after_the_other(generator: torch.Generator) -> None:
    """Oracle: the second norm by hand, of what the first one makes of the clips when it is constant."""
    clips = torch.randn(9, 2, 3, 5, generator=generator) * torch.logspace(-1, 1, 9)[:, None, None, None]
    first, second = with_measured_norms(nn.Sequential(ResidualNorm(), ResidualNorm()), clips)
    (expected,) = with_measured_norms(nn.Sequential(ResidualNorm()), first(clips))
    assert torch.equal(second.weight, expected.weight)
    assert torch.equal(second.bias, expected.bias)


def test_without_clips_norms_have_no_integer_form() -> None:
    """Oracle: the message."""
    with pytest.raises(UserError, match="no integer form: AdaptiveResidualNorm"):
        fold(student("adaptive"), SHAPE)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    """Oracle: the messages."""
    network = folded()
    with pytest.raises(UserError, match="exact=all: stage1_block1_cat joins maps"):
        calibrate_exactly(network, [SPECTROGRAMS])
    ours = calibrate(network, [SPECTROGRAMS])
    for change, message in (
        (lambda layer: replace(layer, channels=(*layer.channels[:-1], 8)), "takes channel 8 of 8"),
        (lambda layer: replace(layer, channels=layer.channels[1:]), r"is of \(4, 16, 8\), by its inputs it is \(3, "),
    ):
        layers = [change(layer) if layer.name == "stage1_block2_first" else layer for layer in ours.layers]
        path = write_tflite(replace(ours, layers=tuple(layers)), tmp_path / "m.tflite", {})
        with pytest.raises(UserError, match=message):
            read_tflite(path)
    name = "stage1_block2_cat"
    for wrong in (replace(ours.quantities[name], scale=9.0), replace(ours.quantities[name], shape=(9, 16, 8))):
        path = write_tflite(replaced(ours, name, wrong), tmp_path / "m.tflite", {})
        with pytest.raises(UserError, match=r"it changes neither|by its inputs it is"):
            read_tflite(path)


class Three(nn.Module):
    """A map, three times."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Identity()  # with children its arithmetic is traced

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.same(x)
        return torch.cat([x, x, x], 1)


def test_c_joins_two_maps() -> None:
    """Oracle: the message, of three; the executor has them."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1), Three(), nn.AdaptiveAvgPool2d(1))
    ours = calibrate(fold(network, SHAPE), [SPECTROGRAMS])
    assert torch.equal(ours.logits(SPECTROGRAMS)[:, :2], ours.logits(SPECTROGRAMS)[:, 4:])
    with pytest.raises(UserError, match="layer cat is of 3 maps, and C on devices joins 2"):
        network_files(ours)


def replaced(network: IntegerNetwork, name: str, quantity: object) -> IntegerNetwork:
    return replace(network, quantities={**network.quantities, name: quantity})


def test_a_spectrogram_that_the_network_does_not_take_is_refused() -> None:
    """Oracle: the network's own message; for other errors one that names the size."""
    with pytest.raises(UserError, match="tf_sepnet: spectrograms of 8 bands and 32 frames are too small"):
        fold(student("none"), (1, 1, 8, 32))
    with pytest.raises(UserError, match="takes no spectrograms of 4 bands and 5 frames"):
        fold(nn.Sequential(nn.Conv2d(1, 2, 7)), (1, 1, 4, 5))


def test_halves_are_taken_in_turn() -> None:
    """Oracle: by hand, of six channels."""
    six = torch.arange(6)
    assert [ShuffledHalf(which).taken(six).tolist() for which in (0, 1)] == [[0, 3, 1], [4, 2, 5]]
