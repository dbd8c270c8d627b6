"""The energy of the systems that are picked: each as a file of integers, metered beside the challenge's baseline.

Conventions: those of inference/metering.py; the clips are those held out. What was metered stands in energy.json by the
name of the file, with the digest of the file, and is not metered again.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from data.files import file_sha256
from data.front_ends import build_front_end
from experiments.datasets.datamodule import DataModule
from experiments.inference.metering import RATE, Clips, make_baseline, meter_passes, normalised, of_baseline
from experiments.quantization.metadata import metadata_of
from experiments.runs.layout import CHECKPOINT, write_text
from experiments.search.answers import SPLIT, TRIALS
from experiments.search.front import Energy, Searched
from experiments.search.halving import read_trial
from experiments.search.integers import Calibration, read_trained
from students.quantize.runtime import TFLiteModel
from students.quantize.tflite import write_tflite

FILE, BASELINE = "energy.json", "baseline"

log = logging.getLogger(__name__)


def metered(
    picks: Sequence[Searched],
    data: DataModule,
    folder: Path,
    calibration: Calibration,
    seconds: float,
    baseline_mel: Mapping[str, Any],
) -> list[Energy | None]:
    """Write pick1.tflite, ..., the networks of the systems by their first seed, and meter them.

    Args:
        picks: the systems.
        data: whose clips held out are classified.
        folder: of the search.
        calibration: see integers.py.
        seconds: that each is metered at least; 0: none is.
        baseline_mel: the baseline's front end.
    """
    files, front_ends = {}, {}
    for number, system in enumerate(picks, start=1):
        trial = folder / TRIALS / system.trials[0]
        trained = read_trained(trial, data, calibration, read_trial(system.trials[0]).seed)
        integers, name = trained.integers(system.bits), f"pick{number}"
        about = metadata_of(integers, trained.blueprint, file_sha256(trial / CHECKPOINT), data, {})
        files[name] = write_tflite(integers, folder / f"{name}.tflite", about)
        front_ends[name] = trained.front_end
    if not seconds:
        return [None] * len(picks)
    digests = {name: file_sha256(path) for name, path in files.items()}
    known = json.loads((folder / FILE).read_text()) if (folder / FILE).is_file() else {}
    if known.get("files") != digests:
        rows = data.clips.indices(SPLIT)
        own = Clips(torch.from_numpy(data.store.take(rows)), torch.from_numpy(data.store.scale[rows]))
        clips = {**dict.fromkeys(files, own), BASELINE: of_baseline(own, data.store.sample_rate)}
        front_ends[BASELINE] = build_front_end(RATE, baseline_mel)
        path = make_baseline(
            folder / f"{BASELINE}.tflite", front_ends[BASELINE], clips[BASELINE], len(data.clips.scenes)
        )
        models = {name: TFLiteModel(file) for name, file in {**files, BASELINE: path}.items()}
        log.info("metering %d systems and the baseline, each for %g s or longer", len(files), seconds)
        known = {"files": digests, "phases": meter_passes(models, front_ends, clips, seconds)}
        write_text(folder / FILE, json.dumps(known, indent=1))
    phases = known["phases"]
    return [
        Energy(3.6e9 * phases[name]["kWh"] / phases[name]["clips"], normalised(phases[BASELINE], phases[name]))
        for name in files
    ]
