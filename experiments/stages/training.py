"""What the stages that train have in common: the trainer that the settings describe."""

import dataclasses

from data.augmentation import Augmentation
from experiments.settings.shared import Recipe, Settings
from experiments.training.trainer import Trainer


def trainer_of(
    settings: Settings, recipe: Recipe, augmentation: Augmentation, batch_size: int | None = None
) -> Trainer:
    """How a network is trained.

    Args:
        settings: hardware, seed, residency, and the number of epochs if it is not the recipe's.
        recipe, augmentation: of this network.
        batch_size: that fits the clips; None: the recipe's.
    """
    return Trainer(
        recipe=dataclasses.replace(recipe.lasting(settings.epochs), batch_size=batch_size or recipe.batch_size),
        augmentation=augmentation,
        hardware=settings.fabric,
        residency=settings.data.residency,
        seed=settings.seed,
    )
