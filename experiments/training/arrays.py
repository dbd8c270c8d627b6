"""Training a network on arrays, without a data set on disk and without a run folder: for notebooks."""

import logging
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from data.arrays import WaveArrays
from data.augmentation import Augmentation
from data.batches import Batches
from data.errors import UserError
from data.front_ends import build_front_end
from experiments.distributed.fabric import make_fabric
from experiments.settings.parts import Distillation, Hardware, Recipe
from experiments.training.distillation import student_loss
from experiments.training.loop import fit

RECIPE = Recipe(
    epochs=30,
    batch_size=32,
    learning_rate=1e-3,
    weight_decay=1e-4,
    warm_up=3,
    constant_until=10,
    down_over=20,
    floor=0.01,
)

log = logging.getLogger(__name__)


def train_on_arrays(
    network: nn.Module,
    waves: np.ndarray,
    labels: np.ndarray,
    *,
    logits: np.ndarray | None = None,
    sample_rate: int = 32_000,
    mel: Mapping[str, object] | None = None,
    validation: float = 0.2,
    epochs: int | None = None,
    recipe: Recipe = RECIPE,
    augmentation: Augmentation | None = None,
    distillation: Distillation | None = None,
    seed: int = 0,
) -> nn.Module:
    """Train a network in place on clips in memory, by the loop that the stages use; returns it in evaluation mode.

    Args:
        network: log-mels (B, 1, mels, frames) to logits (B, classes), as `students.build_student` makes it.
        waves: float (N, samples) in [-1, 1].
        labels: class numbers, int (N,).
        logits: a teacher's, float (N, classes); None: labels alone.
        sample_rate: of the waves, Hz.
        mel: kind and arguments of the front end; see data/front_ends/. None: 256 bands, hop 500.
        validation: share of the clips that is held out to choose the epoch by. They are drawn at random: clips of one
            recording may come to both sides, which a data set on disk avoids.
        epochs: of the recipe, its schedule scaled along; None: the recipe's own.
        recipe, augmentation, distillation: how; None: no augmentation, the published balance of labels and logits.
        seed: of the clips held out, of order and augmentation.

    Raises:
        UserError: the arrays do not belong together, or leave no batch.
    """
    if distillation is not None and distillation.features:
        raise UserError("arrays come without a teacher's features: leave Distillation(features=...) out")
    recipe = recipe.lasting(epochs)
    store, labels = WaveArrays(waves, sample_rate), np.asarray(labels, np.int64)
    if labels.shape != (len(store),) or (logits is not None and len(logits) != len(store)):
        raise UserError(f"{len(store)} waves, labels of the shape {labels.shape}: there must be one of each a clip")
    order = np.random.default_rng(seed).permutation(len(store))
    held_out = max(1, round(validation * len(store)))
    if len(store) - held_out < recipe.batch_size:
        raise UserError(
            f"{len(store) - held_out} clips are left to train on, fewer than batch_size={recipe.batch_size}"
        )
    fabric, nobody = make_fabric(Hardware()), np.zeros(len(store), bool)
    targets = None if logits is None else np.asarray(logits, np.float32)
    train, held = (
        Batches(
            store, np.sort(rows), labels, nobody, batch_size=recipe.batch_size, targets=targets, device=fabric.device
        )
        for rows in (order[held_out:], order[:held_out])
    )
    torch.manual_seed(seed)
    return fit(
        fabric,
        network,
        build_front_end(sample_rate, mel or {"kind": "log_mel", "mels": 256, "hop": 500}),
        train,
        held,
        loss=student_loss(distillation or Distillation(), network),
        recipe=recipe,
        augmentation=augmentation or Augmentation(),
        responses=None,
        seed=seed,
        on_epoch=lambda row, _: log.info(
            "epoch %d: validation log loss %.3f", row["epoch"], row["validation/log_loss"]
        ),
    )
