"""The energy of a computation, metered by codecarbon.

Conventions: energy in kWh, time in seconds, of the whole machine. What was metered is a dict as it stands in
`energy.json`, by phase (a stage's name): kWh, seconds, cpu, gpu, estimated, codecarbon (its version); the file adds up
over the parts of a training that was stopped and went on. codecarbon's offline tracker needs no network; where the
hardware has no power meter, kWh are an estimate from the processor's model, its load and the memory's size, and
`estimated` is true: under an even load they are then proportional to the time.
Source: the DCASE 2023 Task 1 rules ask for kWh of training and inference by codecarbon, and for kWh of the baseline
over kWh of the submission.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from experiments.distributed.processes import is_first
from experiments.runs.formats import Metered
from experiments.runs.layout import ENERGY, write_text
from experiments.runs.reader import read_phases

COUNTRY = "USA"  # the offline tracker wants one; it bears on emissions, which are not kept, not on energy
SECONDS = 15  # between two readings of the meters
ESTIMATES = ("constant", "cpu_load")  # codecarbon's modes for a processor without a meter
TURN = 5.0  # seconds; codecarbon samples the load once a second, which is too seldom for shorter computations

Action = Callable[[], object]

log = logging.getLogger(__name__)


@contextmanager
def measured(folder: Path, phase: str) -> Iterator[None]:
    """Add the energy of what happens inside to the folder's energy.json; the first process measures
    all of its own machine, and nothing of others."""
    if not is_first():
        yield
        return
    stop = _start()
    try:
        yield
    finally:
        phases = read_phases(folder)
        phases[phase] = joined(phases.get(phase), stop())
        write_text(folder / ENERGY, json.dumps(phases, indent=1))


def meter(action: Action) -> Metered:
    """What one call costs."""
    stop = _start()
    try:
        action()
    finally:
        found = stop()
    return found


def in_alternation(
    actions: Mapping[str, Action], seconds: float, *, turn: float = TURN, read: Callable[[Action], Metered] = meter
) -> dict[str, Metered]:
    """What one call of each action costs on average, and how many `passes` were metered; the actions take turns, so
    that whatever else the machine does bears on all of them.

    Args:
        actions: by name.
        seconds: that each is metered at least.
        turn: whole calls that fill so many seconds (or as many as are asked for) are read as one.
        read: the meter.
    """
    turn, sums = min(turn, seconds), {}
    passes = dict.fromkeys(actions, 0)

    def several(name: str, action: Action) -> None:
        started = time.perf_counter()
        while True:
            action()
            passes[name] += 1
            if time.perf_counter() - started >= turn:
                return

    while not sums or any(found["seconds"] < seconds for found in sums.values()):
        for name, action in actions.items():
            sums[name] = joined(sums.get(name), read(partial(several, name, action)))
    return {
        name: {**found, **{key: found[key] / passes[name] for key in ("kWh", "seconds")}, "passes": passes[name]}
        for name, found in sums.items()
    }


def joined(before: Metered | None, found: Metered) -> Metered:
    """Two parts of one computation as one."""
    if before is None:
        return found
    sums = {key: before[key] + found[key] for key in ("kWh", "seconds")}
    return {**found, **sums, "estimated": before["estimated"] or found["estimated"]}


def _start() -> Callable[[], Metered]:
    """Start the meter; what is returned stops and reads it."""
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

    def stop() -> Metered:
        tracker.stop()
        # No public function of codecarbon gives the modes; the parts of the hardware that it reads have them.
        modes = {getattr(part, "_mode", None) for part in tracker._hardware} - {None}
        found = tracker.final_emissions_data
        return {
            "kWh": found.energy_consumed,
            "seconds": found.duration,
            "cpu": found.cpu_model,
            "gpu": found.gpu_model or None,
            "estimated": bool(modes.intersection(ESTIMATES)),
            "codecarbon": found.codecarbon_version,
        }

    return stop
