"""Large networks that listen once and write down what they think.

Conventions: a builder takes keyword arguments and returns an nn.Module from log-mels (B, 1, mels, frames) to logits
(B, classes). All take `classes` and `pretrained`; heavy packages are imported when a builder is called.
"""

from collections.abc import Callable

from torch import nn

from data.errors import unknown


def _cp_resnet(**arguments: object) -> nn.Module:
    from teachers.cp_resnet import cp_resnet

    return cp_resnet(**arguments)


def _passt(**arguments: object) -> nn.Module:
    from teachers.passt import passt

    return passt(**arguments)


TEACHERS: dict[str, Callable[..., nn.Module]] = {"cp_resnet": _cp_resnet, "passt": _passt}


def build_teacher(name: str, **arguments: object) -> nn.Module:
    """Build the teacher of a name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in TEACHERS:
        unknown("teacher", name, TEACHERS)
    return TEACHERS[name](**arguments)
