"""The end of a run: its page is made from what is there already, and nothing that goes wrong with it is the run's."""

from pathlib import Path

import pytest
from command import QUICK, run

from data.scenes import ClipSet
from experiments.report import publish, sections
from experiments.runs.record import Run
from experiments.settings.parts import Tracking


def command(miniature: ClipSet) -> list[str]:
    return ["stage=student", f"data.root={miniature.root}", "distill=none", *QUICK, "epochs=1"]


@pytest.mark.slow  # trainings
def test_a_page_that_cannot_be_written_does_not_fail_a_finished_run(
    tmp_path: Path, miniature: ClipSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: a folder in the page's place, then matplotlib raises: exit code 0, a line that names the page; the same
    command writes it as soon as it can, and trains nothing."""
    folder = tmp_path / "runs/student/default"
    (folder / "report.html/x").mkdir(parents=True)
    first = run(tmp_path, *command(miniature))
    assert first.returncode == 0, first.stderr
    (line,) = [line for line in first.stdout.splitlines() if "is not written" in line]
    assert line.startswith("the run is finished, but runs/student/default/report.html is not written")
    assert line.endswith("then give the same command again, which writes it")
    checkpoint = (folder / "checkpoint.safetensors").stat()
    (folder / "report.html/x").rmdir()
    (folder / "report.html").rmdir()
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", raising)
    second = run(tmp_path, *command(miniature))
    assert second.returncode == 0
    assert "report.html is not written (ValueError: no such backend)" in second.stdout
    assert not (folder / "report.html").exists()
    monkeypatch.undo()
    assert run(tmp_path, *command(miniature)).returncode == 0
    assert (folder / "report.html").is_file()
    assert (folder / "checkpoint.safetensors").stat() == checkpoint


def raising(*_: object, **__: object) -> None:
    raise ValueError("no such backend")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError(), RuntimeError("a\nb")])
def test_whatever_a_page_raises_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Oracle: the exception that was put there; the recording ends all the same."""

    def fail(_: Path) -> None:
        raise error

    ended = []
    made = Run(tmp_path / "student/a", settings={}, inputs={}, tracking=Tracking(kind="none"))
    monkeypatch.setattr(sections, "write_report", fail)
    monkeypatch.setattr(made, "stop_tracking", lambda scores, media: ended.append((scores, media)))
    publish.publish(made, {"x": 1.0})
    (record,) = caplog.records
    assert "\n" not in record.message
    assert type(error).__name__ in record.message
    assert ended == [({"x": 1.0}, {})]
