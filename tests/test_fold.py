"""Folding: a network becomes a list of layers of the same function."""

from collections import OrderedDict

import pytest
import torch
from conftest import randomise_norms
from torch import nn

from data.errors import UserError
from students.cp_mobile import cp_mobile
from students.quantize.fold import fold
from students.quantize.layers import AVERAGE_POOL, CONVOLUTION, GLOBAL_MEAN, MAX_POOL, Layer


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


@pytest.mark.parametrize("size", ["6k", "61k", "127k"])
def test_folding_keeps_the_function(size: str, generator: torch.Generator) -> None:
    """Oracle: the network itself. Tolerance 1e-5 of the largest logit."""
    network, spectrograms = randomise_norms(cp_mobile(size=size)), torch.randn(3, 1, 256, 64, generator=generator)
    with torch.no_grad():
        expected, folded = network(spectrograms), fold(network)(spectrograms)
    assert (folded - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_what_has_no_integer_form_is_named() -> None:
    """Oracle: the messages for an unusual addition, and for a network of two unsupported layers."""
    with pytest.raises(UserError, match="add"):
        fold(_Doubled())
    with pytest.raises(UserError, match="Softplus; LSTM"):
        fold(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softplus(), nn.LSTM(4, 4)))


def test_a_norm_that_no_convolution_absorbs_is_a_convolution_by_channel(generator: torch.Generator) -> None:
    """Oracle: the networks themselves: behind a convolution that another layer reads too, a ReLU, and a pool; each has
    one layer of 1 x 1 more, of as many groups as channels."""
    behind = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.BatchNorm2d(4))
    for network, layers in ((_SharedBeforeNorm(), 3), (behind, 4)):
        spectrograms = torch.randn(2, 1, 8, 10, generator=generator)
        folded = fold(randomise_norms(network))
        assert len(folded.layers) == layers
        own = [layer for layer in folded.layers if layer.groups == 4]
        assert {(layer.kind, layer.kernel, layer.padding) for layer in own} == {(CONVOLUTION, (1, 1), (0, 0))}
        torch.testing.assert_close(folded(spectrograms), network(spectrograms).flatten(1))


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


def test_odd_graphs_are_followed_or_refused(generator: torch.Generator) -> None:
    """Oracle: the network itself; the messages for a module used twice and one of a taken name."""
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


class _Then(nn.Module):
    """A convolution to four channels, and then something."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.convolution, self.rest = nn.Conv2d(1, 4, 1), nn.Sequential(*modules)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rest(self.convolution(x))


POOLS = {
    "windows of its own": (nn.MaxPool2d((2, 3)), Layer("rest_0", MAX_POOL, ("convolution",), False, (2, 3), (2, 3))),
    "windows that overlap": (
        nn.MaxPool2d(2, (1, 3)),
        Layer("rest_0", MAX_POOL, ("convolution",), False, (2, 2), (1, 3)),
    ),
    "equal cells": (nn.AdaptiveMaxPool2d((4, 3)), Layer("rest_0", MAX_POOL, ("convolution",), False, (2, 4), (2, 4))),
    "a mean of windows": (
        nn.AvgPool2d(3, 2, 1),
        Layer("rest_0", AVERAGE_POOL, ("convolution",), False, (3, 3), (2, 2), (1, 1)),
    ),
    "the mean of each frame": (
        nn.AdaptiveAvgPool2d((1, None)),
        Layer("rest_0", AVERAGE_POOL, ("convolution",), False, (8, 1), (8, 1)),
    ),
    "the mean of all": (nn.AdaptiveAvgPool2d((1, 1)), Layer("rest_0", GLOBAL_MEAN, ("convolution",))),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools_become_layers_of_the_same_function(name: str, generator: torch.Generator) -> None:
    """Oracle: the layer by hand, and the network itself on a map of 8 x 12."""
    pool, layer = POOLS[name]
    network, spectrograms = _Then(pool).eval(), torch.randn(2, 1, 8, 12, generator=generator)
    folded = fold(network, (1, 1, 8, 12))
    assert folded.layers == (Layer("convolution", CONVOLUTION, ("input",)), layer)
    torch.testing.assert_close(folded(spectrograms), network(spectrograms).flatten(1))


@pytest.mark.parametrize(
    "module",
    [
        nn.MaxPool2d(3, 3, ceil_mode=True),
        nn.MaxPool2d(3, 3, padding=1),
        nn.MaxPool2d(3, 3, dilation=2),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(3, 3, ceil_mode=True),
        nn.AvgPool2d(3, 3, divisor_override=4),
        nn.AdaptiveMaxPool2d((5, 3)),  # of 8 bands
        nn.AdaptiveMaxPool2d((4, 5)),  # of 12 frames
        nn.AdaptiveAvgPool2d((3, 2)),  # of 8 bands
        nn.AdaptiveAvgPool2d((2, 5)),  # of 12 frames
        nn.Flatten(2),
        nn.BatchNorm2d(4, affine=False),
        nn.BatchNorm2d(4, track_running_stats=False),
    ],
    ids=str,
)
def test_pools_and_norms_without_an_integer_form_are_named(module: nn.Module) -> None:
    """Oracle: the message names the module's class."""
    with pytest.raises(UserError, match=rf"no integer form: {type(module).__name__}\."):
        fold(_Then(module).eval(), (1, 1, 8, 12))


def test_adaptive_pools_and_dense_layers_need_the_shape() -> None:
    """Oracle: the messages, where no shape is given."""
    for modules in ([nn.AdaptiveMaxPool2d((4, 3))], [nn.Flatten(), nn.Linear(4 * 96, 2)]):
        with pytest.raises(UserError, match=type(modules[-1]).__name__):
            fold(_Then(*modules).eval())


def test_a_norm_is_absorbed_by_hand() -> None:
    """Oracle: Jacob et al., section 3.2: w g / s and (b - m) g / s + c, s = sqrt(v + eps), by hand: g = 3, v = 3.99,
    eps = 0.01, m = 1, c = 5, w = 2, b = 0.5: 3 and 4.25."""
    convolution, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.01)
    for tensor, value in (
        (convolution.weight, 2.0),
        (convolution.bias, 0.5),
        (norm.weight, 3.0),
        (norm.bias, 5.0),
        (norm.running_mean, 1.0),
        (norm.running_var, 3.99),
    ):
        tensor.data.fill_(value)
    folded = fold(nn.Sequential(convolution, norm)).convolutions["0"]
    assert (folded.weight.item(), folded.bias.item()) == (pytest.approx(3.0), pytest.approx(4.25))
    assert (convolution.weight.item(), convolution.bias.item()) == (2.0, 0.5)  # the network is left as it is
