"""Recipes that are fitted to the number of clips."""

import math
from dataclasses import replace

import pytest

from data.augmentation import Augmentation
from data.errors import UserError
from experiments.run import resolve
from experiments.settings.parts import Recipe
from experiments.training.budget import (
    FEWEST_STEPS,
    MOST,
    SMALL_BATCH,
    STEPS_OF_EPOCH,
    fitted,
    fitted_augmentation,
    fitting_batch_size,
)

PUBLISHED = resolve(["data=tau22"]).student.fit  # 150 epochs of 256
TAU22 = 139_620  # official train clips


def steps_of(recipe: Recipe, clips: int) -> int:
    return recipe.epochs * (clips // recipe.batch_size)


def test_batches_fit_small_sets() -> None:
    """Oracle: by hand: at least 30 steps an epoch, or else 16 clips a batch, or else 5 steps; a large set and a small
    batch are left alone."""
    assert (STEPS_OF_EPOCH, SMALL_BATCH, FEWEST_STEPS) == (30, 16, 5)
    sizes = {TAU22: 256, 7_680: 256, 7_679: 255, 3_000: 100, 480: 16, 470: 16, 80: 16, 79: 15, 3: 2}
    assert {clips: fitting_batch_size(256, clips) for clips in sizes} == sizes
    assert fitting_batch_size(16, 10_000) == 16
    assert fitting_batch_size(256, 82, devices=3) == 15
    assert fitting_batch_size(64, 81, exact=True) == 64
    with pytest.raises(UserError, match="batch_size=82 is more than the 81 train clips"):
        fitting_batch_size(82, 81, exact=True)
    with pytest.raises(UserError, match="batch_size=2 is more than the 1 train clips"):
        fitting_batch_size(256, 1)
    with pytest.raises(UserError, match="cannot be shared out evenly among 3 devices"):
        fitting_batch_size(256, TAU22, devices=3)


@pytest.mark.parametrize("clips", [TAU22, round(0.7 * TAU22)])
def test_the_published_recipe_is_unchanged_on_the_full_set(clips: int) -> None:
    """Oracle: the recipe of the 2023 winner: 150 epochs of 256 at 9e-4, on all train clips and with 30 % held out."""
    found = fitted(PUBLISHED, clips)
    assert (found.epochs, found.batch_size, found.learning_rate) == (150, 256, 9e-4)
    assert (found.warm_up, found.constant_until, found.down_over) == (14, 50, 84)


@pytest.mark.parametrize(("clips", "steps"), [(100, 667 * 6), (500, 150 * 31), (5_000, 150 * 30), (20_000, 150 * 78)])
def test_few_clips_are_trained_for_as_many_steps_and_the_rate_follows(clips: int, steps: int) -> None:
    """Oracle: by hand: batches of 16, 16, 166 and 256; with 6 steps an epoch 667 epochs reach the recipe's 4,000 steps;
    lr * sqrt(steps) is that of 40,000 steps; the schedule keeps its shape."""
    found = fitted(PUBLISHED, clips)
    assert steps_of(found, clips) == steps
    assert found.learning_rate == pytest.approx(9e-4 * math.sqrt(40_000 / steps))
    assert found.warm_up / found.epochs == pytest.approx(14 / 150)
    assert found.down_over / found.epochs == pytest.approx(84 / 150)


def test_the_rate_is_at_most_five_times_the_published_one() -> None:
    """Oracle: by hand: 3 epochs of 31 steps, asked for, would have 20 times the rate."""
    assert MOST == 5
    assert fitted(PUBLISHED, 500, epochs=3).learning_rate == pytest.approx(4.5e-3)


def test_the_floor_adds_no_more_epochs_than_it_needs() -> None:
    """Oracle: by hand: 5 steps an epoch and a floor of 1,001 steps are 201 epochs."""
    recipe = replace(PUBLISHED, epochs=10, batch_size=16, least_steps=1001)
    assert fitted(recipe, 80, given={"batch_size"}).epochs == 201
    assert fitted(recipe, 80_000).epochs == 10


def test_the_rule_for_batches_is_the_square_root() -> None:
    """Oracle: Malladi et al. 2022: a fourth of the batch, with the same epochs, goes with half of the rate."""
    large, small = (replace(PUBLISHED, batch_size=size) for size in (256, 64))
    rates = [fitted(recipe, 30_000, given={"batch_size"}).learning_rate for recipe in (large, small)]
    assert rates[0] > 9e-4
    assert rates[1] == 9e-4  # 70,200 steps; never lower than published
    small = replace(small, rate_steps=100_000)
    large = replace(large, rate_steps=100_000)
    rates = [fitted(recipe, 30_000, given={"batch_size"}).learning_rate for recipe in (large, small)]
    assert rates[1] / rates[0] == pytest.approx(math.sqrt(117 / 468))  # steps of an epoch


@pytest.mark.parametrize(
    ("given", "epochs", "expected"),
    [
        ({"learning_rate"}, None, {"learning_rate": 9e-4}),
        ({"epochs"}, None, {"epochs": 150}),
        ({"batch_size"}, None, {"batch_size": 256}),
        (set(), 3, {"epochs": 3}),
    ],
)
def test_what_is_given_by_hand_is_left_alone(given: set[str], epochs: int | None, expected: dict[str, float]) -> None:
    """Oracle: the values that were given, on a set so small that all of them would be changed."""
    recipe = replace(PUBLISHED, least_steps=10_000)
    found = fitted(recipe, 500, given=given, epochs=epochs)
    assert {name: getattr(found, name) for name in expected} == expected
    assert all(getattr(fitted(recipe, 500), name) != value for name, value in expected.items() if epochs is None)


@pytest.mark.parametrize(
    ("clips", "exact", "roll"),
    [(TAU22, False, 4_000), (34_000, False, 4_000), (17_000, False, 8_000), (470, False, 16_000), (470, True, 4_000)],
)
def test_few_clips_are_rolled_further(clips: int, exact: bool, roll: int) -> None:
    """Oracle: by hand: 4,000 samples of 34,000 clips and more, twice as far on half of them, at most half a clip of
    32,000 samples; what was given by hand is left alone, as are wider rolls, none, and recipes without roll_clips."""
    published = resolve(["data=tau22"]).student.augment
    found = fitted_augmentation(published, clips, 32_000, exact=exact)
    assert found == replace(published, roll=roll, roll_clips=None)
    for asked in (replace(published, roll=20_000), replace(published, roll=0), Augmentation(roll=4_000)):
        assert fitted_augmentation(asked, clips, 32_000).roll == asked.roll
