"""The energy stage: the electricity that classification by the model costs, beside that of the challenge's baseline;
what is metered: see inference/metering.py."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from data.errors import UserError
from data.files import file_sha256
from data.front_ends import FrontEnd, build_front_end
from experiments.command.schema import composed
from experiments.datasets.datamodule import DataModule, prepare
from experiments.inference.classifier import front_end_of
from experiments.inference.metering import (
    classifying,
    is_complete,
    make_baseline,
    meter_passes,
    normalised,
    require_baseline_shape,
)
from experiments.report.energy import BASELINE, MODEL, energy_table
from experiments.report.publish import finish, is_done
from experiments.runs.energy import meter
from experiments.runs.layout import ENERGY, write_text
from experiments.runs.lineage import trainings
from experiments.runs.reader import read_energy, read_phases
from experiments.settings.models import Energy
from experiments.settings.shared import Settings
from experiments.stages.context import model_of, new_run
from students.complexity import tflite_complexity
from students.quantize.runtime import TFLiteModel

FILE = "baseline.tflite"

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Meter `model` and the baseline; write baseline.tflite, energy.json and score.json; print the table."""
    own, path = settings.of(Energy), model_of(settings)
    model = TFLiteModel(path, kernels=own.kernels)
    data = prepare(settings.data, settings.cache_folder)
    front_ends = {MODEL: _model_front_end(path, model.metadata, data), BASELINE: _baseline_front_end(data)}
    inputs = {"model": file_sha256(path), **{key: data.fingerprint[key] for key in ("waves", "clips")}}
    this = new_run(settings, "energy", depends_on=dataclasses.asdict(own), inputs=inputs, sources=[path])
    if not (is_done(this, ENERGY, FILE) and is_complete(read_phases(this.folder), front_ends)):
        clips = data.clips.indices("test")
        waves, scales = torch.from_numpy(data.store.take(clips)), torch.from_numpy(data.store.scale[clips])
        # What is wrong with the model, or with the meter, is found before an earlier result is gone.
        meter(classifying(model, front_ends[MODEL], waves[:1], scales[:1]))
        this.start()
        baseline = make_baseline(this.folder / FILE, front_ends[BASELINE], data)
        models = {MODEL: model, BASELINE: TFLiteModel(baseline, kernels=own.kernels)}
        log.info("%d clips, %s kernels, one thread, each for %g s or longer", len(clips), own.kernels, own.seconds)
        phases = meter_passes(models, front_ends, waves, scales, own.seconds)
        ratio = normalised(phases[BASELINE], phases[MODEL])
        trained = trainings(
            path, model.metadata, Path(settings.runs), None if settings.model is None else settings.name
        )
        write_text(this.folder / ENERGY, json.dumps(phases | trained, indent=1))
        finish(this, read_energy(this.folder) | {"energy/normalised": ratio, "energy/clips": len(clips)})
    phases = read_phases(this.folder)
    costs = {MODEL: tflite_complexity(path), BASELINE: tflite_complexity(this.folder / FILE)}
    Console().print(energy_table(phases, costs, own.kernels, normalised(phases[BASELINE], phases[MODEL])))
    log.info("%s", this.folder)


def _model_front_end(path: Path, metadata: Mapping[str, Any], data: DataModule) -> FrontEnd:
    front_end = front_end_of(path, metadata)
    if (rate := front_end.sample_rate) != data.store.sample_rate:
        raise UserError(
            f"{path} takes waves of {rate} Hz, the data set has {data.store.sample_rate} Hz: "
            f"set data.sample_rate={rate}"
        )
    return front_end


def _baseline_front_end(data: DataModule) -> FrontEnd:
    """As published, which is for clips of 1 s at 32 kHz."""
    front_end = build_front_end(data.store.sample_rate, composed("student=baseline").student.mel)
    require_baseline_shape(data, front_end)
    return front_end
