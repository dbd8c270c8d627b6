"""One process at a time writes: the second is told at once, a killed one is no hindrance, and readers never wait."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import QUICK, ROOT, run

from data.errors import UserError
from data.locks import locked
from data.scenes import ClipSet
from experiments.distributed import processes
from experiments.runs.claims import LOCK, claim, claiming
from experiments.runs.record import Run

# Claims a run and keeps it until its standard input ends.
HOLD = "import sys\nfrom pathlib import Path\nfrom experiments.runs.claims import claim\nclaim(Path(sys.argv[1]))\n"
HOLD += "print(flush=True)\nsys.stdin.read()"


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen]:
    """Another process that has claimed a run."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "\n"
        yield process
        process.kill()


@contextmanager
def lock_in(folder: Path) -> Iterator[None]:
    with locked(folder / "x.lock", "writing x", otherwise="name y", elsewhere="choose another folder with z=..."):
        yield


def content(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_process_is_refused_by_the_name_of_the_first_and_changes_nothing(tmp_path: Path) -> None:
    """Oracle: the first one's process id; every byte in its folder; a name of its own is free."""
    folder = tmp_path / "runs/student/a"
    with held(folder) as first:
        (folder / "history.jsonl.1.tmp").write_text("its own")
        before = content(tmp_path)
        with pytest.raises(UserError, match=rf"another process \(number {first.pid} on .+\) is writing .+/a: wait for"):
            claim(folder)
        assert content(tmp_path) == before
        with claiming():
            claim(folder.with_name("b"))


def test_a_killed_process_is_no_hindrance_and_its_temporaries_go(tmp_path: Path) -> None:
    """Oracle: the process ended by SIGKILL, and its lock file is still there; what it finished stays."""
    folder = tmp_path / "runs/student/a"
    with held(folder) as first:
        first.kill()
        assert first.wait() == -signal.SIGKILL
    for name in ("resume.pt", "resume.pt.1.tmp"):
        (folder / name).write_text("x")
    assert sorted(os.listdir(folder)) == ["resume.pt", "resume.pt.1.tmp", LOCK]
    with claiming():
        claim(folder)
        claim(folder)  # which is ours already
        assert sorted(os.listdir(folder)) == ["resume.pt", LOCK]
    assert os.listdir(folder) == ["resume.pt"]


def test_what_was_left_beside_a_finished_run_is_removed_when_it_is_reused(tmp_path: Path) -> None:
    """Oracle: the folder's files: of a process that is at work there nothing is removed, and of a killed one all."""
    folder = tmp_path / "runs/student/a"
    with claiming():
        run = Run(folder, settings={}, inputs={})
        run.start()
        run.finish({})
    with held(folder) as other:
        (folder / "report.html.1.tmp").write_text("x")
        assert Run(folder, settings={}, inputs={}).is_done()
        assert {"report.html.1.tmp", LOCK} <= {*os.listdir(folder)}
        other.kill()
        other.wait()
    assert Run(folder, settings={}, inputs={}).is_done()
    assert {"report.html.1.tmp", LOCK}.isdisjoint(os.listdir(folder))


def test_a_claim_that_came_to_nothing_leaves_no_folder(tmp_path: Path) -> None:
    """Oracle: the folders that were there before."""
    (tmp_path / "runs").mkdir()
    with claiming():
        claim(tmp_path / "runs/teacher/a")
        assert (tmp_path / "runs/teacher/a").is_dir()
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]


def test_of_several_processes_of_a_training_only_the_first_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the others, as their variables say, pass although the first one holds the run."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not processes.is_first()
    with held_by_first(tmp_path / "a"):
        claim(tmp_path / "a")
        Run(tmp_path / "a", settings={}, inputs={}).start()
    assert not list(tmp_path.rglob("config.yaml"))


def held_by_first(folder: Path) -> object:
    """As `held`, by a process that has none of this one's variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WORLD_SIZE", "LOCAL_RANK"):
            patch.delenv(name)
        return held(folder)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EIO])
def test_a_file_system_without_locks_is_named_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Oracle: what NFS without a lock daemon, FUSE and Lustre without its option answer to flock; there is no warning
    of filelock's, whose own way out would outlive a process that is killed."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    told = (
        f"{tmp_path} is on a file system without locks .{os.strerror(code)}.*: choose another folder with z=... on one"
    )
    with pytest.raises(UserError, match=told), lock_in(tmp_path):
        pytest.fail("the lock was not had")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Oracle: a file where a folder should be made; the message of the system."""
    (tmp_path / "file").touch()
    told = f"cannot write {tmp_path}/file/x .*: move the file that is .*, or choose another folder with z="
    with pytest.raises(UserError, match=told), lock_in(tmp_path / "file" / "x"):
        pytest.fail("the lock was not had")


def test_a_lock_whose_holder_nobody_knows_is_told_all_the_same(tmp_path: Path) -> None:
    """Oracle: a file of another program's, locked by this one."""
    (tmp_path / "x.lock").write_bytes(b"\xff\x1b[31m")
    with open(tmp_path / "x.lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is writing x: wait for it, or name y"), lock_in(tmp_path):
            pytest.fail("the lock was not had")


@pytest.mark.parametrize(
    ("stage", "more"),
    [
        ("teacher", []),
        ("ensemble", ["logits=runs/teacher/first/logits.h5"]),
        ("student", []),
        ("quantize", []),
        ("score", ["score.predictions=runs/student/first/predictions.csv"]),
        ("energy", ["energy.seconds=0.01"]),
        ("rank", ["rank.runs=runs/quantize/first"]),
        ("summary", ["summary.runs=runs/student/first"]),
        ("report", ["report.runs=runs/student/first"]),
        ("predict", ["predict.audio=x.wav"]),
    ],
)
def test_every_stage_that_writes_is_refused_while_another_process_writes(
    trained: Path, miniature: ClipSet, stage: str, more: list[str]
) -> None:
    """Oracle: every byte of the run, of a command that would make it anew and of another name's inputs."""
    folder = trained / "runs" / stage / "second"
    source = miniature.root / miniature.clips[0].filename
    (trained / "x.wav").write_bytes(source.read_bytes())
    models = ["model=runs/quantize/first/model.tflite"] if stage in ("energy", "predict") else []
    models += ["checkpoint=runs/student/first/checkpoint.safetensors"] if stage == "quantize" else []
    models += ["logits=runs/teacher/first/logits.h5"] if stage == "student" else []
    data = [f"data.root={miniature.root}"] if stage not in ("rank", "summary", "report", "predict") else []
    with held(folder):
        before = content(folder)
        told = run(trained, f"stage={stage}", "name=second", *data, *QUICK, *more, *models)
        assert content(folder) == before
    assert told.returncode == 1, told.stderr
    assert f"is writing runs/{stage}/second: wait for it, or choose another name=..." in told.stderr
    assert "epoch   1" not in told.stdout


@pytest.mark.slow  # some seconds
def test_a_finished_run_is_reused_and_read_while_another_process_has_it(trained: Path, miniature: ClipSet) -> None:
    """Oracle: a process that has claimed the finished run, as one does that adds an export; the run is reused, and
    summarised; with force=true it is refused before any of it is gone."""
    command = ["stage=student", f"data.root={miniature.root}", "name=first", *QUICK]
    before = content(trained / "runs/student/first")
    with held(trained / "runs/student/first"):
        again = run(trained, *command)
        assert again.returncode == 0, again.stderr
        assert "reused" in again.stdout
        assert run(trained, "stage=summary", "summary.runs=runs/student/first").returncode == 0
        forced = run(trained, *command, "force=true")
        assert forced.returncode == 1
        assert "is writing runs/student/first" in forced.stderr
        after = content(trained / "runs/student/first")
        after.pop(trained / "runs/student/first" / LOCK)
    assert after == before
