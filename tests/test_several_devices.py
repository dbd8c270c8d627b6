"""Several processes do what one does: training within rounding, logits to the last bit."""

import json
import socket
from pathlib import Path

import h5py
import numpy as np
import pytest
from command import LAUNCHER, run, run_in_subprocess

from data.scenes import ClipSet

# Nothing random but the order of the clips: what processes draw for their own shares differs from what one draws.
PLAIN = [f"teacher.augment.{name}=0" for name in ("roll", "impulse_p", "mixstyle_p", "frequency_mask", "time_mask")]
SMALL = ["depth=1", "width=32", "frequency_patchout=0"]
SETTINGS = ["stage=teacher", "teacher=passt_small", "epochs=2", "tracking=none", "fabric.accelerator=cpu"]
SETTINGS += [
    "teacher.fit.average=0.5",
    *PLAIN,
    "teacher.mel.edge_jitter=0",
    *(f"teacher.arguments.{argument}" for argument in SMALL),
]


def succeed(folder: Path, *arguments: str, launcher: tuple[str, ...] = LAUNCHER) -> str:
    """The output of a command in processes of its own, one thread each."""
    result = run_in_subprocess(folder, *arguments, environment={"OMP_NUM_THREADS": "1"}, launcher=launcher)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, miniature: ClipSet) -> Path:
    """A folder with a small PaSST that one process has trained; it has no BatchNorm, which counts by process."""
    folder = tmp_path_factory.mktemp("alone")
    succeed(folder, *SETTINGS, f"data.root={miniature.root}", "name=alone")
    return folder


def logits(folder: Path, name: str) -> np.ndarray:
    with h5py.File(folder / f"runs/teacher/{name}/logits.h5") as file:
        assert file["done"][:].all()
        return file["logits"][:]


@pytest.mark.slow  # starts a command, and another one of two processes
def test_two_processes_train_what_one_trains(alone: Path, miniature: ClipSet) -> None:
    """Oracle: one process with the same batches: logits within 1e-5, the same history, each line said once."""
    said = succeed(alone, *SETTINGS, f"data.root={miniature.root}", "name=two", "fabric.devices=2")
    assert said.count("epoch   1/2") == 1
    np.testing.assert_allclose(logits(alone, "two"), logits(alone, "alone"), atol=1e-5)
    rows = [
        [json.loads(line) for line in (alone / f"runs/teacher/{name}/history.jsonl").read_text().splitlines()]
        for name in ("alone", "two")
    ]
    for ours, theirs in zip(*rows, strict=True):
        for name in ("epoch", "loss", "validation/log_loss", "validation/accuracy"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-5)


@pytest.mark.slow  # starts a command, and torchrun with two processes
def test_two_processes_under_torchrun_write_the_logits_that_one_writes(alone: Path, miniature: ClipSet) -> None:
    """Oracle: one process's logits of the same checkpoint, bit for bit, and of shifted copies too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}", "-m", "experiments.run")
    checkpoint = f"checkpoint={alone / 'runs/teacher/alone/checkpoint.safetensors'}"
    logits_of_all = [*SETTINGS, f"data.root={miniature.root}", "only=logits", checkpoint]
    succeed(alone, *logits_of_all, "name=shared", "fabric.devices=2", launcher=torchrun)
    np.testing.assert_array_equal(logits(alone, "shared"), logits(alone, "alone"))
    settings = json.loads((alone / "runs/teacher/shared/run.json").read_text())["settings"]
    assert settings == {"only": "logits", "shifts": 1}


def test_more_processes_than_devices_are_one_message(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: the message, once, and no run; the environment is that of torchrun's first and second process."""
    for rank in ("0", "1"):
        environment = {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank}
        result = run(tmp_path, *SETTINGS, f"data.root={miniature.root}", environment=environment)
        assert result.returncode == 1
        assert ("2 processes were started" in result.stderr) == (rank == "0")
    assert not list(tmp_path.glob("runs/*/*/*"))
