"""The settings of the stages that begin where training ends: what they read, show, meter and serve; see config.py."""

from dataclasses import dataclass
from typing import Any


@dataclass
class Summary:
    """Which runs are summarised; see experiments/summary.py."""

    runs: Any = None
    reference: str | None = None


@dataclass
class Runs:
    """Run folders that stage=report or rank shows; see experiments/report/ and rank_systems.py."""

    runs: Any = None


@dataclass
class Submit:
    """What goes into a challenge package; see experiments/submission/."""

    evaluation: str | None = None
    runs: Any = None
    surname: str | None = None
    institute: str | None = None
    about: str | None = None


@dataclass
class Energy:
    """How inference is metered; see experiments/measure_energy.py."""

    seconds: float = 30.0
    kernels: str = "device"


@dataclass
class Predict:
    """Where stage=predict writes; see experiments/predict_audio.py."""

    out: str | None = None


@dataclass
class Demo:
    """The local page; see experiments/demo.py."""

    port: int = 8000
