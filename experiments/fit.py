"""The one training loop, for teachers and students.

Conventions: an epoch is one pass over the train split in whole batches; the schedule is a function of the
(fractional) epoch. Everything random comes from one seed: the order of the clips, every augmentation, and, through
torch's global generator, what networks draw themselves.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from lightning_fabric import Fabric
from omegaconf import DictConfig
from torch import nn

from data.augment import Augment
from data.batches import Batch, Batches
from data.errors import UserError
from data.front_end import FrontEnd
from experiments.prepare import Prepared
from experiments.recipe import Recipe, learning_rate_factor, small_enough
from experiments.runs import Run
from experiments.score import log_loss, macro_accuracy, softmax

Loss = Callable[[torch.Tensor, Batch], torch.Tensor]

log = logging.getLogger(__name__)


def fit(
    fabric: Fabric,
    network: nn.Module,
    front_end: FrontEnd,
    train: Batches,
    validation: Batches,
    *,
    loss: Loss,
    recipe: Recipe,
    augment: Augment,
    responses: torch.Tensor | None,
    seed: int,
    on_epoch: Callable[[Mapping[str, float]], None],
) -> nn.Module:
    """Train a network in place and return it with the weights to keep, in evaluation mode.

    Args:
        fabric: device, precision, distribution.
        network: log-mels to logits.
        front_end: waves to log-mels.
        train, validation: batches; the test split never comes here.
        loss: (logits (B, classes), batch) -> scalar.
        recipe, augment: how.
        responses: impulse responses (R, L), or None.
        seed: of order and augmentation.
        on_epoch: receives each epoch's figures.

    Raises:
        UserError: the loss is no longer a number.
    """
    network = network.to(fabric.device, memory_format=torch.channels_last)
    front_end = front_end.to(fabric.device)
    responses = None if responses is None else responses.to(fabric.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    trained, optimizer = fabric.setup(network, optimizer)
    generator = torch.Generator(device=fabric.device).manual_seed(seed)
    steps = len(train) // train.batch_size
    best, kept = math.inf, None

    for epoch in range(recipe.epochs):
        trained.train()
        started, losses = time.perf_counter(), torch.zeros((), device=fabric.device)
        for step, batch in enumerate(train.shuffled(generator)):
            factor = learning_rate_factor(epoch + step / steps, recipe)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * factor
            with torch.no_grad():
                waves = augment.waves(batch.waves, batch.from_reference_device, responses, generator)
                pictures = augment.pictures(front_end(waves, generator), generator)
            value = loss(trained(pictures.contiguous(memory_format=torch.channels_last)), batch)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(value)
            optimizer.step()
            losses += value.detach()
        seconds, mean = time.perf_counter() - started, float(losses) / steps
        if not math.isfinite(mean):
            raise UserError(
                f"the loss is {mean} in epoch {epoch + 1}: lower the learning rate, or use fabric.precision=32-true"
            )
        probabilities, labels = predict(network, front_end, validation)
        row = {
            "epoch": epoch + 1,
            "learning_rate": recipe.learning_rate * factor,
            "loss": mean,
            "validation/accuracy": macro_accuracy(probabilities, labels),
            "validation/log_loss": log_loss(probabilities, labels),
            "clips_per_second": steps * train.batch_size / seconds,
        }
        on_epoch(row)
        log.info(
            "epoch %3d/%d  loss %.3f  validation accuracy %.3f  log loss %.3f  %.0f clips/s",
            *(
                row["epoch"],
                recipe.epochs,
                mean,
                row["validation/accuracy"],
                row["validation/log_loss"],
                row["clips_per_second"],
            ),
        )
        if recipe.keep == "best" and row["validation/log_loss"] < best:
            best, kept = (
                row["validation/log_loss"],
                {name: value.clone() for name, value in network.state_dict().items()},
            )
    if kept is not None:
        network.load_state_dict(kept)
    return network.eval()


def fit_part(
    cfg: DictConfig,
    part: DictConfig,
    prepared: Prepared,
    network: nn.Module,
    front_end: FrontEnd,
    run: Run,
    *,
    loss: Loss,
    targets: np.ndarray | None = None,
) -> nn.Module:
    """Fit a network by the recipe of a part of the config (`cfg.teacher` or `cfg.student`); the run starts here.

    Everything that can be wrong with the settings is found before the run's folder is touched.
    """
    recipe = Recipe(**part.fit).lasting(cfg.epochs)
    fabric, augment = make_fabric(cfg.fabric), Augment(**part.augment)
    if augment.crop and targets is not None:
        raise UserError("augment.crop=true is for teachers: the logits that a student learns from are of whole clips")
    size = small_enough(recipe.batch_size, len(prepared.clips.indices("train")))
    place = {"batch_size": size, "device": fabric.device, "residency": cfg.data.residency}
    train_clips = prepared.batches("train", **place, targets=targets, crop=augment.crop)
    validation_clips = prepared.batches("validation", **place)
    run.start()
    return fit(
        fabric,
        network,
        front_end,
        train_clips,
        validation_clips,
        loss=loss,
        recipe=recipe,
        augment=augment,
        responses=prepared.responses,
        seed=cfg.seed,
        on_epoch=run.log,
    )


@torch.no_grad()
def logits_of(network: nn.Module, front_end: FrontEnd, batch: Batch) -> torch.Tensor:
    """float32 logits (B, classes) of a batch's clean clips; the network is in evaluation mode."""
    pictures = front_end(batch.waves).contiguous(memory_format=torch.channels_last)
    return network(pictures).float()


def predict(network: nn.Module, front_end: FrontEnd, batches: Batches) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, classes) and labels (n,) of a split, in its order."""
    network.eval()
    pairs = [(logits_of(network, front_end, batch).cpu(), batch.labels.cpu()) for batch in batches.in_order()]
    logits, labels = (torch.cat(column).numpy() for column in zip(*pairs, strict=True))
    return softmax(logits), labels


def make_fabric(cfg: Mapping[str, object]) -> Fabric:
    """Fabric for the settings of `fabric`; precision auto is bf16-mixed on CUDA and 32-true elsewhere.

    On a CPU without native bf16, autocast is several times slower than float32.
    """
    settings = dict(cfg)
    if settings["devices"] != 1 or settings["num_nodes"] != 1:
        raise UserError(f"fabric={settings}: training on several devices is not built yet, give devices=1 num_nodes=1")
    if settings["precision"] == "auto":
        on_cuda = settings["accelerator"] in ("auto", "cuda", "gpu") and torch.cuda.is_available()
        settings["precision"] = "bf16-mixed" if on_cuda else "32-true"
    try:
        return Fabric(**settings)
    except Exception as error:  # what is raised depends on the accelerator that is missing
        raise UserError(f"fabric={settings} is not possible here: {error}") from error
