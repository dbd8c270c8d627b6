"""The energy of classifying clips with a model, beside that of the challenge's baseline.

Conventions: kWh are of one pass over some clips: log-mel and network, clip by clip, by the same kernels for both; waves
are in memory before. The baseline has its published layers, front end and 8 bits, and random weights, on which energy
does not depend. Normalised energy is the baseline's kWh over the model's: above 1 the model needs less.
Source: DCASE 2023 Task 1, "Energy consumption"; what is metered, and when it is an estimate: runs/energy.py.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from data.errors import UserError
from data.front_ends import FrontEnd
from data.front_ends.integer_steps import network_input
from data.waves import to_float
from experiments.datasets.datamodule import DataModule
from experiments.runs.energy import in_alternation
from experiments.runs.formats import Metered
from experiments.runs.meter import Action
from students import build_student
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.runtime import TFLiteModel
from students.quantize.tflite import write_tflite

SHAPE = (1, 1, 40, 51)  # of the baseline's spectrograms, as published
SEED = 0
SOME = 16  # clips from which the baseline's scales are taken


def require_baseline_shape(data: DataModule, front_end: FrontEnd) -> None:
    """Check that the baseline's front end gives spectrograms of the published shape: those of clips of 1 s at 32 kHz.

    Raises:
        UserError: it does not.
    """
    if (found := data.spectrogram_shape(front_end)) != SHAPE:
        raise UserError(
            f"the baseline takes {SHAPE[2]} bands and {SHAPE[3]} frames of a clip, which here has {found[3]}: "
            "energy is metered on clips of 1 s at 32,000 Hz"
        )


def make_baseline(path: Path, front_end: FrontEnd, data: DataModule) -> Path:
    """Write the challenge's baseline as an integer file, with random weights and scales of some test clips; returns the
    path."""
    arguments = {"classes": len(data.clips.scenes)}
    torch.manual_seed(SEED)
    network = build_student("baseline", **arguments)
    waves = data.store.read(data.clips.indices("test")[:SOME])
    integers = calibrate(fold(network, SHAPE), [front_end(waves)])
    about = {"builder": "baseline", "arguments": arguments, "weights": f"random, of the seed {SEED}"}
    return write_tflite(integers, path, about)


def meter_passes(
    models: Mapping[str, TFLiteModel],
    front_ends: Mapping[str, FrontEnd],
    waves: torch.Tensor,
    scales: torch.Tensor,
    seconds: float,
) -> dict[str, Metered]:
    """What one pass over some clips costs on one thread, by model; the models take turns.

    Args:
        models: by name.
        front_ends: by the same names.
        waves, scales: of the clips: int16 (n, samples) and float32 (n,), see data/waves.py.
        seconds: that each is metered at least.
    """
    with _one_thread():
        passes = {name: classifying(model, front_ends[name], waves, scales) for name, model in models.items()}
        return {name: {**found, "clips": len(waves)} for name, found in in_alternation(passes, seconds).items()}


def classifying(model: TFLiteModel, front_end: FrontEnd, waves: torch.Tensor, scales: torch.Tensor) -> Action:
    """A function that makes one pass over clips, int16 (n, samples) with their scales (n,), one by one."""

    @torch.inference_mode()
    def classify() -> None:
        for wave, scale in zip(waves.split(1), scales.split(1), strict=True):
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
