"""What a student will cost on a device, said before it is trained, and refused if it is more than was asked for."""

import logging
from collections.abc import Sequence

from torch import nn

from data.errors import UserError, listed
from data.front_ends.integer_steps import integer_front_end
from experiments.settings.shared import Budget, Settings
from students.device.cost import CLOCKS, Estimate, milliseconds
from students.device.estimate import estimated
from students.limits import Complexity

log = logging.getLogger(__name__)


def estimate_of(settings: Settings, network: nn.Module, samples: int, classes: int) -> Estimate | str:
    """The costs of a student on a device; or why it has no form there."""
    try:
        front_end = integer_front_end(settings.data.sample_rate, settings.student.mel)
        return estimated(network, front_end, samples, classes)
    except UserError as error:
        return str(error)


def require_within_budget(settings: Settings, found: Estimate | str, cost: Complexity, *, said: bool = True) -> None:
    """Say what a student will cost on a device, and refuse it, or with limits=warn say so, if that is over its budget.

    Args:
        settings: of the command.
        found: see estimate_of.
        cost: by the task's rules, which is said as well.
        said: whether anything is said: once is enough.

    Raises:
        UserError: a cost is over the budget, or there is a budget and no form for devices.
    """
    budget = settings.student.budget
    if isinstance(found, str):
        if budget != Budget():
            raise UserError(f"student.budget is for students that devices compute: {found}")
        return
    if said:
        log.info("%s", _in_words(found, cost))
    excess = _over(budget, found)
    if excess and settings.limits == "error":
        raise UserError(
            f"student {settings.student.builder} is estimated to be over its budget on a device:\n{listed(excess)}\n"
            "make it smaller (student.size), or its log-mels (student.mel.fft, student.mel.mels, student.mel.hop); or "
            "train it all the same with limits=warn"
        )
    if excess and said:
        log.warning("student %s is estimated to be over its budget:\n%s", settings.student.builder, listed(excess))


def _in_words(found: Estimate, cost: Complexity) -> str:
    return (
        f"{cost.parameters:,} parameters, {cost.macs:,} multiply-accumulates; estimated with 8 bits on a Cortex-M4: "
        f"{found.ram:,} bytes of RAM, {found.flash:,} of flash, {found.cycles / 1e6:.1f} million cycles a clip, "
        f"{milliseconds(found.cycles):.0f} ms at {CLOCKS[-1] / 1e6:.0f} MHz"
    )


def _over(budget: Budget, found: Estimate) -> Sequence[str]:
    limits = {"ram": "bytes of RAM", "cycles": "cycles a clip"}
    return [
        f"{getattr(found, name):,} {what}, student.budget.{name}={limit:,}"
        for name, what in limits.items()
        if (limit := getattr(budget, name)) is not None and getattr(found, name) > limit
    ]
