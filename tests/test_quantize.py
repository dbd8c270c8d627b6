"""From float to integers: the file computes exactly what its simulation does."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import randomise_norms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from data.errors import UserError
from experiments.quantization.convert import say_what_changed
from students.baseline import baseline
from students.complexity import tflite_complexity
from students.cp_mobile import cp_mobile
from students.quantize.calibrate import calibrate
from students.quantize.fake import FakeQuantized
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel, has_micro
from students.quantize.tflite import to_tflite, write_tflite
from students.quantize.tflite_float import float_logits, write_float_tflite


def integers(network: nn.Module, spectrograms: torch.Tensor, seed: int | None = None) -> IntegerNetwork:
    """With a seed, each layer has 4 or 8 bits at random."""
    folded, g = fold(network, None, spectrograms), np.random.default_rng(seed)
    bits = {name: 8 if seed is None else int(g.choice([4, 8])) for name in folded.convolutions}
    return calibrate(folded, [spectrograms], bits=bits)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([8, 16]),
    st.sampled_from([1.0, 1.5, 2.3]),
    st.sampled_from([1.0, 2.0, 3.0]),
    st.dictionaries(st.sampled_from(["b1", "b2", "b3", "b4", "b5"]), st.tuples(st.integers(1, 2), st.integers(1, 2))),
    st.tuples(st.integers(40, 70), st.integers(33, 50)),
    st.booleans(),
    st.integers(0, 1000),
)
def test_the_file_equals_its_simulation_in_every_byte(
    tmp_path: Path,
    base: int,
    multiplier: float,
    expansion: float,
    strides: dict,
    size: tuple[int, int],
    grn: bool,
    seed: int,
) -> None:
    """Oracle: LiteRT's reference kernels, over random networks, odd and even maps, all strides, with and without Global
    Response Normalization, 4 and 8 bits; what is read back from the file has the same bytes again, and answers the
    same."""
    torch.manual_seed(seed)
    arguments = {"base_channels": base, "channels_multiplier": multiplier, "expansion_rate": expansion, "grn": grn}
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
@pytest.mark.slow  # some seconds
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
        calibrate(folded, [spectrograms], activations=16, bits={"stem_1": 4})


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


def test_a_network_that_ends_in_a_map_is_refused(tmp_path: Path) -> None:
    """Oracle: the message: TFLite would order the cells otherwise."""
    with pytest.raises(UserError, match="ends in a map"):
        write_tflite(integers(nn.Sequential(nn.Conv2d(1, 2, 1)), torch.randn(2, 1, 4, 6)), tmp_path / "m.tflite", {})


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
    assert tflite_complexity(path) == cost._replace(parameter_bytes=18 + 6 + 4 * (4 + 3))


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


@pytest.mark.parametrize(("logits", "said"), [([0.0, 0.0], True), ([0.0, np.log(2.7)], False)])
def test_integers_that_answer_otherwise_are_noticed(
    logits: list[float], said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: by hand: probabilities of 1/4 and 3/4 beside twice 1/2 diverge by ln(1/2) / 4 + 3 ln(3/2) / 4 = 0.13
    nats, beside 1/3.7 and 2.7/3.7 by a thousandth."""
    floats, clips = nn.Linear(2, 2), torch.zeros(80, 2)
    floats.load_state_dict({"weight": torch.zeros(2, 2), "bias": torch.tensor([0.0, np.log(3)])})
    answers = SimpleNamespace(logits=lambda some: torch.tensor([logits], dtype=torch.float32).expand(len(some), -1))
    say_what_changed(floats, answers, clips)  # type: ignore[arg-type]
    text = "the integers answer otherwise than the floats, by 0.13 nats a clip over 64 train clips"
    assert (text in caplog.text, bool(caplog.text)) == (said, said)


@pytest.mark.parametrize(("bits", "activations"), [(8, 8), (4, 8), (8, 16)])
def test_weights_that_have_decayed_are_as_good_as_none(bits: int, activations: int, tmp_path: Path) -> None:
    """Oracle: the network whose decayed weights are 0: the same logits, of the file too, which is read again."""
    spectrograms, networks = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0)), []
    for factor in (1e-20, 0.0):
        torch.manual_seed(0)
        network = cp_mobile(size="6k").eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data[0] *= factor
        folded = fold(network, None, spectrograms)
        widths = {name: max(bits, min(folded.widths(name))) for name in folded.convolutions}
        networks.append(calibrate(folded, [spectrograms], bits=widths, activations=activations))
    decayed, zero = networks
    path = tmp_path / "model.tflite"
    write_tflite(decayed, path, {})
    expected = zero.integer_logits(spectrograms)
    assert torch.equal(decayed.integer_logits(spectrograms), expected)
    network, _ = read_tflite(path)
    assert torch.equal(network.integer_logits(spectrograms), expected)
