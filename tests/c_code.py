"""C that is compiled for this machine, with all warnings and with sanitizers."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

STRICT = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O1", "-fsanitize=address,undefined")


def compiled(files: Mapping[str, str], folder: Path) -> Path:
    """The program that some files, name -> text, make; without a compiler the test is skipped."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    for name, text in files.items():
        (folder / name).write_text(text)
    sources = sorted(str(path) for path in folder.glob("*.c"))
    subprocess.run(["gcc", *STRICT, *sources, "-o", str(folder / "program")], check=True)
    return folder / "program"
