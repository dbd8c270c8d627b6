"""Commands in processes of their own that start at once, and that may be killed on purpose.

Conventions: a first process imports everything and computes nothing; each command is a fork of it. A command is killed
by SIGKILL before its n-th change of a file, counted alike each time it runs, or after some seconds.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from command import ROOT, environment_of

# What Python says of changes before they are made. HDF5, torch and safetensors write by themselves, but what they
# write has a temporary name, or is marked as done only afterwards, which is counted.
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.copyfile")
CALLS = ("pwrite", "fsync", "posix_fallocate")
MODULES = (
    *("experiments.run", "experiments.stages.ensemble", "experiments.stages.quantize", "experiments.stages.submit"),
    *("experiments.stages.teacher", "experiments.report.plots", "pypdf", "reportlab.platypus", "codecarbon"),
)


class Forked:
    """What runs commands; see `forking`."""

    def __init__(self, process: subprocess.Popen, output: Path) -> None:
        self._process, self._output = process, output

    def run(self, folder: Path, *arguments: str, at: int = 0, after: float = 0.0) -> subprocess.CompletedProcess:
        """Run a command in a folder; `stdout` is what it said and, in its last line, how many changes it made.

        Args:
            folder, arguments: working directory, and the command.
            at: it is killed before this change, counted from 1; 0: not.
            after: it is killed after so many seconds; 0: not.
        """
        asked = {"folder": str(folder), "arguments": arguments, "at": at, "after": after}
        asked |= {"output": str(self._output)}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, self._output.read_text(errors="replace"))


@contextmanager
def forking() -> Iterator[Forked]:
    """Commands are run within the block."""
    command = [sys.executable, str(Path(__file__))]
    environment = environment_of({"OMP_NUM_THREADS": "1"})
    with (
        tempfile.NamedTemporaryFile() as output,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        yield Forked(process, Path(output.name))
        process.stdin.close()


def _serve() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        if not (child := os.fork()):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            _command(**asked)
        if asked["after"] and signal.sigtimedwait([signal.SIGCHLD], asked["after"]) is None:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _command(folder: str, arguments: list[str], at: int, after: float, output: str) -> None:
    """Become the command."""
    os.chdir(folder)
    words = os.open(output, os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(words, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    changes, own = 0, os.getpid()

    def change() -> None:
        nonlocal changes
        if os.getpid() == own:  # and not a process that the command has started by a fork
            changes += 1
            if changes == at:
                os.kill(own, signal.SIGKILL)

    def hear(event: str, given: tuple) -> None:
        if event in CHANGES or (event == "open" and len(given) == 3 and given[2] & (os.O_WRONLY | os.O_RDWR)):
            change()

    def counted(function: object) -> object:
        def call(*given: object) -> object:
            change()
            return function(*given)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    sys.addaudithook(hear)
    code = 0
    try:
        sys.argv = ["scenelet", *arguments]
        main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    os.write(1, f"\n{changes}\n".encode())
    os._exit(code)


if __name__ == "__main__":
    import importlib

    for module in MODULES:
        importlib.import_module(module)
    from experiments.run import main

    _serve()
