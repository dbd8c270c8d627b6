"""Channels of a student are removed while it is trained, until it costs no more than it may.

After some epochs those channels go whose absence would change the loss least for what they cost (students/pruning.py),
by the gradients of that epoch's steps; between the removals the network recovers. Parameters, the optimiser's moments
and the average of the weights keep the values of the channels that stay. From removal to removal the costs fall by the
same factor.

Conventions: epochs are counted from 1; channels are removed at the end of one, before it is validated.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from experiments.training.state import seed_of
from students.channels import groups_of
from students.narrowing import narrow, some_of
from students.pruning import Costs, first_channels, kept_channels, loss_changes, narrowed

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """When and how far channels are removed.

    Attributes:
        epochs: after which channels are removed, ascending.
        targets: costs in the end, by name.
        whole: those costs of the network that the training begins with.
        costs: of a network, by name.
        least: number of channels that each group keeps at least.
        is_exact: whether the groups have exactly those in the end, whatever they cost.
        is_random: whether channels are drawn by chance.
        seed: of that.
    """

    epochs: tuple[int, ...]
    targets: Mapping[str, int]
    whole: Mapping[str, int]
    costs: Costs
    least: Mapping[str, int]
    is_exact: bool
    is_random: bool
    seed: int

    @property
    def settled(self) -> int:
        """The first epoch after which the network has its final size."""
        return self.epochs[-1]

    def targets_after(self, epoch: int) -> dict[str, float]:
        """The most that the network may cost after an epoch, by name."""
        done = sum(each <= epoch for each in self.epochs) / len(self.epochs)
        return {
            name: most if done == 1 else self.whole[name] * (most / self.whole[name]) ** done
            for name, most in self.targets.items()
        }

    def removal_after(self, epoch: int, network: nn.Module) -> "Removal | None":
        """What is to be removed after an epoch that begins; None: nothing."""
        return Removal(self, epoch, network) if epoch in self.epochs else None

    def follow(self, network: nn.Module, tensors: object, epoch: int) -> Iterator[str]:
        """Make a network as narrow as one was after an epoch.

        Args:
            network: as the training begins with it; in place.
            tensors: of the other one, by name, as far as they are tensors.
            epoch: of the other one.

        Returns:
            what cannot be, in words.
        """
        widths = {}
        for name, group in groups_of(network).items():
            found = tensors.get(f"{group.made_by[0]}.weight") if isinstance(tensors, dict) else None
            width = len(found) if isinstance(found, torch.Tensor) and found.ndim else group.width
            if not self.least[name] <= width <= group.width:
                yield f"network: {width} channels of {name}, and there are {self.least[name]} to {group.width}"
                return
            widths[name] = width
        narrow(network, first_channels(widths))
        found = self.costs(narrowed(network, {}))
        yield from (
            f"network: {found[name]:,} {name} after epoch {epoch}, at most {most:,.0f}"
            for name, most in self.targets_after(epoch).items()
            if found[name] > most
        )


class Removal:
    """The channels that go after one epoch.

    Args:
        pruning: when and how far.
        epoch: that begins.
        network: in training.
    """

    def __init__(self, pruning: Pruning, epoch: int, network: nn.Module) -> None:
        self._pruning, self._epoch, self._network = pruning, epoch, network
        self._groups = groups_of(network)
        self._scores = {name: torch.zeros(group.width) for name, group in self._groups.items()}

    def observe(self) -> None:
        """Take the gradients of a step into account."""
        if not self._pruning.is_random:
            for name, group in self._groups.items():
                self._scores[name] += loss_changes(self._network, group) ** 2

    def apply(self, optimizer: torch.optim.Optimizer, average: AveragedModel | None) -> None:
        """Remove the channels from the network, what the optimiser keeps of them, and the average of the weights."""
        pruning, network = self._pruning, self._network
        if pruning.is_random:
            generator = torch.Generator().manual_seed(seed_of(pruning.seed, self._epoch, 0))
            self._scores = {name: torch.rand(group.width, generator=generator) for name, group in self._groups.items()}
        if pruning.is_exact and self._epoch == pruning.settled:
            kept = {
                name: scores.argsort(stable=True)[len(scores) - pruning.least[name] :].sort().values
                for name, scores in self._scores.items()
            }
        else:
            kept = kept_channels(
                network,
                self._scores,
                pruning.targets_after(self._epoch),
                pruning.costs,
                pruning.least,
                by_cost=not pruning.is_random,
            )
        taken = narrow(network, kept)
        network.to(memory_format=torch.channels_last)
        if average is not None:
            narrow(average.module, kept)
            average.module.to(memory_format=torch.channels_last)
        for name, parameter in network.named_parameters():
            state = optimizer.state.get(parameter, {})
            for key, value in state.items():
                if name in taken and isinstance(value, torch.Tensor) and value.ndim:
                    state[key] = some_of(value, taken[name]).contiguous()
        costs = pruning.costs(narrowed(network, {}))
        words = ", ".join(f"{number:,} {name}" for name, number in costs.items())
        log.info("after epoch %d: %d channels are removed: %s", self._epoch, self._removed(kept), words)

    def _removed(self, kept: Mapping[str, torch.Tensor]) -> int:
        return sum(self._groups[name].width - len(indices) for name, indices in kept.items())
