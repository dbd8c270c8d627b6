"""What Weights & Biases records, read back from its own file."""

import json
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
from command import environment_of
from wandb.proto.wandb_internal_pb2 import Record

from experiments.runs.recordings import require_whole
from experiments.runs.tracking import LONGEST_NAME, Tracker, give_up

BLOCK = 1 << 15
PIECE = struct.Struct("<IHB")
FULL, LAST = 1, 4
# Records two epochs and is killed, as soon as W&B has none of them on the disk, or both.
KILLED = """
import os, signal, sys
from pathlib import Path
from experiments.runs import tracking
from experiments.runs.recordings import recorded_epochs

folder, kept = Path(sys.argv[1]), sys.argv[2] == "kept"
tracking.DELAY = 0.05 if kept else 60.0
about = {"project": "p", "stage": "student", "name": "a", "folder": folder, "config": {}}
tracker = tracking.Tracker("wandb", **about)
for epoch in (1, 2):
    tracker.log({"epoch": epoch, "loss": 1 / epoch})
while kept and recorded_epochs(folder, tracker._id) != {1, 2}:
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""


def records(folder: Path) -> list[Record]:
    """All records of the one offline run in a run's folder, when W&B's service has written them all."""
    (found,) = recordings(folder)
    return found


def recordings(folder: Path) -> list[list[Record]]:
    """All records of each offline run in a run's folder, the first first."""
    wandb.teardown()
    paths = sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    return [[Record.FromString(message) for message in messages(path.read_bytes())] for path in paths]


def epochs(found: list[Record]) -> list[tuple[int, int, float]]:
    """Step, epoch and loss of each row of a recording."""
    rows = [{i.key or i.nested_key[0]: json.loads(i.value_json) for i in r.history.item} for r in found]
    return [(row["_step"], row["epoch"], row["loss"]) for row in rows if "epoch" in row]


def messages(data: bytes) -> Iterator[bytes]:
    """Of a file in LevelDB's log format: blocks of 32 KiB, of pieces with checksum, length and kind in front."""
    at, whole = len(":W&B") + 3, b""
    assert data.startswith(b":W&B")
    while at + PIECE.size <= len(data):
        if (left := BLOCK - at % BLOCK) < PIECE.size:  # too few for a piece: zeros
            at += left
            continue
        _, length, kind = PIECE.unpack_from(data, at)
        at += PIECE.size + length
        whole += data[at - length : at]
        if kind in (FULL, LAST):
            yield whole
            whole = b""


def artifacts(folder: Path) -> list[tuple[str, str, bool]]:
    """Name, type and whether it was used (True) or made (False)."""
    found = [r.artifact for r in records(folder) if r.HasField("artifact")]
    return [(a.name, a.type, a.use_after_commit) for a in found]


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)


def start(folder: Path, **more: object) -> Tracker:
    folder.mkdir(parents=True, exist_ok=True)
    about = {"project": "p", "stage": folder.parent.name, "name": folder.name, "folder": folder}
    return Tracker("wandb", **about, config={"seed": 3}, **more)


@pytest.mark.usefixtures("_offline")
def test_rows_config_and_summary_are_all_there(tmp_path: Path) -> None:
    """Oracle: what was given."""
    folder = tmp_path / "runs/student/a"
    tracker = start(folder)
    tracker.log({"epoch": 1, "loss": 2.5, "clips_per_second": 7.0})
    tracker.log({"epoch": 2, "loss": 1.5, "clips_per_second": 8.0})
    tracker.finish({"test/accuracy/device/a": 0.25, "macs": 12})
    found = records(folder)
    rows = [{".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in r.history.item} for r in found]
    assert [row["loss"] for row in rows if row] == [2.5, 1.5]
    config = {u.key: json.loads(u.value_json) for r in found for u in (*r.config.update, *r.run.config.update)}
    assert config["seed"] == 3
    summary = {".".join(u.nested_key) or u.key: json.loads(u.value_json) for r in found for u in r.summary.update}
    assert summary["test/accuracy/device/a"] == 0.25
    assert summary["macs"] == 12


@pytest.mark.usefixtures("_offline")
def test_a_line_leads_from_the_teacher_to_the_integer_network(tmp_path: Path) -> None:
    """Oracle: W&B's lineage joins runs by the name and the bytes of an artifact: what one made, the next used."""
    made = {"teacher": "logits.h5", "student": "checkpoint.safetensors", "quantize": "model.tflite"}
    before: list[Path] = []
    for stage, name in made.items():
        folder = tmp_path / "runs" / stage / "a"
        tracker = start(folder, sources=before)
        product = folder / name
        product.write_bytes(stage.encode())
        tracker.finish({}, [product])
        before = [product]
    assert artifacts(tmp_path / "runs/teacher/a") == [("teacher-a-logits", "logits", False)]
    assert artifacts(tmp_path / "runs/student/a") == [
        ("teacher-a-logits", "logits", True),
        ("student-a-checkpoint", "checkpoint", False),
    ]
    assert artifacts(tmp_path / "runs/quantize/a") == [
        ("student-a-checkpoint", "checkpoint", True),
        ("quantize-a-model", "model", False),
    ]


@pytest.mark.usefixtures("_offline")
def test_a_later_training_does_not_change_what_will_be_sent(tmp_path: Path) -> None:
    """Oracle: the bytes at the place that the recording names, after the file was replaced as runs replace it."""
    folder = tmp_path / "runs/teacher/a"
    tracker = start(folder)
    path = folder / "logits.h5"
    path.write_bytes(b"first")
    tracker.finish({}, [path])
    (folder / "new").write_bytes(b"second")
    (folder / "new").replace(path)
    (artifact,) = (r.artifact for r in records(folder) if r.HasField("artifact"))
    (entry,) = artifact.manifest.contents
    assert (entry.path, Path(entry.local_path).read_bytes()) == ("logits.h5", b"first")


@pytest.mark.usefixtures("_offline")
def test_names_of_any_sweep_are_names_of_artifacts(tmp_path: Path) -> None:
    """Oracle: W&B's own check of names, which raises; different runs keep different names."""
    names = []
    for last in "ab":
        folder = tmp_path / "runs/student" / ("sweep-lösch+" + "x" * 150 + last)
        tracker = start(folder)
        (folder / "checkpoint.safetensors").write_bytes(b"1")
        tracker.finish({}, [folder / "checkpoint.safetensors"])
        names += [name for name, *_ in artifacts(folder)]
    assert len(set(names)) == 2
    assert max(map(len, names)) <= LONGEST_NAME


def test_without_tracking_nothing_is_written(tmp_path: Path) -> None:
    """Oracle: an empty folder."""
    tracker = Tracker("none", project="p", stage="s", name="n", folder=tmp_path, config={}, sources=[tmp_path / "x"])
    tracker.log({"loss": 1.0})
    tracker.finish({}, [tmp_path / "y"])
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_offline")
def test_a_run_that_failed_keeps_its_recording_to_itself(tmp_path: Path) -> None:
    """Oracle: two recordings in one process, the first never finished: each has its own rows, the first W&B's exit
    code of a failure."""
    failed = start(tmp_path / "runs/student/a")
    failed.log({"loss": 1.0})
    give_up()
    after = start(tmp_path / "runs/student/b")
    after.log({"loss": 2.0})
    after.finish({})
    for name, value in (("a", 1.0), ("b", 2.0)):
        found = records(tmp_path / "runs/student" / name)
        rows = [json.loads(i.value_json) for r in found for i in r.history.item if "loss" in (i.key, *i.nested_key)]
        assert rows == [value]
        assert [r.exit.exit_code for r in found if r.HasField("exit")] == [int(name == "a")]


@pytest.mark.usefixtures("_offline")
def test_files_of_one_name_from_several_places_are_kept_apart(tmp_path: Path) -> None:
    """Oracle: the bytes of both."""
    paths = [tmp_path / place / "teacher/a/logits.h5" for place in ("here", "there")]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_text(str(path))
    start(tmp_path / "runs/student/a", sources=paths).finish({})
    manifests = [r.artifact.manifest.contents for r in records(tmp_path / "runs/student/a") if r.HasField("artifact")]
    assert [Path(entry.local_path).read_text() for (entry,) in manifests] == [str(path) for path in paths]


@pytest.mark.usefixtures("_offline")
def test_wandb_may_be_disabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: W&B's own variable; nothing is written."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    start(tmp_path / "runs/student/a", sources=[tmp_path / "absent"]).finish({}, [tmp_path / "absent"])
    assert not list((tmp_path / "runs/student/a").iterdir())


def losses(*numbers: int) -> list[dict[str, float]]:
    return [{"epoch": number, "loss": 1 / number} for number in numbers]


@pytest.mark.usefixtures("_offline")
@pytest.mark.parametrize("kept", [True, False])
def test_a_killed_training_that_goes_on_continues_its_recording(tmp_path: Path, kept: bool) -> None:
    """Oracle: by hand: one id; every epoch once, at the step that is its number. What W&B had not yet written when the
    process was killed is in the second recording, and a first one without anything, which `wandb sync` refuses with
    all others, is gone."""
    folder = tmp_path / "runs/student/a"
    folder.mkdir(parents=True)
    command = [sys.executable, "-c", KILLED, str(folder), "kept" if kept else "lost"]
    assert subprocess.run(command, env=environment_of(), check=False).returncode == -signal.SIGKILL
    tracker = start(folder, rows=losses(1, 2, 3))
    tracker.log(losses(4)[0])
    tracker.finish({})
    found = recordings(folder)
    assert len({r.run.run_id for records in found for r in records if r.HasField("run")}) == 1
    every = [(number, number, 1 / number) for number in (1, 2, 3, 4)]
    assert [*map(epochs, found)] == ([every[:2], every[2:]] if kept else [every])


@pytest.mark.usefixtures("_offline")
def test_a_training_that_begins_anew_has_another_recording(tmp_path: Path) -> None:
    """Oracle: the ids: a training without earlier epochs does not go on, whatever lies in its folder; one that goes on
    and finds no id has a new one."""
    folder = tmp_path / "runs/student/a"
    ids = []
    for rows in ([], losses(1), [], losses(1)):
        tracker = start(folder, rows=rows)
        ids.append(tracker._id)
        tracker.finish({})
        if len(ids) == 3:
            (folder / "wandb/id.txt").write_text("../../x")
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def raising(*_: object, **__: object) -> None:
    raise RuntimeError("no\n tracking")


@pytest.mark.usefixtures("_offline")
@pytest.mark.parametrize("where", ["init", "Run.log", "Run.finish", "Artifact.add_file", "Settings", None])
def test_what_fails_in_wandb_costs_the_recording_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str | None
) -> None:
    """Oracle: the exception that was put there, on one line, once; without the package too."""
    if where is None:
        monkeypatch.setitem(sys.modules, "wandb", None)
    else:
        monkeypatch.setattr(f"wandb.{where}", raising)
    folder = tmp_path / "runs/student/a"
    tracker = start(folder)
    (folder / "checkpoint.safetensors").write_bytes(b"1")
    for row in losses(1, 2):
        tracker.log(row)
    tracker.finish({"x": 1}, [folder / "checkpoint.safetensors"])
    assert not tracker.is_on
    (said,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith(f"W&B failed, its recording of {folder} is not whole (")
    assert where is None or "RuntimeError: no tracking" in said
    give_up()


@pytest.mark.usefixtures("_offline")
@pytest.mark.parametrize("variable", ["WANDB_INIT_TIMEOUT", "WANDB_MODE", "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_DIR"])
def test_variables_of_wandb_do_not_cost_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Oracle: no exception, whether W&B takes the value or not; where it records, it is under our id, in our folder."""
    monkeypatch.setenv(variable, "/no/such place")
    folder = tmp_path / "runs/student/a"
    tracker = start(folder)
    tracker.log(losses(1)[0])
    tracker.finish({})
    for found in recordings(folder):
        assert {r.run.run_id for r in found if r.HasField("run")} == {tracker._id}
        assert epochs(found) == [(1, 1, 1.0)]


@pytest.mark.usefixtures("_offline")
def test_a_recording_that_is_not_whole_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: files as a full disk leaves them, which W&B does not mention: cut off, or without an epoch."""
    folder = tmp_path / "runs/student/a"
    tracker = start(folder)
    for row in losses(1, 2):
        tracker.log(row)
    tracker.finish({})
    monkeypatch.setattr("experiments.runs.recordings.WAIT", 0.0)
    require_whole(folder, tracker._id, {1, 2})
    with pytest.raises(OSError, match=r"epochs \[3\] are not in"):
        require_whole(folder, tracker._id, {1, 2, 3})
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    for left in (path.stat().st_size - 1, 100, 3, 0):
        path.write_bytes(path.read_bytes()[:left])
        with pytest.raises(OSError, match="has no end"):
            require_whole(folder, tracker._id, set())
