"""Whether a state from a file can be one of this very training: nothing that is checked here can fail or mislead later.

Conventions: a fault is named by its field of TrainingState. What a state must agree with is the training's beginning,
made anew from the same settings, and the laws of the loop: a step of the optimiser a batch, a row an epoch, the lowest
validation log loss kept.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import nn

from data.errors import in_short
from data.ranges import fits
from data.tensors import differences, is_plain, kind_of, unfit
from experiments.settings.parts import Recipe
from experiments.training.optimization import average_of, learning_rate_factor, optimizer_of, updates_of_average
from experiments.training.pruning import Pruning
from experiments.training.state import (
    HELD_OUT,
    MULTI_LABEL,
    ROW,
    TERMS,
    TrainingState,
    damaged,
    held_out_loss,
    load_state,
)

MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam and AdamW, beside `step`
SHOWN = 3  # faults in a message
CLOSE = 1e-9  # relative, of numbers that are computed anew
SHARE = (HELD_OUT[0], MULTI_LABEL[0])  # of a row, from 0 to 1
ANY = ("loss", "soft_loss")  # of a row, of any sign: a divergence is rounded
MOVING = {"scale", "_growth_tracker"}  # of fp16's scaler: what changes


@dataclass(frozen=True)
class Beginning:
    """A training before its first step.

    Attributes:
        network: with its initial weights, on any device.
        groups: of its parameters, or None; see loop.fit.
        recipe: as it is used.
        steps: of an epoch.
        held_out: the names of the metrics that it is validated by; none without validation.
        precision: state dict of Fabric's precision plugin.
        pruning: when the network becomes narrower, or None.
    """

    network: nn.Module
    groups: list[dict[str, object]] | None
    recipe: Recipe
    steps: int
    held_out: Sequence[str]
    precision: Mapping[str, Any]
    pruning: Pruning | None = None


def resume(folder: Path, identity: Mapping[str, Any], beginning: Beginning) -> TrainingState | None:
    """The state that a stopped training of the same settings and inputs left in a run's folder, or None. A network that
    is pruned becomes as narrow as it was then.

    Raises:
        UserError: the file is of other settings or inputs, or damaged; it is left as it is.
    """
    state = load_state(folder, identity)
    if state is not None and (found := list(islice(faults(state, beginning), SHOWN))):
        raise damaged(folder, "; ".join(found))
    return state


def faults(state: TrainingState, beginning: Beginning) -> Iterator[str]:
    """What of a state cannot come from a training that began so, in words; nothing, if it can."""
    epochs = beginning.recipe.epochs
    if not (fits(int, state.epoch) and 1 <= state.epoch <= epochs):
        yield f"epoch={in_short(state.epoch)} of {epochs}"
        return
    if not _are_rows(state.rows, state.epoch, [*ROW, *beginning.held_out]):
        yield f"rows: not the numbers of {state.epoch} epochs, each finite and in its range"
        return
    yield from _schedule_faults(state, beginning)
    settled = 1
    if beginning.pruning is not None:
        settled = beginning.pruning.settled
        yield from beginning.pruning.follow(beginning.network, state.network, state.epoch)
    own = beginning.network.state_dict()
    yield from _weight_faults("network", state.network, own)
    yield from _average_faults(state, beginning)
    is_best = beginning.recipe.keep == "best" and state.epoch >= settled
    yield from _weight_faults("kept", state.kept, own if is_best else None)
    best = min(map(held_out_loss, state.rows[settled - 1 :])) if is_best else math.inf
    if not (fits(float, state.best) or state.best == math.inf) or state.best != best:
        yield f"best={in_short(state.best)}, and the rows say {best}"
    yield from _precision_faults(state.precision, beginning.precision)
    yield from _optimizer_faults(state, beginning)


def _are_rows(rows: object, epochs: int, names: Collection[str]) -> bool:
    """Whether they are the rows of so many epochs, with numbers of these names, and maybe the terms of a loss."""
    if not isinstance(rows, list) or len(rows) != epochs:
        return False
    return all(
        isinstance(row, dict)
        and set(names) <= row.keys() <= {*names, *TERMS}
        and all(fits(float, value) and (value >= 0 or name in ANY) for name, value in row.items())
        and all(row[name] <= 1 for name in SHARE if name in row)
        and row["epoch"] == number
        for number, row in enumerate(rows, 1)
    )


def _schedule_faults(state: TrainingState, beginning: Beginning) -> Iterator[str]:
    """Whether the learning rates are those of the recipe, which are the last step's of each epoch."""
    recipe, steps = beginning.recipe, beginning.steps
    for number, row in enumerate(state.rows):
        rate = recipe.learning_rate * learning_rate_factor(number + (steps - 1) / steps, recipe)
        if not math.isclose(row["learning_rate"], rate, rel_tol=CLOSE):
            yield f"rows: learning_rate={row['learning_rate']} in epoch {number + 1}, and the recipe says {rate}"
            return


def _average_faults(state: TrainingState, beginning: Beginning) -> Iterator[str]:
    """Whether the average of the weights was updated as often as it must have been."""
    average = average_of(beginning.network, beginning.recipe)
    problems = list(_weight_faults("average", state.average, None if average is None else average.state_dict()))
    yield from problems
    if state.average is not None and not problems:
        needed, updates = (
            updates_of_average(beginning.recipe, state.epoch, beginning.steps),
            state.average["n_averaged"],
        )
        if updates != needed:
            yield f"average: n_averaged={int(updates)}, and {needed} were averaged"


def _weight_faults(field: str, found: object, needed: Mapping[str, torch.Tensor] | None) -> Iterator[str]:
    """Whether weights have the names, shapes and types that are needed (None: there must be none), and are finite."""
    if needed is None or found is None:
        if found is not None or needed is not None:
            yield f"{field}: there must be {'none' if needed is None else 'one'} in this training"
        return
    if not _is_state_dict(found):
        yield f"{field}: not names with tensors"
        return
    problems = differences({name: tensor.shape for name, tensor in needed.items()}, found)
    problems = problems or [
        f"{name} is {kind_of(found[name])} and not {kind_of(own)}"
        for name, own in needed.items()
        if found[name].dtype != own.dtype
    ]
    yield from (f"{field}: {problem}" for problem in problems or unfit(needed, found))


def _is_state_dict(found: object) -> TypeGuard[dict[str, torch.Tensor]]:
    return isinstance(found, dict) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
    )


def _precision_faults(found: object, needed: Mapping[str, Any]) -> Iterator[str]:
    """Whether fp16's scaler is that of this training, with a scale above 0; other precisions have nothing."""
    if not isinstance(found, dict) or found.keys() != needed.keys():
        yield "precision: not that of this training"
        return
    for name, value in found.items():
        if not fits(float, value) or (value != needed[name] if name not in MOVING else value < 0):
            yield f"precision: {name}={in_short(value)}"
    if needed and not found.get("scale"):
        yield "precision: scale=0"


def _optimizer_faults(state: TrainingState, beginning: Beginning) -> Iterator[str]:
    """Whether the optimiser's state belongs to the parameters, and what it is set to is what the recipe says."""
    optimizer = optimizer_of(beginning.network, beginning.groups, beginning.recipe)
    needed, found = optimizer.state_dict(), state.optimizer
    if not isinstance(found, dict) or found.keys() != needed.keys() or not isinstance(found["state"], dict):
        yield "optimizer: not state and param_groups"
        return
    groups = found["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(needed["param_groups"]):
        yield "optimizer: other param_groups than this training has"
        return
    rate = state.rows[-1]["learning_rate"]
    for number, (group, own) in enumerate(zip(groups, needed["param_groups"], strict=True)):
        expected = {**own, "lr": rate * own["scale"]}
        if not isinstance(group, dict) or group.keys() != own.keys():
            yield f"optimizer: group {number} has other entries than this training's"
        else:
            yield from (
                f"optimizer: {name}={in_short(group[name])} in group {number} and not {in_short(value)}"
                for name, value in expected.items()
                if not _is_equal(group[name], value)
            )
    names = {id(parameter): name for name, parameter in beginning.network.named_parameters()}
    parameters = dict(enumerate(each for group in optimizer.param_groups for each in group["params"]))
    if strange := [key for key in found["state"] if key not in parameters]:
        yield f"optimizer: a state for a parameter {in_short(strange[0])} that is not there"
    for number, parameter in parameters.items():
        name, one = names[id(parameter)], found["state"].get(number)
        if one is not None:
            yield from _moment_faults(name, one, parameter, state.epoch * beginning.steps)
        elif not _is_untouched(state.network, name, parameter):
            yield f"optimizer: no state for {name}, which has been trained"


def _is_equal(found: object, expected: object) -> bool:
    """Equal and of the same type; floats nearly, because they may be computed anew."""
    if isinstance(expected, float):
        return isinstance(found, float) and math.isclose(found, expected, rel_tol=CLOSE)
    if isinstance(expected, tuple):
        return isinstance(found, tuple) and len(found) == len(expected) and all(map(_is_equal, found, expected))
    return type(found) is type(expected) and found == expected


def _is_untouched(weights: object, name: str, parameter: torch.Tensor) -> bool:
    """Whether a parameter is still what it was at the beginning."""
    found = weights.get(name) if isinstance(weights, dict) else None
    return isinstance(found, torch.Tensor) and is_plain(found) and torch.equal(found, parameter.detach().cpu())


def _moment_faults(name: str, found: object, parameter: torch.Tensor, most: int) -> Iterator[str]:
    """Whether what Adam keeps of a parameter is of its shape and finite, after at most so many steps."""
    if not _is_state_dict(found) or found.keys() != {"step", *MOMENTS}:
        yield f"optimizer: the state of {name} is not step, {', '.join(MOMENTS)}"
        return
    needed = {"step": torch.zeros(()), **dict.fromkeys(MOMENTS, parameter.detach())}
    problems = list(_weight_faults(f"optimizer: {name}", found, needed))
    yield from problems
    if problems:
        return
    step = float(found["step"])
    if not (step == int(step) and 1 <= step <= most):
        yield f"optimizer: step={step} of {name}, and {most} steps were done"
    if (found["exp_avg_sq"] < 0).any():
        yield f"optimizer: exp_avg_sq of {name} below 0"
