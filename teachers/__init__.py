"""Large networks that listen once and write down what they think.

Conventions: a builder takes keyword arguments and returns an nn.Module from log-mels (B, 1, mels, frames) to logits
(B, classes). All take `classes`, `pretrained` and `weights`; heavy packages are imported when a builder is called.
"""

from collections.abc import Callable

from torch import nn

from data.registry import build
from teachers.ast import ast
from teachers.cp_resnet import cp_resnet
from teachers.passt import passt
from teachers.timm_cnn import timm_cnn

TEACHERS: dict[str, Callable[..., nn.Module]] = {
    "ast": ast,
    "cp_resnet": cp_resnet,
    "passt": passt,
    "timm_cnn": timm_cnn,
}


def build_teacher(name: str, **arguments: object) -> nn.Module:
    """Build the teacher of a name; see data.registry.build."""
    return build("teacher", TEACHERS, name, arguments)
