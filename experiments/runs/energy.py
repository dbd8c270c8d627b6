"""The energy of a computation, metered by codecarbon.

Conventions: energy in kWh, time in seconds, of the whole machine. What was metered is a dict as it stands in
`energy.json`, by phase (a stage's name, of its training, or LOGITS_PHASE): kWh, seconds, cpu, gpu, estimated, version
of codecarbon, on (the hardware, and how it was read); the file adds up over the parts of a phase that was stopped and
went on; of a part that was killed, which `running` tells, the latest reading counts, and `lost` says that there was
more, or what else an earlier run had done already. What is not known is never counted as 0: kWh and seconds are None,
of the sum as well, and `missing` says why. No failure of the meter reaches what is metered. codecarbon's offline
tracker needs no network; where the hardware has no power meter, kWh are an estimate from the processor's model, its
load and the memory's size, and `estimated` is true: under an even load they are then proportional to the time.
Source: the DCASE 2023 Task 1 rules ask for kWh of training and inference by codecarbon, and for kWh of the baseline
over kWh of the submission.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from data.errors import UserError
from experiments.distributed.processes import is_first
from experiments.runs.formats import Metered, not_metered
from experiments.runs.layout import ENERGY, write_text
from experiments.runs.meter import Action, Meter, joined
from experiments.runs.reader import read_phases

KILLED = "what a part that was killed used after its latest reading"
TURN = 5.0  # seconds; codecarbon samples the load once a second, which is too seldom for shorter computations

Result = TypeVar("Result")

log = logging.getLogger(__name__)


@contextmanager
def measured(
    folder: Path,
    phase: str,
    *,
    goes_on: bool | None = None,
    earlier: Metered | None = None,
    machines: int = 1,
    lost: Sequence[str] = (),
) -> Iterator[Action]:
    """Add the energy of what happens inside to the folder's energy.json, at its end and at each call of what is given;
    the first process measures all of its own machine, and nothing of others.

    Args:
        folder: of the run.
        phase: name of the phase.
        goes_on: True: an earlier part of the phase must stand in the file, or the sum is not known; False: what stands
            there is of something else, and is replaced; None: it is added to what stands there, if anything does.
        earlier: a reading of what led up to it, which is part of the phase.
        machines: on how many it happens; with more than one the sum is not known.
        lost: what the reading does not have, in words; more may be added to it until the end.
    """
    if not is_first():
        yield lambda: None
        return
    before, said = None if goes_on is False else read_phases(folder).get(phase), False
    if before is None and goes_on:
        before = not_metered(f"{folder / ENERGY} has no reading of what was done before it was stopped")
    if before is not None and before.pop("running", False):
        before["lost"] = list(dict.fromkeys([*before.get("lost", []), KILLED]))
    if earlier is not None:
        before = joined(before, earlier)
    if machines > 1:
        before = joined(before, not_metered(f"only the first of {machines} machines was metered"))

    def add(found: Metered, *, running: bool = False) -> None:
        nonlocal said
        found = {**found, "lost": [*lost]} if lost else found
        together = {**joined(before, found), **({"running": True} if running else {})}
        if together["kWh"] == 0:
            together = joined(together, not_metered("the meter read no energy at all"))
        if together["kWh"] is None and not said:
            said = True
            log.warning("the energy of this run is not known, all else is: %s", "; ".join(together["missing"]))
        try:
            write_text(folder / ENERGY, json.dumps(read_phases(folder) | {phase: together}, indent=1))
        except (OSError, UserError) as error:
            log.warning("the energy of this run is lost, all else is kept: %s", error)
            with suppress(OSError):  # an older reading is not that of the whole
                (folder / ENERGY).unlink()

    watch = Meter()
    if watch.failure is not None:
        add(watch.read())
    try:
        yield lambda: add(watch.read(), running=True)
    finally:
        add(watch.stop())


def with_cost(action: Callable[[], Result]) -> tuple[Result, Metered]:
    """What a call returns, and what it cost; only the first process meters."""
    if not is_first():
        return action(), not_metered("another process meters")
    watch = Meter()
    try:
        result = action()
    finally:
        found = watch.stop()
    return result, found


def meter(action: Action) -> Metered:
    """What one call costs.

    Raises:
        UserError: it was not metered.
    """
    watch = Meter()
    try:
        if watch.failure is None:
            action()
    finally:
        found = watch.stop()
    if found["kWh"] is None:
        raise UserError(f"cannot measure energy here, {'; '.join(found['missing'])}: mend that, or use another machine")
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
