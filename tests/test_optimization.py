"""The course of the learning rate, and what of a network is trained at which rate."""

import math
from dataclasses import replace

import pytest
from torch import nn

from data.errors import UserError
from experiments.settings.parts import Recipe
from experiments.training.optimization import OPTIMIZERS, learning_rate_factor, parameter_groups

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
