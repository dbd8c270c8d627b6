"""Integers on which all runtimes agree."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import randomise_norms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from data.errors import UserError
from students.cp_mobile import cp_mobile
from students.quantize.calibrate import calibrate
from students.quantize.exact import calibrate_exactly, offsets
from students.quantize.fake import FakeQuantized
from students.quantize.fold import fold
from students.quantize.runtime import TFLiteModel, has_micro
from students.quantize.tflite import write_tflite


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([8, 16]),
    st.sampled_from([1.0, 1.5, 2.3]),
    st.dictionaries(st.sampled_from(["b1", "b2", "b3", "b4"]), st.tuples(st.integers(1, 2), st.integers(1, 2))),
    st.tuples(st.integers(40, 70), st.integers(33, 50)),
    st.integers(0, 1000),
)
@pytest.mark.slow  # every runtime
def test_every_runtime_and_float32_agree(
    tmp_path: Path, base: int, multiplier: float, strides: dict, size: tuple[int, int], seed: int
) -> None:
    """Oracle: each other, in every logit: LiteRT's reference kernels, XNNPACK, LiteRT without it, tflite-micro, the
    integer network, and the network that was rounded in float32, also after its weights were moved."""
    torch.manual_seed(seed)
    network = randomise_norms(
        cp_mobile(size="6k", base_channels=base, channels_multiplier=multiplier, strides=strides), seed
    )
    nn.init.zeros_(network[2].path[0][1].weight[:2])  # channels that have only their biases
    spectrograms = torch.randn(4, 1, *size)
    folded, integers = calibrate_exactly(fold(network), [spectrograms])
    fake = FakeQuantized(folded, integers).eval()
    with torch.no_grad():
        assert torch.equal(fake(spectrograms), integers.logits(spectrograms))
        for parameter in [*fake.weights.values(), *fake.biases.values()]:
            parameter += 0.05 * parameter.std(correction=0) * torch.randn(parameter.shape)
        moved = fake.integers()
        expected = fake(spectrograms)
    assert len(expected.unique()) > 4
    assert torch.equal(moved.logits(spectrograms), expected)
    path = write_tflite(moved, tmp_path / "m.tflite", {})
    for kernels in ("device", "host", "plain", *(["micro"] if has_micro() else [])):
        assert torch.equal(TFLiteModel(path, kernels=kernels).logits(spectrograms), expected), kernels


def test_it_is_what_it_says(generator: torch.Generator) -> None:
    """Oracle: the recipe, on the integers: powers of two, one scale around additions, weights of multiples of 4, biases
    that are even, and no multiples of 4 where sums shrink; and the price: farther from the float network than usual."""
    network, spectrograms = (
        fold(randomise_norms(cp_mobile(size="6k"))),
        torch.randn(6, 1, 64, 48, generator=generator),
    )
    _, integers = calibrate_exactly(network, [spectrograms])
    scales = {name: quantity.scale for name, quantity in integers.quantities.items()}
    assert all(np.log2(scale).is_integer() for scale in scales.values())
    for layer in integers.layers:
        if layer.kind == "add":
            assert len({scales[name] for name in (layer.name, *layer.inputs)}) == 1
        if layer.kind == "convolution":
            w = integers.weights[layer.name]
            assert (w.weight % 4 == 0).all()
            assert np.abs(w.weight).max() <= 124
            shrinks = scales[layer.inputs[0]] * 4 * w.scale < scales[layer.name]
            assert (w.bias % 4 == np.where(shrinks, 2, 0)).all()
    with torch.no_grad():
        expected = network(spectrograms)
    usual = (calibrate(network, [spectrograms]).logits(spectrograms) - expected).abs().mean()
    assert usual < (integers.logits(spectrograms) - expected).abs().mean() < 10 * usual


def test_what_could_differ_is_refused() -> None:
    """Oracle: the mean of 0 and 1 over two cells is a tie; 4,000 weights of 16 times 4 times 255 are above 2^25."""
    large = nn.Conv2d(1, 2, (40, 100))
    nn.init.constant_(large.weight, 1.0)
    with pytest.raises(UserError, match=r"may reach 65,280,\d+, and float32"):
        calibrate_exactly(fold(nn.Sequential(large)), [torch.randn(1, 1, 40, 100)])
    network = fold(nn.Sequential(nn.Conv2d(1, 2, 1), nn.AvgPool2d((1, 2)), nn.AdaptiveAvgPool2d(1)))
    with pytest.raises(UserError, match="has 2 cells"):
        calibrate_exactly(network, [torch.randn(1, 1, 4, 4)])


def test_a_half_is_added_only_where_sums_are_rounded() -> None:
    """Oracle: arithmetic: with products of half the output's scale (2^2 / 8), sums are multiples of 4 eighths, of which
    every other one is a tie, and two eighths more are none; with products of that scale or its double, sums are whole
    as they are, and two quarters more would be the tie."""
    assert offsets(1 / 8, torch.tensor([2.0, 3.0, 4.0]), 1.0).tolist() == [2.0, 0.0, 0.0]


def test_sums_of_almost_two_to_the_25_are_exact(generator: torch.Generator) -> None:
    """Oracle: 1,536 weights of 16 times 4 times 255 are 25 million, of which float32 holds every even one: the network
    in float32 and the integers agree in every logit."""
    large = nn.Conv2d(1, 1, (32, 48))
    nn.init.constant_(large.weight, 1.0)
    spectrograms = torch.randn(4, 1, 32, 48, generator=generator).abs()
    folded, integers = calibrate_exactly(fold(nn.Sequential(large)), [spectrograms])
    assert torch.equal(FakeQuantized(folded, integers).eval()(spectrograms), integers.logits(spectrograms))


def test_a_channel_of_zeros_answers_zero(generator: torch.Generator) -> None:
    """Oracle: the float network, whose first logit is 0 whatever it is given; its integers are 0 and their scales are
    numbers."""
    convolution = nn.Conv2d(1, 2, 1)
    nn.init.zeros_(convolution.weight[:1])
    nn.init.zeros_(convolution.bias[:1])
    spectrograms = torch.randn(3, 1, 4, 5, generator=generator)
    _, integers = calibrate_exactly(fold(nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1))), [spectrograms])
    logits = integers.logits(spectrograms)
    assert (logits[:, 0] == 0).all()
    assert (logits[:, 1] != 0).all()
    for weights in integers.weights.values():
        assert np.isfinite(weights.scale).all()
        assert (weights.scale > 0).all()
