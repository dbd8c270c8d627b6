"""The same integers as an ONNX file, run by onnxruntime."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import randomise_norms
from torch import nn

from data.errors import UserError
from students.baseline import baseline
from students.cp_mobile import cp_mobile
from students.quantize.calibrate import calibrate
from students.quantize.export import write_onnx
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")


class _Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.one(x) + self.two(x))


def run(path: Path, spectrograms: torch.Tensor) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    # As the file says, step by step: fused kernels let sums of two products saturate at 16 bits on processors that have
    # AVX2 and no VNNI.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options).run(None, {"input": spectrograms.numpy()})[0]


LAYERS = {
    "a convolution": lambda: nn.Sequential(nn.Conv2d(1, 5, 3, 2, 1), nn.ReLU()),
    "a sum": _Sum,
    "an average pool": lambda: nn.Sequential(nn.AvgPool2d(3, (2, 1), 1)),
    "a maximum pool": lambda: nn.Sequential(nn.MaxPool2d(2)),
    "a mean": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1)),
}


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_is_within_a_step(name: str, bits: int, tmp_path: Path, generator: torch.Generator) -> None:
    """Oracle: the integer network, which equals LiteRT's reference kernels in every byte; onnxruntime rounds once where
    they round twice: at most one step of each layer's own scale."""
    spectrograms = torch.randn(3, 1, 9, 12, generator=generator)
    folded = fold(LAYERS[name]())
    integers = calibrate(folded, [spectrograms], bits=dict.fromkeys(folded.convolutions, bits))
    found = run(write_onnx(integers, tmp_path / "m.onnx"), spectrograms)
    assert found.shape == integers.logits(spectrograms).shape
    steps = (torch.from_numpy(found) - integers.logits(spectrograms)).abs() / integers.output.scale
    allowed = sum(integers.quantities[layer.name].scale for layer in integers.layers) / integers.output.scale
    assert steps.max() <= allowed + 1e-3
    assert steps.mean() < 0.2


@pytest.mark.parametrize(("build", "shape"), [(cp_mobile, (64, 48)), (baseline, (40, 51))])
def test_whole_networks_answer_alike(build, shape: tuple[int, int], tmp_path: Path, generator: torch.Generator) -> None:
    """Oracle: the integer network: logits within 4 steps, one on average; weights of 4 bits take half of the bytes."""
    network, spectrograms = randomise_norms(build()), torch.randn(4, 1, *shape, generator=generator)
    folded = fold(network, (1, 1, *shape))

    def written(bits: int) -> tuple[Path, IntegerNetwork]:
        integers = calibrate(folded, [spectrograms], bits=dict.fromkeys(folded.convolutions, bits))
        return write_onnx(integers, tmp_path / f"{bits}.onnx"), integers

    for bits in (4, 8):
        path, integers = written(bits)
        steps = np.abs(run(path, spectrograms) - integers.logits(spectrograms).numpy()) / integers.output.scale
        assert steps.max() <= 4
        assert steps.mean() <= 1
    weights = sum(w.weight.size for w in integers.weights.values())
    sizes = [(tmp_path / f"{bits}.onnx").stat().st_size for bits in (8, 4)]
    assert sizes[0] - sizes[1] == pytest.approx(weights / 2, rel=0.01)


def test_wide_activations_have_no_onnx_form(tmp_path: Path, generator: torch.Generator) -> None:
    """Oracle: the message: DequantizeLinear takes biases of 32 bits, and 16-bit activations come with 64."""
    folded, spectrograms = fold(LAYERS["a convolution"]()), torch.randn(2, 1, 9, 12, generator=generator)
    with pytest.raises(UserError, match="no biases of 64 bits"):
        write_onnx(calibrate(folded, [spectrograms], activations=16), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
