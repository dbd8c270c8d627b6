"""A trained network on file, with everything that is needed to build it again.

Conventions: safetensors; the metadata holds builder, arguments, mel and scenes as JSON, so no yaml is needed and
nothing is executed on reading.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import nn

from data.errors import UserError
from data.files import cannot_write, replacing
from students import build_student
from teachers import build_teacher

KEY = "blueprint"  # of the metadata


@dataclass(frozen=True)
class Blueprint:
    """How to build a network again, and what it was trained on.

    Attributes:
        builder, arguments: of the network.
        mel: the front end's arguments.
        scenes: the classes, in the order of the logits.
        sample_rate: Hz.
        clips: fingerprint of the clips and their splits in training; who holds out others must know.
    """

    builder: str
    arguments: Mapping[str, object]
    mel: Mapping[str, object]
    scenes: tuple[str, ...]
    sample_rate: int
    clips: str


def save(path: Path, network: nn.Module, blueprint: Blueprint) -> None:
    """Write weights and blueprint, under a temporary name first; equal ones make equal files.

    Raises:
        UserError: the file cannot be written.
    """
    # One entry, because safetensors writes several in an order that changes.
    metadata = {KEY: json.dumps(dataclasses.asdict(blueprint), sort_keys=True)}
    state = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    try:
        with replacing(path) as temporary:
            safetensors.torch.save_file(state, temporary, metadata)
    except SafetensorError as error:
        raise cannot_write(path, error) from error


def load(path: str | Path, build: Callable[..., nn.Module]) -> tuple[nn.Module, Blueprint]:
    """Build the network of a checkpoint and load its weights.

    Args:
        path: the checkpoint.
        build: build_teacher or build_student.

    Raises:
        UserError: the file is missing or damaged, is no checkpoint of ours, or names an unknown builder.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: run the stage that trains it first, or name a file with checkpoint=FILE"
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        state = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged or no checkpoint ({error}): train again") from error
    if KEY not in metadata:
        raise UserError(f"{path} is no checkpoint of this version of scenelet: its metadata lack {KEY!r}; train again")
    try:
        values = json.loads(metadata[KEY])
        blueprint = Blueprint(**{**values, "scenes": tuple(values["scenes"])})
        network = build(blueprint.builder, **blueprint.arguments)
        network.load_state_dict(state)
    except UserError as error:
        raise UserError(f"{path} is a checkpoint of another architecture: {error}") from error
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise UserError(f"{path} does not fit the networks of this version ({error}): train again") from error
    return network.eval(), blueprint


def load_student(path: str | Path) -> tuple[nn.Module, Blueprint]:
    """As load, of a student's checkpoint."""
    return load(path, build_student)


def load_teacher(path: str | Path) -> tuple[nn.Module, Blueprint]:
    """As load, of a teacher's checkpoint."""
    return load(path, build_teacher)
