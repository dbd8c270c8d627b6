"""The one training loop, for teachers and students.

Conventions: an epoch is one pass over the train split in whole batches; the schedule is a function of the
(fractional) epoch. Everything random comes from one seed: the order of the clips, every augmentation, and, through
torch's global generator, what networks draw themselves. On several devices a batch is shared out: `batch_size` is
that of all together, gradients are averaged, and BatchNorm counts each device's own share unless
`fabric.sync_batchnorm=true` (CUDA), which a share of few clips needs.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import nn

from data.augmentation import Augmentation
from data.augmenter import Augmenter
from data.batches import Batches
from data.front_ends import FrontEnd
from data.progress import progress
from experiments.distributed.fabric import in_step
from experiments.evaluation.metrics import log_loss, macro_accuracy
from experiments.evaluation.multi_label import binary_cross_entropy, mean_average_precision
from experiments.inference.network import predict
from experiments.settings.parts import Recipe
from experiments.training.inputs import augmented
from experiments.training.losses import EpochLosses, Loss, NotFiniteError, backward
from experiments.training.optimization import (
    average_of,
    evaluated,
    learning_rate_factor,
    optimizer_of,
    renew_statistics,
    rest,
)
from experiments.training.pruning import Pruning
from experiments.training.state import HELD_OUT, MULTI_LABEL, TrainingState, held_out_loss, seed_of

Validate = Callable[[nn.Module, FrontEnd, Batches, Fabric], Mapping[str, float]]
Layers = Sequence[Sequence[nn.Parameter]]


def by_labels(network: nn.Module, front_end: FrontEnd, batches: Batches, fabric: Fabric) -> dict[str, float]:
    """The metrics HELD_OUT of a network on the clips held out, or MULTI_LABEL where they may have several classes."""
    probabilities, labels = predict(network, front_end, batches, fabric)
    if labels.ndim > 1:
        found = mean_average_precision(probabilities, labels), binary_cross_entropy(probabilities, labels)
        return dict(zip(MULTI_LABEL, found, strict=True))
    found = macro_accuracy(probabilities, labels), log_loss(probabilities, labels)
    return dict(zip(HELD_OUT, found, strict=True))


def fit(
    fabric: Fabric,
    network: nn.Module,
    front_end: FrontEnd,
    train: Batches,
    validation: Batches | None,
    *,
    loss: Loss,
    recipe: Recipe,
    augmentation: Augmentation,
    responses: torch.Tensor | None,
    seed: int,
    on_epoch: Callable[[Mapping[str, float], TrainingState], None],
    validate: Validate = by_labels,
    groups: list[dict[str, object]] | None = None,
    state: TrainingState | None = None,
    compiled: str | None = None,
    pruning: Pruning | None = None,
) -> nn.Module:
    """Train a network in place and return it with the weights to keep, in evaluation mode.

    Args:
        fabric: device, precision, distribution.
        network: log-mels to logits.
        front_end: waves to log-mels.
        train, validation: batches; the test split never comes here. Without validation nothing is chosen by it.
        loss: see losses.py; mostly of logits (B, classes).
        recipe, augmentation: how.
        responses: impulse responses (R, L), or None.
        seed: of order and augmentation.
        on_epoch: receives each epoch's metrics, and the state from which `fit` would go on.
        validate: metrics of the clips held out, one of which is held_out_loss.
        groups: of parameters, as optimization.parameter_groups makes them; None: all parameters at the whole rate.
        state: of an earlier training that was stopped.
        compiled: mode of torch.compile to train by; None: not compiled.
        pruning: when the network becomes narrower, in place; None: never. The best epoch is one of those after which it
            has its final size.

    Raises:
        NotFiniteError: the loss is no longer a number.
    """
    assert validation is not None or recipe.keep == "last"
    network = network.to(fabric.device, memory_format=torch.channels_last)
    front_end = front_end.to(fabric.device)
    responses = None if responses is None else responses.to(fabric.device)
    optimizer = optimizer_of(network, groups, recipe)
    # What is compiled shares its weights with `network`, which is validated and saved.
    trained, optimizer = fabric.setup(torch.compile(network, mode=compiled) if compiled else network, optimizer)
    average = average_of(network, recipe)
    if state is None:
        state = TrainingState()
    else:
        network.load_state_dict(state.network)
        optimizer.load_state_dict(state.optimizer)
        if average is not None:
            average.load_state_dict(state.average)
        fabric.strategy.precision.load_state_dict(state.precision)
    augmenter = Augmenter(augmentation, decibel=front_end.decibel)
    order, generator = (torch.Generator(device=fabric.device) for _ in range(2))
    steps = len(train) // train.batch_size

    for epoch in range(state.epoch, recipe.epochs):
        order.manual_seed(seed_of(seed, epoch, 0))
        generator.manual_seed(seed_of(seed, epoch, 1 + fabric.global_rank))
        torch.manual_seed(seed_of(seed, epoch, 1 + fabric.global_rank))
        trained.train()
        rest(network)
        started, losses = time.perf_counter(), EpochLosses()
        removal = None if pruning is None else pruning.removal_after(epoch + 1, network)
        batches = train.shuffled(order, rank=fabric.global_rank, world_size=fabric.world_size)
        with progress(f"epoch {epoch + 1}/{recipe.epochs}", steps, "batches", rate="clips", loss=losses.recent) as line:
            for step, batch in enumerate(batches):
                rate = recipe.learning_rate * learning_rate_factor(epoch + step / steps, recipe)
                for group in optimizer.param_groups:
                    group["lr"] = rate * group["scale"]
                spectrograms, batch = augmented(batch, train, front_end, augmenter, responses, generator)
                optimizer.zero_grad(set_to_none=True)
                losses.add(backward(fabric, trained, loss, spectrograms, batch, recipe.accumulate), batch.rows)
                if removal is not None:
                    removal.observe()
                if recipe.clip:
                    fabric.clip_gradients(trained, optimizer, max_norm=recipe.clip, error_if_nonfinite=False)
                optimizer.step()
                if average is not None and recipe.ema:
                    average.update_parameters(network)
                line.advance(1, train.batch_size)
        means = losses.means(fabric, epoch + 1)
        seconds = time.perf_counter() - started
        if removal is not None:
            removal.apply(optimizer, average)
        if average is not None and recipe.average and epoch >= recipe.averaged_from:
            average.update_parameters(network)
            again = train.shuffled(order, rank=fabric.global_rank, world_size=fabric.world_size)
            with fabric.autocast(), progress("statistics", steps, "batches") as line:
                renew_statistics(
                    average.module,
                    (
                        augmented(batch, train, front_end, augmenter, responses, generator)[0]
                        for batch in line.over(again)
                    ),
                )
        validated = evaluated(network, average)
        in_step(fabric, validated)
        row = {
            "epoch": epoch + 1,
            "learning_rate": rate,
            **means,
            "clips_per_second": steps * train.batch_size / seconds,
        }
        if validation is None:
            is_finite = all(bool(value.isfinite().all()) for value in validated.state_dict().values())
        else:
            row |= validate(validated, front_end, validation, fabric)
            is_finite = math.isfinite(held_out_loss(row))
        if not is_finite:  # the last step went wrong
            raise NotFiniteError(epoch + 1, steps - 1, losses.last_rows)
        is_settled = pruning is None or epoch + 1 >= pruning.settled
        if recipe.keep == "best" and is_settled and held_out_loss(row) < state.best:
            state.best = held_out_loss(row)
            state.kept = {name: value.clone() for name, value in validated.state_dict().items()}
        state.epoch, state.network, state.optimizer = epoch + 1, network.state_dict(), optimizer.state_dict()
        state.precision = fabric.strategy.precision.state_dict()
        state.average = None if average is None else average.state_dict()
        state.rows.append(row)
        on_epoch(row, state)
    network.load_state_dict(state.kept or evaluated(network, average).state_dict())
    return network.eval()
