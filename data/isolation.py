"""A function's answer from a process of its own: a library that crashes on a damaged file, or does not come to an end
with it, does so there.

Conventions: on Linux the process is forked, which takes some milliseconds, and bounded in memory and in processor time
(waiting for a slow disk is none). Elsewhere a fork may itself crash in the system's libraries, and the function is
called as it is.
"""

import faulthandler
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

PROCESSOR_SECONDS = 1  # a whole file of ours takes some milliseconds
MEMORY = 1 << 30  # bytes beyond what this process has


class CrashError(Exception):
    """The process ended without an answer; the message says how."""


def isolated(function: Callable[[], Any]) -> Any:
    """What the function returns, as JSON keeps it (tuples become lists).

    Raises:
        CrashError: the process crashed, or went beyond its bounds.
    """
    if sys.platform != "linux":
        return json.loads(json.dumps(function()))
    reader, writer = os.pipe()
    with warnings.catch_warnings():  # from Python 3.12 on, of other threads, of which the child needs nothing
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            child = os.fork()
        except OSError:  # no process or memory to be had: then without the bounds
            child = None
    if child is None:
        os.close(reader)
        os.close(writer)
        return json.loads(json.dumps(function()))
    if child == 0:
        _answer(function, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except ChildProcessError:  # somebody else in this process waits for all children
        code = 0 if answer else 1
    if code == -signal.SIGXCPU:
        raise CrashError(f"no end within {PROCESSOR_SECONDS} s")
    if code:
        raise CrashError(
            f"it crashed ({signal.strsignal(-code)})"
            if code < 0
            else f"it failed, or takes more than {MEMORY >> 20} MiB of memory"
        )
    return json.loads(answer)


def _answer(function: Callable[[], Any], writer: int) -> NoReturn:
    """In the child: write the answer and end, without a word and without any of the parent's own endings."""
    code = 1
    try:
        import resource  # only where there are forks

        faulthandler.disable()
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, used + MEMORY))
        # Above the first limit SIGXCPU, above the second SIGKILL, which may also come from elsewhere.
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open(writer, "w") as pipe:
            json.dump(function(), pipe)
        code = 0
    finally:
        os._exit(code)
