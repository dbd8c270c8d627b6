"""Locks: of several processes, on one machine or many, one at a time writes a store, a data set or a run.

Conventions: a lock is a small file that the kernel locks (flock), so that it is free the moment its process ends,
however that ends. The file names the process that holds it, and is removed when the lock is given back; where it lies
there without its process, it means nothing.
"""

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from data.errors import UserError
from data.files import cannot_write

ATTEMPTS = 3  # to make a folder that another process removes at the same moment
HOLDER = re.compile(r"number \d+ on [\w.-]+")

log = logging.getLogger(__name__)


@contextmanager
def locked(path: Path, work: str, *, otherwise: str, elsewhere: str, waits: bool = False) -> Iterator[None]:
    """Hold a lock within the block.

    Args:
        path: the lock's file; its folder is made.
        work: what is done under this lock, such as "writing runs/student/a".
        otherwise: what else than waiting a user may do, such as "choose another name".
        elsewhere: how a user chooses another place, such as "choose another folder with runs=...".
        waits: wait for another process that holds the lock, which is said, instead of raising an error.

    Raises:
        UserError: another process holds the lock; or the folder cannot be written, or knows no locks.
    """
    # Its fallback is a file that outlives a process that is killed on another machine.
    lock = FileLock(path, fallback_to_soft=False)
    if not _acquired(lock, path, elsewhere):
        holder = _holder(path)
        if not waits:
            raise UserError(f"another process{holder} is {work}: wait for it, or {otherwise}")
        log.info("another process%s is %s: waiting for it", holder, work)
        _acquired(lock, path, elsewhere, seconds=-1)
    try:
        with suppress(OSError):  # it is only said to others
            path.write_text(f"number {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        with suppress(OSError):  # removed while it is held, so that nobody holds a file without a name
            path.unlink()
        lock.release()


def _acquired(lock: FileLock, path: Path, elsewhere: str, seconds: float = 0) -> bool:
    """Whether the lock was had within so many seconds; -1: however long it takes."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=seconds)
            return True
        except Timeout:
            return False
        except FileNotFoundError as error:
            if attempt == ATTEMPTS:
                raise cannot_write(path.parent, error, elsewhere) from error
        except OSError as error:
            if not _is_writable(path):
                raise cannot_write(path.parent, error, elsewhere) from error
            raise UserError(
                f"{path.parent} is on a file system without locks ({error.strerror}), on which two processes could "
                f"spoil each other's work: {elsewhere} on one that has them, such as a local disk"
            ) from error
    raise AssertionError


def _is_writable(path: Path) -> bool:
    try:
        path.open("ab").close()
    except OSError:
        return False
    return True


def _holder(path: Path) -> str:
    """Which process holds a lock, in brackets; empty if that is not known."""
    try:
        with path.open(encoding="utf-8") as file:
            said = file.read(200)
    except (OSError, ValueError):
        return ""
    return f" ({said})" if HOLDER.fullmatch(said) else ""
