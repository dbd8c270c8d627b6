"""Optimisers, the course of the learning rate, and what of a network is trained at which rate.

Conventions: the schedule is a pure function of the (fractional) epoch; the recipe (experiments/settings/parts.py) says
how long and how fast.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_avg_fn

from data.errors import UserError
from experiments.settings.parts import Recipe

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def learning_rate_factor(epoch: float, recipe: Recipe) -> float:
    """Share of the learning rate at an epoch: exp(-5 (1 - e / warm_up)^2), then 1, then down to the floor.

    Source: the warm-up is that of Tarvainen & Valpola, "Mean teachers are better role models", 2017, appendix B.
    """
    if epoch < recipe.warm_up:
        return math.exp(-5 * (1 - epoch / recipe.warm_up) ** 2)
    if epoch < recipe.constant_until:
        return 1.0
    progress = min(1.0, (epoch - recipe.constant_until) / recipe.down_over) if recipe.down_over > 0 else 1.0
    if recipe.schedule == "cosine":
        progress = (1 - math.cos(math.pi * progress)) / 2
    return 1 - (1 - recipe.floor) * progress


def parameter_groups(layers: Sequence[Sequence[nn.Parameter]], recipe: Recipe) -> list[dict[str, object]]:
    """What the optimiser gets: each layer's parameters and its `scale`, the factor on the learning rate.

    Frozen layers are left out, and their parameters need no gradient from now on.

    Args:
        layers: from the input to the output; see teachers/layers.py.

    Raises:
        UserError: nothing is left to train.
    """
    if recipe.frozen_layers >= len(layers):
        raise UserError(
            f"fit.frozen_layers={recipe.frozen_layers} leaves nothing to train: this network has {len(layers)} layers"
        )
    for layer in layers[: recipe.frozen_layers]:
        for parameter in layer:
            parameter.requires_grad_(False)
    trained = list(enumerate(layers))[recipe.frozen_layers :]
    return [
        {"params": list(layer), "scale": recipe.layer_decay ** (len(layers) - 1 - number)} for number, layer in trained
    ]


def optimizer_of(network: nn.Module, groups: list[dict[str, object]] | None, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser of a network.

    Args:
        network: whose parameters are trained.
        groups: as parameter_groups makes them; None: all parameters at the whole rate.
        recipe: kind, learning rate, weight decay.
    """
    groups = groups or [{"params": list(network.parameters()), "scale": 1.0}]
    return OPTIMIZERS[recipe.optimizer](groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def average_of(network: nn.Module, recipe: Recipe) -> AveragedModel | None:
    """The recipe's average of a network's weights, which begins as a copy of them; None: it has none.

    Exponential, of the weights after each step; or the mean of those after each of the last epochs. Source: Izmailov
    et al., "Averaging weights leads to wider optima and better generalization", UAI 2018, algorithm 1.
    """
    if recipe.ema:
        return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
    if recipe.average:
        return AveragedModel(network, avg_fn=get_swa_avg_fn(), use_buffers=True)
    return None


def updates_of_average(recipe: Recipe, epochs: int, steps: int) -> int:
    """How often an average of the weights was updated after some epochs of so many steps."""
    return epochs * steps if recipe.ema else max(0, epochs - recipe.averaged_from)


def evaluated(network: nn.Module, average: AveragedModel | None) -> nn.Module:
    """What is validated and kept: the average once there is one, before it the network itself."""
    return network if average is None or not average.n_averaged else average.module


def rest(network: nn.Module) -> None:
    """Parts whose weights are all frozen are in evaluation mode: BatchNorm keeps its statistics, dropout is off."""
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


@torch.no_grad()
def renew_statistics(network: nn.Module, spectrograms: Iterable[torch.Tensor]) -> None:
    """Compute BatchNorm's statistics anew, each the mean over the batches of an epoch of train clips.

    Those that training gathered are of other weights, and the mean of several networks' statistics are not those of
    the network with their mean weights. The clips are augmented as in training, from which all other networks have
    their statistics. Source: Izmailov et al., section 3.2.

    Args:
        network: frozen parts keep their statistics.
        spectrograms: batches of log-mels (B, 1, mels, frames).
    """
    network.train()
    rest(network)
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm) and layer.training]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative mean
    for batch in spectrograms:
        network(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
