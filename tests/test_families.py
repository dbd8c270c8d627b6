"""Families of students: their published costs, and what their layers compute, from other sources."""

import pytest
import torch
from conftest import randomise_norms
from torch import nn
from torch.nn import functional as F

from data.errors import UserError
from students import build_student, find_student
from students.blocks import ParallelConvolution, SubSpectralNorm, convolution, deployed
from students.complexity import torch_complexity
from students.cp_mobile import SIZES
from students.limits import over_limits
from students.quantize.fold import fold
from students.tf_sepnet import AdaptiveResidualNorm, ResidualNorm, ShuffledHalf

SECOND = (1, 1, 256, 64)


@pytest.mark.parametrize(
    ("arguments", "bands", "thousands", "millions"),
    [
        ({"size": "40"}, 256, 53.4, 7.03),
        ({"size": "40", "norm": "none"}, 256, 52.3, 7.03),
        ({"size": "80"}, 256, 196.7, 24.2),
        ({"size": "64"}, 512, 126.858, 29.419648),
    ],
    ids=str,
)
def test_tf_sepnet_has_its_published_costs(
    arguments: dict[str, str], bands: int, thousands: float, millions: float
) -> None:
    """Oracle: Cai et al., ICASSP 2024, tables 2 and 4, of 256 bands and 64 frames, to the digits that they print; of
    TF-SepNet-64 at 512 bands the multiply-accumulates that a submission of 2025 states (Azhou0/dcase2025t1,
    predictions/Zhou_XJTLU_task1_1/complexity.json), its parameters counted by hand: a transition has in x out + 2 out,
    each path of h channels 3 h + h^2 and two norms of 2 h."""
    cost = torch_complexity(build_student("tf_sepnet", **arguments), (1, 1, bands, 64))
    digits = len(str(thousands).partition(".")[2]), len(str(millions).partition(".")[2])
    assert (round(cost.parameters / 1e3, digits[0]), round(cost.macs / 1e6, digits[1])) == (thousands, millions)


@pytest.mark.parametrize(
    ("size", "thousands"), [("1", 9.2), ("1.5", 17.2), ("2", 27.3), ("3", 54.2), ("6", 188), ("8", 321)]
)
def test_bc_resnet_has_its_published_parameters(size: str, thousands: float) -> None:
    """Oracle: Kim et al., Interspeech 2021, table 3, of 12 classes, to the digits that it prints. Its multiplications
    are not torchinfo's multiply-accumulates: they are 4 to 25 % more."""
    network = build_student("bc_resnet", size=size, classes=12, swish=True)
    parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e3
    assert round(parameters, len(str(thousands).partition(".")[2])) == thousands


def test_bc_resnet_1_costs_what_its_table_says_by_hand() -> None:
    """Oracle: Kim et al., table 1, row by row, at 40 bands and W = 100 frames: convolutions are weights x positions,
    norms their parameters, which are five times as many behind a convolution in frequency."""
    frames, macs = 100, 16 * 25 * 20 * 100 + 2 * 16
    for stage, (count, inputs, channels, bands) in enumerate(
        [(2, 16, 8, 20), (2, 8, 12, 20), (4, 12, 16, 10), (4, 16, 20, 5)]
    ):
        below = bands // 2 if stage in (1, 2) else bands
        macs += inputs * channels * bands * frames + 2 * channels
        each = 3 * channels * below * frames + 10 * channels + 3 * channels * frames + 2 * channels
        macs += count * (each + channels**2 * frames)
    macs += 25 * 20 * frames + 20 * 32 * frames + 2 * 32 + 32 * 10 + 10
    cost = torch_complexity(build_student("bc_resnet"), (1, 1, 40, frames))
    assert cost.macs == macs
    assert over_limits(cost) == []


def test_the_runner_up_s_network_costs_what_it_states() -> None:
    """Oracle: joesephgit/DCASE2025, predictions/Tan_SNTLNTU_task1_1/complexity.json, of 33 frames: 10,902,300
    multiply-accumulates and 116,342 bytes of two a parameter."""
    cost = torch_complexity(build_student("cnn_gru_2025"), (1, 1, 256, 33))
    assert (cost.macs, 2 * cost.parameters) == (10_902_300, 116_342)


@pytest.mark.parametrize("size", ["6k", pytest.param("61k", marks=pytest.mark.slow)])  # seconds
def test_a_deployed_rep_mobile_costs_what_cp_mobile_does(size: str) -> None:
    """Oracle: CP-Mobile's folded network, layer by layer: branches leave no trace but their weights. Counted before, it
    has a bias where CP-Mobile has a BatchNorm."""
    folded = [fold(build_student(name, size=size)) for name in ("cp_mobile", "rep_mobile")]
    assert torch_complexity(folded[0], SECOND) == torch_complexity(folded[1], SECOND)
    assert folded[0].layers == folded[1].layers
    own, plain = (torch_complexity(build_student(name, size=size), SECOND) for name in ("rep_mobile", "cp_mobile"))
    assert plain.parameters - own.parameters == sum(
        len(c.bias) for c in folded[0].convolutions.values() if c.groups > 1
    )
    assert find_student("rep_mobile").sizes == tuple(SIZES)


def test_parallel_convolutions_are_one(generator: torch.Generator) -> None:
    """Oracle: the branches themselves, with random statistics, for strides of both axes; the network that is deployed
    is left as it is, and is the same one if it has no branches."""
    kernels = ((3, 3), (3, 1), (1, 3), (1, 1), (5, 3))
    branches = ParallelConvolution([convolution(4, 4, k, (2, 3), groups=4, relu=False) for k in kernels])
    network, x = (
        nn.Sequential(convolution(4, 4, 1), nn.Sequential(branches, nn.ReLU())),
        torch.randn(2, 4, 9, 12, generator=generator),
    )
    randomise_norms(network)
    one = deployed(network)
    with torch.no_grad():
        torch.testing.assert_close(one(x), network(x), rtol=0, atol=1e-5)
    assert isinstance(one[1][0], nn.Conv2d)
    assert one[1][0].kernel_size == (5, 3)
    assert isinstance(network[1][0], ParallelConvolution)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    assert deployed(plain) is plain


def test_sub_spectral_normalisation_is_a_norm_of_each_band(generator: torch.Generator) -> None:
    """Oracle: BatchNorm2d on each of five slices of the bands, in training and after it; one sub-band is BatchNorm."""
    norm, x = SubSpectralNorm(3, 5), torch.randn(4, 3, 20, 7, generator=generator)
    randomise_norms(norm)
    single = [nn.BatchNorm2d(3) for _ in range(5)]
    for band, each in enumerate(single):
        for name, tensor in each.state_dict().items():
            if tensor.ndim:
                tensor.copy_(norm.state_dict()[name][band::5])
    for train in (True, False):
        norm.train(train)
        expected = torch.cat([each.train(train)(part) for each, part in zip(single, x.chunk(5, 2), strict=True)], 2)
        torch.testing.assert_close(norm(x), expected)
    with pytest.raises(UserError, match=r"42 bands has no 5 sub-bands .*multiple of 40"):
        norm(torch.zeros(1, 3, 42, 7))


def test_norms_of_bands_by_hand(generator: torch.Generator) -> None:
    """Oracle: numpy-like arithmetic on one band: the deviation has n - 1 below it, as in the authors' code."""
    x = torch.randn(1, 2, 3, 4, generator=generator)
    band = x[0, :, 1]
    normal = (band - band.mean()) / (band.var() + 1e-5).sqrt()
    torch.testing.assert_close(ResidualNorm()(x)[0, :, 1], 0.1 * band + normal)
    norm = AdaptiveResidualNorm(2)
    torch.testing.assert_close(norm(x)[0, :, 1], 0.5 * band + 0.5 * normal)
    norm.gamma.data.fill_(2.0)
    norm.beta.data.fill_(3.0)
    norm.rho.data.fill_(1.0)
    torch.testing.assert_close(norm(x), 2 * x + 3)


def test_halves_are_taken_in_turn() -> None:
    """Oracle: by hand: of channels 0 to 5 the halves are 0, 3, 1 and 4, 2, 5; PyTorch's own shuffle."""
    x = torch.arange(6.0)[None, :, None, None]
    halves = [ShuffledHalf(which)(x).flatten().tolist() for which in (0, 1)]
    assert halves == [[0, 3, 1], [4, 2, 5]]
    assert [*halves[0], *halves[1]] == nn.ChannelShuffle(2)(x).flatten().tolist()


def test_a_block_of_bc_resnet_is_its_equation(generator: torch.Generator) -> None:
    """Oracle: Kim et al., section 2.1: y = x + f2(x) + BC(f1(avgpool(f2(x)))), ReLU; with a transition no x."""
    network = randomise_norms(build_student("bc_resnet", sub_bands=2, swish=True))
    for place, channels in (("2", 16), ("3", 8)):  # the transition, and the block behind it
        block, x = network.get_submodule(place), torch.randn(2, channels, 20, 9, generator=generator)
        (depthwise, norm), (filtered, statistics, _) = block.frequency, block.time
        with torch.no_grad():
            inner = x if channels == 8 else F.relu(block.expand[1](F.conv2d(x, block.expand[0].weight)))
            f2 = norm(F.conv2d(inner, depthwise.weight, padding=(1, 0), groups=8))
            f1 = F.silu(statistics(F.conv2d(f2.mean(2, keepdim=True), filtered.weight, padding=(0, 1), groups=8)))
            found = f2 + F.conv2d(f1, block.point.weight)
            torch.testing.assert_close(block(x), F.relu(found + x if channels == 8 else found))
    assert [network.get_submodule(str(place)).time[0].dilation[1] for place in range(2, 14)] == [
        1,
        1,
        2,
        2,
        *4 * [4],
        *4 * [8],
    ]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("bc_resnet", {"size": "4"}, "unknown bc_resnet size '4'"),
        ("bc_resnet", {"base_channels": 7}, "base_channels=7 must be even"),
        ("rep_mobile", {"base_channels": 12}, "rep_mobile: base_channels=12 must be a multiple of 8"),
        ("tf_sepnet", {"size": "41"}, "unknown tf_sepnet size '41'"),
        ("tf_sepnet", {"base_channels": 6}, "base_channels=6 must be a multiple of 4"),
        ("tf_sepnet", {"norm": "odd"}, "norm='odd' must be adaptive, residual, none, or null"),
        ("cnn_gru_2025", {"base_channels": 6}, "base_channels=6 must be a multiple of 4"),
        ("rep_mobile", {"size": "62k"}, "unknown rep_mobile size '62k'"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, arguments: dict[str, object], message: str) -> None:
    """Oracle: the messages, which name the argument and its value."""
    with pytest.raises(UserError, match=message):
        build_student(name, **arguments)


def test_spectrograms_that_are_too_small_are_refused_and_the_smallest_are_not() -> None:
    """Oracle: the messages; with as many bands and frames as they ask for there are logits."""
    for name, bands, frames in (("bc_resnet", 33, 1), ("tf_sepnet", 16, 16), ("cnn_gru_2025", 8, 8)):
        network = build_student(name, classes=3, **({"sub_bands": 1} if name == "bc_resnet" else {})).eval()
        with torch.no_grad():
            assert network(torch.zeros(2, 1, bands, frames)).shape == (2, 3)
        small = [(bands - 1, frames), (bands, frames - 1)][: 1 if frames == 1 else 2]
        for size in small:
            with pytest.raises(
                UserError, match=f"{size[0]} bands and {size[1]} frames are too small, it needs {bands} bands"
            ):
                network(torch.zeros(2, 1, *size))


@pytest.mark.parametrize(
    ("name", "arguments", "parts"),
    [
        ("cnn_gru", {}, "AdaptiveAvgPool2d"),
        ("bc_resnet", {"widths": {"stage1_block1_expand": 1}}, "SubSpectralNorm of a single channel"),
    ],
)
def test_what_has_no_integer_form_is_named(name: str, arguments: dict[str, object], parts: str) -> None:
    """Oracle: the message names each kind of layer that has none, and not the norms and ReLUs behind it."""
    with pytest.raises(UserError, match=f"no integer form: .*{parts}.*16f") as caught:
        fold(build_student(name, **arguments), (1, 1, 80, 64) if name == "bc_resnet" else (1, 1, 96, 64))
    assert "BatchNorm2d" not in str(caught.value)
    assert "ReLU" not in str(caught.value)
