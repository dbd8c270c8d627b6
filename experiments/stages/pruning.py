"""What a student may cost: refused before training where it costs more, or pruned to it in training.

Conventions: costs are by name: parameters (bytes, at 8 bits), macs, and of a device cycles and ram.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from data.errors import UserError, listed
from experiments.settings.shared import Budget, Settings
from experiments.stages.budget import estimate_of, require_within_budget
from experiments.stages.context import require_within_limits
from experiments.training import checkpoint
from experiments.training.pruning import Pruning
from students.channels import groups_of
from students.complexity import torch_complexity
from students.device.estimate import Estimate
from students.limits import LIMITS, Complexity
from students.narrowing import WIDTHS
from students.pruning import first_channels, narrowed, smallest_widths

ON_DEVICE = ("cycles", "ram")
MOST = checkpoint.SPARE // 4  # parameters of a network that a checkpoint of a narrower one is built from

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Affordable:
    """What students may cost by the settings of a command, and what they do.

    Attributes:
        settings: of the command.
        shape: of a clip's log-mel, (1, 1, mels, frames).
        samples: of a clip.
        classes: number of scenes.
        is_final: whether the limits of the task and the budget hold: of a student that another training begins with
            the classifier is replaced.
    """

    settings: Settings
    shape: Sequence[int]
    samples: int
    classes: int
    is_final: bool = True

    def costs(self, network: nn.Module) -> tuple[Complexity, Estimate | str]:
        """By the task's rules, and on a device, or why a student has no form there."""
        on_device = estimate_of(self.settings, network, self.samples, self.classes)
        return torch_complexity(network, self.shape), on_device

    def require(self, network: nn.Module, *, said: bool = True) -> None:
        """Check a student that is not pruned.

        Raises:
            UserError: see require_within_limits and require_within_budget.
        """
        if not self.is_final:
            return
        cost = torch_complexity(network, self.shape)
        remedy = (
            "make it smaller (student.size, student.arguments, student.prune), or its log-mels (student.mel.mels, "
            "student.mel.hop, data.clip_seconds)"
        )
        require_within_limits(cost, f"student {self.settings.student.builder}", remedy, self.settings.limits, said=said)
        if said or self.settings.student.budget != Budget():
            on_device = estimate_of(self.settings, network, self.samples, self.classes)
            require_within_budget(self.settings, on_device, cost, said=said)

    def pruning(self, network: nn.Module, epochs: int, first: Path | None = None) -> Pruning | None:
        """How a student is pruned; None: it is not, or it costs no more than it may already.

        Args:
            network: as the training begins with it, on the CPU.
            epochs: of the training.
            first: with refit=true, the checkpoint of the first phase, whose widths the groups get.

        Raises:
            UserError: even the smallest network costs more, or this one cannot be pruned.
        """
        prune, targets = self.settings.student.prune, targets_of(self.settings, is_final=self.is_final)
        if not prune.targets:
            return None
        if (size := sum(parameter.numel() for parameter in network.parameters())) > MOST:
            raise UserError(f"student.prune is for students of {MOST:,} parameters at most, and this one has {size:,}")
        least, whole = smallest_widths(network), self._by_name(network)
        over = {name: most for name, most in targets.items() if whole[name] > most}
        if not over:
            log.info("student.prune: the student costs no more than it may, nothing is removed: %s", whole)
            return None
        smallest = self._by_name(narrowed(network, first_channels(least)))
        if missed := [name for name, most in over.items() if smallest[name] > most]:
            words = listed(
                [f"{smallest[name]:,} {name}, and at most {targets[name]:,} are asked for" for name in missed]
            )
            raise UserError(
                f"student.prune: the smallest network that {self.settings.student.builder} can be pruned to costs more"
                f":\n{words}\nraise the target (student.prune, or student.budget; limits=warn leaves the task's limits "
                "out), or make the log-mels smaller (student.mel.mels, student.mel.hop)"
            )
        if first is not None:
            least = widths_of(checkpoint.load_student(first)[0])
        return Pruning(
            epochs=prune.epochs(epochs),
            targets=over,
            whole=whole,
            costs=self._by_name,
            least=least,
            is_exact=first is not None,
            is_random=prune.ranking == "random",
            seed=self.settings.seed,
        )

    def _by_name(self, network: nn.Module) -> dict[str, int]:
        """The costs that there are targets for."""
        cost = torch_complexity(network, self.shape)
        found = {"parameters": cost.parameters, "macs": cost.macs}
        if not targets_of(self.settings, is_final=self.is_final).keys() & {*ON_DEVICE}:
            return found
        device = estimate_of(self.settings, network, self.samples, self.classes)
        if isinstance(device, str):
            raise UserError(f"student.prune.cycles and student.budget are for students that devices compute: {device}")
        return {**found, "cycles": device.cycles, "ram": device.ram}


def targets_of(settings: Settings, *, is_final: bool) -> dict[str, int]:
    """What a pruned student may cost in the end: what was asked for, and, unless they are only said (limits=warn), the
    limits of the task and the budget; see Affordable."""
    found = [*settings.student.prune.targets.items()]
    if is_final and settings.limits == "error":
        budget = {name: getattr(settings.student.budget, name) for name in ON_DEVICE}
        found += [("parameters", LIMITS["parameter_bytes"]), ("macs", LIMITS["macs"])]
        found += [(name, most) for name, most in budget.items() if most is not None]
    return {name: min(most for own, most in found if own == name) for name, _ in found}


def pruned_identity(settings: Settings, *, is_final: bool) -> dict[str, object]:
    """What a training depends on where its student is pruned."""
    return {"pruned_to": targets_of(settings, is_final=is_final)} if settings.student.prune.targets else {}


def require_prunable(settings: Settings) -> None:
    """Check settings that pruning does not go with.

    Raises:
        UserError: all of them are listed.
    """
    student = settings.student
    if not student.prune.targets:
        return
    problems = []
    if student.distill.features and settings.distill != "none":
        problems.append("student.distill.features projects a fixed number of channels: leave it out")
    if settings.fabric.processes > 1:
        problems.append(f"fabric.devices={settings.fabric.processes}: a network is pruned on one device")
    if (epochs := student.fit.lasting(settings.epochs).epochs) < 2:
        problems.append(f"epochs={epochs} leaves none to recover in: give two at least")
    if problems:
        raise UserError(f"student.prune cannot be:\n{listed(problems)}")


def widths_of(network: nn.Module) -> dict[str, int]:
    """The number of channels of each group."""
    return {name: group.width for name, group in groups_of(network).items()}


def narrower(arguments: Mapping[str, object], network: nn.Module) -> dict[str, object]:
    """The arguments of build_student with which a pruned network is built."""
    return {**arguments, WIDTHS: widths_of(network)}
