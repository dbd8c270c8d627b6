"""What Weights & Biases records, read back from its own file."""

import http.server
import json
import signal
import struct
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import wandb
from command import QUICK, environment_of, run, run_until
from wandb.proto.wandb_internal_pb2 import Record

from data.scenes import ClipSet
from experiments.runs.recordings import recorded_epochs, require_whole
from experiments.runs.tracking import LONGEST_NAME, Tracker, give_up

BLOCK = 1 << 15
PIECE = struct.Struct("<IHB")
FULL, LAST = 1, 4
# Records two epochs and is killed, as soon as W&B has none of them on the disk, or both.
KILLED = """
import os, signal, sys
from pathlib import Path
from experiments.runs import tracking
from data.scenes import ClipSet
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
    return [(row["_step"], row["epoch"], row["train/loss"]) for row in rows if "epoch" in row]


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
    """Oracle: what was given, rows under the group that they belong to; the epoch is the axis of both groups."""
    folder = tmp_path / "runs/student/a"
    tracker = start(folder, group="a", tags=("student", "seed=3", "x" * 100))
    tracker.log({"epoch": 1, "loss": 2.5, "clips_per_second": 7.0, "validation/accuracy": 0.5})
    tracker.log({"epoch": 2, "loss": 1.5, "clips_per_second": 8.0, "validation/accuracy": 0.25})
    tracker.finish({"test/accuracy/device/a": 0.25, "macs": 12})
    found = records(folder)
    rows = [{".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in r.history.item} for r in found]
    named = ("train/loss", "train/clips_per_second", "validation/accuracy")
    assert [[row[name] for name in named] for row in rows if row] == [[2.5, 7.0, 0.5], [1.5, 8.0, 0.25]]
    config = {u.key: json.loads(u.value_json) for r in found for u in (*r.config.update, *r.run.config.update)}
    assert config["seed"] == 3
    summary = {".".join(u.nested_key) or u.key: json.loads(u.value_json) for r in found for u in r.summary.update}
    assert summary["test/accuracy/device/a"] == 0.25
    assert summary["macs"] == 12
    (about,) = (r.run for r in found if r.HasField("run"))
    assert (about.run_group, about.job_type, about.display_name) == ("a", "student", "student/a")
    assert list(about.tags) == ["student", "seed=3", "x" * 64]
    metrics = [r.metric for r in found if r.HasField("metric")]
    assert {(m.glob_name, m.step_metric) for m in metrics if m.glob_name} == {
        ("train/*", "epoch"),
        ("validation/*", "epoch"),
    }


@pytest.mark.usefixtures("_offline")
def test_the_address_of_a_run_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the address that W&B gives of a run that is online; the stand-in answers nothing else."""
    caplog.set_level("INFO")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    run_there = types.SimpleNamespace(url="https://example.org/me/p/runs/1", offline=False, step=0)
    run_there.define_metric = run_there.finish = lambda *_, **__: None
    monkeypatch.setattr("wandb.init", lambda **_: run_there)
    start(tmp_path / "runs/student/a")
    assert [record.message for record in caplog.records] == ["W&B: https://example.org/me/p/runs/1"]
    give_up()


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
        rows = [
            json.loads(i.value_json) for r in found for i in r.history.item if "train/loss" in (i.key, *i.nested_key)
        ]
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


@pytest.mark.slow  # kills a process: ten seconds until one is at work
def test_the_command_continues_recording_and_metering_after_a_kill(
    tmp_path: Path, miniature: ClipSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: by hand: all recordings of both processes have one id and each of the three epochs once, with the values
    of history.jsonl; its energy is not below that of the first process, whose last whole epoch is counted; with
    force=true the id is another one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    quick = [argument for argument in QUICK if not argument.startswith(("tracking", "epochs"))]
    arguments = ["stage=student", f"data.root={miniature.root}", "distill=none", *quick, "epochs=3", "tracking=wandb"]
    run_until(tmp_path, "epoch   2/3", *arguments)
    folder = tmp_path / "runs/student/default"
    before = json.loads((folder / "energy.json").read_text())["student"]
    result = run(tmp_path, *arguments)
    assert result.returncode == 0, result.stderr
    assert "going on after epoch" in result.stdout
    found = recordings(folder)
    ids = {r.run.run_id for records in found for r in records if r.HasField("run")}
    assert len(ids) == 1
    assert f"wandb sync runs/student/default/wandb/offline-run-*-{ids.pop()}*" in result.stdout
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert sorted(epoch for records in found for epoch in epochs(records)) == [
        (row["epoch"], row["epoch"], row["loss"]) for row in history
    ]
    assert [row["epoch"] for row in history] == [1, 2, 3]
    after = json.loads((folder / "energy.json").read_text())["student"]
    assert 0 < before["kWh"] < after["kWh"]
    assert run(tmp_path, *arguments, "force=true").returncode == 0
    assert len({r.run.run_id for records in recordings(folder) for r in records if r.HasField("run")}) == 2


class Server(http.server.BaseHTTPRequestHandler):
    """As much of W&B's server as `wandb sync` asks: it keeps the rows that it was sent, each at its line."""

    rows: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        asked = json.loads(body) if body.startswith(b"{") else {}
        for name, part in asked.get("files", {}).items():
            if name == "wandb-history.jsonl":
                self.rows[part["offset"] :] = part["content"]
        project = {"id": "p", "name": "p", "entity": {"id": "e", "name": "me"}}
        bucket = {"id": "b", "name": "a", "displayName": "a", "config": "{}", "project": project}
        bucket |= {"historyLineCount": len(self.rows), "eventsLineCount": 0, "logLineCount": 0, "tags": []}
        there = {**bucket, "wandbConfig": json.dumps({"t": 1}), "historyTail": json.dumps(self.rows[-1:])}
        there |= {"eventsTail": "[]", "summaryMetrics": "{}"}
        data = {
            "model": {"id": "p", "name": "p", "bucket": there if self.rows else None},
            "upsertBucket": {"bucket": bucket, "inserted": not self.rows},
            "createRunFiles": {"runID": "b", "uploadHeaders": [], "files": []},
            "serverInfo": {"features": []},
            "viewer": {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}},
        }
        answer = json.dumps({"data": data} if "query" in asked else {}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.mark.usefixtures("_offline")
def test_recordings_of_one_second_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the rows that were given, where the clock of W&B's names stands still, as it does for a short training
    that goes on at once; and the pattern of the printed command, which has to find both."""
    clock = types.SimpleNamespace(**{**vars(time), "time": lambda: 1e9})
    monkeypatch.setattr("wandb.sdk.wandb_init.time", clock)
    folder = tmp_path / "runs/student/a"
    for rows, epoch in (([], 1), (losses(1), 2)):
        tracker = start(folder, rows=rows)
        tracker.log(*losses(epoch))
        tracker.finish({})
        assert tracker.is_on
    assert sorted(epoch for found in recordings(folder) for epoch in epochs(found)) == [(1, 1, 1.0), (2, 2, 0.5)]
    assert recorded_epochs(folder, tracker._id) == {1, 2}
    assert len(list(folder.glob(f"wandb/offline-run-*-{tracker._id}*"))) == 2


@pytest.mark.slow  # starts W&B's own command, which waits for answers a while
@pytest.mark.usefixtures("_offline")
def test_the_printed_command_makes_one_run_of_all_recordings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: what W&B's own `wandb sync` sends to a server: the rows of the second recording behind those of the
    first, as one history."""
    caplog.set_level("INFO")
    folder = tmp_path / "runs/student/a"
    for rows, epoch in (([], 1), (losses(1, 2), 3)):
        tracker = start(folder, rows=rows, entity="me")
        for row in losses(*range(epoch, epoch + 2)):
            tracker.log(row)
        tracker.finish({})
    wandb.teardown()
    command = next(r.message for r in caplog.records if "wandb sync" in r.message).partition("later with: wandb ")[2]
    monkeypatch.setattr(Server, "rows", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        online = {"WANDB_MODE": "online", "WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40}
        done = subprocess.run(
            f"{sys.executable} -m wandb {command}",
            shell=True,
            capture_output=True,
            text=True,
            env={**environment_of(), **online},
            check=False,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert [json.loads(row)["epoch"] for row in Server.rows] == [1, 2, 3, 4], done.stderr
