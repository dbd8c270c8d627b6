"""The command line as tests give it, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
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
    command = [sys.executable, "-m", "experiments.run", *arguments]
    # W&B tells its children of the service that it runs for a test in this process; a user's command has none.
    inherited = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    settings = {**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "120", **(environment or {})}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=settings, check=False)
