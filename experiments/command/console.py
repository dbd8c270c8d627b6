"""Standard output and error of a command: progress by logging, and readers that do not wait for the end, as `head`."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from experiments.distributed.processes import is_first

READER_GONE = 1  # exit code of a command whose output nobody reads any more
VERBOSE = ("filelock", "numexpr", "matplotlib")


class _Progress(logging.StreamHandler):
    """Messages to what is standard output, or error, at that moment; a closed pipe is no business of logging's."""

    def __init__(self, name: str) -> None:
        logging.Handler.__init__(self)
        self._stream_name = name
        self.setFormatter(logging.Formatter("%(message)s"))

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return getattr(sys, self._stream_name)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            raise
        super().handleError(record)


def start_logging(*, to_errors: bool = False) -> None:
    """Write messages as they are to standard output (or error); those of other processes than the first only if they
    are errors. A job of a sweep asks for it again, because it may begin its life in a worker process."""
    root = logging.getLogger()
    root.setLevel(logging.INFO if is_first() else logging.ERROR)
    for name in VERBOSE:
        logging.getLogger(name).setLevel(logging.WARNING)
    if not any(isinstance(handler, _Progress) for handler in root.handlers):
        root.addHandler(_Progress("stderr" if to_errors else "stdout"))


@contextlib.contextmanager
def logging_here(*, to_errors: bool = False) -> Iterator[None]:
    """start_logging, and put back what was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    start_logging(to_errors=to_errors)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@contextlib.contextmanager
def variables(**values: str) -> Iterator[None]:
    """Environment variables that are not set by the user, and taken back in the end."""
    ours = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in ours})
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def flush() -> None:
    """Write out what is still to be written; if nobody reads it, end quietly.

    Raises:
        SystemExit: the reader is gone.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the interpreter, which flushes again
        sys.exit(READER_GONE)
