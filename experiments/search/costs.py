"""What a network will cost, before it is trained.

Conventions: bytes and multiply-accumulates are those of the file of integers, exactly, by the challenge's counting; RAM
is what the C declares, exactly; flash and cycles are estimated (students/device/estimate.py). Energy is cycles times
the energy of a cycle: nothing else of a board is in it.
"""

import logging
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import nn

from data.errors import UserError, listed
from data.front_ends.integer_log_mel import IntegerLogMel
from data.progress import progress
from experiments.search.space import Network
from experiments.settings.search import Ceilings
from students.complexity import tflite_complexity
from students.device.estimate import model_estimate, untrained
from students.limits import LIMITS
from students.quantize.tflite import write_tflite

log = logging.getLogger(__name__)


class Cost(NamedTuple):
    """Of one clip; in the order of settings/search.py, COSTS."""

    bytes: int
    macs: int
    ram: int
    flash: int
    cycles: int
    millijoules: float


def cost_of(
    network: nn.Module, front_end: IntegerLogMel, samples: int, classes: int, bits: int, nanojoules: float
) -> Cost:
    """The cost of a float network after it is quantised.

    Args:
        network: log-mels to logits; its weights do not matter.
        front_end: that of the device.
        samples: of a clip.
        classes: number of scenes.
        bits: of its weights.
        nanojoules: of a cycle.

    Raises:
        UserError: a part of the network has no integer form.
    """
    model = untrained(network, front_end, samples, classes, bits)
    with tempfile.TemporaryDirectory() as folder:
        counted = tflite_complexity(write_tflite(model.network, Path(folder) / "model.tflite", {}))
    device = model_estimate(model)
    return Cost(counted.parameter_bytes, counted.macs, *device, device.cycles * nanojoules * 1e-6)


def excess(cost: Cost, budget: Mapping[str, float]) -> list[str]:
    """The names of the costs that are over the budget."""
    return [name for name, most in budget.items() if getattr(cost, name) > most]


def budget_of(asked: Ceilings, more: Mapping[str, int | None], *, has_limits: bool) -> dict[str, float]:
    """What a network may cost, by the names of its costs: the least of what is asked for.

    Args:
        asked: of the settings.
        more: further limits, by the same names; None: none.
        has_limits: whether those of the task hold.
    """
    limits = {"bytes": LIMITS["parameter_bytes"], "macs": LIMITS["macs"]} if has_limits else {}
    found = [*vars(asked).items(), *more.items(), *limits.items()]
    known = [(name, most) for name, most in found if most is not None]
    return {name: min(most for other, most in known if other == name) for name, _ in known}


def size_of(cost: Cost, names: Sequence[str]) -> float:
    """One number for several costs: the mean of their logarithms."""
    return sum(math.log(getattr(cost, name)) for name in names) / len(names)


def costs_of(
    networks: Sequence[Network], bits: Sequence[int], cost: Callable[[Network, int], Cost]
) -> dict[Network, dict[int, Cost]]:
    """The costs of networks, by number of bits; those that cannot be built, because their choices exclude each other,
    are left out, which is said.

    Args:
        networks: of the space.
        bits: in the order in which they are to be.
        cost: of a network with so many bits.

    Raises:
        UserError: none can be built.
    """
    found, problems = {}, Counter[str]()
    with progress("costs", len(networks), "networks") as line:
        for network in line.over(networks):
            try:
                found[network] = {width: cost(network, width) for width in bits}
            except UserError as error:
                problems[str(error)] += 1
    lines = listed([f"{count} networks: {problem}" for problem, count in problems.items()])
    if not found:
        raise UserError(f"no network of the space can be built:\n{lines}")
    if problems:
        log.info("left out of the space, as they cannot be built:\n%s", lines)
    return found


def affordable(costs: Mapping[Network, Mapping[int, Cost]], budget: Mapping[str, float]) -> dict[str, dict[int, Cost]]:
    """The costs of networks that are within a budget, by key and number of bits.

    Raises:
        UserError: no network is; the cheapest ones are named.
    """
    within = {
        network.key: fitting
        for network, own in costs.items()
        if (fitting := {bits: cost for bits, cost in own.items() if not excess(cost, budget)})
    }
    if within:
        return within
    every = [(network.words, bits, cost) for network, own in costs.items() for bits, cost in own.items()]
    lines = []
    for name, most in budget.items():
        words, bits, cheapest = min(every, key=lambda each: getattr(each[2], name))
        lines.append(
            f"{name}: at most {most:,}, and the cheapest has {getattr(cheapest, name):,} ({words}, {bits} bits)"
        )
    raise UserError(
        f"none of {len(costs)} networks of the space is within the budget:\n{listed(lines)}\nraise search.budget (the "
        "task's own limits are left out by limits=warn), or give smaller values in search.arguments and search.mel"
    )
