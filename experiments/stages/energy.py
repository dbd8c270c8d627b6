"""The energy stage: the electricity that classification by the model costs, metered (see inference/metering.py), and
that of all that led to it, gathered anew by each command (see runs/lineage.py), beside the challenge's baseline's."""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from data.errors import UserError
from data.files import file_sha256
from data.front_ends import FrontEnd, build_front_end
from experiments.command.schema import composed
from experiments.datasets.datamodule import prepare
from experiments.inference.classifier import input_of
from experiments.inference.metering import (
    RATE,
    Clips,
    Model,
    classifying,
    is_complete,
    make_baseline,
    meter_passes,
    normalised,
    of_baseline,
)
from experiments.inference.origin import origin_of
from experiments.models.classifiers import load_floats
from experiments.models.costs import model_complexity
from experiments.report.energy import energy_table
from experiments.report.publish import finish, is_done, refresh
from experiments.runs.baseline import baseline_training
from experiments.runs.energy import meter
from experiments.runs.formats import Metered
from experiments.runs.layout import ENERGY, is_float, write_text
from experiments.runs.lineage import trainings
from experiments.runs.meter import ratio
from experiments.runs.phases import ALL, BASELINE, BASELINE_TRAINING, INFERENCE
from experiments.runs.reader import read_energy, read_phases
from experiments.runs.record import Run
from experiments.settings.data_set import DataSettings
from experiments.settings.models import Energy
from experiments.settings.shared import Settings
from experiments.stages.context import new_run
from experiments.stages.whereabouts import model_of
from students.complexity import tflite_complexity
from students.quantize.runtime import TFLiteModel

FILE = "baseline.tflite"

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Meter `model` and the baseline; write baseline.tflite, energy.json and score.json; print the table."""
    own, path = settings.of(Energy), model_of(settings)
    log.info("model %s", origin_of(path))
    model, metadata, front_end, clip_seconds = _opened(path, own.kernels)
    settings = replace(settings, data=_clips_of(settings, path, front_end.sample_rate, clip_seconds))
    data = prepare(settings.data, settings.cache_folder)
    front_ends = {INFERENCE: front_end, BASELINE: build_front_end(RATE, composed("student=baseline").student.mel)}
    inputs = {"model": file_sha256(path), **{key: data.fingerprint[key] for key in ("waves", "clips")}}
    depends_on = {"seconds": own.seconds, "kernels": own.kernels}
    this = new_run(settings, "energy", depends_on=depends_on, inputs=inputs, sources=[path])
    runs = Path(settings.runs)
    spent = trainings(path, metadata, runs, None if settings.model is None else settings.name)
    spent[BASELINE_TRAINING] = baseline_training(runs, own.baseline)
    if not (is_done(this, ENERGY, FILE) and is_complete(read_phases(this.folder), front_ends)):
        rows = data.clips.indices("test")
        own_clips = Clips(torch.from_numpy(data.store.take(rows)), torch.from_numpy(data.store.scale[rows]))
        clips = {INFERENCE: own_clips, BASELINE: of_baseline(own_clips, data.store.sample_rate)}
        # What is wrong with the model, or with the meter, is found before an earlier result is gone.
        meter(classifying(model, front_end, Clips(own_clips.waves[:1], own_clips.scales[:1])))
        this.start()
        baseline = make_baseline(this.folder / FILE, front_ends[BASELINE], clips[BASELINE], len(data.clips.scenes))
        models = {INFERENCE: model, BASELINE: TFLiteModel(baseline, kernels=own.kernels)}
        log.info("%d clips, %s kernels, one thread, each for %g s or longer", len(rows), own.kernels, own.seconds)
        phases = meter_passes(models, front_ends, clips, own.seconds)
        normalised(phases[BASELINE], phases[INFERENCE])
        _write(this, phases | spent)
    before = read_phases(this.folder)
    # What was known of trainings that are gone stays; what was trained or metered since is added.
    found = {name: cost for name, cost in spent.items() if cost["kWh"] is not None or not _is_known(before, name)}
    if (phases := before | found) != before:
        _write(this, phases)
    costs = {INFERENCE: model_complexity(path), BASELINE: tflite_complexity(this.folder / FILE)}
    Console().print(
        energy_table(phases, costs, _kernels(path, own.kernels), normalised(phases[BASELINE], phases[INFERENCE]))
    )
    refresh(path.parent)  # whose page has the joules, too
    log.info("%s", this.folder)


def _opened(path: Path, kernels: str) -> tuple[Model, Mapping[str, Any], FrontEnd, float]:
    """What is metered, the metadata of its file, its front end and the length of its clips; floats are computed by
    torch, with no choice of kernels."""
    if is_float(path):
        floats = load_floats(path)
        return floats, {}, floats.front_end, floats.clip_seconds
    model = TFLiteModel(path, kernels=kernels)
    _, mels, frames, _ = model.input_shape
    return model, model.metadata, *input_of(path, model.metadata, (1, mels, frames))


def _kernels(path: Path, kernels: str) -> str:
    """What computed, in words: floats are computed by torch, the baseline by kernels."""
    return f"torch (the model's floats) and {kernels}" if is_float(path) else kernels


def _is_known(phases: Mapping[str, Metered], name: str) -> bool:
    return phases.get(name, {}).get("kWh") is not None


def _write(run: Run, phases: Mapping[str, Metered]) -> None:
    """Write energy.json and score.json."""
    write_text(run.folder / ENERGY, json.dumps(phases, indent=1))
    scores = {
        "energy/normalised": normalised(phases[BASELINE], phases[INFERENCE]),
        "energy/clips": phases[INFERENCE]["clips"],
    }
    trained = ratio(phases[BASELINE_TRAINING], phases[ALL])
    finish(run, read_energy(run.folder) | scores | ({} if trained is None else {"energy/normalised_training": trained}))


def _clips_of(settings: Settings, path: Path, rate: int, seconds: float) -> DataSettings:
    """The settings of the data for clips as the model takes them.

    Raises:
        UserError: the command asks for others.
    """
    wanted = {"sample_rate": rate, "clip_seconds": seconds}
    for key, value in wanted.items():
        if f"data.{key}" in settings.given and (asked := getattr(settings.data, key)) != value:
            raise UserError(f"data.{key}={asked:g}: {path} takes clips of {seconds:g} s at {rate} Hz: leave it out")
    return replace(settings.data, sample_rate=rate, clip_seconds=seconds)
