"""What the stages that only look at results do not load."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import packages
import pytest
from command import ROOT
from test_count import official_baseline
from test_report import make_run

from data.scenes import ClipSet
from experiments.evaluation.predictions import predictions_text

PROGRAM = """
import runpy, sys
runpy.run_module("experiments.run", run_name="__main__", alter_sys=True)
print("loaded:", *(name for name in ("torch", "torchaudio", "lightning_fabric", "transformers") if name in sys.modules))
print("drawn:", "matplotlib" in sys.modules)
"""


def run(folder: Path, *arguments: str) -> list[str]:
    """The lines of a command that says at its end which heavy packages are loaded."""
    command = [sys.executable, "-c", PROGRAM, *arguments, "tracking=none"]
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=settings, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("stage", ["rank", "validate", "score", "report", "count"])
def test_stages_that_look_at_results_load_no_network_library(stage: str, tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: sys.modules after each stage has done its work on small files; matplotlib is there where something was
    drawn, so not where a result is reused or a file is only looked at."""
    packages.zipped(tmp_path / "good.zip", packages.files())
    (tmp_path / "clips").mkdir()
    for name in packages.CLIPS:
        (tmp_path / "clips" / name).touch()
    make_run(tmp_path / "runs/quantize/default", miniature)
    rows = miniature.indices("test")
    p = np.random.default_rng(0).dirichlet(np.ones(10), size=len(rows))
    names = [miniature.filenames[row] for row in rows]
    (tmp_path / "p.csv").write_text(predictions_text(names, p, miniature.scenes))
    arguments = {
        "rank": [],
        "validate": ["validate.package=good.zip", "submit.evaluation=clips"],
        "score": ["score.predictions=p.csv", f"data.root={miniature.root}"],
        "report": [],
        "count": [f"model={official_baseline(tmp_path / 'baseline.tflite')}"],
    }
    *_, loaded, drawn = run(tmp_path, f"stage={stage}", *arguments[stage])
    assert loaded == "loaded:"
    assert drawn == f"drawn: {stage not in ('validate', 'count')}"
    if stage == "score":
        assert run(tmp_path, f"stage={stage}", *arguments[stage])[-2:] == ["loaded:", "drawn: False"]


@pytest.mark.slow  # a command for each stage
def test_stages_of_an_extra_name_it_where_it_is_not_installed(tmp_path: Path) -> None:
    """Oracle: the message, in processes in which the extra's packages cannot be imported."""
    program = f"import sys\nsys.modules |= dict.fromkeys(('pypdf', 'reportlab'))\n{PROGRAM}"
    (tmp_path / "x.zip").touch()
    for stage in ("validate", "submit"):
        command = [sys.executable, "-c", program, f"stage={stage}", "validate.package=x.zip"]
        settings = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=settings, check=False)
        assert "the package pypdf is not installed: pip install '.[submit]'" in done.stderr
        assert "Traceback" not in done.stderr
