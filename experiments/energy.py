"""What a computation costs in electricity, by codecarbon.

Conventions: energy in kWh, time in seconds, by phase (the stage's name). `energy.json` adds up over the parts of a
training that was stopped and went on. codecarbon's offline tracker needs no network; where the hardware has no power
meter, figures are estimates from the processor's model, and the file says so.
Source: the DCASE 2023 Task 1 rules ask for kWh of training and inference by codecarbon.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.paths import ENERGY, write_text
from experiments.runs import is_first

COUNTRY = "USA"  # the offline tracker wants one; it bears on emissions, which are not kept, not on energy
SECONDS = 15  # between two readings of the meters
ESTIMATES = ("constant", "cpu_load")  # codecarbon's modes for a processor without a meter

log = logging.getLogger(__name__)


@contextmanager
def measured(folder: Path, phase: str) -> Iterator[None]:
    """Add the energy of what happens inside to the folder's energy.json; the first process measures
    all of its own machine, and nothing of others."""
    if not is_first():
        yield
        return
    from codecarbon import OfflineEmissionsTracker

    logging.getLogger("codecarbon").setLevel(logging.ERROR)
    tracker = OfflineEmissionsTracker(
        country_iso_code=COUNTRY,
        measure_power_secs=SECONDS,
        save_to_file=False,
        log_level="error",
        allow_multiple_runs=True,
    )
    tracker.start()
    try:
        yield
    finally:
        tracker.stop()
        # codecarbon says it nowhere in public; the parts of the hardware it reads know their ways.
        modes = {getattr(part, "_mode", None) for part in tracker._hardware} - {None}
        _add(folder / ENERGY, phase, tracker.final_emissions_data, estimated=bool(modes.intersection(ESTIMATES)))


def read_energy(folder: Path) -> dict[str, float]:
    """kWh and seconds of each phase, as flat names; nothing where nothing was measured."""
    try:
        phases = json.loads((folder / ENERGY).read_text())
    except (OSError, ValueError):
        return {}
    return {f"energy/{phase}/{key}": values[key] for phase, values in phases.items() for key in ("kWh", "seconds")}


def _add(path: Path, phase: str, found: object, *, estimated: bool) -> None:
    try:
        phases = json.loads(path.read_text())
    except (OSError, ValueError):
        phases = {}
    before = phases.get(phase, {"kWh": 0.0, "seconds": 0.0})
    phases[phase] = {
        "kWh": before["kWh"] + found.energy_consumed,
        "seconds": before["seconds"] + found.duration,
        "cpu": found.cpu_model,
        "gpu": found.gpu_model or None,
        "estimated": estimated,
        "codecarbon": found.codecarbon_version,
    }
    write_text(path, json.dumps(phases, indent=1))
