"""A network that begins from the checkpoint of another training, whose classes may be others.

Conventions: all tensors are taken over but those of layers whose shape depends on the number of classes, the
classifier's; these are taken over as well where the classes, and their order, are the same.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from data.errors import UserError
from data.front_ends import DEFAULT, build_front_end
from data.tensors import differences
from experiments.training import checkpoint
from experiments.training.checkpoint import Blueprint
from students import build_student
from teachers import build_teacher

ELSEWHERE = ("classes", "pretrained", "weights")  # arguments of builders that are compared by what they lead to

log = logging.getLogger(__name__)


class Kind(NamedTuple):
    """What begins: how it is called, the setting that names the checkpoint, those that a network's shape follows from,
    and how it is built and read."""

    word: str
    key: str
    arguments: str
    build: Callable[..., nn.Module]
    load: Callable[[Path], tuple[nn.Module, Blueprint]]


STUDENT = Kind(
    "student", "student.weights", "student.size and student.arguments", build_student, checkpoint.load_student
)
TEACHER = Kind("teacher", "teacher.start", "teacher.arguments", build_teacher, checkpoint.load_teacher)


def read_pretrained(path: Path, wanted: Blueprint, kind: Kind = STUDENT) -> tuple[dict[str, torch.Tensor], Blueprint]:
    """The tensors of a checkpoint that a network of any classes begins with, by name, and what the file says.

    Args:
        path: of the checkpoint.
        wanted: of the network that is to begin with them; its classes are only compared with those of the file.
        kind: of both networks.

    Raises:
        UserError: see checkpoint.load; or it is of another network, width or front end.
    """
    source, found = kind.load(path)
    if found.builder != wanted.builder:
        raise UserError(
            f"{kind.key}={path} is of another architecture, {found.builder}, and this {kind.word} is {wanted.builder}: "
            f"choose the {kind.word} that it is of, or give the checkpoint of a {wanted.builder}"
        )
    _require_front_end(path, found, wanted, kind)
    network, state = kind.build(wanted.builder, **wanted.arguments), source.state_dict()
    anew = classifier_of(network, wanted, kind) if found.scenes != wanted.scenes else set()
    kept = {name: tensor for name, tensor in state.items() if name not in anew}
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items() if name not in anew}
    if problems := differences(shapes, kept):
        more = f" (and {len(problems) - 1} more differences)" if len(problems) > 1 else ""
        built = ", ".join(f"{name}={value}" for name, value in found.arguments.items() if value is not None)
        raise UserError(
            f"{kind.key}={path} is of another architecture or width: {problems[0]}{more}; it was built with {built}: "
            f"give this {kind.word} the same {kind.arguments}, or give another checkpoint"
        )
    return kept, found


def begin_from(
    path: Path, network: nn.Module, wanted: Blueprint, before: str | None = None, kind: Kind = STUDENT
) -> None:
    """Give a network the tensors of a checkpoint; what it does not have of them keeps its values.

    Args:
        path, wanted, kind: see read_pretrained.
        network: built by `wanted`.
        before: fingerprint of the same clips before those held out were trained on too, or None.

    Raises:
        UserError: see read_pretrained.
    """
    kept, found = read_pretrained(path, wanted, kind)
    network.load_state_dict(kept, strict=False)
    anew = sorted({_layer_of(name) for name in network.state_dict().keys() - kept.keys()})
    of = f"{len(found.scenes)} classes" if anew else "the same classes"
    rest = f"new are {', '.join(anew)}, for {len(wanted.scenes)} classes" if anew else "nothing is new"
    log.info("%s, of %s: %d tensors are taken over, %s", path, of, len(kept), rest)
    theirs, ours = ({"sample_rate": each.sample_rate, **each.mel} for each in (found, wanted))
    if differing := _differing(theirs, ours):
        log.warning("%s was trained on other log-mels: %s", path, ", ".join(differing))
    theirs, ours = ({n: v for n, v in each.arguments.items() if n not in ELSEWHERE} for each in (found, wanted))
    if differing := _differing(theirs, ours):
        log.warning("%s was trained with other %s: %s", path, kind.arguments, ", ".join(differing))
    # Of other classes it is another data set, of whose clips the fingerprint, which has their classes, says nothing.
    if not anew and found.clips not in (wanted.clips, before):
        log.warning("%s was trained on other clips or splits, maybe on clips that are held out here", path)


def classifier_of(network: nn.Module, blueprint: Blueprint, kind: Kind = STUDENT) -> Collection[str]:
    """The names of the tensors of all layers that have a tensor whose shape depends on the number of classes."""
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    other = kind.build(blueprint.builder, **{**blueprint.arguments, "classes": len(blueprint.scenes) + 1})
    more = other.state_dict()
    layers = {_layer_of(name) for name, shape in shapes.items() if name in more and more[name].shape != shape}
    return {name for name in shapes if _layer_of(name) in layers}


def _layer_of(name: str) -> str:
    return name.rpartition(".")[0]


def _require_front_end(path: Path, found: Blueprint, wanted: Blueprint, kind: Kind) -> None:
    """Check that both networks see the same bands.

    Raises:
        UserError: front ends are of other kinds, or have other numbers of bands.
    """
    theirs, ours = (
        (each.mel.get("kind", DEFAULT), build_front_end(each.sample_rate, each.mel).mels) for each in (found, wanted)
    )
    if theirs != ours:
        raise UserError(
            f"{kind.key}={path} was trained on {theirs[1]} bands of {theirs[0]}, this {kind.word} hears {ours[1]} of "
            f"{ours[0]}: give {kind.word}.mel.kind={theirs[0]} {kind.word}.mel.mels={theirs[1]}, or another checkpoint"
        )


def _differing(theirs: Mapping[str, object], ours: Mapping[str, object]) -> list[str]:
    """What two groups of arguments do not have in common, in words."""
    return [
        f"{name} {_word(theirs, name)} there and {_word(ours, name)} here"
        for name in dict.fromkeys([*theirs, *ours])
        if theirs.get(name) != ours.get(name)
    ]


def _word(arguments: Mapping[str, object], name: str) -> str:
    return str(arguments.get(name, "by default"))
