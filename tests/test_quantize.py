"""From float to integers: folding keeps the function, and the file computes exactly what its simulation does."""

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import randomise_norms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from data.errors import UserError
from students.baseline import baseline
from students.complexity import tflite_complexity
from students.cp_mobile import cp_mobile
from students.quantize.calibrate import calibrate, correct_biases, weight_scales
from students.quantize.fake import FakeQuantized
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork, fixed_point, rescale
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel, has_micro
from students.quantize.tflite import to_tflite, write_tflite
from students.quantize.tflite_float import float_logits, write_float_tflite


class _Doubled(nn.Module):
    """An addition that is not a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.convolution(x)
        return torch.add(y, y, alpha=2)


class _SharedBeforeNorm(nn.Module):
    """A convolution whose output is needed as it is beside its norm: the norm cannot be absorbed."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.dropout, self.norm = nn.Conv2d(1, 4, 3), nn.Dropout(), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.convolution(x)
        return self.norm(self.dropout(y)) + y


def integers(network: nn.Module, spectrograms: torch.Tensor, seed: int | None = None) -> IntegerNetwork:
    """With a seed, each layer has 4 or 8 bits at random."""
    folded, g = fold(network), np.random.default_rng(seed)
    bits = {name: 8 if seed is None else int(g.choice([4, 8])) for name in folded.convolutions}
    return calibrate(folded, [spectrograms], bits=bits)


@pytest.mark.parametrize("size", ["6k", "61k", "127k"])
def test_folding_keeps_the_function(size: str, generator: torch.Generator) -> None:
    """Oracle: the network itself. Tolerance 1e-5 of the largest logit."""
    network, spectrograms = randomise_norms(cp_mobile(size=size)), torch.randn(3, 1, 256, 64, generator=generator)
    with torch.no_grad():
        expected, folded = network(spectrograms), fold(network)(spectrograms)
    assert (folded - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_what_has_no_integer_form_is_named() -> None:
    """Oracle: the messages for GRN, and for a network of two unsupported layers."""
    with pytest.raises(UserError, match=r"GlobalResponseNorm.*grn=false"):
        fold(cp_mobile(grn=True))
    with pytest.raises(UserError, match="add"):
        fold(_Doubled())
    with pytest.raises(UserError, match="BatchNorm2d"):
        fold(_SharedBeforeNorm())
    with pytest.raises(UserError, match="Softplus; LSTM"):
        fold(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softplus(), nn.LSTM(4, 4)))


def test_dense_layers_are_convolutions_over_their_map(generator: torch.Generator) -> None:
    """Oracle: the network itself: two dense layers of equal width behind a map of 2 x 3 cells."""
    layers = [nn.Conv2d(1, 4, 3, 2), nn.Flatten(), nn.Dropout(), nn.Linear(24, 24), nn.ReLU()]
    layers += [nn.Linear(24, 24), nn.Linear(24, 5)]
    network, spectrograms = nn.Sequential(*layers).eval(), torch.randn(3, 1, 5, 7, generator=generator)
    folded = fold(network, (1, 1, 5, 7))
    assert [layer.kernel for layer in folded.layers] == [(3, 3), (2, 3), (1, 1), (1, 1)]
    torch.testing.assert_close(folded(spectrograms), network(spectrograms))


class _WithUnusedBranch(nn.Module):
    """A branch that leads nowhere, beside the one whose answer counts."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.mean = nn.Conv2d(1, 3, 1), nn.Conv2d(1, 8, 1), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.mean(self.one(x))
        self.two(x)
        return y


def test_odd_graphs_are_followed_or_refused(tmp_path: Path, generator: torch.Generator) -> None:
    """Oracle: the network itself; the messages for a module used twice, one of a taken name, and a network whose cells
    TFLite would order otherwise."""
    spectrograms, network = torch.randn(2, 1, 4, 6, generator=generator), _WithUnusedBranch()
    folded = fold(network)
    assert list(folded.convolutions) == ["one"]
    torch.testing.assert_close(folded(spectrograms), network(spectrograms).flatten(1))
    pool = nn.AvgPool2d(1)
    with pytest.raises(UserError, match="used twice"):
        fold(nn.Sequential(nn.Conv2d(1, 2, 1), pool, nn.Conv2d(2, 2, 1), pool))
    with pytest.raises(UserError, match="called input"):
        fold(nn.Sequential(OrderedDict(input=nn.Conv2d(1, 2, 1))))
    with pytest.raises(UserError, match="Conv2d"):
        fold(nn.Sequential(nn.Conv2d(1, 2, 3, padding="same")))
    with pytest.raises(UserError, match="ends in a map"):
        write_tflite(integers(nn.Sequential(nn.Conv2d(1, 2, 1)), spectrograms), tmp_path / "m.tflite", {})


@given(st.floats(1e-8, 60.0))
def test_a_fixed_point_factor_is_the_nearest(factor: float) -> None:
    """Oracle: arithmetic: mantissa in [2^30, 2^31), relative error at most 2^-31."""
    mantissa, exponent = fixed_point(factor)
    assert 2**30 <= mantissa < 2**31
    assert abs(mantissa * 2.0 ** (exponent - 31) - factor) <= factor * 2**-31


@given(st.integers(-(2**24), 2**24), st.floats(1e-6, 0.999))
def test_rescaling_is_multiplication_to_within_a_rounding(value: int, factor: float) -> None:
    """Oracle: real multiplication; two roundings of at most one half each."""
    mantissa, exponent = (torch.tensor(v) for v in fixed_point(factor))
    assert abs(rescale(torch.tensor(value), mantissa, exponent).item() - value * factor) <= 1.0


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([8, 16]),
    st.sampled_from([1.0, 1.5, 2.3]),
    st.sampled_from([1.0, 2.0, 3.0]),
    st.dictionaries(st.sampled_from(["b1", "b2", "b3", "b4", "b5"]), st.tuples(st.integers(1, 2), st.integers(1, 2))),
    st.tuples(st.integers(40, 70), st.integers(33, 50)),
    st.integers(0, 1000),
)
def test_the_file_equals_its_simulation_in_every_byte(
    tmp_path: Path, base: int, multiplier: float, expansion: float, strides: dict, size: tuple[int, int], seed: int
) -> None:
    """Oracle: LiteRT's reference kernels, over random networks, odd and even maps, all strides, 4 and 8 bits; what is
    read back from the file has the same bytes again, and answers the same."""
    torch.manual_seed(seed)
    arguments = {"base_channels": base, "channels_multiplier": multiplier, "expansion_rate": expansion}
    network = randomise_norms(cp_mobile(size="6k", strides=strides, **arguments), seed)
    spectrograms = torch.randn(4, 1, *size)
    ours = integers(network, spectrograms, seed)
    model = TFLiteModel(write_tflite(ours, tmp_path / "m.tflite", {}))
    q = model.quantize(spectrograms)
    simulated = ours.run(torch.from_numpy(q).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_array_equal(model.run_integers(q), simulated)
    assert len(np.unique(simulated)) > 4
    back, _ = read_tflite(model.path)
    assert to_tflite(back, {}) == model.path.read_bytes()
    assert np.array_equal(back.run(torch.from_numpy(q).permute(0, 3, 1, 2)).numpy(), simulated)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([8, 16]),
    st.dictionaries(st.sampled_from(["b1", "b2", "b3", "b4"]), st.tuples(st.integers(1, 2), st.integers(1, 2))),
    st.tuples(st.integers(40, 70), st.integers(33, 50)),
    st.integers(0, 1000),
)
def test_activations_of_16_bits_are_the_same_on_devices(
    tmp_path: Path, base: int, strides: dict, size: tuple[int, int], seed: int
) -> None:
    """Oracle: LiteRT's reference kernels and tflite-micro, in every logit; LiteRT with and without XNNPACK, and the
    network whose tensors were rounded in float32, within 40 of 65,536 steps; and the same bytes after reading."""
    torch.manual_seed(seed)
    network = randomise_norms(cp_mobile(size="6k", base_channels=base, strides=strides), seed)
    folded, spectrograms = fold(network), torch.randn(3, 1, *size)
    ours = calibrate(folded, [spectrograms], percentile=100, activations=16)
    path, expected = write_tflite(ours, tmp_path / "m.tflite", {}), ours.logits(spectrograms)
    for kernels in ("device", *(["micro"] if has_micro() else [])):
        assert torch.equal(TFLiteModel(path, kernels=kernels).logits(spectrograms), expected), kernels
    for kernels in ("host", "plain"):
        steps = (TFLiteModel(path, kernels=kernels).logits(spectrograms) - expected) / ours.output.scale
        assert steps.abs().max() < 40, kernels
    assert to_tflite(read_tflite(path)[0], {}) == path.read_bytes()
    with torch.no_grad():
        fake = FakeQuantized(folded, ours)(spectrograms)
    assert ((fake - expected) / ours.output.scale).abs().max() < 40  # of 65,536 steps
    with pytest.raises(UserError, match="16 with weights of 8 bits"):
        calibrate(folded, [spectrograms], activations=16, bits={"0_0": 4})


def test_a_microcontroller_would_answer_the_same(tmp_path: Path, generator: torch.Generator) -> None:
    """Oracle: tflite-micro's interpreter, on the 61k network with layers of 4 and of 8 bits."""
    pytest.importorskip("tflite_micro", reason="tflite-micro has no wheel for this platform")
    spectrograms = torch.randn(2, 1, 256, 64, generator=generator)
    ours = integers(randomise_norms(cp_mobile(size="61k")), spectrograms, seed=1)
    assert {w.bits for w in ours.weights.values()} == {4, 8}
    path = write_tflite(ours, tmp_path / "m.tflite", {"scenes": ["x"]})
    device, micro = (TFLiteModel(path, kernels=kernels) for kernels in ("device", "micro"))
    q = device.quantize(spectrograms)
    np.testing.assert_array_equal(micro.run_integers(q), device.run_integers(q))


def test_integers_stay_close_to_the_float_network(tmp_path: Path, generator: torch.Generator) -> None:
    """Oracle: the float logits; mean error below 3 % of their deviation."""
    network, spectrograms = randomise_norms(cp_mobile(size="61k")), torch.randn(8, 1, 256, 64, generator=generator)
    model = TFLiteModel(write_tflite(integers(network, spectrograms), tmp_path / "m.tflite", {}))
    with torch.no_grad():
        expected = network(spectrograms)
    assert (model.logits(spectrograms) - expected).abs().mean() < 0.03 * expected.std()


@pytest.mark.parametrize(("build", "size"), [(cp_mobile, (64, 48)), (baseline, (40, 51))])
def test_the_file_of_floats_answers_as_pytorch(build, size: tuple[int, int], tmp_path: Path) -> None:
    """Oracle: the network in PyTorch. Tolerance 1e-4 of the largest logit."""
    network, spectrograms = randomise_norms(build()), torch.randn(3, 1, *size)
    folded = fold(network, (1, 1, *size))
    path = write_float_tflite(folded, calibrate(folded, [spectrograms]), tmp_path / "float.tflite", {})
    with torch.no_grad():
        expected = network(spectrograms)
    assert (float_logits(path, spectrograms) - expected).abs().max() < 1e-4 * expected.abs().max()
    with pytest.raises(UserError, match="not int8 or int16"):
        TFLiteModel(path)
    with pytest.raises(UserError, match="not of int8 or int16"):
        read_tflite(path)


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


def test_the_file_is_counted_by_hand(tmp_path: Path) -> None:
    """Oracle: a 3x3 convolution 1 -> 4 with stride 2 on 8 x 6, then 1x1 to 3, then the mean of 4 x 3 cells, by NeSsi's
    rules.

    MACs 4*3*4*9 + 4*3*3*4 + 3*12; constants 36 + 12 weights (with 4 bits half of the bytes), 4 + 3 biases of 4 bytes
    (PAD's 8 amounts are no parameters; an even map with stride 2 needs PAD); peak: the padded 9 x 7 spectrogram and the
    4 x 3 x 4 map.
    """
    layers = [nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    path = write_tflite(integers(nn.Sequential(*layers), torch.randn(2, 1, 8, 6)), tmp_path / "m.tflite", {})
    cost = tflite_complexity(path)
    assert cost.macs == 432 + 144 + 36
    assert cost.parameter_bytes == 36 + 12 + 4 * (4 + 3)
    assert cost.peak_bytes == max(8 * 6 + 9 * 7, 9 * 7 + 4 * 3 * 4, 48 + 36)
    folded = fold(nn.Sequential(*layers))
    path = write_tflite(calibrate(folded, [torch.randn(2, 1, 8, 6)], bits={"0": 4, "2": 4}), tmp_path / "4.tflite", {})
    assert tflite_complexity(path) == replace(cost, parameter_bytes=18 + 6 + 4 * (4 + 3))


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


def test_a_damaged_file_is_a_message(tmp_path: Path) -> None:
    """Oracle: a file cut in half, an absent one, and spectrograms of another size."""
    path = write_tflite(integers(cp_mobile(size="6k").eval(), torch.randn(1, 1, 64, 64)), tmp_path / "m.tflite", {})
    with pytest.raises(UserError, match=r"takes spectrograms of \(64, 64\)"):
        TFLiteModel(path).logits(torch.zeros(1, 1, 64, 65))
    whole = path.read_bytes()
    for cut in (0, 7, 100, 1000, len(whole) // 2):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match="damaged"):
            TFLiteModel(path)
        with pytest.raises(UserError, match=r"damaged|no TFLite file"):
            read_tflite(path)
    for read in (TFLiteModel, read_tflite):
        with pytest.raises(UserError, match="is no file"):
            read(tmp_path / "absent.tflite")
