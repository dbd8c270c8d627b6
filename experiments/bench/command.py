"""Seconds that the command line takes to start: whole processes that answer, rank, or find that a file is missing.

Conventions: what a user waits for, from the start of Python to its end, in an empty folder; files and bytecode are in
memory, because each command has run once before.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError
from experiments.bench.timing import Row, in_turns, row

CODE = Path(__file__).parents[2]
# What is measured, with its arguments and its exit code.
COMMANDS: dict[str, tuple[Sequence[str], int]] = {
    "--help": (["--help"], 0),
    "--version": (["--version"], 0),
    "student --help": (["student", "--help"], 0),
    "rank: the published systems": (["rank"], 0),
    "validate: no such file": (["validate", "no.zip"], 1),
    "score: no such file": (["score", "no.csv"], 1),
    "report: no such run": (["report"], 1),
}


def run(arguments: argparse.Namespace) -> list[Row]:
    """All rows: what, median, unit, rounds."""
    if arguments.rounds < 1:
        raise UserError(f"--rounds={arguments.rounds} must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        for what, (words, wanted) in COMMANDS.items():
            if (code := start(words, Path(folder))) != wanted:
                raise UserError(f"{what} ended with exit code {code} instead of {wanted}: its time would say nothing")
        actions = {what: lambda words=words: start(words, Path(folder)) for what, (words, _) in COMMANDS.items()}
        seconds = in_turns(actions, arguments.rounds)
    return [row(what, rounds, "s") for what, rounds in seconds.items()]


def start(words: Sequence[str], folder: Path) -> int:
    """The exit code of a command that runs in a folder, by this code."""
    path = os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "experiments.run", *words]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode
