"""Students: small networks, how they learn from a teacher's logits, and how they are quantised.

Conventions: the builder of a student takes keyword arguments and returns an nn.Module from log-mels (B, 1, mels,
frames) to logits (B, classes). All take `classes`. Importing this package does not import torch: the modules are
imported when a student is first asked for.

To add a student, add two files:

1. A module here, whose name is the student's name in settings and checkpoints. It has the builder, and one entry at
   its top level (see entry.py):

       STUDENT = Student(build=my_net, family="CNN", citation="A. Author, Title, Conference 2025.",
                         has_integer_form=True)

   A network that is to be quantised consists of convolutions, BatchNorm, sub-spectral normalisation (blocks.py), norms
   of each clip (clip_norms.py), ReLU, average and maximum pools, additions, means, channels that are taken or joined,
   a GRU, and dense layers behind a flattened map; see quantize/fold.py.
2. A file of settings, experiments/conf/student/<any name>.yaml, with `builder: <the module's name>`.

>>> network = build_student("cp_mobile", size="61k")
>>> sum(parameter.numel() for parameter in network.parameters())
61148
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from data.registry import build, discover, find
from students.entry import Student

if TYPE_CHECKING:
    from torch import nn


def list_students() -> Mapping[str, Student]:
    """All students by name."""
    return discover(__name__, Student)


def find_student(name: str) -> Student:
    """The entry of a student: its builder and what is to be said about it.

    Raises:
        UserError: there is none of that name; the message lists those that there are.
    """
    return find("student", list_students(), name)


def build_student(name: str, **arguments: object) -> "nn.Module":
    """Build a student: a module from log-mels (B, 1, mels, frames) to logits (B, classes).

    Args:
        name: of a module of this package.
        arguments: of its builder; and for every student `widths`, the number of channels of groups that are to have
            fewer than the builder gives them, by the group's name; see narrowing.py.

    Raises:
        UserError: there is none of that name, or it does not take these arguments, or not with these values.
    """
    widths = arguments.pop("widths", None)
    network = build(f"student {name}", find_student(name).build, arguments)
    if widths is None:
        return network
    from students.narrowing import with_widths  # loads torch

    return build(f"student {name}", with_widths, {"network": network, "widths": widths})
