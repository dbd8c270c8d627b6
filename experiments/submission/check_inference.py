"""Check an inference package of DCASE 2025 Task 1: its files, and what its modules do when the organisers call them.

Conventions: the code of the package is run, each module in a process of its own (try_inference.py): check what you
trust. A defect is a sentence. Limits are those of the network of one device.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError, counted, listed
from data.files import write_whole
from data.names import printable
from experiments.submission import try_inference
from experiments.submission.inference_package import package_files
from experiments.submission.layout import SYSTEMS, TASK
from students.limits import LIMITS

PACKAGE = re.compile(rf"[A-Za-z][A-Za-z0-9-]*_[A-Za-z][A-Za-z0-9_-]*_{TASK}")
PACKAGE_WORDS = f"SURNAME_INSTITUTE_{TASK}"
SECONDS = 600  # that a module may take
COSTS = {"macs": ("macs", "multiply-accumulates"), "bytes": ("parameter_bytes", "bytes of parameters")}


@dataclass(frozen=True)
class PassedModule:
    """A module without defects: its name, and the largest costs of a device's network."""

    label: str
    macs: int
    bytes: int


def write_inference(folder: Path, team: str, models: Mapping[str, Path]) -> None:
    """Write an inference package of some systems; the modules of one that is there are replaced, and what else lies in
    the folder, such as a repository, is left alone.

    Args:
        folder: that is to be published.
        team: <surname>_<institute>.
        models: the file of each system, by its label.

    Raises:
        UserError: the organisers' scripts would not accept it; every reason is listed.
    """
    for there in folder.glob(f"*_{TASK}"):
        shutil.rmtree(there)
    for path, content in package_files(team, {label: file.read_bytes() for label, file in models.items()}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(folder / path, content)
    require_valid_inference(folder)


def require_valid_inference(folder: str | Path) -> list[PassedModule]:
    """The modules of the package in a folder.

    Raises:
        UserError: it has defects; every one is listed.
    """
    defects, modules = validate_inference(folder)
    if defects:
        found = listed([printable(defect) for defect in defects], shown=len(defects))
        raise UserError(f"{folder} has {counted(len(defects), 'defect')}:\n{found}")
    return modules


def validate_inference(folder: str | Path) -> tuple[list[str], list[PassedModule]]:
    """The defects of the package in a folder, and its modules that have none."""
    folder = Path(folder).resolve()
    packages = [path for path in sorted(folder.iterdir()) if PACKAGE.fullmatch(path.name) and path.is_dir()]
    if len(packages) != 1:
        names = ", ".join(path.name for path in packages) or "none"
        return [f"it holds {names}: one folder named {PACKAGE_WORDS} is wanted"], []
    package, defects, found = packages[0], [], []
    for name in ("__init__.py", "resources/dummy.wav"):
        if not (package / name).is_file():
            defects.append(f"{package.name}/{name} is missing")
    if not any((folder / name).is_file() for name in ("setup.py", "pyproject.toml")):
        defects.append("it has no setup.py and no pyproject.toml, so that it cannot be installed")
    pattern = re.compile(rf"{re.escape(package.name)}_(\d+)")
    modules = [path.stem for path in sorted(package.glob("*.py")) if pattern.fullmatch(path.stem)]
    if not modules:
        defects.append(f"{package.name} has no module {package.name}_1.py")
    for module in modules:
        if not 1 <= int(pattern.fullmatch(module)[1]) <= SYSTEMS:  # type: ignore[index]
            defects.append(f"{package.name}/{module}.py: systems have numbers from 1 to {SYSTEMS}")
        wrong, costs = _tried(folder, package.name, module)
        defects += [f"{package.name}/{module}.py: {each}" for each in wrong]
        if not wrong:
            found.append(PassedModule(module, *(max(each[cost] for each in costs.values()) for cost in COSTS)))
    return defects, found


def _tried(folder: Path, package: str, module: str) -> tuple[list[str], Mapping[str, Mapping[str, int]]]:
    """What is wrong with a module, and the costs of its networks by device."""
    command = [sys.executable, try_inference.__file__, str(folder), package, module]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return [f"it is not done after {SECONDS} s"], {}
    *_, last = done.stdout.strip().splitlines() or [""]
    try:
        answer = json.loads(last)
        defects = [*map(str, answer["defects"])]
        costs = {str(device): {cost: int(each[cost]) for cost in COSTS} for device, each in answer["devices"].items()}
        if not (defects or costs):
            defects = ["its process named no device"]
    except (ValueError, TypeError, KeyError, AttributeError):
        *_, why = done.stderr.strip().splitlines() or ["no message"]
        return [f"its process ended with {done.returncode}: {why}"], {}
    for device, each in costs.items():
        for cost, (limit, words) in COSTS.items():
            if each[cost] > LIMITS[limit]:
                defects.append(f"the network of device {device} has {each[cost]:,} {words}, at most {LIMITS[limit]:,}")
    return defects, costs
