"""Folding: a network becomes a list of layers of the same function."""

from collections import OrderedDict

import pytest
import torch
from conftest import randomise_norms
from torch import nn

from data.errors import UserError
from students.cp_mobile import cp_mobile
from students.quantize.fold import fold


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
