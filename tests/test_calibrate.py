"""Calibration: the scales and integers that ranges and weights lead to."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from data.errors import UserError
from students.cp_mobile import cp_mobile
from students.quantize.calibrate import calibrate, correct_biases, weight_scales
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import FoldedNetwork


def test_corrected_biases_bring_the_channel_means_back(generator: torch.Generator) -> None:
    """Oracle: the float network's mean logits.

    Weights rounded down to multiples of 16 shift them by far; with corrected biases the shift is below one step.
    """
    layers = [nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network, spectrograms = fold(nn.Sequential(*layers)), torch.rand(16, 1, 32, 32, generator=generator)
    fine = calibrate(network, [spectrograms])
    coarse = {name: replace(w, weight=w.weight // 16 * 16) for name, w in fine.weights.items()}
    shifted = replace(fine, weights=coarse)

    def shift(integer: IntegerNetwork) -> float:
        """Largest shift of a mean logit, in steps of the output."""
        means = (integer.logits(spectrograms) - network(spectrograms).detach()).mean(0)
        return float(means.abs().max() / integer.output.scale)

    corrected = correct_biases(network, shifted, spectrograms)
    assert shift(shifted) > 5
    assert shift(corrected) < 1
    assert all(np.array_equal(corrected.weights[name].weight, w.weight) for name, w in coarse.items())


def test_ranges_of_least_error(generator: torch.Generator) -> None:
    """Oracle: every range tried by hand on values with a far one among them: the chosen scale is within a step of the
    best; the far value is cut off, which min-max does not do; and the edges of the setting."""
    spectrogram = torch.randn(1, 1, 40, 50, generator=generator)
    spectrogram[0, 0, 0, 0] = 60.0
    folded = fold(nn.Sequential(nn.Conv2d(1, 1, 1)))
    found = calibrate(folded, [spectrogram], percentile="mse").quantities["input"]
    values, low, high = spectrogram.flatten().double(), float(spectrogram.min()), 60.0

    def error(share: float) -> float:
        step = share * (high - low) / 255
        return float(((values.clamp(share * low, share * high) / step).round() * step - values).square().sum())

    best = min(np.linspace(0.3, 1, 500), key=error)
    assert found.scale == pytest.approx(best * (high - low) / 255, rel=0.05)
    assert found.scale <= calibrate(folded, [spectrogram], percentile=100).quantities["input"].scale
    clips = torch.randn(6, 1, 20, 30, generator=generator) * torch.arange(1, 7).view(6, 1, 1, 1)
    for percentile in (99.0, 100, "mse"):  # it is the share of all values, not of each batch's
        whole, parts = (calibrate(folded, batches, percentile=percentile) for batches in ([clips], clips.split(2)))
        assert whole.quantities == parts.quantities
    for wrong in (50, 101, "mean"):
        with pytest.raises(UserError, match="or mse"):
            calibrate(folded, [spectrogram], percentile=wrong)


def test_four_bits_lose_least_where_the_scale_says(generator: torch.Generator) -> None:
    """Oracle: every scale tried by hand for one channel of 50 normal weights; with 8 bits the largest is the largest
    integer; nothing leaves +-7, or +-127."""
    weight = torch.randn(3, 2, 5, 5, generator=generator, dtype=torch.float64).numpy()
    assert (weight_scales(weight, 8) == (np.abs(weight).max((1, 2, 3)) / 127).astype(np.float32)).all()

    def error(scale: float) -> float:
        return float(((np.clip(np.round(weight[1] / scale), -7, 7) * scale - weight[1]) ** 2).sum())

    tried = [error(s) for s in np.abs(weight[1]).max() / 7 * np.linspace(0.3, 1.0, 2000)]
    assert error(weight_scales(weight, 4)[1]) <= 1.02 * min(tried)
    assert error(weight_scales(weight, 4)[1]) < 0.95 * tried[-1]
    with pytest.raises(UserError, match="5 bits"):
        calibrate(fold(nn.Sequential(nn.Conv2d(1, 2, 1))), [torch.randn(1, 1, 4, 4)], bits={"0": 5})


def test_calibration_refuses_nothing_and_nonsense() -> None:
    """Oracle: the messages for zero clips and for a NaN."""
    folded = fold(cp_mobile(size="6k"))
    with pytest.raises(UserError, match="no clips"):
        calibrate(folded, [])
    with pytest.raises(UserError, match="layer input gives values that are not numbers"):
        calibrate(folded, [torch.full((1, 1, 64, 64), float("nan"))])


def one_by_one(weights: list[float], biases: list[float]) -> FoldedNetwork:
    """A 1 x 1 convolution of one channel into as many as weights."""
    convolution = nn.Conv2d(1, len(weights), 1)
    convolution.weight.data = torch.tensor(weights).view(-1, 1, 1, 1)
    convolution.bias.data = torch.tensor(biases)
    return fold(nn.Sequential(convolution))


def clip(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def test_scales_zero_points_weights_and_biases_follow_from_the_ranges() -> None:
    """Oracle: Jacob et al., equations 1 to 3, by hand: inputs from -1 to 3 in two batches, outputs from 2 * -1 + 0.5
    and -3 to 6.5: 255 steps from the lowest to the highest, the zero point the integer of 0; the largest weight is 127;
    biases in steps of input scale times weight scale."""
    network = one_by_one([2.0, -1.0], [0.5, 0.0])
    found = calibrate(network, [clip(-1.0, 0.0), clip(1.0, 3.0)], percentile=100)
    read, wanted, weights = found.quantities["input"], found.quantities["0"], found.weights["0"]
    assert (read.scale, read.zero_point, read.shape) == (float(np.float32(4 / 255)), -64, (1, 1, 2))
    assert (wanted.scale, wanted.zero_point, wanted.shape) == (float(np.float32(9.5 / 255)), -47, (2, 1, 2))
    assert weights.scale.tolist() == [float(np.float32(2 / 127)), float(np.float32(1 / 127))]
    assert weights.weight.flatten().tolist() == [127, -127]
    assert weights.bias.tolist() == [round(0.5 / (4 / 255 * 2 / 127)), 0]
    assert (weights.bias.dtype, weights.bits, found.exact) == (np.int32, 8, False)


def test_sixteen_bits_are_symmetric() -> None:
    """Oracle: by hand: the larger end is 32,767 steps from 0, whichever it is, and the zero point is 0."""
    found = calibrate(one_by_one([-1.0], [0.25]), [clip(-1.0, 3.0)], percentile=100, activations=16)
    read, wanted = found.quantities["input"], found.quantities["0"]
    assert (read.scale, read.zero_point, read.bits) == (float(np.float32(3 / 32767)), 0, 16)
    assert (wanted.scale, wanted.zero_point) == (float(np.float32(2.75 / 32767)), 0)
    assert found.weights["0"].bias.tolist() == [round(0.25 / (3 / 32767 / 127))]
    assert found.weights["0"].bias.dtype == np.int64


@pytest.mark.parametrize("bits", [8, 16])
def test_a_range_holds_zero_and_is_never_empty(bits: int) -> None:
    """Oracle: by hand: values from 2 to 4 have the range 0 to 4, from -4 to -2 the range -4 to 0, and 0 alone a scale
    of 1."""
    expected = {8: {4.0: (4 / 255, -128), -4.0: (4 / 255, 127), 0.0: (1.0, -128)}}
    expected[16] = {4.0: (4 / 32767, 0), -4.0: (4 / 32767, 0), 0.0: (1.0, 0)}
    for far, (scale, zero_point) in expected[bits].items():
        network = one_by_one([0.0], [0.0])
        found = calibrate(network, [clip(far / 2, far)], percentile=100, activations=bits)
        assert (found.quantities["input"].scale, found.quantities["input"].zero_point) == (
            np.float32(scale),
            zero_point,
        )
        assert (found.quantities["0"].scale, found.weights["0"].scale.tolist()) == (1.0, [1.0])


def test_percentiles_are_two_sided() -> None:
    """Oracle: numpy's percentiles 5 and 95 of the values -1 to 3 in steps of 0.01."""
    values = np.arange(-100, 301) / 100
    found = calibrate(one_by_one([1.0], [0.0]), [clip(*values.tolist())], percentile=90).quantities["input"]
    low, high = np.percentile(values, [5, 95])
    assert found.scale == pytest.approx((high - low) / 255, rel=1e-6)
    assert found.zero_point == round(-128 - low / found.scale)


def test_of_a_large_tensor_some_values_are_drawn_and_both_ends_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the draws of numpy's generator of the seed 0, and their percentiles; min-max does not depend on them."""
    monkeypatch.setattr("students.quantize.calibrate.MOST_VALUES", 20)
    network, values = one_by_one([1.0], [0.0]), np.arange(-100, 301) / 100
    drawn = values[np.random.default_rng(0).integers(401, size=20)]
    low, high = np.percentile(drawn, [5, 95])
    found = calibrate(network, [clip(*values.tolist())], percentile=90).quantities["input"]
    assert found.scale == pytest.approx((max(high, 0) - min(low, 0)) / 255, rel=1e-6)
    assert calibrate(network, [clip(*values.tolist())], percentile=100).quantities["input"].scale == np.float32(4 / 255)
    few = values[:20]  # as many as are taken
    found = calibrate(network, [clip(*few.tolist())], percentile=90).quantities["input"]
    assert found.scale == pytest.approx(-np.percentile(few, 5) / 255, rel=1e-6)


@pytest.mark.parametrize(("bits", "limit"), [(8, 2**30), (16, 2**46)])
def test_a_bias_far_above_its_weights_widens_their_scale(bits: int, limit: int) -> None:
    """Oracle: by hand: a channel whose only value is its bias gets a scale at which the bias is half of the limit; a
    usual one keeps its own."""
    found = calibrate(one_by_one([0.0, 1.0], [1e16, 1.0]), [clip(0.0, 1.0)], percentile=100, activations=bits)
    step = found.quantities["input"].scale * found.weights["0"].scale.astype(float)
    assert found.weights["0"].bias.tolist() == [pytest.approx(limit / 2, rel=1e-6), round(1 / step[1])]
    assert found.weights["0"].scale[1] == np.float32(1 / 127)


def test_each_wrong_argument_is_refused() -> None:
    """Oracle: the messages; neighbouring values are accepted."""
    network, batches = one_by_one([1.0], [0.0]), [clip(0.0, 1.0)]
    for wrong, message in (
        ({"percentile": 50}, "percentile=50"),
        ({"percentile": 100.5}, r"percentile=100\.5"),
        ({"activations": 4}, "activations=4"),
        ({"activations": 16, "bits": {"0": 4}}, "16 with weights of 8 bits"),
        ({"bits": {"0": 5}}, "5 bits for the weights of 0"),
        ({"bits": {"x": 4}}, "4 bits for the weights of x"),
    ):
        with pytest.raises(UserError, match=message):
            calibrate(network, batches, **wrong)
    for right in ({"percentile": 51}, {"percentile": 100}, {"activations": 16, "bits": {"0": 8}}, {"bits": {"0": 4}}):
        assert calibrate(network, batches, **right).weights["0"].bits == right.get("bits", {}).get("0", 8)
    for weights, biases in (([float("nan")], [0.0]), ([1.0], [float("inf")])):
        with pytest.raises(UserError, match="not numbers"):
            calibrate(one_by_one(weights, biases), batches)


def test_a_pool_keeps_the_scale_of_its_input(generator: torch.Generator) -> None:
    """Oracle: kernels of pools do not rescale: scale and zero point of the convolution, the pool's own shape."""
    layers = [nn.Conv2d(1, 2, 1), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    found = calibrate(fold(nn.Sequential(*layers)), [torch.randn(2, 1, 4, 6, generator=generator)]).quantities
    assert [found[name].shape for name in ("0", "1", "2")] == [(2, 4, 6), (2, 2, 3), (2, 1, 1)]
    assert found["0"] == replace(found["1"], shape=(2, 4, 6)) == replace(found["2"], shape=(2, 4, 6))


def test_the_least_error_is_that_of_the_best_of_36_ranges(generator: torch.Generator) -> None:
    """Oracle: the errors of rounding and cutting off of 36 shares from 1 to 0.3 of the range, and of 36 scales of 4-bit
    weights, in float64; the best of them, not the first and not the last."""
    values = torch.randn(20_000, generator=generator).double().numpy()
    values[0] = 6.0
    low, high = float(values.min()), float(values.max())
    shares = [1 - 0.7 * n / 35 for n in range(36)]

    def error(share: float) -> float:
        step = share * (high - low) / 255
        return float(((np.round(np.clip(values, share * low, share * high) / step) * step - values) ** 2).sum())

    best = min(shares, key=error)
    assert 0.3 < best < 1
    found = calibrate(one_by_one([1.0], [0.0]), [clip(*values.tolist())], percentile="mse").quantities["input"]
    assert found.scale == pytest.approx(best * (high - low) / 255, rel=1e-6)
    assert found.zero_point == round(-128 - best * low / found.scale)
    silence = calibrate(one_by_one([1.0], [0.0]), [clip(0.0, 0.0)], percentile="mse").quantities["input"]
    assert (silence.scale, silence.zero_point) == (1.0, -128)

    def rounding(scale: float) -> float:
        return float(((np.clip(np.round(values / scale), -7, 7) * scale - values) ** 2).sum())

    best = min((share * high / 7 for share in shares), key=rounding)
    assert 0.3 * high / 7 < best < high / 7
    two = np.stack([values, np.zeros(20_000)])
    assert weight_scales(two, 4) == pytest.approx([best, 1.0], rel=1e-6)
    assert weight_scales(two, 8).tolist() == [np.float32(high / 127), 0.0]  # where the largest weight decides alone
