"""Phases of energy.json that are no training of a run, by name, and the joules of a clip."""

from collections.abc import Mapping
from typing import Any

INFERENCE, BASELINE = "inference", "baseline"  # a pass of the model, and one of the challenge's baseline
ALL, BASELINE_TRAINING = "training/all", "baseline/training"
METERED = (INFERENCE, BASELINE, BASELINE_TRAINING)  # what stage=energy states of the baseline and the file
JOULES = 3.6e6  # in a kWh


def joules_a_clip(phases: Mapping[str, Mapping[str, Any]], phase: str = INFERENCE) -> float | None:
    """Of a phase that is a pass over clips; None: not known."""
    found = phases.get(phase, {})
    kwh, clips = found.get("kWh"), found.get("clips")
    return JOULES * kwh / clips if kwh is not None and clips else None
