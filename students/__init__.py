"""Small networks, how they learn from logits, and how they become integers.

Conventions: a builder takes keyword arguments and returns an nn.Module from log-mels (B, 1, mels, frames) to logits
(B, classes). All take `classes`.
"""

from collections.abc import Callable

from torch import nn

from data.registry import build
from students.baseline import baseline
from students.cnn_gru import cnn_gru
from students.cp_mobile import cp_mobile

STUDENTS: dict[str, Callable[..., nn.Module]] = {"baseline": baseline, "cnn_gru": cnn_gru, "cp_mobile": cp_mobile}


def build_student(name: str, **arguments: object) -> nn.Module:
    """Build the student of a name; see data.registry.build."""
    return build("student", STUDENTS, name, arguments)
