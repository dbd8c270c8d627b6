"""A student that begins from the weights of another student, whose classes may be others.

Conventions: all tensors are taken over but those of layers whose shape depends on the number of classes, the
classifier's; these are taken over as well where the classes, and their order, are the same.
"""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import nn

from data.errors import UserError
from data.front_ends import DEFAULT, build_front_end
from data.tensors import differences
from experiments.training import checkpoint
from experiments.training.checkpoint import Blueprint
from students import build_student

KEY = "student.weights"

log = logging.getLogger(__name__)


def read_pretrained(path: Path, wanted: Blueprint) -> tuple[dict[str, torch.Tensor], Blueprint]:
    """The tensors of a student's checkpoint that a student of any classes begins with, by name, and what the file says.

    Args:
        path: of the checkpoint.
        wanted: of the student that is to begin with them; its classes are only compared with those of the file.

    Raises:
        UserError: see checkpoint.load; or it is of another network, width or front end.
    """
    source, found = checkpoint.load_student(path)
    if found.builder != wanted.builder:
        raise UserError(
            f"{KEY}={path} is of another architecture, {found.builder}, and this student is {wanted.builder}: choose "
            f"the student that it is of, or give the checkpoint of a {wanted.builder}"
        )
    _require_front_end(path, found, wanted)
    network, state = build_student(wanted.builder, **wanted.arguments), source.state_dict()
    anew = classifier_of(network, wanted) if found.scenes != wanted.scenes else set()
    kept = {name: tensor for name, tensor in state.items() if name not in anew}
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items() if name not in anew}
    if problems := differences(shapes, kept):
        more = f" (and {len(problems) - 1} more differences)" if len(problems) > 1 else ""
        built = ", ".join(f"{name}={value}" for name, value in found.arguments.items() if value is not None)
        raise UserError(
            f"{KEY}={path} is of another architecture or width: {problems[0]}{more}; it was built with {built}: give "
            "this student the same student.size and student.arguments, or give another checkpoint"
        )
    return kept, found


def begin_from(path: Path, network: nn.Module, wanted: Blueprint, before: str | None = None) -> None:
    """Give a network the tensors of a checkpoint; what it does not have of them keeps its values.

    Args:
        path, wanted: see read_pretrained.
        network: built by `wanted`.
        before: fingerprint of the same clips before those held out were trained on too, or None.

    Raises:
        UserError: see read_pretrained.
    """
    kept, found = read_pretrained(path, wanted)
    network.load_state_dict(kept, strict=False)
    anew = sorted({_layer_of(name) for name in network.state_dict().keys() - kept.keys()})
    of = f"{len(found.scenes)} classes" if anew else "the same classes"
    rest = f"new are {', '.join(anew)}, for {len(wanted.scenes)} classes" if anew else "nothing is new"
    log.info("%s, of %s: %d tensors are taken over, %s", path, of, len(kept), rest)
    if differing := _differing(found, wanted):
        log.warning("%s was trained on other log-mels: %s", path, ", ".join(differing))
    if not anew and found.clips not in (wanted.clips, before):
        log.warning("%s was trained on other clips or splits, maybe on clips that are held out here", path)


def classifier_of(network: nn.Module, blueprint: Blueprint) -> Collection[str]:
    """The names of the tensors of all layers that have a tensor whose shape depends on the number of classes."""
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    other = build_student(blueprint.builder, **{**blueprint.arguments, "classes": len(blueprint.scenes) + 1})
    more = other.state_dict()
    layers = {_layer_of(name) for name, shape in shapes.items() if name in more and more[name].shape != shape}
    return {name for name in shapes if _layer_of(name) in layers}


def _layer_of(name: str) -> str:
    return name.rpartition(".")[0]


def _require_front_end(path: Path, found: Blueprint, wanted: Blueprint) -> None:
    """Check that both networks see the same bands.

    Raises:
        UserError: front ends are of other kinds, or have other numbers of bands.
    """
    theirs, ours = (
        (each.mel.get("kind", DEFAULT), build_front_end(each.sample_rate, each.mel).mels) for each in (found, wanted)
    )
    if theirs != ours:
        raise UserError(
            f"{KEY}={path} was trained on {theirs[1]} bands of {theirs[0]}, this student hears {ours[1]} of {ours[0]}: "
            f"give student.mel.kind={theirs[0]} student.mel.mels={theirs[1]}, or another checkpoint"
        )


def _differing(found: Blueprint, wanted: Blueprint) -> list[str]:
    """What the front ends do not have in common, in words."""
    theirs, ours = ({"sample_rate": each.sample_rate, **each.mel} for each in (found, wanted))
    return [
        f"{name} {_word(theirs, name)} there and {_word(ours, name)} here"
        for name in dict.fromkeys([*theirs, *ours])
        if theirs.get(name) != ours.get(name)
    ]


def _word(mel: Mapping[str, object], name: str) -> str:
    return str(mel.get(name, "by default"))
