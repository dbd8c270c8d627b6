"""Standard output and error of a command: progress by logging, and readers that do not wait for the end, as `head`."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import NoReturn, TextIO

from data.files import cannot_write
from data.names import printable
from experiments.distributed.processes import is_first

READER_GONE = 1  # exit code of a command whose output nobody reads any more
VERBOSE = ("filelock", "numexpr", "matplotlib")


class Progress(logging.StreamHandler):
    """Messages, to what is standard output at that moment. Names in them move no cursor, see data/names.py."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO | None:
        return sys.stdout

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))

    def emit(self, record: logging.LogRecord) -> None:
        if self.stream is not None:  # the shell closed it
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        if isinstance(error, BrokenPipeError):
            leave()
        if isinstance(error, OSError):
            raise cannot_write("standard output", error, "send it elsewhere") from error
        super().handleError(record)


def start_logging() -> None:
    """Write messages to standard output; those of other processes than the first only if they are errors. A job of a
    sweep asks for it again, because it may begin its life in a worker process."""
    root = logging.getLogger()
    root.setLevel(logging.INFO if is_first() else logging.ERROR)
    logging.raiseExceptions = False  # W&B keeps a log of its own, which would print a traceback a line on a full disk
    for name in VERBOSE:
        logging.getLogger(name).setLevel(logging.WARNING)
    if not any(isinstance(handler, Progress) for handler in root.handlers):
        root.addHandler(Progress())


@contextlib.contextmanager
def logging_put_back() -> Iterator[None]:
    """What is done to the handlers and to the level of the root logger is undone in the end."""
    root, complains = logging.getLogger(), logging.raiseExceptions
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.raiseExceptions = complains


@contextlib.contextmanager
def variables(**values: str) -> Iterator[None]:
    """Environment variables, as far as the user did not set them; they are taken back in the end."""
    ours = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in ours})
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Within it only an answer is printed, of which a reader may take as much as it likes.

    Raises:
        SystemExit: the reader is gone.
    """
    with logging_put_back():
        logging.raiseExceptions = False  # Hydra answers by logging
        try:
            yield
        except BrokenPipeError:
            leave()


def leave() -> NoReturn:
    """End quietly, because nobody reads standard output any more.

    Raises:
        SystemExit: always.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the interpreter, which flushes in the end
    sys.exit(READER_GONE)


def flush() -> None:
    """Write out what is still to be written to standard output.

    Raises:
        SystemExit: nobody reads it any more.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        leave()
