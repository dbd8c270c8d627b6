"""The course of the learning rate, and what of a network is trained at which rate."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from data.errors import UserError
from experiments.settings.parts import Recipe
from experiments.training.optimization import OPTIMIZERS, learning_rate_factor, parameter_groups, renew_statistics

RECIPE = Recipe(
    epochs=150,
    batch_size=256,
    learning_rate=1e-3,
    weight_decay=1e-4,
    warm_up=14,
    constant_until=50,
    down_over=84,
    floor=0.005,
    keep="last",
)


def test_the_schedule_is_the_published_one() -> None:
    """Oracle: exp(-5) at the start, 1 from 14 to 50, halfway between 1 and .005 at 92, .005 from 134 on."""
    expected = {0: math.exp(-5), 7: math.exp(-5 / 4), 14: 1, 49.9: 1, 92: (1 + 0.005) / 2, 134: 0.005, 149: 0.005}
    for epoch, factor in expected.items():
        assert learning_rate_factor(epoch, RECIPE) == pytest.approx(factor, abs=1e-9)


def test_a_cosine_descends_as_half_a_wave() -> None:
    """Oracle: Loshchilov & Hutter, SGDR, 2017, equation 5, between 50 and 134, at four points."""
    recipe = replace(RECIPE, schedule="cosine")
    for share in (0.0, 0.25, 0.5, 1.0):
        expected = 0.005 + 0.5 * (1 - 0.005) * (1 + math.cos(math.pi * share))
        assert learning_rate_factor(50 + 84 * share, recipe) == pytest.approx(expected)


def test_a_shorter_training_has_the_same_schedule_scaled() -> None:
    """Oracle: a tenth of the epochs, each a tenth of the way."""
    short = RECIPE.lasting(15)
    for epoch in (0, 3, 9, 13.4):
        assert learning_rate_factor(epoch, short) == pytest.approx(learning_rate_factor(10 * epoch, RECIPE))
    assert RECIPE.lasting(None) is RECIPE


def test_impossible_recipes_are_refused() -> None:
    """Oracle: the messages."""
    with pytest.raises(UserError, match="epochs=0"):
        RECIPE.lasting(0)
    with pytest.raises(UserError, match="choose one of: best, last"):
        Recipe(**{**vars(RECIPE), "keep": "first"})
    with pytest.raises(UserError, match=r"batch_size=1 must be from 2"):
        Recipe(**{**vars(RECIPE), "batch_size": 1})
    with pytest.raises(UserError, match=r"fit.ema=0.9 and fit.average=0.5 are two averages: give one of them"):
        replace(RECIPE, ema=0.9, average=0.5)


def test_the_share_of_averaged_epochs_has_at_least_one() -> None:
    """Oracle: by hand: the last quarter of 150 epochs, rounded up, is 38; of 3 epochs one; and none without a share."""
    for epochs, share, first in ((150, 0.25, 112), (3, 0.25, 2), (1, 0.01, 0), (150, 0.0, 150)):
        assert replace(RECIPE, average=share).lasting(epochs).averaged_from == first


def test_statistics_are_renewed_as_pytorch_does_and_frozen_ones_stay() -> None:
    """Oracle: torch.optim.swa_utils.update_bn on a copy, bit for bit; the frozen layer's statistics before."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))
    maps = [torch.randn(4, 1, 8, 8) for _ in range(3)]
    expected = copy.deepcopy(network)
    update_bn(maps, expected)
    renew_statistics(network, maps)
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    assert network[1].momentum == 0.1
    network[:2].requires_grad_(False)
    renew_statistics(network, [5 * each for each in maps])
    assert torch.equal(network[1].running_mean, expected[1].running_mean)
    assert not torch.equal(network[4].running_mean, expected[4].running_mean)


def test_a_descent_over_no_time_is_a_step_to_the_floor() -> None:
    """Oracle: by hand: 1 before the epoch at which the constant rate ends, the floor from it on."""
    for schedule in ("linear", "cosine"):
        recipe = replace(RECIPE, schedule=schedule, down_over=0)
        assert [learning_rate_factor(epoch, recipe) for epoch in (49.99, 50, 149)] == [1, *[pytest.approx(0.005)] * 2]
    assert learning_rate_factor(0, replace(RECIPE, warm_up=0)) == 1


def test_each_layer_has_the_factor_of_its_distance_from_the_output() -> None:
    """Oracle: by hand: 0.5 to the power of the layers that follow; the first of four is frozen."""
    layers = [list(nn.Linear(2, 2).parameters()) for _ in range(4)]
    recipe = replace(RECIPE, layer_decay=0.5, frozen_layers=1)
    groups = parameter_groups(layers, recipe)
    assert [group["scale"] for group in groups] == [0.25, 0.5, 1.0]
    assert [[id(p) for p in group["params"]] for group in groups] == [[id(p) for p in layer] for layer in layers[1:]]
    assert [[p.requires_grad for p in layer] for layer in layers] == [[False, False], *[[True, True]] * 3]
    assert [group["scale"] for group in parameter_groups(layers, RECIPE)] == [1.0] * 4
    with pytest.raises(UserError, match="frozen_layers=4 leaves nothing to train: this network has 4 layers"):
        parameter_groups(layers, replace(RECIPE, frozen_layers=4))
    assert len(parameter_groups(layers, replace(RECIPE, frozen_layers=3))) == 1


def test_optimisers_are_called_by_their_names() -> None:
    """Oracle: PyTorch's classes."""
    assert {name: kind.__name__.lower() for name, kind in OPTIMIZERS.items()} == {"adam": "adam", "adamw": "adamw"}
