"""The package as a wheel, away from the checkout: what it needs besides its modules is inside."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command import ROOT

pytestmark = pytest.mark.slow  # builds a wheel with setuptools from the package index

INFERENCE = """
import sys
from pathlib import Path
from experiments.submission.check_inference import write_inference
write_inference(Path("inference"), "A_B", {"A_B_task1_1": Path(sys.argv[1])})
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel is installed, without its dependencies, which are those of this environment."""
    wheels, folder = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, ROOT], check=True, capture_output=True)
    (wheel,) = wheels.glob("scenelet-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder, wheel], check=True, capture_output=True)
    return folder


def run(installed: Path, folder: Path, *command: str | Path) -> str:
    """What a command prints that sees the wheel's modules and no checkout."""
    settings = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "120"}
    result = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_wheel_is_complete(installed: Path, tmp_path: Path, small_model: Path) -> None:
    """Oracle: the wheel's own modules are the ones imported; the version is pyproject's; help reads the yaml files; a
    sound is classified, also by the model that comes with the package; a page is written from its template and the
    table of published systems is there; an inference package is made of its modules, in which our validator finds
    nothing."""
    python, scenelet = sys.executable, installed / "bin" / "scenelet"
    found = run(
        installed, tmp_path, python, "-c", "import experiments, data; print(experiments.__file__, data.__file__)"
    )
    assert all(name.startswith(str(installed)) for name in found.split())
    (version,) = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version = ")]
    assert version.split('"')[1] in run(installed, tmp_path, scenelet, "--version")
    assert "teacher.arguments.rho=8" in run(installed, tmp_path, scenelet, "teacher", "--help")
    sound = tmp_path / "noise.wav"
    soundfile.write(sound, np.random.default_rng(0).uniform(-0.1, 0.1, 32_000), 32_000)
    run(installed, tmp_path, scenelet, "predict", sound, f"model={small_model}", "name=mine")
    assert len((tmp_path / "runs/predict/mine/predictions.csv").read_text().splitlines()) == 2
    assert "model esc50: comes with scenelet" in run(installed, tmp_path, scenelet, "predict", sound)
    assert (installed / "experiments/included/esc50/NOTICE.txt").is_file()
    assert "CP-Mobile" in run(installed, tmp_path, scenelet, "rank", "name=mine")
    assert (tmp_path / "runs/rank/mine/report.html").read_text().startswith("<!doctype html>")
    run(installed, tmp_path, python, "-c", INFERENCE, small_model)
    assert (tmp_path / "inference/A_B_task1/A_B_task1_1.py").is_file()
