"""The energy of classifying clips with a model, beside that of the challenge's baseline.

Conventions: kWh are of one pass over some clips: log-mel and network, clip by clip, by the same kernels for both; waves
are in memory before. The baseline has its published layers, front end and 8 bits, and random weights, on which energy
does not depend. It is for clips of 1 s at 44.1 kHz: of other clips it is given the sound in such pieces. Normalised
energy is the baseline's kWh over the model's, of the same sound: above 1 the model needs less.
Source: DCASE 2023 Task 1, "Energy consumption"; what is metered, and when it is an estimate: runs/energy.py.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from data.audio import resample, to_integers
from data.errors import UserError
from data.front_ends import FrontEnd
from data.front_ends.integer_steps import network_input
from data.waves import to_float
from experiments.runs.energy import in_alternation
from experiments.runs.formats import Metered
from experiments.runs.meter import Action
from students import build_student
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.tflite import write_tflite

SHAPE = (1, 1, 40, 51)  # of the baseline's spectrograms, as published
RATE = 44_100  # Hz, of the baseline's clips, which are as many samples long
SEED = 0
SOME = 16  # clips from which the baseline's scales are taken


class Model(Protocol):
    """What is metered: a file of integers, or a network of floats."""

    def logits(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Log-mels (n, 1, mels, frames) -> float32 logits (n, classes)."""
        ...


class Clips(NamedTuple):
    """Waves int16 (n, samples) and their scales float32 (n,), see data/waves.py."""

    waves: torch.Tensor
    scales: torch.Tensor


def of_baseline(clips: Clips, rate: int) -> Clips:
    """The sound of some clips in clips of the baseline; the end of each is completed with silence.

    Args:
        clips: of one length.
        rate: Hz.
    """
    if rate == RATE and clips.waves.shape[1] == RATE:
        return clips
    found, samples = [], round(clips.waves.shape[1] * RATE / rate)
    for wave, scale in zip(*(each.split(1) for each in clips), strict=True):
        sound = resample(to_float(wave, scale)[0].numpy(), rate, RATE)[:samples]
        waves, scales, _ = to_integers(np.pad(sound, (0, -len(sound) % RATE)).reshape(-1, RATE))
        found.append((waves.copy(), scales))  # the next call overwrites the former
    return Clips(*(torch.from_numpy(np.concatenate(parts)) for parts in zip(*found, strict=True)))


def make_baseline(path: Path, front_end: FrontEnd, clips: Clips, classes: int) -> Path:
    """Write the challenge's baseline as an integer file, with random weights and scales of some of its clips; returns
    the path."""
    arguments = {"classes": classes}
    torch.manual_seed(SEED)
    network, waves = build_student("baseline", **arguments), to_float(*(each[:SOME] for each in clips))
    integers = calibrate(fold(network, SHAPE), [front_end(waves)])
    about = {"builder": "baseline", "arguments": arguments, "weights": f"random, of the seed {SEED}"}
    return write_tflite(integers, path, about)


def meter_passes(
    models: Mapping[str, Model],
    front_ends: Mapping[str, FrontEnd],
    clips: Mapping[str, Clips],
    seconds: float,
) -> dict[str, Metered]:
    """What one pass over some clips costs on one thread, by model; the models take turns.

    Args:
        models: by name.
        front_ends, clips: by the same names.
        seconds: that each is metered at least.
    """
    with _one_thread():
        passes = {name: classifying(model, front_ends[name], clips[name]) for name, model in models.items()}
        found = in_alternation(passes, seconds)
        return {name: {**metered, "clips": len(clips[name].waves)} for name, metered in found.items()}


def classifying(model: Model, front_end: FrontEnd, clips: Clips) -> Action:
    """A function that makes one pass over clips, one by one."""

    @torch.inference_mode()
    def classify() -> None:
        for wave, scale in zip(*(each.split(1) for each in clips), strict=True):
            model.logits(network_input(front_end, to_float(wave, scale)))

    return classify


def is_complete(phases: Mapping[str, Metered], names: Collection[str]) -> bool:
    """Whether the phases have what meter_passes says of these models."""
    return all(phases.get(name, {}).get(key) for name in names for key in ("kWh", "seconds", "clips", "passes"))


def normalised(baseline: Metered, model: Metered) -> float:
    """The baseline's kWh over the model's.

    Raises:
        UserError: the meter read nothing.
    """
    if not min(baseline["kWh"], model["kWh"]) > 0:
        raise UserError("the meter read no energy at all: raise energy.seconds")
    return baseline["kWh"] / model["kWh"]


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
