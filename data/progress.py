"""How far some work is: one line on a terminal, which is gone in the end, or else at most a line a minute in the log.

Conventions: it shows where messages of the level INFO do: of several processes only the first one speaks, and a program
that sets up no logging sees nothing. Of works within each other, and of several threads, one shows. Nothing runs beside
the work: the line is as old as the last step.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from data.names import printable

REFRESH_SECONDS = 0.5  # on a terminal; reading a loss stops a GPU each time
LOG_SECONDS = 60.0
BAR = 20  # characters, where there is room
FAST = 10  # a second: from here on without decimals

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Parts = list[str]

_showing = threading.Lock()  # held by the work that shows


class Progress:
    """The steps of some work, counted; made by `progress`."""

    def __init__(
        self, what: str, total: float, unit: str, rate: str | None, done: float, loss: Callable[[], float] | None
    ) -> None:
        self._what, self._unit, self._rate, self._loss = what, unit, rate or unit, loss
        self._before = done
        self.total, self.done = total, done
        self._counted = 0.0
        self._show: Callable[[], None] | None = None
        self._wait = self._began = self._last = 0.0

    def advance(self, steps: float = 1, counted: float | None = None) -> None:
        """Say that some steps are done.

        Args:
            steps: how many.
            counted: how much they add to what is counted a second; None: their number.
        """
        self.done += steps
        self._counted += steps if counted is None else counted
        if self._show is not None and (now := time.monotonic()) - self._last >= self._wait:
            self._last = now
            self._show()

    def over(self, items: Iterable[Item], steps: Callable[[Item], float] = lambda _: 1) -> Iterator[Item]:
        """Pass items on, and count each as done when the next one is asked for.

        Args:
            items: what the work is made of.
            steps: of an item.
        """
        for item in items:
            yield item
            self.advance(steps(item))

    def shown(self, show: Callable[[], None], wait: float) -> None:
        """Have it shown from now on, at most every so many seconds."""
        self._show, self._wait = show, wait
        self._began = self._last = time.monotonic()

    def parts(self) -> Parts:
        """What there is to say, the most important first."""
        parts = [f"{self._what}: {self.done:,.0f} of {self.total:,.0f} {self._unit}"]
        seconds, made = self._last - self._began, self.done - self._before
        if made > 0:
            left = max(0.0, (self.total - self.done) * seconds / made)
            parts.append(f"{timedelta(seconds=round(left))} left")
        if self._loss is not None and made > 0:
            parts.append(f"loss {self._loss():.3f}")
        if self._counted and seconds > 0:
            speed = self._counted / seconds
            parts.append(f"{speed:,.0f} {self._rate}/s" if speed >= FAST else f"{speed:.1f} {self._rate}/s")
        return parts


@contextmanager
def progress(
    what: str,
    total: float,
    unit: str = "clips",
    *,
    rate: str | None = None,
    done: float = 0,
    loss: Callable[[], float] | None = None,
) -> Iterator[Progress]:
    """Within it the steps of some work are counted and shown.

    Args:
        what: the work, as the line begins.
        total: its steps.
        unit: what the steps are, in the plural.
        rate: what is counted a second; None: the steps.
        done: steps that were made before.
        loss: read only when the line is written; None: there is none.
    """
    found = Progress(what, total, unit, rate, done, loss)
    if not (log.isEnabledFor(logging.INFO) and _showing.acquire(blocking=False)):
        yield found
        return
    try:
        console = Console()
        # A colour that is forced makes no terminal of a file, in which nothing can be erased.
        if console.is_interactive and console.file.isatty():
            with Live(_line(found, console), console=console, auto_refresh=False, transient=True) as live:
                found.shown(lambda: live.update(_line(found, console), refresh=True), REFRESH_SECONDS)
                yield found
        else:
            found.shown(lambda: log.info("%s", ", ".join(found.parts())), LOG_SECONDS)
            yield found
    finally:
        _showing.release()


def _line(work: Progress, console: Console) -> Table:
    """Of the parts as many as the terminal has room for, after a bar."""
    width = console.width - 1
    parts = [printable(part) for part in work.parts()]
    texts = [Text(", ".join(parts[:count]), no_wrap=True, overflow="ellipsis") for count in range(len(parts), 0, -1)]
    text = next((each for each in texts if each.cell_len <= width), texts[-1])
    line = Table.grid(padding=(0, 1))
    if text.cell_len + 1 + BAR <= width:
        line.add_row(ProgressBar(total=work.total, completed=work.done, width=BAR), text)
    else:
        line.add_row(text)
    return line
