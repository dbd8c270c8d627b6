"""Which channels of a network to remove, so that it costs no more than it may.

Conventions: channels are removed in units of UNIT from one group (channels.py), because the kernels of devices compute
a few channels at a time. A score is what a channel is worth, at least 0; a target is the most that a cost may be, by
its name.
Source of the scores: Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019, section 3.1.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from students.channels import Group, groups_of
from students.narrowing import narrow

UNIT = 4

Costs = Callable[[nn.Module], Mapping[str, int]]


class _Unit(NamedTuple):
    """Some channels of a group that are removed together; those with the lowest price go first.

    Attributes:
        price: their mean score for the costs that one of them saves.
        place: number of the group.
        number: of the unit in its group.
        group: its name.
        size: number of channels.
    """

    price: float
    place: int
    number: int
    group: str
    size: int


def smallest_widths(network: nn.Module) -> dict[str, int]:
    """The number of channels that each group of a network keeps at least: one unit, or all of fewer."""
    return {name: min(group.width, UNIT) for name, group in groups_of(network).items()}


def narrowed(network: nn.Module, kept: Mapping[str, torch.Tensor]) -> nn.Module:
    """A copy of a network, on the CPU and in its evaluation mode, with some channels of each group."""
    network = copy.deepcopy(network).cpu().eval()
    narrow(network, kept)
    return network


def first_channels(widths: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """The first channels of each group, as many as it is to have."""
    return {name: torch.arange(width) for name, width in widths.items()}


def loss_changes(network: nn.Module, group: Group) -> torch.Tensor:
    """How much the loss would change if nothing read a channel any more, to first order, (channels,): the sum of weight
    times gradient over all weights that read it."""
    found = torch.zeros(group.width)
    for path, values in group.read_by:
        weight = network.get_submodule(path).weight
        if weight.grad is not None:
            products = (weight.detach() * weight.grad).transpose(0, 1).reshape(group.width * values, -1).sum(1)
            found += products.view(group.width, values).sum(1).float().cpu()
    return found.nan_to_num(0, 0, 0)  # a step that mixed precision skips


def kept_channels(
    network: nn.Module,
    scores: Mapping[str, torch.Tensor],
    targets: Mapping[str, float],
    costs: Costs,
    least: Mapping[str, int],
    *,
    by_cost: bool = True,
) -> dict[str, torch.Tensor]:
    """The channels that a network keeps, by group, as ascending indices.

    Units are removed in the order of their price, until the targets are met. Then those come back that are worth
    something and need not go, the dearest first: the last one that was removed may save more than was missing. A price
    is the mean score of its channels divided by what a channel of the group saves of each cost that is too high, as a
    share of what is too much of it.

    Args:
        network: it is left as it is.
        scores: of each channel, by group.
        targets: costs by name; they can be met.
        costs: of a network on the CPU.
        least: number of channels that each group keeps at least.
        by_cost: whether a price depends on what is saved; otherwise it is the score alone.
    """
    groups, now = groups_of(network), costs(narrowed(network, {}))
    excess = {name: now[name] - most for name, most in targets.items() if now[name] > most}
    if not excess:
        return {}
    orders = {name: scores[name].argsort(stable=True) for name in groups}

    def after(counts: Mapping[str, int]) -> dict[str, torch.Tensor]:
        return {name: orders[name][count:].sort().values for name, count in counts.items()}

    units: list[_Unit] = []
    for place, (name, group) in enumerate(groups.items()):
        sizes = unit_sizes(group.width, least[name])
        if not sizes:
            continue
        saved = 1.0
        if by_cost:
            fewer = costs(narrowed(network, after({name: sizes[0]})))
            saved = sum(max(0, now[each] - fewer[each]) / over for each, over in excess.items()) / sizes[0]
        means = [float(each.mean()) for each in scores[name][orders[name]][: sum(sizes)].split(sizes)]
        prices = [mean / saved if saved else math.inf for mean in means]
        units += [_Unit(price, place, n, name, size) for n, (price, size) in enumerate(zip(prices, sizes, strict=True))]
    units.sort()

    def suffice(removed: Sequence[_Unit]) -> bool:
        found = costs(narrowed(network, after(_counts(removed))))
        return all(found[name] <= targets[name] for name in excess)

    few, enough = 0, len(units)
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if suffice(units[:middle]) else (middle, enough)
    removed, needed = units[:enough], set[str]()
    for unit in units[:enough][::-1]:
        if unit.price and unit.group not in needed:
            rest = [each for each in removed if each != unit]
            if suffice(rest):
                removed = rest
            else:
                needed.add(unit.group)
    return after(_counts(removed))


def unit_sizes(width: int, least: int) -> list[int]:
    """The numbers of channels that are removed from a group one after the other: to the next multiple of UNIT, then
    UNIT at a time.

    >>> unit_sizes(18, 4), unit_sizes(18, 9), unit_sizes(3, 3)
    ([2, 4, 4, 4], [2, 4, 3], [])
    """
    sizes = []
    while width > least:
        sizes.append(min(width % UNIT or UNIT, width - least))
        width -= sizes[-1]
    return sizes


def _counts(units: Sequence[_Unit]) -> dict[str, int]:
    """How many channels they are, by group."""
    found: dict[str, int] = {}
    for unit in units:
        found[unit.group] = found.get(unit.group, 0) + unit.size
    return found
