"""The widest student within the limits of the task.

Conventions: a width is a whole number of steps, at least 1; a student's entry says what a step is (8 channels, say).
Costs are those of students/complexity.py, one byte a parameter.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from data.errors import UserError
from students import build_student, find_student, list_students
from students.complexity import torch_complexity
from students.limits import LIMITS, over_limits

WIDEST = "widest"
MOST = 1 << 12  # steps; a network that fits with so many does not grow with its width


def widest(build: Callable[[int], nn.Module], shape: Sequence[int], *, limits: Mapping[str, int] = LIMITS) -> int:
    """The largest width whose network fits the limits, by doubling and bisection.

    Multiply-accumulates and parameters must not fall as the width grows; then about 2 log2(width) networks are built.

    Args:
        build: width -> float network.
        shape: of its spectrogram, (1, 1, mels, frames).
        limits: as LIMITS.

    Raises:
        UserError: not even width 1 fits, or every width does.
    """

    def excess(width: int) -> list[str]:
        return over_limits(torch_complexity(build(width), shape), limits)

    if found := excess(1):
        raise UserError(f"not even the narrowest network fits spectrograms of {tuple(shape)}: {'; '.join(found)}")
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
    """A student's arguments with its width chosen: the widest within LIMITS with all other arguments as they are.

    Args:
        builder: name of the student.
        arguments: of its builder.
        shape: of its spectrogram, (1, 1, mels, frames).

    Raises:
        UserError: there is no such student, it has no such argument, or that is given already; see `widest`.
    """
    if (width := find_student(builder).width) is None:
        those = ", ".join(name for name, entry in list_students().items() if entry.width is not None)
        raise UserError(f"student.size={WIDEST} is for {those}: {builder} has no width to choose")
    name, step = width.argument, width.step
    if arguments.get(name) is not None:
        raise UserError(
            f"student.size={WIDEST} chooses student.arguments.{name}, which is {arguments[name]} already: set one of "
            "the two to null"
        )

    def with_width(steps: int) -> dict[str, object]:
        return {**arguments, name: step * steps}

    return with_width(widest(lambda steps: build_student(builder, **with_width(steps)), shape))
