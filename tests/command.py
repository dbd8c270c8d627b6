"""The command line as tests give it: called in this process, or started in one of its own where that is what is tested.

Conventions: both ways return what subprocess.run returns, so that a test reads the same by either. In this process the
command finds what a fresh one would: its own working directory, environment, standard output and error, no handler of
logging, no Fabric and nothing of Hydra's; what it changed of all these, and of PyTorch's global state, is put back.
"""

import contextlib
import io
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from experiments.distributed import fabric
from experiments.run import main

ROOT = Path(__file__).parent.parent
LAUNCHER = ("-m", "experiments.run")
# A training of seconds: two epochs of the smallest networks.
QUICK = [
    "tracking=none",
    "epochs=2",
    "teacher.arguments.base_channels=8",
    "teacher.arguments.cut_channels=[0,0,0]",
    "student.size=6k",
    "teacher.mel.mels=64",
    "student.mel.mels=64",
    "student.augment.frequency_mask=4",
    "quantize.clips=32",
]


def run(folder: Path, *arguments: str, environment: dict | None = None) -> subprocess.CompletedProcess:
    """Call the command line in this process.

    Args:
        folder: working directory.
        arguments: of the command.
        environment: variables to set besides the usual ones.

    Raises:
        Exception: whatever the command line lets through, which would be a traceback.
    """
    output, errors = io.StringIO(), io.StringIO()
    with (
        _put_back(),
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, environment_of(environment), clear=True),
        mock.patch.object(sys, "argv", ["scenelet", *arguments]),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        code = _exit_code(arguments)
    return subprocess.CompletedProcess(["scenelet", *arguments], code, output.getvalue(), errors.getvalue())


def run_in_subprocess(
    folder: Path, *arguments: str, environment: dict | None = None, launcher: tuple[str, ...] = LAUNCHER
) -> subprocess.CompletedProcess:
    """Run the command line in a process of its own: for what happens when it starts, and for several processes."""
    return subprocess.run(
        [sys.executable, *launcher, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment_of(environment),
        check=False,
    )


def run_until(folder: Path, words: str, *arguments: str) -> None:
    """Start the command line in a process of its own, and kill that as soon as a line of its output has the words."""
    command = [sys.executable, *LAUNCHER, *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment_of(), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if words in line:
                process.kill()
                return
        raise AssertionError(f"the command ended without {words!r}")


def environment_of(more: dict | None = None) -> dict[str, str]:
    """The variables of a command: those of this process, a terminal's width, this code, and nothing sent to W&B."""
    # W&B tells its children of the service that it runs for a test in this process; a user's command has none.
    inherited = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    return {"WANDB_MODE": "offline", **inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "120", **(more or {})}


def _exit_code(arguments: tuple[str, ...]) -> int:
    try:
        main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@contextlib.contextmanager
def _put_back() -> Iterator[None]:
    """Take away what an earlier command left, and put back what this one changes."""
    root, threads, random = logging.getLogger(), torch.get_num_threads(), torch.get_rng_state()
    handlers, level = root.handlers, root.level
    root.handlers = []
    _forget()
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            yield
    finally:
        root.handlers = handlers
        root.setLevel(level)
        torch.set_num_threads(threads)
        torch.set_rng_state(random)
        _forget()


def _forget() -> None:
    """What is kept from one command to the next in one process."""
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None
    fabric._made.clear()
