"""A recipe for the number of clips that there are: its batch size, its epochs, its learning rate, and how far clips are
rolled.

Conventions: published recipes are for 139,620 train clips. On fewer clips their batches would leave an epoch a step or
none, and their epochs would end before a network has learnt anything. What is given by hand is never changed.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from data.augmentation import Augmentation
from data.errors import UserError
from experiments.settings.parts import Recipe
from experiments.training.state import held_out_loss

STEPS_OF_EPOCH = 30  # at least, where a batch of the published size would leave fewer ...
SMALL_BATCH = 16  # ... as long as the batch has so many clips
FEWEST_STEPS = 5  # of an epoch, of still fewer clips
MOST = 5.0  # times the published learning rate
WINDOW = 0.1  # of the epochs: over which the loss of the clips held out is averaged, to see where it is lowest


def fitted(
    recipe: Recipe, clips: int, *, epochs: int | None = None, devices: int = 1, given: Collection[str] = ()
) -> Recipe:
    """A recipe as it is used for a number of train clips.

    The batch is as in fitting_batch_size. Epochs are added until there are `least_steps` steps of the optimiser; the
    schedule is scaled along. Then the learning rate follows the square-root rule for Adam: below `rate_steps` steps
    lr * sqrt(steps) stays the same, up to MOST times the published rate. Where the epochs stay as they are this is the
    rule for batches, a rate that goes with the root of their size; it goes on to fewer clips.
    Source: Malladi et al., "On the SDEs and scaling rules for adaptive gradient algorithms", NeurIPS 2022, section 5.

    Args:
        recipe: as published.
        clips: number of train clips.
        epochs: that were asked for instead of the recipe's, or None.
        devices: which share each batch.
        given: fields of the recipe that were given by hand.

    Returns:
        the recipe; it still names its `least_steps`, of which it has fewer where epochs were given by hand.

    Raises:
        UserError: see fitting_batch_size.
    """
    batch_size = fitting_batch_size(recipe.batch_size, clips, devices, exact="batch_size" in given)
    steps = clips // batch_size
    recipe = replace(recipe.lasting(epochs), batch_size=batch_size)
    if recipe.least_steps and epochs is None and "epochs" not in given:
        recipe = recipe.lasting(max(recipe.epochs, math.ceil(recipe.least_steps / steps)))
    if recipe.rate_steps and "learning_rate" not in given:
        factor = min(MOST, math.sqrt(max(1.0, recipe.rate_steps / (recipe.epochs * steps))))
        recipe = replace(recipe, learning_rate=recipe.learning_rate * factor)
    return replace(recipe, rate_steps=None)


def fitted_augmentation(augmentation: Augmentation, clips: int, samples: int, *, exact: bool = False) -> Augmentation:
    """An augmentation as it is used for a number of train clips.

    Below `roll_clips` of them roll * clips stays the same, until a clip is rolled by any shift: what few clips lack in
    number they are to have in shifts. A larger roll that was asked for stays.

    Args:
        augmentation: as published.
        clips: number of train clips.
        samples: of a clip.
        exact: roll was given by hand and is not made larger.

    Returns:
        the augmentation, without `roll_clips`.
    """
    roll = augmentation.roll
    if augmentation.roll_clips and not exact:
        roll = max(roll, min(samples // 2, roll * augmentation.roll_clips // clips))
    return replace(augmentation, roll=roll, roll_clips=None)


def refitted(
    recipe: Recipe, rows: Sequence[Mapping[str, float]], clips: int, all_clips: int, *, settled: int = 1
) -> Recipe:
    """The recipe for all train clips: as many steps as a training was best with (best_epoch), its schedule scaled
    along; the last weights are kept. They are averaged only if those that were best were.

    Args:
        recipe: of that training, fitted to its clips.
        rows: the metrics of its epochs.
        clips: number of its train clips; the others were held out.
        all_clips: number of all train clips.
        settled: the first epoch after which the network had its final size.
    """
    losses = [held_out_loss(row) for row in rows[settled - 1 :]]
    best = settled - 1 + best_epoch(losses) if recipe.keep == "best" else recipe.epochs
    steps = best * (clips // recipe.batch_size)
    epochs = max(1, round(steps / (all_clips // recipe.batch_size)))
    average = recipe.average if best > recipe.averaged_from else 0.0
    return replace(recipe.lasting(epochs), keep="last", least_steps=None, average=average)


def best_epoch(losses: Sequence[float]) -> int:
    """The epoch, from 1, around which the losses are lowest: their mean over a window of WINDOW of all epochs; the last
    epoch, if that is the last window's. At high learning rates the losses of single epochs differ by more than the
    trend does in many, and the lowest of them would end most trainings before the rate has fallen."""
    half = int(WINDOW * len(losses)) // 2
    means = np.convolve(losses, np.ones(2 * half + 1), "valid")
    lowest = int(means.argmin())
    return len(losses) if lowest == len(means) - 1 else lowest + half + 1


def fitting_batch_size(batch_size: int, clips: int, devices: int = 1, *, exact: bool = False) -> int:
    """The batch size, made smaller where a split has so few clips that an epoch would have under STEPS_OF_EPOCH steps,
    but not below SMALL_BATCH unless an epoch would have under FEWEST_STEPS.

    Args:
        batch_size: of all devices together.
        clips: train clips.
        devices: which share each batch.
        exact: the size was asked for by hand and is not made smaller.

    Raises:
        UserError: there are fewer clips than that, or it cannot be shared out evenly among the devices, two clips at
            least to each.
    """
    most = max(clips // STEPS_OF_EPOCH, min(SMALL_BATCH, clips // FEWEST_STEPS), 2)
    fitting = batch_size if exact else min(batch_size, most)
    if fitting < batch_size:
        fitting = max(2, fitting // devices) * devices
    if fitting > clips:
        raise UserError(f"batch_size={fitting} is more than the {clips} train clips: give at most so many")
    if fitting % devices or fitting < 2 * devices:
        raise UserError(
            f"batch_size={fitting} of {clips} clips cannot be shared out evenly among {devices} devices: choose a "
            f"multiple of {devices}, two clips a device at least"
        )
    return fitting
