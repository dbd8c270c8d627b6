"""What a student module declares: how its network is built, and what reports and submissions must say about it.

Conventions: each module of this package that builds a student has one `Student` at its top level. Importing this file
does not import torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Width:
    """The argument that makes a student wider: multiply-accumulates and parameters must not fall as it grows.

    Attributes:
        argument: its name.
        step: its values are the positive multiples of this.
    """

    argument: str
    step: int


@dataclass(frozen=True)
class Student:
    """A kind of student network.

    Attributes:
        build: keyword arguments -> module from log-mels (B, 1, mels, frames) to logits (B, classes); it takes at least
            `classes`.
        family: of networks, in the organisers' word for a machine learning method.
        citation: of the paper, for the references of a report.
        has_integer_form: whether it can be quantised, with its default arguments.
        sizes: values of its argument `size`; none where it has no such argument.
        width: how it is made wider; None where it has no such argument.
    """

    build: Callable[..., "nn.Module"]
    family: Literal["CNN", "CRNN"]
    citation: str
    has_integer_form: bool
    sizes: tuple[str, ...] = ()
    width: Width | None = None
