"""A meter that fails: what it measured is not known, and whatever was measured is as it would have been without it."""

import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import codecarbon
import pytest
from codecarbon.core import gpu_nvidia, util
from codecarbon.external import hardware
from codecarbon.external.ram import RAM
from command import QUICK, run

from data.scenes import ClipSet
from experiments.runs import energy, meter
from experiments.runs.energy import measured, with_cost
from experiments.runs.formats import Metered, not_metered
from experiments.runs.meter import Meter, joined
from experiments.runs.reader import read_energy, read_phases, read_run

Tracker = codecarbon.OfflineEmissionsTracker
KNOWN = {"kWh": 1.0, "seconds": 10.0, "cpu": "x", "gpu": None, "estimated": True, "codecarbon": "3"}


def raising(*_: object, **__: object) -> None:
    raise RuntimeError("no  power\nmeter")


def leaving(*_: object, **__: object) -> None:
    raise SystemExit(3)


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("how", [raising, leaving])
@pytest.mark.parametrize("where", ["__init__", "start", "_measure_power_and_energy", "_prepare_emissions_data", "stop"])
def test_an_exception_anywhere_makes_the_reading_unknown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], where: str, how: Callable[..., None]
) -> None:
    """Oracle: the exception that was put there, on one line; codecarbon prints nothing."""
    monkeypatch.setattr(Tracker, where, how)
    found = Meter().stop()
    words = "RuntimeError: no power meter" if how is raising else "SystemExit: 3"
    assert found == not_metered(f"the meter failed: {words}")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["energy_consumed", "duration"])
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -1e-9, "1"])
def test_what_is_no_cost_is_not_known(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    """Oracle: energy and time are finite numbers, and not below 0."""
    whole = Tracker._prepare_emissions_data

    def spoilt(tracker: Tracker) -> Any:
        found = whole(tracker)
        setattr(found, name, value)
        return found

    monkeypatch.setattr(Tracker, "_prepare_emissions_data", spoilt)
    (why,) = Meter().stop()["missing"]
    assert why.endswith(f"codecarbon gave {'kWh' if name == 'energy_consumed' else 'seconds'}={value}")


def test_a_meter_that_is_not_there_or_not_whole_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: Python's own exceptions, of a package that cannot be imported and of one without the names in it."""
    monkeypatch.setitem(__import__("sys").modules, "codecarbon", None)
    assert "ModuleNotFoundError" in Meter().stop()["missing"][0]
    monkeypatch.setitem(__import__("sys").modules, "codecarbon", SimpleNamespace())
    assert "ImportError" in Meter().stop()["missing"][0]


@pytest.mark.parametrize("where", ["start", "flush", "stop"])
def test_a_meter_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Oracle: an event that comes after the readings; it is asked once."""
    answer, asked = threading.Event(), []

    def wait(_: Tracker) -> None:
        asked.append(where)
        answer.wait()

    monkeypatch.setattr(Tracker, where, wait)
    if where == "start":
        monkeypatch.setattr(meter, "LIMIT", 0.01)
    watch = Meter()
    if where == "stop":
        assert watch.read()["kWh"] is not None
    monkeypatch.setattr(meter, "LIMIT", 0.01)
    for found in (watch.read(), watch.stop()) if where != "stop" else (watch.stop(),):
        assert "TimeoutError: codecarbon gave no answer" in found["missing"][0]
    assert asked == [where]
    answer.set()


def test_an_exception_of_a_thread_of_its_own_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Oracle: the exception of the function that the thread calls each second; it is not printed either."""
    watch = Meter()
    monkeypatch.setattr("psutil.virtual_memory", raising)
    watch._tracker._scheduler_monitor_power.function()
    assert "no power meter" in watch.stop()["missing"][0]
    assert capfd.readouterr() == ("", "")


def test_hardware_that_codecarbon_would_count_as_nothing_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: codecarbon's own rule: a GPU whose meter raises is worth 0 kWh to it, and a line in its log; one that
    does not tell its limit of power is measured all the same."""
    from codecarbon.core.gpu import AllGPUDevices

    for method, kept in (("delta", False), ("_get_power_limit", True)):
        devices = object.__new__(AllGPUDevices)
        devices.devices, devices.device_count = [SimpleNamespace(delta=raising)], 1
        watch = Meter()
        if method == "delta":
            assert devices.get_delta(1.0) == []
        else:
            monkeypatch.setattr("codecarbon.core.gpu_nvidia.pynvml", None)
            assert codecarbon.core.gpu_nvidia.NvidiaGPUDevice._get_power_limit(SimpleNamespace(handle=None)) is None
        assert (watch.stop()["kWh"] is not None) == kept


def test_nothing_that_users_configure_for_codecarbon_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: codecarbon's own list of its settings, with and without files and variables; one is no file of that
    kind."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def settings() -> dict[str, Any]:
        watch = Meter()
        assert watch.stop()["kWh"] is not None
        return {key: value for key, value in watch._tracker._conf.items() if key != "output_handlers"}

    plain = settings()
    mine = "pue = 3\ntracking_mode = process\nforce_cpu_power = 9000\nlog_level = debug\noutput_dir = /none"
    for text in (f"[codecarbon]\n{mine}\ncountry_iso_code = FRA\n", "pue = 3"):
        (tmp_path / ".codecarbon.config").write_text(text)
        assert settings() == plain
    for line in mine.splitlines():
        key, value = line.split(" = ")
        monkeypatch.setenv(f"CODECARBON_{key.upper()}", value)
    assert settings() == plain


def test_what_is_not_known_is_no_summand() -> None:
    """Oracle: by hand: a sum with an unknown part is unknown, and has the reasons of all, each once."""
    both = joined(joined(KNOWN, not_metered("a")), joined(not_metered("a", "b"), KNOWN))
    assert (both["kWh"], both["seconds"], both["missing"]) == (None, None, ["a", "b"])
    assert joined(KNOWN, KNOWN)["kWh"] == 2
    assert "missing" not in joined(KNOWN, KNOWN)


class Readings:
    """A meter with given readings: of an epoch each, and the last."""

    failure = None

    def __init__(self, *readings: Metered) -> None:
        self.left = iter(readings)
        self.read = self.stop = lambda: next(self.left)


def test_a_killed_training_keeps_the_reading_of_its_last_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: sums by hand: 1 kWh until the last epoch of the part that was killed, and 1 kWh of the next part; that
    the first one used more is said, also of the whole; a part of which no reading was left makes the sum unknown."""
    monkeypatch.setattr(energy, "Meter", lambda: Readings(KNOWN, KNOWN))
    killed = measured(tmp_path, "student")
    after_epoch = killed.__enter__()
    after_epoch()
    assert read_energy(tmp_path)["energy/student/kWh"] == 1
    with measured(tmp_path, "student", goes_on=True) as after_epoch:
        after_epoch()
        assert read_energy(tmp_path)["energy/student/kWh"] == 2
    assert read_energy(tmp_path) == {"energy/student/kWh": 2, "energy/student/seconds": 20}
    whole = read_phases(tmp_path)["student"]
    assert (whole["lost"], "running" in whole) == ([energy.KILLED], False)
    monkeypatch.setattr(energy, "Meter", lambda: Readings(KNOWN))
    with measured(tmp_path, "student"):
        pass
    assert read_phases(tmp_path)["student"]["lost"] == [energy.KILLED]
    (tmp_path / "energy.json").unlink()
    with measured(tmp_path, "student", goes_on=True):
        pass
    assert read_energy(tmp_path) == {}
    assert "no reading of what was done before" in read_phases(tmp_path)["student"]["missing"][0]


def test_what_led_up_to_a_phase_is_part_of_it_and_what_is_done_anew_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: sums by hand: a search (1 kWh), the training that follows (1) and what is done with its result (1) are 3;
    a phase that begins anew is 1 whatever stood there, and forgets what was killed before; what it did not need to do
    is said. Two machines are both
    named."""
    readings = iter({**KNOWN, "on": [machine]} for machine in "aabba")
    monkeypatch.setattr(energy, "Meter", lambda: Readings(*[next(readings)] * 2))
    result, earlier = with_cost(lambda: 7)
    assert (result, earlier["kWh"]) == (7, 1)
    with measured(tmp_path, "quantize", goes_on=False, earlier=earlier):
        pass
    with measured(tmp_path, "quantize"):
        pass
    assert read_energy(tmp_path)["energy/quantize/kWh"] == 3
    assert read_phases(tmp_path)["quantize"]["on"] == ["a", "b"]
    killed = measured(tmp_path, "quantize")
    killed.__enter__()()
    lost: list[str] = []
    with measured(tmp_path, "quantize", goes_on=False, lost=lost):
        lost.append("what was there")
    assert read_phases(tmp_path) == {"quantize": {**KNOWN, "on": ["a"], "lost": ["what was there"]}}


def test_a_reading_says_of_what_it_is_and_how_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: codecarbon's own classes for a processor with RAPL counters, one without, and a GPU that NVML reads."""
    total = SimpleNamespace(cpu_model="A processor", gpu_model="1 x A GPU")
    loaded, counted = (hardware.CPU("", mode, "A processor", 100) for mode in ("cpu_load", "constant"))
    counted._mode = "intel_rapl"
    gpu = hardware.GPU.__new__(hardware.GPU)
    gpu.devices = SimpleNamespace(devices=[gpu_nvidia.NvidiaGPUDevice.__new__(gpu_nvidia.NvidiaGPUDevice)])
    assert [*meter._parts(total, [loaded, RAM(), gpu])] == [
        "A processor, estimated from load and rated power (TDP)",
        "1 x A GPU, measured by NVML",
        "memory, estimated from its size",
    ]
    assert [*meter._parts(total, [counted])] == ["A processor, measured by RAPL"]
    assert "estimated from its size" in Meter().stop()["on"][0]


def test_a_training_on_several_machines_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: only the first machine is metered: what the others use is not 0."""
    monkeypatch.setattr(energy, "Meter", lambda: Readings(KNOWN))
    with measured(tmp_path, "student", machines=2):
        pass
    assert read_phases(tmp_path)["student"]["missing"] == ["only the first of 2 machines was metered"]
    assert read_energy(tmp_path) == {}


def test_a_training_of_no_energy_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: physics: nothing is computed for 0 kWh; a last part may be too short to be read."""
    nothing = {**KNOWN, "kWh": 0.0}
    monkeypatch.setattr(energy, "Meter", lambda: Readings(nothing))
    with measured(tmp_path, "student"):
        pass
    assert read_phases(tmp_path)["student"]["missing"] == ["the meter read no energy at all"]
    (tmp_path / "energy.json").write_text(json.dumps({"student": KNOWN}))
    with measured(tmp_path, "student", goes_on=True):
        pass
    assert read_energy(tmp_path)["energy/student/kWh"] == 1


def test_a_file_that_cannot_be_written_costs_the_energy_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a folder in the file's place, then a disk that is full at the end: the block ends as it would, and the
    reading of an earlier epoch does not stand for the whole."""
    monkeypatch.setattr(energy, "Meter", lambda: Readings(KNOWN))
    (tmp_path / "energy.json").mkdir()
    with measured(tmp_path, "student"):
        done = True
    assert done
    assert read_energy(tmp_path) == {}
    (tmp_path / "energy.json").rmdir()
    monkeypatch.setattr(energy, "Meter", lambda: Readings(KNOWN, KNOWN))
    with measured(tmp_path, "student") as after_epoch:
        after_epoch()
        monkeypatch.setattr(energy, "write_text", full)
    assert read_phases(tmp_path) == {}


@pytest.mark.slow  # trainings
def test_a_training_ends_as_if_its_meter_had_not_failed(
    tmp_path: Path, miniature: ClipSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the bytes of the same training with a meter; codecarbon under SLURM without `scontrol` fails when it is
    started. One line says so, the page too, no score has a number for it; stage=energy refuses on one line and keeps
    the result that is there."""
    arguments = [f"data.root={miniature.root}", "distill=none", *QUICK, "epochs=1"]
    assert run(tmp_path, "stage=student", *arguments, "name=metered").returncode == 0
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(util, "SLURM_JOB_ID", "7")
    result = run(tmp_path, "stage=student", *arguments, "name=unmetered")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("scontrol") == 1
    assert "the energy of this run is not known" in result.stdout
    one, other = (tmp_path / "runs/student" / name for name in ("metered", "unmetered"))
    for file in ("checkpoint.safetensors", "predictions.csv", "confusion.csv"):
        assert (one / file).read_bytes() == (other / file).read_bytes()
    scores = [read_run(folder).scores for folder in (one, other)]
    costs = ("energy/student/kWh", "energy/student/seconds")
    assert scores[1] == {key: value for key, value in scores[0].items() if key not in costs}
    assert read_phases(other)["student"]["kWh"] is None
    page = (other / "report.html").read_text()
    assert "<span>energy, student</span><b>not known</b>" in page
    assert "scontrol" in page


@pytest.mark.slow  # meters
def test_the_energy_stage_refuses_where_it_cannot_measure(
    tmp_path: Path, miniature: ClipSet, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the exit code and one line; the files of the result that is there."""
    arguments = ["stage=energy", f"model={small_model}", f"data.root={miniature.root}", "tracking=none"]
    assert run(tmp_path, *arguments, "energy.seconds=0.01").returncode == 0
    folder = tmp_path / "runs/energy/default"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    monkeypatch.setattr(Tracker, "start", raising)
    result = run(tmp_path, *arguments, "energy.seconds=0.01", "force=true")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "cannot measure energy here, the meter failed: RuntimeError: no power meter" in line
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
