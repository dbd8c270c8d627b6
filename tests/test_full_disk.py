"""Writers that find no more room: the file is named, with a remedy; what was there stays, and nothing else is left."""

import errno
import logging
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import packages
import pytest
import torch
from command import run

from data.errors import UserError
from data.files import cannot_write, write_whole
from data.logits import LogitsWriter
from data.readers.synthetic import write_synthetic
from data.scenes import SCENES, ClipSet
from data.store import create
from experiments.submission.validate import write_valid
from experiments.training import checkpoint
from experiments.training.state import TrainingState, save_state
from students import build_student

NAMES = [f"{number}.wav" for number in range(100)]


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file can get larger than `size` bytes, which the system answers as it does on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def text(path: Path) -> None:
    write_whole(path, "x" * 100_000)


def store(path: Path) -> None:
    create(path, NAMES, {"values": (np.float32, (100,))}, {"format": "x"})


def logits(path: Path) -> None:
    writer = LogitsWriter(path, NAMES, SCENES, {"weights": "1"})
    writer.fill(range(len(NAMES)), np.zeros((len(NAMES), len(SCENES))))
    writer.seal()


def weights(path: Path) -> None:
    torch.manual_seed(0)
    network = build_student("cp_mobile", size="6k", classes=10)
    checkpoint.save(path, network, checkpoint.Blueprint("cp_mobile", {}, {}, SCENES, 32_000, "1"))


def state(path: Path) -> None:
    assert path.name == "resume.pt"
    save_state(path.parent, {}, TrainingState(network={"x": torch.zeros(10_000)}))


def submission(path: Path) -> None:
    write_valid(path, packages.files(), packages.CLIPS)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.csv", text),
        ("a.h5", store),
        ("logits.h5", logits),
        ("a.safetensors", weights),
        ("resume.pt", state),
        ("submission.zip", submission),
    ],
)
def test_a_writer_without_room_names_its_file_and_leaves_nothing(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    """Oracle: the system's own limit, from nothing to a byte too few; the file of an earlier, undisturbed writer."""
    path = tmp_path / name
    write(path)
    before = path.read_bytes()
    for size in (1, 100, 2048, len(before) // 2, len(before) - 1):
        with room(size), pytest.raises(UserError) as told:
            write(path)
        named = str(told.value).replace(".partial.h5", ".h5")  # a store gets its name when it is filled
        assert named.startswith(f"cannot write {path} ("), size
        assert "(File too large): allow larger files (ulimit -f), or choose another folder" in str(told.value)
        assert path.read_bytes() == before
        assert not list(tmp_path.glob("*.tmp"))
    write(path)
    assert path.read_bytes() == before


def test_sounds_without_room_are_no_data_set(tmp_path: Path) -> None:
    """Oracle: the folder as it was; the limit is that of a sound file's first kilobytes."""
    told = f"cannot write {tmp_path}/set .*or choose another folder with cache="
    with room(5000), pytest.raises(UserError, match=told):
        write_synthetic(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free space there"),
        (errno.EDQUOT, "have the quota raised"),
        (errno.EROFS, "mend the permissions, or choose another folder"),
        (errno.EIO, "see to that disk"),
    ],
)
def test_each_reason_has_its_remedy(code: int, remedy: str) -> None:
    """Oracle: the system's own words for the reason, from an error of Python's and from those that quote its number."""
    ways = [OSError(code, os.strerror(code)), RuntimeError(f"I/O error: failed (os error {code})")]
    for error in [*ways, RuntimeError(f"write failed, errno = {code}, more")]:
        said = str(cannot_write("x.1.tmp", error))
        assert said.startswith(f"cannot write x ({os.strerror(code)}): ")
        assert remedy in said


@pytest.mark.slow  # trainings
def test_a_stage_without_room_is_one_line_and_goes_on_when_there_is_room(trained: Path, miniature: ClipSet) -> None:
    """Oracle: an undisturbed run, byte for byte; the file that the message names is one of the run's."""
    command = ["stage=score", f"data.root={miniature.root}", "tracking=none"]
    command += ["score.predictions=runs/student/first/predictions.csv"]
    assert run(trained, *command, "name=whole").returncode == 0
    whole, full = trained / "runs/score/whole", trained / "runs/score/full"
    for name in ("config.yaml", "predictions.csv", "confusion.csv", "run.json"):
        with room((whole / name).stat().st_size - 1):
            told = run(trained, *command, "name=full")
        assert told.returncode == 1
        assert told.stderr.startswith("error: cannot write runs/score/full/")
        assert len(told.stderr.splitlines()) == 1
        assert not list(full.glob("*.tmp"))
        assert not (full / "run.json").exists()
    assert run(trained, *command, "name=full").returncode == 0
    for name in ("predictions.csv", "confusion.csv", "reliability.csv", "run.json", "score.json"):
        assert (full / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(os.listdir(full)) == sorted(os.listdir(whole))


@pytest.mark.slow  # a training
def test_a_librarys_log_without_room_is_not_told(trained: Path) -> None:
    """Oracle: standard error of a command that succeeds, while a handler as W&B has one writes to a full device."""
    logger, full = logging.getLogger("experiments.run"), logging.FileHandler("/dev/full")
    logger.addHandler(full)
    try:
        told = run(trained, "stage=report", "name=first", "tracking=none")
    finally:
        logger.removeHandler(full)
        full.stream = None  # what it holds cannot be written at its end either
    assert (told.returncode, told.stderr) == (0, "")
