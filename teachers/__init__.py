"""Teachers: large networks that are trained on the clips and whose logits the students learn from.

Conventions: the builder of a teacher takes keyword arguments and returns an nn.Module from log-mels (B, 1, mels,
frames) to logits (B, classes). All take `classes`, `pretrained` (start from published weights) and `weights` (a file
to start from). Importing this package does not import torch: the modules are imported when a teacher is first asked
for, and the packages of other people's networks when a builder is called.

To add a teacher, add two files:

1. A module here, whose name is the teacher's name in settings and checkpoints. It has the builder, and one entry at
   its top level (see entry.py):

       TEACHER = Teacher(build=my_net, family="CNN", citation="A. Author, Title, Conference 2025.", published=...)

   `published` says what the published weights are and were trained on, so that submissions declare it; leave it out
   where there are none. A network whose depth is not to be read from its children has a method `layers` (see
   layers.py).
2. A file of settings, experiments/conf/teacher/<any name>.yaml, with `builder: <the module's name>`.

>>> network = build_teacher("cp_resnet")
>>> sum(parameter.numel() for parameter in network.parameters())
127684
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from data.registry import build, discover, find
from teachers.entry import Teacher

if TYPE_CHECKING:
    from torch import nn


def list_teachers() -> Mapping[str, Teacher]:
    """All teachers by name."""
    return discover(__name__, Teacher)


def find_teacher(name: str) -> Teacher:
    """The entry of a teacher: its builder and what is to be said about it.

    Raises:
        UserError: there is none of that name; the message lists those that there are.
    """
    return find("teacher", list_teachers(), name)


def build_teacher(name: str, **arguments: object) -> "nn.Module":
    """Build a teacher: a module from log-mels (B, 1, mels, frames) to logits (B, classes).

    Args:
        name: of a module of this package.
        arguments: of its builder.

    Raises:
        UserError: there is none of that name, or it does not take these arguments, or not with these values.
    """
    return build(f"teacher {name}", find_teacher(name).build, arguments)
