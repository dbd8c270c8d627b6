"""The widest student that fits: how many channels the limits buy.

Conventions: a width is a whole number of steps, at least 1; what a step is, is up to the builder (8 channels, say, or
a hundredth of a multiplier). Costs are those of students/complexity.py, one byte a parameter.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from data.errors import UserError
from students import build_student
from students.complexity import LIMITS, over_limits, torch_complexity

WIDEST = "widest"
WIDTHS = {"cp_mobile": ("base_channels", 8)}  # the argument that is a student's width, and its step
MOST = 1 << 12  # steps; who fits with so many does not grow with them


def widest(build: Callable[[int], nn.Module], shape: Sequence[int], *, limits: Mapping[str, int] = LIMITS) -> int:
    """The largest width whose network fits the limits, by doubling and bisection.

    Multiply-accumulates and parameters must not fall as the width grows; then about 2 log2(width) networks are built.

    Args:
        build: width -> float network.
        shape: of its picture, (1, 1, mels, frames).
        limits: as LIMITS.

    Raises:
        UserError: not even width 1 fits, or every width does.
    """

    def excess(width: int) -> list[str]:
        return over_limits(torch_complexity(build(width), shape), limits)

    if found := excess(1):
        raise UserError(f"not even the narrowest network fits pictures of {tuple(shape)}: {'; '.join(found)}")
    fits, over = 1, 2
    while not excess(over):
        fits, over = over, 2 * over
        if over > MOST:
            raise UserError(f"a network of {fits} steps still fits: its costs do not grow with its width")
    while over - fits > 1:
        middle = (fits + over) // 2
        if excess(middle):
            over = middle
        else:
            fits = middle
    return fits


def widest_arguments(builder: str, arguments: Mapping[str, object], shape: Sequence[int]) -> dict[str, object]:
    """A student's arguments with its width chosen: the widest that fits with all other arguments as they are.

    Raises:
        UserError: this student has no such argument, or it is given already; see `widest`.
    """
    if builder not in WIDTHS:
        raise UserError(f"student.size={WIDEST} is for {', '.join(WIDTHS)}: {builder} has no width to choose")
    name, step = WIDTHS[builder]
    if arguments.get(name) is not None:
        raise UserError(
            f"student.size={WIDEST} chooses student.arguments.{name}, which is {arguments[name]} already: set one of "
            "the two to null"
        )

    def at(width: int) -> dict[str, object]:
        return {**arguments, name: step * width}

    return at(widest(lambda width: build_student(builder, **at(width)), shape))
