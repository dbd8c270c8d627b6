"""Published sizes of published networks, and the two countings."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from foreign import ForeignNetwork
from torch import nn

from data.errors import UserError
from students import build_student
from students.complexity import tflite_complexity, tflite_operators, torch_complexity
from students.cp_mobile import SIZES, cp_mobile
from students.limits import LIMITS, Complexity, over_limits
from students.quantize.fold import fold

ROOT = Path(__file__).parent.parent
# DCASE 2024 baseline, parameters / MACs by layer (torchinfo), as its repository documents them.
BASELINE_STEM = [(88, 304_144), (2_368, 2_506_816)]
BASELINE_BLOCKS = [
    [(2_176, 2_228_352), (704, 626_816), (2_112, 2_228_288)],
    [(2_176, 2_228_352), (704, 626_816), (2_112, 2_228_288)],
    [(2_176, 2_228_352), (704, 331_904), (2_112, 1_179_712)],
    [(2_176, 1_179_776), (704, 166_016), (3_696, 1_032_304)],
    [(6_960, 1_935_600), (1_320, 311_280), (6_832, 1_935_472)],
    [(6_960, 1_935_600), (1_320, 311_280), (12_688, 3_594_448)],
]


def test_the_2024_baseline_has_its_published_size() -> None:
    """Oracle: 61,148 parameters and 29,419,156 MACs at 256 bands and 65 frames."""
    cost = torch_complexity(cp_mobile(size="61k"), (1, 1, 256, 65))
    assert (cost.parameters, cost.macs) == (61_148, 29_419_156)
    assert cost.parameter_bytes == 4 * 61_148


def test_the_2023_winner_has_its_published_size() -> None:
    """Oracle: 126,952 parameters and 28,893,268 MACs at 256 bands and 64 frames, with GRN, BatchNorm unfolded."""
    cost = torch_complexity(cp_mobile(size="127k", grn=True), (1, 1, 256, 64))
    assert (cost.parameters, cost.macs) == (126_952, 28_893_268)


def test_each_layer_of_the_baseline_has_its_published_size() -> None:
    """Oracle: the table above, by counting each convolution with its BatchNorm apart."""
    network, shape = cp_mobile(size="61k"), torch.zeros(1, 1, 256, 65)
    found = []

    def visit(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        cost = torch_complexity(module, x.shape)
        found.append((cost.parameters, cost.macs))
        return module(x)

    x = visit(network[1], visit(network[0], shape))
    for block in network[2:8]:
        y = x
        for convolution in block.path:
            y = visit(convolution, y)
        x = block(x)
    assert found == [*BASELINE_STEM, *(layer for block in BASELINE_BLOCKS for layer in block)]


@pytest.mark.parametrize(
    ("size", "parameters", "macs"),
    [
        ("6k", 5_722, 1_582_336),
        ("12k", 12_310, 4_354_304),
        ("30k", 30_106, 9_638_144),
        ("54k", 54_182, 16_803_072),
        ("127k", 124_862, 29_561_088),
    ],
)
def test_the_folded_winners_have_their_published_sizes(size: str, parameters: int, macs: int) -> None:
    """Oracle: the winner's four submissions and its default, folded, 64 frames; their count includes GRN's 12
    scalars."""
    cost = torch_complexity(fold(cp_mobile(size=size)), (1, 1, 256, 64))
    grn = torch_complexity(cp_mobile(size=size, grn=True), (1, 1, 256, 64)).parameters
    plain = torch_complexity(cp_mobile(size=size), (1, 1, 256, 64)).parameters
    assert (cost.parameters + grn - plain, cost.macs) == (parameters, macs)


def test_one_frame_more_breaks_the_limit() -> None:
    """Oracle: 32.4 million at 65 frames (folded), published as the reason for 64."""
    cost = torch_complexity(fold(cp_mobile(size="127k")), (1, 1, 256, 65))
    assert cost.macs == pytest.approx(32.4e6, rel=5e-3)
    assert cost.macs > LIMITS["macs"]
    assert cost.within_limits() == {"macs": False, "parameter_bytes": False}


@pytest.mark.parametrize("size", SIZES)
def test_every_published_size_may_be_trained(size: str) -> None:
    """Oracle: all of them were submitted under the task's rules, folded; at 64 frames also before it."""
    assert over_limits(torch_complexity(cp_mobile(size=size), (1, 1, 256, 64))) == []
    assert over_limits(torch_complexity(fold(cp_mobile(size=size)), (1, 1, 256, 64))) == []


def test_a_limit_is_broken_by_one_too_many() -> None:
    """Oracle: the task's rules: 30,000,000 multiply-accumulates and 128,000 bytes are allowed, one more is not; 32-bit
    parameters are counted as the bytes that they become."""
    just = Complexity(macs=30_000_000, parameters=128_000, parameter_bytes=512_000, peak_bytes=0)
    assert over_limits(just) == []
    assert over_limits(just._replace(macs=30_000_001)) == ["30,000,001 multiply-accumulates, at most 30,000,000"]
    assert over_limits(just._replace(parameters=128_001)) == ["128,001 parameters, bytes at 8 bits, at most 128,000"]
    assert len(over_limits(just._replace(macs=10**8, parameters=10**6))) == 2


def test_a_network_at_the_limits_is_within_them() -> None:
    """Oracle: by hand: 30,000,000 multiply-accumulates and 128,000 bytes are allowed, one more of either is not."""
    cost = Complexity(macs=30_000_000, parameters=200_000, parameter_bytes=128_000, peak_bytes=10**9)
    assert cost.within_limits() == {"macs": True, "parameter_bytes": True}
    assert cost._replace(macs=30_000_001).within_limits() == {"macs": False, "parameter_bytes": True}
    assert cost._replace(parameter_bytes=128_001).metrics()["within_limit/parameter_bytes"] == 0.0


def test_peak_memory_is_the_largest_leaf_with_its_input_and_output(capsys: pytest.CaptureFixture) -> None:
    """Oracle: floats of 4 bytes by hand: 1 x 8 x 6 into 4 x 8 x 6, the ReLU of that, and 4 x 8 x 6 into 2 x 8 x 6;
    nothing is printed."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 2, 1)))
    assert torch_complexity(network, (1, 1, 8, 6)).peak_bytes == 4 * 48 * (4 + 4)
    assert torch_complexity(network[0], (1, 1, 8, 6)).peak_bytes == 4 * 48 * (1 + 4)
    assert torch_complexity(nn.Sequential(network[2]), (1, 4, 8, 6)).peak_bytes == 4 * 48 * (4 + 2)
    assert capsys.readouterr().out == ""


def test_constants_are_parameters_wherever_they_stand_and_have_scales(tmp_path: Path) -> None:
    """Oracle: by hand: a file whose first tensor is the weights (4 x 3 x 3 x 1), whose second are the biases (4) and
    whose third is the input (8 x 6); each of the constants has one scale (4 bytes) and one zero point (8 bytes)."""
    net = ForeignNetwork((1, 8, 6, 1))
    net.graph.tensors.clear()
    weights, biases, x = net.constant((4, 3, 3, 1)), net.constant((4,), "INT32"), net.tensor((1, 8, 6, 1))
    assert (weights, biases, x) == (0, 1, 2)
    net.graph.inputs = np.array([x], np.int32)
    options = {"of": "Conv2DOptions", "strideH": 1, "strideW": 1, "padding": 0}
    path = net.write(tmp_path / "m.tflite", net.add("CONV_2D", [x, weights, biases], (1, 8, 6, 4), **options))
    (cost,) = tflite_operators(path)
    assert (cost.parameter_bytes, cost.scale_bytes, cost.alive_bytes) == (36 + 4 * 4, 2 * (4 + 8), 48 + 4 * 48)
    assert tflite_complexity(path) == Complexity(48 * 4 * 9, 36 + 4, 36 + 16, 48 + 4 * 48)


def test_what_is_needed_later_stays_in_memory(tmp_path: Path) -> None:
    """Oracle: by hand, 48 bytes a map of one channel: the input is kept until it is added (two maps, three, then the
    sum and what follows), and given back after that."""
    net = ForeignNetwork((1, 8, 6, 1))
    first = net.conv(0, 1, (3, 3))
    second = net.conv(first, 1, (3, 3))
    summed = net.add("ADD", [0, second], (1, 8, 6, 1), of="AddOptions")
    path = net.write(tmp_path / "m.tflite", net.conv(summed, 2, (1, 1)))
    assert [each.alive_bytes for each in tflite_operators(path)] == [48 * n for n in (2, 3, 3, 3)]


def test_unknown_names_list_the_choices() -> None:
    """Oracle: the messages; the names of all students are those in the files of settings."""
    settings = [yaml.safe_load(path.read_text()) for path in (ROOT / "experiments/conf/student").glob("*.yaml")]
    names = sorted({content["builder"] for content in settings if "builder" in content})
    with pytest.raises(UserError, match=f"choose one of: {', '.join(names)}$"):
        build_student("cp_mobil")
    with pytest.raises(UserError, match="61k, 127k"):
        cp_mobile(size="128k")
    with pytest.raises(UserError, match=r"strides for \['b9'\]"):
        cp_mobile(strides={"b9": (2, 2)})
    assert len(SIZES) == 6


def test_a_file_that_is_no_tflite_is_a_message(tmp_path: Path) -> None:
    """Oracle: random bytes."""
    (tmp_path / "x.tflite").write_bytes(bytes(range(200)))
    with pytest.raises(UserError, match="no TFLite file"):
        tflite_complexity(tmp_path / "x.tflite")
