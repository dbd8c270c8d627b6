"""Clips a second of training a student: the whole step, each of its parts, and the naive way.

The whole step is that of the training loop itself: read from the map, roll, impulse response, log-mel, Freq-MixStyle
and masks, forward, backward, optimiser. The naive way does the same to the same clips with the peers' front end, which
builds its mel bank anew for every batch (hear21passt's), and the network as PyTorch runs it by itself.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import psutil
import torch
from lightning_fabric import Fabric
from torch import nn

from data.augmenter import Augmenter, Sounds
from data.batches import Batch, Batches
from data.errors import UserError
from data.front_ends import FrontEnd, build_front_end
from data.impulse import read_impulses
from data.packing import pack
from data.readers.synthetic import IMPULSE_FOLDER, write_synthetic
from data.readers.tau22 import read_tau22
from data.scenes import SCENES
from data.waves import WaveStore
from experiments.bench.data import repeated
from experiments.bench.teacher import DATA, HARDWARE, RATE, naive_front_end
from experiments.bench.timing import Action, Row, in_turns, rates, row
from experiments.command.schema import composed
from experiments.distributed.fabric import compile_mode, make_fabric
from experiments.settings.shared import StudentSettings
from experiments.training.loop import fit
from students import build_student
from students.distill import distillation_loss

STEPS = 3  # a round


def run(arguments: argparse.Namespace) -> list[Row]:
    """All rows: what, median, unit, rounds."""
    fabric = make_fabric(HARDWARE)
    size = arguments.batch or (256 if fabric.device.type == "cuda" else 64)
    if arguments.rounds < 1 or size < 2:
        raise UserError(f"--rounds={arguments.rounds} must be at least 1, --batch={size} at least 2")
    student = composed("student=cp_mobile", DATA).student
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        synthetic = write_synthetic(place / "synthetic")
        clips = repeated(read_tau22(arguments.root or synthetic), STEPS * size, place / "set")
        store = WaveStore(pack(clips, place / "cache", sample_rate=RATE))
        responses = torch.from_numpy(read_impulses(arguments.impulses or synthetic / IMPULSE_FOLDER, RATE))
        logits = np.random.default_rng(0).normal(size=(len(store), len(SCENES))).astype(np.float32)
        rows = np.arange(len(store))

        def batches_of(some: np.ndarray) -> Batches:
            return Batches(
                store,
                some,
                clips.labels,
                clips.from_reference_device,
                batch_size=size,
                targets=logits,
                device=fabric.device,
                residency="auto",
            )

        batches = batches_of(rows)
        whole = _whole(fabric, student, arguments, batches, batches_of(rows[:2]), responses)
        return whole + _parts(fabric, student, arguments, batches, responses)


def _loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    return distillation_loss(logits, batch.targets, batch.labels)


def _whole(
    fabric: Fabric,
    student: StudentSettings,
    arguments: argparse.Namespace,
    batches: Batches,
    few: Batches,
    responses: torch.Tensor,
) -> list[Row]:
    """The loop's own metrics, an epoch a round; the first epoch compiles and is left out."""
    recipe = dataclasses.replace(student.fit, epochs=arguments.rounds + 1, batch_size=batches.batch_size)
    found: dict[str, list[float]] = {}
    ways = {"compiled": compile_mode("auto", fabric.device, clips=10**9), "eager": None}
    if fabric.device.type == "cuda":
        ways["CUDA graphs"] = compile_mode("cuda-graphs", fabric.device, clips=0)
    for way, compiled in ways.items():
        if way == "compiled" and compiled is None:
            continue
        epochs: list[Mapping[str, float]] = []

        def keep(row: Mapping[str, float], _: object, epochs: list[Mapping[str, float]] = epochs) -> None:
            epochs.append(row)

        fit(
            fabric,
            build_student(student.builder, size=arguments.size),
            build_front_end(RATE, student.mel),
            batches,
            few,
            loss=_loss,
            recipe=recipe,
            augmentation=student.augment,
            responses=responses,
            seed=0,
            on_epoch=keep,
            compiled=compiled,
        )
        found[way] = [epoch["clips_per_second"] for epoch in epochs[1:]]
    memory = [psutil.Process().memory_info().rss / 2**20]
    return [
        *(row(f"whole step, {way}", values, "clips/s") for way, values in found.items()),
        row("memory resident", memory, "MiB"),
    ]


def _parts(
    fabric: Fabric, student: StudentSettings, arguments: argparse.Namespace, batches: Batches, responses: torch.Tensor
) -> list[Row]:
    device = fabric.device
    generator = torch.Generator(device).manual_seed(0)
    batch = next(batches.shuffled(generator))
    responses = responses.to(device)
    front_end = build_front_end(RATE, student.mel).to(device)
    augment = Augmenter(student.augment, decibel=front_end.decibel)
    theirs = naive_front_end(student.mel).to(device).train()
    spectrograms = front_end(batch.waves)
    ours = build_student(student.builder, size=arguments.size).to(device, memory_format=torch.channels_last)
    plain = build_student(student.builder, size=arguments.size).to(device)

    def filtered() -> torch.Tensor:
        given = Sounds(batch.waves, batch.from_reference_device, responses, sample_rate=front_end.sample_rate)
        return augment.augment_waves(given, generator).waves

    actions: dict[str, Action] = {
        "part: reading, 1 thread": lambda: [None for _ in batches.shuffled(generator)],
        "part: roll and impulse response": filtered,
        "part: log-mel": lambda: _log_mels(front_end, batch, generator),
        "part: log-mel, hear21passt's": lambda: _naive_log_mels(theirs, batch),
        "part: Freq-MixStyle and masks": lambda: augment.augment_spectrograms(spectrograms, generator),
        "part: network, eager, channels last": _training_step(ours, batch, lambda: spectrograms, torch.channels_last),
        "whole step, naive": _training_step(
            plain, batch, lambda: augment.augment_spectrograms(theirs(filtered()), generator), torch.contiguous_format
        ),
    }
    for action in actions.values():
        action()
    seconds = in_turns(actions, arguments.rounds)
    clips = {name: len(batches) if "reading" in name else batches.batch_size for name in actions}
    return [row(name, rates(values, clips[name]), "clips/s") for name, values in seconds.items()]


@torch.no_grad()
def _log_mels(front_end: FrontEnd, batch: Batch, generator: torch.Generator) -> torch.Tensor:
    return front_end(batch.waves, generator)


@torch.no_grad()
def _naive_log_mels(front_end: nn.Module, batch: Batch) -> torch.Tensor:
    return front_end(batch.waves)


def _training_step(
    network: nn.Module, batch: Batch, make: Callable[[], torch.Tensor], memory_format: torch.memory_format
) -> Action:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-6)

    def step() -> None:
        network.train()
        with torch.no_grad():
            spectrograms = make().contiguous(memory_format=memory_format)
        loss = _loss(network(spectrograms), batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step
