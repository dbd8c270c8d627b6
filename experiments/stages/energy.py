"""stage=energy: the electricity that the model's answers cost, beside those of the challenge's baseline.

Conventions: kWh are of one pass over the test split: log-mel and network, clip by clip on one thread, by the same
kernels for both (`energy.kernels`); waves are in memory before. The baseline has its published layers, front end and
8 bits, and random weights, on which energy does not depend. Normalised energy is the baseline's kWh over the model's:
above 1 the model needs less.
Source: DCASE 2023 Task 1, "Energy consumption"; what is metered, and when it is an estimate: energy.py.
"""

import dataclasses
import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.errors import UserError
from data.files import file_sha256
from data.front_ends import FrontEnd, build_front_end
from data.waves import to_float
from experiments.command.schema import composed
from experiments.datasets.datamodule import DataModule, prepare
from experiments.inference.classifier import front_end_of
from experiments.report.publish import finish, is_done
from experiments.runs.energy import Action, in_alternation
from experiments.runs.formats import Metered
from experiments.runs.layout import ENERGY, write_text
from experiments.runs.lineage import trainings
from experiments.runs.reader import read_energy, read_phases
from experiments.settings.shared import Settings
from experiments.settings.stages import Energy
from experiments.stages.context import model_of, new_run
from students import build_student
from students.complexity import tflite_complexity
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel
from students.quantize.tflite import write_tflite

BASELINE = "baseline.tflite"
SHAPE = (1, 1, 40, 51)  # of the baseline's pictures, as published
SEED = 0
SOME = 16  # clips that the baseline's scales are from
JOULES = 3.6e6  # in a kWh

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Meter `model` and the baseline; write baseline.tflite, energy.json and score.json; print the table."""
    own = settings.of(Energy)
    kernels, seconds = own.kernels, own.seconds
    if not (math.isfinite(seconds) and seconds > 0):
        raise UserError(f"energy.seconds={seconds} must be above 0")
    path = model_of(settings)
    model = TFLiteModel(path, kernels=kernels)
    metadata = read_tflite(path)[1]
    prepared = prepare(settings.data, settings.cache_folder)
    front_ends = {"inference": _front_end_of(path, metadata, prepared), "baseline": _baseline_front_end(prepared)}
    inputs = {"model": file_sha256(path), **{key: prepared.fingerprint[key] for key in ("waves", "clips")}}
    this = new_run(settings, "energy", depends_on=dataclasses.asdict(own), inputs=inputs, sources=[path])
    if not (is_done(this, ENERGY, BASELINE) and read_phases(this.folder)):
        clips = prepared.clips.indices("test")
        waves, scales = (torch.from_numpy(column[clips]) for column in (prepared.store.wave, prepared.store.scale))
        answering(model, front_ends["inference"], waves[:1], scales[:1])()  # a mistake is found before a result is gone
        this.start()
        baseline = make_baseline(this.folder / BASELINE, front_ends["baseline"], prepared)
        models = {"inference": model, "baseline": TFLiteModel(baseline, kernels=kernels)}
        log.info("%d clips, %s kernels, one thread, each for %g s or longer", len(clips), kernels, seconds)
        with _one_thread():
            passes = {name: answering(models[name], front_ends[name], waves, scales) for name in models}
            phases = {name: {**found, "clips": len(clips)} for name, found in in_alternation(passes, seconds).items()}
        trained = trainings(path, metadata, Path(settings.runs))
        ratio = normalised(phases["baseline"], phases["inference"])
        write_text(this.folder / ENERGY, json.dumps(phases | trained, indent=1))
        finish(this, read_energy(this.folder) | {"energy/normalised": ratio, "energy/clips": len(clips)})
    Console().print(table(read_phases(this.folder), {"inference": path, "baseline": this.folder / BASELINE}, kernels))
    log.info("%s", this.folder)


def make_baseline(path: Path, front_end: FrontEnd, prepared: DataModule) -> Path:
    """Write the challenge's baseline as an integer file, with random weights and the scales of some test clips."""
    arguments = {"classes": len(prepared.clips.scenes)}
    torch.manual_seed(SEED)
    network = build_student("baseline", **arguments)
    waves = prepared.store.read(prepared.clips.indices("test")[:SOME])
    integers = calibrate(fold(network, SHAPE), [front_end(waves)])
    about = {"builder": "baseline", "arguments": arguments, "weights": f"random, of the seed {SEED}"}
    return write_tflite(integers, path, about)


def answering(model: TFLiteModel, front_end: FrontEnd, waves: torch.Tensor, scales: torch.Tensor) -> Action:
    """One pass over some clips, int16 (n, samples) with their scales (n,), one by one."""

    @torch.inference_mode()
    def answer() -> None:
        for wave, scale in zip(waves.split(1), scales.split(1), strict=True):
            model.logits(front_end(to_float(wave, scale)))

    return answer


def normalised(baseline: Metered, submission: Metered) -> float:
    """The baseline's kWh over the submission's.

    Raises:
        UserError: the meter read nothing.
    """
    if not min(baseline["kWh"], submission["kWh"]) > 0:
        raise UserError("the meter read no energy at all: raise energy.seconds")
    return baseline["kWh"] / submission["kWh"]


def table(phases: Mapping[str, Metered], paths: Mapping[str, Path], kernels: str) -> Table:
    """Inference of the model and of the baseline side by side, then the trainings behind the model."""
    both = {name: phases[name] for name in paths}
    clips = both["inference"]["clips"]
    estimated = both["inference"]["estimated"]
    out = Table(title=f"energy of {clips} test clips, {kernels} kernels, one thread{', estimated' * estimated}")
    for column in ("", "model", "baseline"):
        out.add_column(column, justify="right" if column else "left")
    costs = [tflite_complexity(path) for path in paths.values()]
    out.add_row("multiply-accumulates", *(f"{cost.macs:,}" for cost in costs))
    out.add_row("bytes of parameters", *(f"{cost.parameter_bytes:,}" for cost in costs), end_section=True)
    out.add_row("passes over the clips", *(str(found["passes"]) for found in both.values()))
    out.add_row("ms a clip", *(f"{1000 * found['seconds'] / clips:.2f}" for found in both.values()))
    out.add_row("J a clip", *(f"{JOULES * found['kWh'] / clips:.3g}" for found in both.values()))
    out.add_row("kWh a pass", *(f"{found['kWh']:.3g}" for found in both.values()))
    out.add_row(
        "baseline's over model's", f"{normalised(both['baseline'], both['inference']):.3f}", "1", end_section=True
    )
    for phase, found in phases.items():
        if phase not in paths:
            rows = found.get("runs", {})
            if not rows or found["kWh"] is None:
                rows = {**rows, phase.replace("/", ", "): found["kWh"]}
            for what, kwh in rows.items():
                known = "not known" if kwh is None else f"{kwh:.3g}{' *' * found['estimated']}"
                out.add_row(escape(f"kWh of {what}"), known, "")
    missing = [why for found in phases.values() for why in found.get("missing", [])]
    notes = [f"not known: {why}" for why in missing]
    if any(found["estimated"] for found in phases.values()):
        notes.append("* an estimate: that machine gave no meter of its processor, and kWh follow the time")
    out.caption = escape("\n".join(notes)) or None
    return out


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _front_end_of(path: Path, metadata: Mapping[str, Any], prepared: DataModule) -> FrontEnd:
    front_end = front_end_of(path, metadata)
    if (rate := front_end.sample_rate) != prepared.store.sample_rate:
        raise UserError(
            f"{path} hears {rate} Hz, the data set has {prepared.store.sample_rate} Hz: set data.sample_rate={rate}"
        )
    return front_end


def _baseline_front_end(prepared: DataModule) -> FrontEnd:
    """As published, which is for clips of 1 s at 32 kHz."""
    front_end = build_front_end(prepared.store.sample_rate, composed("student=baseline").student.mel)
    if (found := prepared.spectrogram_shape(front_end)) != SHAPE:
        raise UserError(
            f"the baseline sees {SHAPE[2]} bands and {SHAPE[3]} frames of a clip, which here has {found[3]}: "
            "energy is metered on clips of 1 s at 32,000 Hz"
        )
    return front_end
