"""Comparing the speed of several ways to do a thing, on machines that have other things to do as well.

Conventions: ways take turns, round by round, so that a slow minute slows all of them; a result is the median over the
rounds, with all rounds beside it.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

Action = Callable[[], object]
Row = dict[str, object]


def in_turns(actions: Mapping[str, Action], rounds: int, before: Action = lambda: None) -> dict[str, list[float]]:
    """Seconds that each action takes, round by round, each begun with `before`, which is not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            before()
            os.sync()  # what one way left to be written must not slow the next one down
            _finish()
            started = time.perf_counter()
            action()
            _finish()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def row(what: str, rounds: Sequence[float], unit: str) -> Row:
    """A line of a bench's table."""
    return {"what": what, "median": statistics.median(rounds), "unit": unit, "rounds": [float(r) for r in rounds]}


def rates(seconds: Sequence[float], clips: int) -> list[float]:
    """Clips a second."""
    return [clips / s for s in seconds]


def _finish() -> None:
    """Wait for what a GPU has still to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
