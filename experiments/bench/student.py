"""Clips a second of training a student: the whole step, each of its parts, and the naive way.

The whole step is that of the training loop itself: read from the map, roll, impulse response, log-mel, Freq-MixStyle
and masks, forward, backward, optimiser. The naive way does the same to the same clips with the peers' front end, which
builds its mel bank anew for every batch (hear21passt's), and the network as PyTorch runs it by itself.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torch
from omegaconf import OmegaConf
from torch import nn

from data.augment import Augment
from data.batches import Batch, Batches
from data.errors import UserError
from data.front_ends import FrontEnd, build_front_end
from data.impulse import read_impulses
from data.packing import pack
from data.scenes import SCENES
from data.synthetic import IMPULSE_FOLDER, write_synthetic
from data.tau22 import read_tau22
from data.waves import WaveStore
from experiments.bench.data import repeated
from experiments.bench.teacher import HARDWARE, RATE, naive_front_end
from experiments.bench.timing import Action, Row, in_turns, rates, row
from experiments.distributed.fabric import compile_mode, make_fabric
from experiments.training.loop import fit
from experiments.training.optimization import Recipe
from students import build_student
from students.distill import distillation_loss

CONF = Path(__file__).parent.parent / "conf" / "student" / "cp_mobile.yaml"
STEPS = 3  # a round


def run(arguments: argparse.Namespace) -> list[Row]:
    """All rows: what, median, unit, rounds."""
    fabric = make_fabric(HARDWARE)
    size = arguments.batch or (256 if fabric.device.type == "cuda" else 64)
    if arguments.rounds < 1 or size < 2:
        raise UserError(f"--rounds={arguments.rounds} must be at least 1, --batch={size} at least 2")
    cfg = OmegaConf.to_container(OmegaConf.load(CONF))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        synthetic = write_synthetic(place / "synthetic")
        clips = repeated(read_tau22(arguments.root or synthetic), STEPS * size, place / "set")
        store = WaveStore(pack(clips, place / "cache", sample_rate=RATE))
        responses = torch.from_numpy(read_impulses(arguments.impulses or synthetic / IMPULSE_FOLDER, RATE))
        logits = np.random.default_rng(0).normal(size=(len(store), len(SCENES))).astype(np.float32)
        rows = np.arange(len(store))
        settings = {"batch_size": size, "targets": logits, "device": fabric.device, "residency": "auto"}
        batches = Batches(store, rows, clips.labels, clips.from_reference_device, **settings)
        few = Batches(store, rows[:2], clips.labels, clips.from_reference_device, **settings)
        return _whole(fabric, cfg, arguments, batches, few, responses) + _parts(
            fabric, cfg, arguments, batches, responses
        )


def _loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    return distillation_loss(logits, batch.targets, batch.labels)


def _whole(
    fabric: object, cfg: dict, arguments: argparse.Namespace, batches: Batches, few: Batches, responses: torch.Tensor
) -> list[Row]:
    """The loop's own figures, an epoch a round; the first epoch compiles and is left out."""
    recipe = Recipe(**{**cfg["fit"], "epochs": arguments.rounds + 1, "batch_size": batches.batch_size})
    found: dict[str, list[float]] = {}
    ways = {"compiled": compile_mode("auto", fabric.device, clips=10**9), "eager": None}
    if fabric.device.type == "cuda":
        ways["CUDA graphs"] = compile_mode("cuda-graphs", fabric.device, clips=0)
    for way, compiled in ways.items():
        if way == "compiled" and compiled is None:
            continue
        epochs: list[dict] = []
        fit(
            fabric,
            build_student(cfg["builder"], size=arguments.size),
            build_front_end(RATE, cfg["mel"]),
            batches,
            few,
            loss=_loss,
            recipe=recipe,
            augment=Augment(**cfg["augment"]),
            responses=responses,
            seed=0,
            on_epoch=lambda figures, _, epochs=epochs: epochs.append(figures),
            compiled=compiled,
        )
        found[way] = [figures["clips_per_second"] for figures in epochs[1:]]
    memory = [psutil.Process().memory_info().rss / 2**20]
    return [
        *(row(f"whole step, {way}", values, "clips/s") for way, values in found.items()),
        row("memory resident", memory, "MiB"),
    ]


def _parts(
    fabric: object, cfg: dict, arguments: argparse.Namespace, batches: Batches, responses: torch.Tensor
) -> list[Row]:
    device, augment = fabric.device, Augment(**cfg["augment"])
    chance = torch.Generator(device).manual_seed(0)
    batch = next(batches.shuffled(chance))
    responses = responses.to(device)
    front_end = build_front_end(RATE, cfg["mel"]).to(device)
    theirs = naive_front_end(cfg["mel"]).to(device).train()
    pictures = front_end(batch.waves)
    ours = build_student(cfg["builder"], size=arguments.size).to(device, memory_format=torch.channels_last)
    plain = build_student(cfg["builder"], size=arguments.size).to(device)

    def hear() -> torch.Tensor:
        return augment.waves(
            batch.waves, augment.shifts(len(batch.rows), chance), batch.from_reference_device, responses, chance
        )

    actions: dict[str, Action] = {
        "part: reading, 1 thread": lambda: [None for _ in batches.shuffled(chance)],
        "part: roll and impulse response": hear,
        "part: log-mel": lambda: _look(front_end, batch, chance),
        "part: log-mel, hear21passt's": lambda: _look_theirs(theirs, batch),
        "part: Freq-MixStyle and masks": lambda: augment.pictures(pictures, chance),
        "part: network, eager, channels last": _learning(ours, batch, lambda: pictures, torch.channels_last),
        "whole step, naive": _learning(
            plain, batch, lambda: augment.pictures(theirs(hear()), chance), torch.contiguous_format
        ),
    }
    for action in actions.values():
        action()
    seconds = in_turns(actions, arguments.rounds)
    clips = {name: len(batches) if "reading" in name else batches.batch_size for name in actions}
    return [row(name, rates(values, clips[name]), "clips/s") for name, values in seconds.items()]


@torch.no_grad()
def _look(front_end: FrontEnd, batch: Batch, chance: torch.Generator) -> torch.Tensor:
    return front_end(batch.waves, chance)


@torch.no_grad()
def _look_theirs(front_end: nn.Module, batch: Batch) -> torch.Tensor:
    return front_end(batch.waves)


def _learning(
    network: nn.Module, batch: Batch, see: Callable[[], torch.Tensor], memory_format: torch.memory_format
) -> Action:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-6)

    def learn() -> None:
        network.train()
        with torch.no_grad():
            pictures = see().contiguous(memory_format=memory_format)
        loss = _loss(network(pictures), batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return learn
