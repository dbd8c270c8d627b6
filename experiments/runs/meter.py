"""codecarbon's tracker, held so that nothing that it does reaches the computation that it meters.

Conventions: a reading is a phase of energy.json: see runs/energy.py; `on` says of which hardware it is, and how each
part of that was read. One that is not known has None for kWh and seconds, and why in `missing`: codecarbon raised, or
logged an exception that it caught (it would then count that part of the hardware as 0), or did not answer within LIMIT,
or gave no number. What users configure for codecarbon (~/.codecarbon.config, ./.codecarbon.config, CODECARBON_*) is not
read: powers of their own, a factor for the data centre or another scope would change what readings mean.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

from experiments.runs.formats import Metered, not_metered

COUNTRY = "USA"  # the offline tracker wants one; it bears on emissions, which are not kept, not on energy
SECONDS = 15  # between two readings of the hardware's meters
LIMIT = 60.0  # seconds that codecarbon is waited for: its `scontrol` and drivers may never answer
ESTIMATES = ("constant", "cpu_load")  # codecarbon's modes for a processor without a meter
METHODS = {  # how codecarbon reads a processor, by mode; of other modes the name says it
    "cpu_load": "estimated from load and rated power (TDP)",
    "constant": "estimated as half of the rated power (TDP)",
    "intel_rapl": "measured by RAPL",
    "intel_power_gadget": "measured by Intel Power Gadget",
    "windows_emi": "measured by Windows EMI",
}
COUNTERS = {"NvidiaGPUDevice": "measured by NVML", "AMDGPUDevice": "measured by AMD SMI"}  # of codecarbon's classes
BESIDE_ENERGY = ("power limit", "utilization", "static info")  # what codecarbon may fail to find without losing energy
LOGITS_PHASE = "logits"  # the phase in which a teacher writes its logits
WORDS = ("on", "lost", "missing")  # keys of a reading: texts, each once

Action = Callable[[], object]


class Meter:
    """Meters the whole machine from its making to `stop`; it never raises.

    Attributes:
        failure: why readings are not known; None: they are.
    """

    def __init__(self) -> None:
        self.failure: str | None = None
        self._silent = False  # it did not answer, and is not asked again
        self._last: Any = None  # codecarbon's latest totals
        self._tracker: Any = None
        self._try(self._start)
        if self.failure is not None:
            self.stop()

    def read(self) -> Metered:
        """What was used until now."""
        return not_metered(self._why) if self.failure else self._reading(lambda: self._tracker.flush())

    def stop(self) -> Metered:
        """What was used in all; codecarbon's threads end."""
        return not_metered(self._why) if self._silent else self._reading(lambda: self._tracker.stop())

    @property
    def _why(self) -> str:
        return f"the meter failed: {self.failure}"

    def _start(self) -> None:
        _log.exception = None
        logging.getLogger("codecarbon").addFilter(_log)
        from codecarbon import OfflineEmissionsTracker, emissions_tracker
        from codecarbon.output_methods.base_output import BaseOutput

        receiver = BaseOutput()
        receiver.out = lambda total, delta: setattr(self, "_last", total)  # type: ignore[method-assign]
        with mock.patch.object(emissions_tracker, "get_hierarchical_config", dict):
            self._tracker = OfflineEmissionsTracker(
                country_iso_code=COUNTRY,
                measure_power_secs=SECONDS,
                output_methods=[],
                output_handlers=[receiver],
                api_call_interval=-1,
                log_level="warning",  # below it, exceptions are logged that codecarbon knows how to do without
                allow_multiple_runs=True,
            )
        for scheduler in (self._tracker._scheduler, self._tracker._scheduler_monitor_power):
            scheduler.function = self._noting(scheduler.function)
        _within(LIMIT, self._tracker.start)

    def _reading(self, ask: Action) -> Metered:
        self._last, found = None, Metered()
        self._try(lambda: _within(LIMIT, ask))
        if self.failure is None:
            self._try(lambda: found.update(_checked(self._last, self._tracker)))
        return found if self.failure is None else not_metered(self._why)

    def _try(self, action: Action) -> None:
        """Do something of codecarbon's; the first exception is kept, also one that codecarbon caught."""
        try:
            action()
        except (Exception, SystemExit) as error:
            self._silent = self._silent or isinstance(error, TimeoutError)
            self._fail(_log.exception or error)
        if _log.exception is not None:
            self._fail(_log.exception)

    def _noting(self, action: Action) -> Action:
        """For codecarbon's own threads, whose exceptions would be printed at each turn."""
        return lambda: self._try(action)

    def _fail(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = " ".join(f"{type(error).__name__}: {error}".split())


class _Log(logging.Filter):
    """Lets nothing of codecarbon's log through, and keeps the first exception in it."""

    exception: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not any(words in record.getMessage() for words in BESIDE_ENERGY):
            self.exception = self.exception or error
        return False


_log = _Log()


def _within(seconds: float, action: Action) -> None:
    """Call something in a thread, which is left to itself when the time is over.

    Raises:
        TimeoutError: it is.
        BaseException: what the action raised.
    """
    raised: list[BaseException] = []

    def call() -> None:
        try:
            action()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"codecarbon gave no answer in {seconds:g} s")
    if raised:
        raise raised[0]


def _checked(total: Any, tracker: Any) -> Metered:
    """codecarbon's totals as a phase of energy.json.

    Raises:
        ValueError: energy or time are no finite numbers from 0.
    """
    total = total or SimpleNamespace(energy_consumed=None, duration=None)
    found = {"kWh": total.energy_consumed, "seconds": total.duration}
    for name, value in found.items():
        if not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ValueError(f"codecarbon gave {name}={value}")
    # No public function of codecarbon gives the modes; the parts of the hardware that it reads have them.
    modes = {getattr(part, "_mode", None) for part in tracker._hardware} - {None}
    return {
        **found,
        "cpu": str(total.cpu_model),
        "gpu": str(total.gpu_model) if total.gpu_model else None,
        "estimated": bool(modes.intersection(ESTIMATES)),
        "codecarbon": str(total.codecarbon_version),
        "on": ["; ".join(_parts(total, tracker._hardware))],
    }


def _parts(total: Any, hardware: Iterable[Any]) -> Iterator[str]:
    """The parts of the machine that codecarbon read, and how, in words; unknown ones by their class."""
    for part in sorted(hardware, key=lambda part: type(part).__name__ == "RAM"):
        kind = type(part).__name__
        if kind == "CPU":
            yield f"{total.cpu_model}, {METHODS.get(part._mode, f'read by {part._mode}')}"
        elif kind == "GPU":
            counters = {COUNTERS.get(type(each).__name__, type(each).__name__) for each in part.devices.devices}
            yield f"{total.gpu_model}, {' and '.join(sorted(counters)) or 'not read'}"
        elif kind == "RAM":
            yield "memory, estimated from its size"
        else:
            yield f"{total.cpu_model}, read by {kind}"


def joined(before: Metered | None, found: Metered) -> Metered:
    """Two parts of one computation as one; not known if one is not."""
    if before is None:
        return found
    sums = {key: None if None in (before[key], found[key]) else before[key] + found[key] for key in ("kWh", "seconds")}
    words = {key: list(dict.fromkeys([*before.get(key, []), *found.get(key, [])])) for key in ("on", "lost", "missing")}
    about = {
        "estimated": before["estimated"] or found["estimated"],
        **{key: some for key, some in words.items() if some},
    }
    return {**before, **found, **sums, **about}


def ratio(baseline: Metered, own: Metered) -> float | None:
    """kWh of the baseline over one's own; None if one is not known, or if they are of different hardware."""
    where = [(found.get("given"), {*found.get("on", [])}) for found in (baseline, own)]
    return baseline["kWh"] / own["kWh"] if baseline["kWh"] and own["kWh"] and where[0] == where[1] else None
