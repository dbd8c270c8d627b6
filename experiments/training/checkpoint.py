"""A trained network on file, with everything that is needed to build it again.

Conventions: safetensors; the metadata holds builder, arguments, mel and scenes as JSON, so no yaml is needed and
nothing is executed on reading.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from data.allocation import AllocationLimit
from data.errors import UserError, in_short
from data.files import cannot_write, replacing
from data.front_ends import FrontEnd, build_front_end
from data.names import is_label
from data.ranges import RATES, Seconds
from data.signatures import misfits
from data.tensors import Header, differences, read_header, read_safetensors, refuse_unfit, unfit
from experiments.runs.anew import made_anew
from students import build_student, list_students
from teachers import build_teacher, list_teachers

KEY, DIGEST = "blueprint", "weights_sha256"  # of the metadata, and of what stands there
DEVICES, CLIP_SECONDS, MULTI_LABEL = "devices", "clip_seconds", "is_multi_label"  # of a blueprint, which may lack them
LONGEST = 200  # characters of a name
FRESH = {"pretrained": False, "weights": None}  # a teacher's arguments, whose weights are those in the file
# What may be made of a file of some size: bytes of a network, those of a front end, operations of torch a tensor.
TIMES, SPARE, FRONT_END = 4, 4 << 20, 64 << 20
OPERATIONS, SOME = 20, 100
FRAMES = 2_000  # of a log-mel that a network is tried on, at most

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Blueprint:
    """How to build a network again, and what it was trained on.

    Attributes:
        builder, arguments: of the network.
        mel: the front end's arguments.
        scenes: the classes, in the order of the logits.
        sample_rate: Hz.
        clips: fingerprint of the clips and their splits in training; who holds out others must know.
        devices: those that have tensors of their own beside the shared ones; see devices.py.
        clip_seconds: length of a clip of a student; earlier versions did not say it.
        is_multi_label: whether a clip may have several classes, each with a probability of its own.
    """

    builder: str
    arguments: Mapping[str, object]
    mel: Mapping[str, object]
    scenes: tuple[str, ...]
    sample_rate: int
    clips: str
    devices: tuple[str, ...] = ()
    clip_seconds: Seconds | None = None
    is_multi_label: bool = False

    def described(self) -> dict[str, object]:
        """As a mapping; without what it has not of the attributes that files of earlier versions lack."""
        return {n: v for n, v in dataclasses.asdict(self).items() if v or n not in (DEVICES, CLIP_SECONDS, MULTI_LABEL)}


def save(path: Path, network: nn.Module, blueprint: Blueprint, sets: Sequence[Mapping[str, torch.Tensor]] = ()) -> None:
    """Write weights and blueprint, under a temporary name first; equal ones make equal files. `sets` are the tensors
    of each of the blueprint's devices, by their names in the network.

    Raises:
        UserError: the file cannot be written.
    """
    own = [(name_of_own(number, name), tensor) for number, some in enumerate(sets) for name, tensor in some.items()]
    state = {name: tensor.contiguous().cpu() for name, tensor in [*network.state_dict().items(), *own]}
    # One entry, because safetensors writes several in an order that changes.
    metadata = {KEY: json.dumps({**blueprint.described(), DIGEST: digest_of(state)}, sort_keys=True)}
    try:
        with replacing(path) as temporary:
            safetensors.torch.save_file(state, temporary, metadata)
    except SafetensorError as error:
        raise cannot_write(path, error) from error


def load(path: str | Path, build: Callable[..., nn.Module]) -> tuple[nn.Module, Blueprint]:
    """Build the network of a checkpoint and load its weights; of one with devices, the general network, which is said.

    What stands in the file is checked before it is used: it can neither have other files read or fetched, nor have
    more built than its weights need.

    Args:
        path: the checkpoint.
        build: build_teacher or build_student.

    Raises:
        UserError: the file is missing or damaged, is no checkpoint of ours, or names an unknown builder.
    """
    network, blueprint, _ = load_with_sets(path, build)
    if blueprint.devices:
        log.info("%s has tensors of %d devices; the general student is taken", path, len(blueprint.devices))
    return network, dataclasses.replace(blueprint, devices=())


def load_with_sets(
    path: str | Path, build: Callable[..., nn.Module]
) -> tuple[nn.Module, Blueprint, dict[str, dict[str, torch.Tensor]]]:
    """As load, and the tensors of each device, by device and by their names in the network."""
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: run the stage that trains it first, or name a file with checkpoint=FILE"
        )
    remedy = made_anew(path)
    header = read_header(path, remedy)
    try:
        blueprint, digest = read_blueprint(header.metadata)
    except ValueError as error:
        raise UserError(f"{path} is no checkpoint of this version of scenelet: {error}; {remedy}") from error
    try:
        network, front_end = _built(blueprint, build, header)
    except UserError as error:
        wanted, others = ("student", list_teachers()) if build is build_student else ("teacher", list_students())
        if blueprint.builder in others:
            raise UserError(f"{path} is a checkpoint of {blueprint.builder}: name one of a {wanted}") from error
        raise UserError(f"{path} is a checkpoint of another architecture: {error}; {remedy}") from error
    own = network.state_dict()
    names, numbers = [name for name in own if name_of_own(0, name) in header.shapes], range(len(blueprint.devices))
    own |= {name_of_own(number, name): own[name] for number in numbers for name in names}
    refuse_unfit(path, differences({name: tensor.shape for name, tensor in own.items()}, header.shapes), remedy)
    state = read_safetensors(path, remedy)
    if digest not in (None, digest_of(state)):
        raise UserError(f"{path} is damaged (its weights are not those that were written): {remedy}")
    refuse_unfit(path, unfit(own, state), remedy)
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    if problem := _does_not_answer(network.eval(), front_end, blueprint):
        raise UserError(f"{path} does not work: {problem}; {remedy}")
    sets = [{name: state[name_of_own(number, name)] for name in names} for number in numbers]
    return network, blueprint, dict(zip(blueprint.devices, sets, strict=True))


def name_of_own(number: int, name: str) -> str:
    """How a tensor that a device has of its own is called in the file."""
    return f"device/{number}/{name}"


def digest_of(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of tensors, their names and types, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def read_blueprint(metadata: Mapping[str, str]) -> tuple[Blueprint, str | None]:
    """The blueprint in the metadata of a file, each value of its type and in its range, and the digest of its weights.

    Earlier versions wrote no digest; theirs is None.

    Raises:
        ValueError: there is none, or a value is wrong.
    """
    if KEY not in metadata:
        raise ValueError(f"its metadata lack {KEY!r}")
    try:
        values = json.loads(metadata[KEY], parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{KEY} is no JSON ({in_short(str(error))})") from error
    names = {each.name for each in dataclasses.fields(Blueprint)}
    if not isinstance(values, dict) or values.keys() - {DIGEST} | {DEVICES, CLIP_SECONDS, MULTI_LABEL} != names:
        raise ValueError(f"{KEY} must have {', '.join(sorted(names))}, and nothing else")
    digest = values.pop(DIGEST, None)
    if wrong := misfits(Blueprint, values):
        raise ValueError(f"{KEY}: {wrong[0]}")
    devices = tuple(values.get(DEVICES, ()))
    if [device for device in devices if not is_label(device)] or len(set(devices)) < len(devices):
        raise ValueError(f"{KEY}: devices={in_short(devices)} must be names, each there once")
    scenes, rate, arguments = values["scenes"], values["sample_rate"], values["arguments"]
    texts = [values["builder"], values["clips"]]
    if strange := [text for text in texts if not (text.isprintable() and len(text) < LONGEST)]:
        raise ValueError(f"{KEY}: {in_short(strange[0])} must be a short text")
    if odd := [scene for scene in scenes if not is_label(scene)]:
        raise ValueError(f"{KEY}: {in_short(odd[0])} can be no name of a class")
    if not scenes or len(set(scenes)) < len(scenes):
        raise ValueError(f"{KEY}: scenes={in_short(scenes)} must be names, each there once")
    if rate not in RATES:
        raise ValueError(f"{KEY}: sample_rate={rate} must be {RATES}")
    if arguments.get("classes", len(scenes)) != len(scenes):
        raise ValueError(f"{KEY}: classes={in_short(arguments['classes'])} for {len(scenes)} scenes")
    if given := [f"{name}={in_short(arguments[name])}" for name in FRESH if arguments.get(name)]:
        raise ValueError(f"{KEY}: {', '.join(given)}, but the weights of a checkpoint are those in it")
    return Blueprint(**{**values, "scenes": tuple(scenes), DEVICES: devices}), digest


def _built(blueprint: Blueprint, build: Callable[..., nn.Module], header: Header) -> tuple[nn.Module, FrontEnd]:
    """The network of a blueprint with random weights, and its front end.

    Raises:
        UserError: they cannot be built, or are larger than the file's weights.
    """
    arguments = {"classes": len(blueprint.scenes), **blueprint.arguments}
    if build is build_teacher:
        arguments |= FRESH
    with AllocationLimit(TIMES * header.size + SPARE, OPERATIONS * (SOME + len(header.shapes))):
        network = build(blueprint.builder, **arguments)
    with AllocationLimit(FRONT_END, OPERATIONS * SOME):
        return network, build_front_end(blueprint.sample_rate, blueprint.mel)


def _does_not_answer(network: nn.Module, front_end: FrontEnd, blueprint: Blueprint) -> str | None:
    """What is wrong with the logits of a second of silence, or of less if its log-mel is long; None if nothing is."""
    room, samples = blueprint.arguments.get("frames"), blueprint.sample_rate
    while front_end.frames(samples) > FRAMES:
        samples //= 2
    try:
        with torch.no_grad():
            spectrogram = front_end(torch.zeros(1, samples))
            logits = network(spectrogram[..., :room] if isinstance(room, int) else spectrogram)
    except UserError:  # it is for longer clips
        return None
    except Exception as error:  # what is raised depends on the network
        return f"its network cannot be applied to a second of silence ({in_short(str(error))})"
    if logits.shape != (1, len(blueprint.scenes)):
        return f"its network has logits of the shape {tuple(logits.shape)} for {len(blueprint.scenes)} scenes"
    return None if logits.isfinite().all() else "its logits of a second of silence are not finite"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def load_student(path: str | Path) -> tuple[nn.Module, Blueprint]:
    """As load, of a student's checkpoint."""
    return load(path, build_student)


def load_teacher(path: str | Path) -> tuple[nn.Module, Blueprint]:
    """As load, of a teacher's checkpoint."""
    return load(path, build_teacher)
