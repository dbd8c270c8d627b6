"""C that is compiled for this machine, with all warnings and with sanitizers, or for an emulated Cortex-M4."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from experiments.device.emulator import Program
from experiments.device.toolchain import DEVICE, HOST, device_program, host_program

STRICT = ("-Werror", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover")
REQUIRED = "SCENELET_TOOLS"  # in the environment, "required": tools are there, and no test is skipped without them


def need(*tools: str) -> None:
    """Skip the test where tools are not installed; or let it fail, where they are required."""
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        message = f"not installed: {', '.join(missing)}"
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(message)
        pytest.skip(message)


def compiled(files: Mapping[str, str], folder: Path) -> Path:
    """The program that some files, name -> text, make; without a compiler the test is skipped."""
    need(HOST)
    return host_program(files, folder, STRICT)


def emulated(files: Mapping[str, str], folder: Path, keep: Iterable[str] = ()) -> Program:
    """The same for an emulated Cortex-M4."""
    need(DEVICE)
    return Program(device_program(files, folder, keep, ["-Werror"]))
