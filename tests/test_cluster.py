"""Sweeps by Ray: the same runs as without it, made by its workers, wherever these began their lives."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from command import LAUNCHER, ROOT

from data.scenes import ClipSet
from experiments.runs.claims import LOCK, claim, claiming

pytest.importorskip("ray", reason="needs Ray: pip install --editable '.[cluster]'")
pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="needs Ray: pip install --editable '.[cluster]'")

pytestmark = pytest.mark.slow  # starts Ray, which takes half a minute, and a command for every job
SWEEP = ["-m", "seed=1,2", "tracking=none"]
TINY = [
    "epochs=1",
    "data.clip_seconds=0.5",
    "teacher.arguments.base_channels=8",
    "teacher.arguments.cut_channels=[0,0,0]",
    "teacher.mel.mels=64",
]
# A cluster of one machine, which ends when its standard input does.
HEAD = """
import ray, sys
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""
# Two jobs with the arguments of ours, and one core.
TWO_JOBS = """
import time, ray
from experiments.command.launcher import Ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
@ray.remote(**Ray().remote)
def job():
    begun = time.monotonic()
    time.sleep(0.5)
    return begun, time.monotonic()
(_, ended), (begun, _) = sorted(ray.get([job.remote(), job.remote()]))
print("one after the other" if begun >= ended else "at once")
"""


def workers(output: str, words: str) -> set[int]:
    """Process ids that Ray writes before the lines of its workers."""
    return {int(re.search(r"pid=(\d+)", line)[1]) for line in output.splitlines() if line.endswith(words)}


def sweep(folder: Path, environment: dict[str, str], *arguments: str) -> tuple[int, int, str, str]:
    """Process id, exit code, standard output and error of a command that sweeps over two seeds."""
    command = [sys.executable, *LAUNCHER, *SWEEP, *arguments]
    settings = {**environment, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=folder, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        output, errors = process.communicate()
    return process.pid, process.returncode, output, errors


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of all processes: Ray keeps its token at home, and gives each worker one thread, which may change a sum."""
    (tmp_path / "home").mkdir()
    own = {"HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    own |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONPATH"))}
    return {**inherited, **own}


@pytest.fixture
def cluster(tmp_path: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """A Ray of two workers that is starting, in a folder of its own; it writes its address when it is there."""
    (tmp_path / "elsewhere").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HEAD],
        cwd=tmp_path / "elsewhere",
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as head:
        yield head
        head.stdin.close()


def test_a_cluster_makes_the_runs_that_one_process_makes(
    tmp_path: Path, environment: dict[str, str], cluster: subprocess.Popen, miniature: ClipSet
) -> None:
    """Oracle: the same sweep without Ray, bit for bit; process ids tell the workers from the command; and nothing is
    left where the cluster was started."""
    given = ["stage=teacher", f"data.root={miniature.root}", *TINY]
    _, code, _, errors = sweep(tmp_path, environment, "name=alone", *given)
    assert code == 0, errors
    ray = ["hydra/launcher=ray", f"hydra.launcher.ray.init.address={cluster.stdout.readline().strip()}"]
    pid, code, output, errors = sweep(tmp_path, environment, "name=many", *given, *ray)
    assert code == 0, errors
    for seed in (1, 2):
        assert (tmp_path / f"runs/teacher/many-seed_{seed}/run.json").is_file()
        with (
            h5py.File(tmp_path / f"runs/teacher/alone-seed_{seed}/logits.h5") as alone,
            h5py.File(tmp_path / f"runs/teacher/many-seed_{seed}/logits.h5") as many,
        ):
            np.testing.assert_array_equal(alone["logits"][:], many["logits"][:])
            np.testing.assert_array_equal(alone["filename"][:], many["filename"][:])
        (worker,) = workers(output, f"(runs/teacher/many-seed_{seed})")
        assert worker != pid
    assert "epoch   1/1" in output
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_core_computes_one_job_at_a_time(tmp_path: Path, environment: dict[str, str]) -> None:
    """Oracle: the times at which two jobs that sleep begin and end, of Ray with a single core."""
    done = subprocess.run(
        [sys.executable, "-c", TWO_JOBS],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "one after the other"


def test_a_mistake_in_a_worker_is_one_message_and_exit_code_1(tmp_path: Path, environment: dict[str, str]) -> None:
    """Oracle: what the message must name; no traceback, and the command's own Ray ends with it."""
    own = ["hydra/launcher=ray", "hydra.launcher.ray.init.address=local", "hydra.launcher.ray.init.num_cpus=2"]
    pid, code, output, errors = sweep(tmp_path, environment, "stage=data", "data=folder", "data.root=.", *own)
    assert code == 1
    assert errors.count("clips.csv is missing") == 1
    assert "'seed=1'" in errors  # which job it was
    assert "Traceback" not in errors + output
    assert workers(output, "stage data")
    assert pid not in workers(output, "stage data")


def test_a_run_that_another_process_writes_is_left_alone_by_a_worker(
    tmp_path: Path, environment: dict[str, str], miniature: ClipSet
) -> None:
    """Oracle: the run's folder, which this process has claimed; the job of the other seed is finished all the same."""
    own = ["hydra/launcher=ray", "hydra.launcher.ray.init.address=local", "hydra.launcher.ray.init.num_cpus=2"]
    ours = tmp_path / "runs/teacher/many-seed_1"
    with claiming():
        claim(ours)
        given = ["stage=teacher", f"data.root={miniature.root}", "name=many", *TINY]
        _, code, output, errors = sweep(tmp_path, environment, *given, *own)
        assert [path.name for path in ours.iterdir()] == [LOCK]
    assert code == 1
    assert errors.count(f"another process (number {os.getpid()} on ") == 1
    assert "Traceback" not in errors + output
    assert (tmp_path / "runs/teacher/many-seed_2/run.json").is_file()


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_without_place_for_sockets_is_one_message(
    variable: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Oracle: what the message must name: the folder, and the length with which Ray's paths have the system's 107 bytes
    at most."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    given = ["stage=data", f"data.root={tmp_path}", "hydra/launcher=ray", "hydra.launcher.ray.init.address=local"]
    _, code, output, errors = sweep(tmp_path, environment | {variable: str(folder)}, *given)
    assert code == 1
    (line,) = (line for line in errors.splitlines() if line.startswith("error: "))
    assert f"Ray cannot begin in {folder} (" in line
    assert "107 bytes" in line
    assert "set TMPDIR to a folder that can be written and whose path has at most 39 bytes, as /tmp" in line
    assert "Traceback" not in errors + output
