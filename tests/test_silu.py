"""x sigmoid(x) in integers: its tables against the kernels and the real function, its file, its refusals."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import randomise_norms
from torch import nn

from data.errors import UserError
from students.bc_resnet import bc_resnet
from students.complexity import layer_macs, tflite_operators
from students.quantize.arithmetic import Quantity
from students.quantize.calibrate import calibrate
from students.quantize.exact import calibrate_exactly
from students.quantize.export import write_onnx
from students.quantize.fake import FakeQuantized
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import INPUT, SILU, Layer
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel, has_micro
from students.quantize.silu import agreed, table
from students.quantize.tflite import to_tflite, write_tflite

SHAPE = (1, 1, 40, 12)
SPECTROGRAMS = 2 * torch.randn(4, *SHAPE[1:], generator=torch.Generator().manual_seed(1))


def alone(read: Quantity, wanted: Quantity) -> IntegerNetwork:
    """A network that is a SiLU."""
    return IntegerNetwork((Layer("s", SILU, (INPUT,)),), {}, {INPUT: read, "s": agreed(read, wanted)})


def pointed() -> nn.Module:
    torch.manual_seed(0)
    return randomise_norms(bc_resnet(base_channels=4, swish=True))


@pytest.mark.parametrize("scale", [0.0007, 0.01, 0.0371, 0.11, 0.5, 3.0])
@pytest.mark.parametrize("zero_point", [-128, -31, 100])
def test_a_table_is_what_the_kernels_make_of_every_integer(scale: float, zero_point: int, tmp_path: Path) -> None:
    """Oracle: LiteRT's reference kernels and tflite-micro's, of all 256 integers; torch's silu within 0.5 steps of the
    output and a step of the sigmoid, 2^-8 of x."""
    shape = (256, 1, 1)
    read = Quantity(scale, zero_point, shape)
    x = scale * (torch.arange(-128, 128) - zero_point)
    real = torch.nn.functional.silu(x)
    step = max(float(real.max() - real.min().clamp(max=0)) / 250, scale / 100)
    network = alone(read, Quantity(step, round(-128 - min(float(real.min()), 0) / step), shape))
    wanted, found = network.quantities["s"], table(read, network.quantities["s"])
    allowed = (0.51 + x.abs() * 1.02 / 256 / wanted.scale).clamp(min=0.6)
    inside = (real / wanted.scale + wanted.zero_point).clamp(-128, 127)
    assert ((found - inside).abs() <= allowed).all()
    path = write_tflite(network, tmp_path / "m.tflite", {})
    q = torch.arange(-128, 128).to(torch.int8).view(1, 1, 1, 256).numpy()
    for kernels in ("device", *(["micro"] if has_micro() else [])):
        assert TFLiteModel(path, kernels=kernels).run_integers(q)[0].tolist() == found.tolist(), kernels


def test_a_scale_is_changed_where_runtimes_would_differ() -> None:
    """Oracle: by hand: no scale is smaller than it was, and none by more than a millionth larger."""
    for number in range(0, 200, 11):
        read, wanted = Quantity(0.01 + number / 3000, -20, (1, 1, 1)), Quantity(0.02 + number / 7000, -100, (1, 1, 1))
        found = agreed(read, wanted)
        assert wanted.scale * (1 - 1e-7) <= found.scale <= wanted.scale * (1 + 1e-6)
        assert replace(found, scale=wanted.scale) == wanted


def test_the_file_equals_its_simulation_in_every_byte(tmp_path: Path) -> None:
    """Oracle: LiteRT's reference kernels and tflite-micro's, of a BC-ResNet as published; what is read back has the
    same bytes again and the same layers, of which a SiLU has no multiply-accumulates."""
    ours = calibrate(fold(pointed(), SHAPE), [SPECTROGRAMS])
    path, expected = write_tflite(ours, tmp_path / "m.tflite", {}), ours.logits(SPECTROGRAMS)
    for kernels in ("device", *(["micro"] if has_micro() else [])):
        assert torch.equal(TFLiteModel(path, kernels=kernels).logits(SPECTROGRAMS), expected), kernels
    back, _ = read_tflite(path)
    assert to_tflite(back, {}) == path.read_bytes()
    assert [replace(layer, name="", inputs=()) for layer in back.layers] == [
        replace(layer, name="", inputs=()) for layer in ours.layers
    ]
    macs = layer_macs(tflite_operators(path))
    assert [macs[i] for i, layer in enumerate(ours.layers) if layer.kind == SILU] == [0] * 12
    assert len(macs) == len(ours.layers)


@pytest.mark.slow  # seconds
def test_quantisation_aware_training_sees_the_integers(tmp_path: Path) -> None:
    """Oracle: LiteRT's reference kernels on the file: a logit may differ by 8 steps of 256, all of them by 2 on
    average. Every step and weight gets a gradient."""
    network = fold(pointed(), SHAPE)
    fake = FakeQuantized(network, calibrate(network, [SPECTROGRAMS]))
    fake(SPECTROGRAMS).square().sum().backward()
    assert all(parameter.grad is not None for parameter in fake.parameters())
    integers = fake.integers()
    model = TFLiteModel(write_tflite(integers, tmp_path / "m.tflite", {}))
    with torch.no_grad():
        steps = ((model.logits(SPECTROGRAMS) - fake(SPECTROGRAMS)) / integers.output.scale).abs()
    assert steps.max() <= 8
    assert steps.mean() <= 2


def test_what_it_does_not_have_is_refused(tmp_path: Path) -> None:
    """Oracle: the messages."""
    network = fold(nn.Sequential(nn.Conv2d(1, 2, 1), nn.SiLU(), nn.AdaptiveAvgPool2d(1)), SHAPE)
    with pytest.raises(UserError, match="activations=16: 1 is a SiLU"):
        calibrate(network, [SPECTROGRAMS], activations=16)
    with pytest.raises(UserError, match="exact=all: 1 is a SiLU"):
        calibrate_exactly(network, [SPECTROGRAMS])
    ours = calibrate(network, [SPECTROGRAMS])
    with pytest.raises(UserError, match="1 is a SiLU, which ONNX files have no form of here"):
        write_onnx(ours, tmp_path / "m.onnx")
    for name, scale in (("0", 40.0), ("1", 1e-6)):
        wrong = {**ours.quantities, name: replace(ours.quantities[name], scale=scale)}
        wrong["2"] = replace(wrong["1"], shape=ours.quantities["2"].shape)
        path = write_tflite(replace(ours, quantities=wrong), tmp_path / "m.tflite", {})
        with pytest.raises(UserError, match=r"the SiLU '1' (reads the scale|has the scales)"):
            read_tflite(path)
