"""Damaged and foreign checkpoints, training states and weights: a message each, whatever is in them."""

import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import fuzzing
import numpy as np
import pytest
import safetensors.torch
import torch
from lightning_fabric import Fabric
from torch import nn

from data.arrays import WaveArrays
from data.augmentation import Augmentation
from data.batches import Batch, Batches
from data.errors import UserError
from data.front_ends import build_front_end
from data.scenes import SCENES
from experiments.settings.parts import Recipe
from experiments.training import checkpoint
from experiments.training.consistency import Beginning, resume
from experiments.training.loop import fit
from experiments.training.state import HELD_OUT, RESUME, TrainingState, save_state
from students import build_student
from teachers import build_teacher

IDENTITY = {"settings": {"seed": 0}, "inputs": {"clips": "0123"}}
RECIPE = Recipe(
    epochs=3,
    batch_size=8,
    learning_rate=1e-3,
    weight_decay=1e-3,
    warm_up=1,
    constant_until=1,
    down_over=1,
    floor=0.1,
    ema=0.9,
)
NARROW = {"base_channels": 8, "cut_channels": [0, 0, 0]}  # of cp_resnet
BLUEPRINTS = {
    "student": checkpoint.Blueprint(
        "cp_mobile",
        {"classes": 10, "size": "6k", "blocks": [1, 1, 1], "strides": {"b2": [2, 2]}, "expansion_rate": 2.0},
        {"kind": "log_mel", "mels": 64, "hop": 1000},
        SCENES,
        32_000,
        "clips",
    ),
    "teacher": checkpoint.Blueprint(
        "passt",
        {"classes": 10, "pretrained": False, "width": 32, "depth": 1, "heads": 2, "frequency_patchout": 2},
        {"mels": 128, "hop": 320, "fft": 1024, "window": 800},
        SCENES,
        32_000,
        "clips",
    ),
}


def written(room: str, folder: Path) -> bytes:
    """A checkpoint's content."""
    blueprint = BLUEPRINTS[room]
    build = build_student if room == "student" else build_teacher
    checkpoint.save(folder / "made", build(blueprint.builder, **blueprint.arguments), blueprint)
    return (folder / "made").read_bytes()


def with_metadata(content: bytes, change: Callable[[dict], object]) -> bytes:
    """A safetensors file whose header was changed, as an object."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(change(json.loads(content[8 : 8 + length]))).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def rewritten(content: bytes, count: int, seed: int = 0) -> Iterator[fuzzing.Mutant]:
    """Checkpoints with one value of the blueprint, or of the header, changed."""
    draw, said = random.Random(seed), ""

    def change(header: dict) -> object:
        nonlocal said
        if draw.random() < 0.8:
            said, blueprint = fuzzing.retyped(json.loads(header["__metadata__"]["blueprint"]), draw)
            header["__metadata__"]["blueprint"] = json.dumps(blueprint)
            return header
        said, changed = fuzzing.retyped(header, draw)
        return changed

    for _ in range(count):
        mutant = with_metadata(content, change)
        yield said, mutant


@pytest.mark.parametrize("room", BLUEPRINTS)
@pytest.mark.slow  # some seconds
def test_a_damaged_checkpoint_is_a_message(tmp_path: Path, fuzz: int, room: str) -> None:
    """Oracle: bounds of time and memory, and a message for each damaged copy; what is read although bytes of it were
    changed, the original among it, has the weights that were written."""
    load = checkpoint.load_student if room == "student" else checkpoint.load_teacher
    content, count = written(room, tmp_path), fuzz if room == "student" else fuzz // 4
    expected = load(tmp_path / "made")[0].state_dict()

    def read(path: Path) -> None:
        found = load(path)[0].state_dict()
        assert all(torch.equal(found[name], value) for name, value in expected.items())

    fuzzing.survive(read, content, fuzzing.mutants(content, count), tmp_path, "checkpoint.safetensors")
    refused = fuzzing.survive(load, content, rewritten(content, count), tmp_path, "checkpoint.safetensors")
    assert refused > count / 2


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=4),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 2),
    )


def going_on(state: TrainingState | None, save: Callable[[TrainingState], None]) -> nn.Module:
    """A training of arrays, or what is left of it."""
    waves = np.random.default_rng(0).uniform(-1, 1, (24, 8_000)).astype(np.float32)
    store, labels, nobody = WaveArrays(waves, 8_000), np.arange(24) % 2, np.zeros(24, bool)
    train, held = (Batches(store, rows, labels, nobody, batch_size=8) for rows in (np.arange(16), np.arange(16, 24)))

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return nn.functional.cross_entropy(logits, batch.labels)

    mel = {"mels": 16, "hop": 500, "window": 1000, "fft": 1024, "high": 3000.0}
    return fit(
        Fabric(accelerator="cpu", devices=1),
        small(),
        build_front_end(8_000, mel),
        train,
        held,
        loss=loss,
        recipe=RECIPE,
        augmentation=Augmentation(),
        responses=None,
        seed=0,
        state=state,
        on_epoch=lambda _, reached: save(reached),
    )


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, torch.Tensor]]:
    """The state of a training after the second of three epochs, and the weights that it ends with."""
    folder = tmp_path_factory.mktemp("stopped")
    kept: list[bytes] = []

    def save(state: TrainingState) -> None:
        save_state(folder, IDENTITY, state)
        kept.append((folder / RESUME).read_bytes())

    network = going_on(None, save)
    return kept[1], network.state_dict()


def as_bytes(content: object, **how: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **how)
    return file.getvalue()


def altered(tensor: torch.Tensor, draw: random.Random) -> object:
    """A tensor of another shape, type or layout, or with a value that is not finite."""
    some = tensor.clone().float().flatten() if tensor.numel() else torch.zeros(1)
    some[draw.randrange(len(some))] = draw.choice((float("nan"), float("inf"), -float("inf")))
    return draw.choice(
        [
            some.reshape(tensor.shape) if tensor.numel() else some,
            tensor[None],
            tensor.to(torch.float16),
            tensor.to(torch.complex64),
            tensor.bool(),
            tensor.float().to_sparse(),
            torch.empty(tensor.shape, device="meta"),
            torch.zeros(1).expand(10**9),
            torch.zeros(0, 2**40),
            None,
            "tensor",
            [],
        ]
    )


def restated(content: bytes, count: int, seed: int = 0, **how: object) -> Iterator[fuzzing.Mutant]:
    """Torch files with one value in them changed."""
    original = torch.load(io.BytesIO(content), weights_only=True)
    draw = random.Random(seed)
    for _ in range(count):
        places: list[tuple[dict | list, object]] = []

        def collect(tree: object, places: list = places) -> object:
            """A copy, whose every place is noted."""
            if not isinstance(tree, dict | list):
                return tree
            copy = dict(tree) if isinstance(tree, dict) else list(tree)
            for key in copy if isinstance(copy, dict) else range(len(copy)):
                copy[key] = collect(copy[key])
                places.append((copy, key))
            return copy

        changed = collect(original)
        around, key = draw.choice(places)
        if isinstance(around[key], torch.Tensor):
            around[key], said = altered(around[key], draw), "tensor altered"
        else:
            said, around[key] = fuzzing.retyped(around[key], draw)
        if draw.random() < 0.1:
            del around[key]
        yield f"{key!r}: {said}", as_bytes(changed, **how)


@pytest.mark.slow  # some seconds
def test_a_damaged_training_state_is_a_message(tmp_path: Path, fuzz: int, stopped: tuple) -> None:
    """Oracle: bounds of time and memory; what is gone on from, the original among it, ends with the weights of the
    training that was not stopped, bit for bit."""
    content, expected = stopped

    def go_on(path: Path) -> None:
        state = resume(path.parent, IDENTITY, Beginning(small(), None, RECIPE, 2, HELD_OUT, {}))
        assert state is not None
        found = going_on(state, lambda _: None).state_dict()
        assert all(torch.equal(found[name], value) for name, value in expected.items())

    fuzzing.survive(go_on, content, fuzzing.mutants(content, fuzz), tmp_path, RESUME)
    fuzzing.survive(go_on, content, restated(content, fuzz), tmp_path, RESUME)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("epoch", 99, "epoch=99 of 3"),
        ("best", 0.0, "best=0.0, and the rows say"),
        ("kept", None, "kept: there must be one in this training"),
        ("average", None, "average: there must be one in this training"),
        ("precision", {"scale": 0.0}, "precision: not that of this training"),
        ("rows", [], "rows: not the numbers of 2 epochs"),
        ("seed", 0, "it is not the state of a training"),
    ],
)
def test_a_state_that_no_such_training_reaches_names_the_field(
    tmp_path: Path, stopped: tuple, field: str, value: object, said: str
) -> None:
    """Oracle: the message for each field; the file is left as it is."""
    content = torch.load(io.BytesIO(stopped[0]), weights_only=True) | {field: value}
    (tmp_path / RESUME).write_bytes(as_bytes(content))
    with pytest.raises(UserError) as caught:
        resume(tmp_path, IDENTITY, Beginning(small(), None, RECIPE, 2, HELD_OUT, {}))
    assert str(caught.value).startswith(f"{tmp_path / RESUME} is damaged ({said}")
    assert str(caught.value).endswith(": delete it, or give force=true, to begin again")
    assert (tmp_path / RESUME).is_file()


KINDS = {
    "weights.pt": as_bytes,
    "legacy.pt": lambda content: as_bytes(content, _use_new_zipfile_serialization=False),
    "weights.safetensors": safetensors.torch.save,
}


@pytest.mark.slow  # thousands of damaged files
@pytest.mark.parametrize("name", KINDS)
def test_damaged_weights_are_a_message(tmp_path: Path, fuzz: int, name: str) -> None:
    """Oracle: bounds of time and memory, and a message for each damaged copy; the original is read."""
    state = build_teacher("cp_resnet", **NARROW).state_dict()
    content = KINDS[name](state)

    def read(path: Path) -> None:
        build_teacher("cp_resnet", weights=path, **NARROW)

    fuzzing.survive(read, content, fuzzing.mutants(content, fuzz), tmp_path, name)
    if not name.endswith("safetensors"):
        how = {} if name == "weights.pt" else {"_use_new_zipfile_serialization": False}
        wrapped = as_bytes({"state_dict": dict(state), "epoch": 3, "lr": [0.1]}, **how)
        fuzzing.survive(read, wrapped, restated(wrapped, fuzz, **how), tmp_path, name)
