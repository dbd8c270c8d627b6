"""What inference and trainings cost in electricity: the arithmetic by hand, with meters whose readings are given."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from command import run
from rich.console import Console

from data.errors import UserError
from data.front_ends import build_front_end
from data.scenes import ClipSet
from data.waves import WaveStore
from experiments.datasets.datamodule import DataModule
from experiments.inference.metering import (
    SHAPE,
    Clips,
    classifying,
    is_complete,
    make_baseline,
    normalised,
    of_baseline,
)
from experiments.report.energy import energy_table
from experiments.runs import energy
from experiments.runs.energy import in_alternation, joined, measured, meter
from experiments.runs.formats import Metered
from experiments.runs.reader import read_energy, read_phases
from students import build_student
from students.complexity import tflite_complexity
from students.quantize.calibrate import calibrate
from students.quantize.fold import fold
from students.quantize.tflite import write_tflite

BASELINE_MEL = {"window": 1764, "hop": 882, "fft": 2048, "mels": 40, "edge_jitter": 0.0, "pre_emphasis": 0.0}
MEL = {"window": 3072, "hop": 500, "fft": 4096, "mels": 64}


def reading(kwh: float, seconds: float, *, estimated: bool = True) -> Metered:
    return {"kWh": kwh, "seconds": seconds, "cpu": "x", "gpu": None, "estimated": estimated, "codecarbon": "3"}


def test_rivals_take_turns_until_each_was_metered_long_enough() -> None:
    """Oracle: by hand: at 4 and 9 s a turn both have their 10 s after 3 turns, of one pass each: the cost of a pass is
    that of a turn."""
    done: list[str] = []

    def read(action: Callable[[], object]) -> Metered:
        action()
        return reading(2e-6, 4) if done[-1] == "A" else reading(6e-6, 9)

    actions = {name: lambda name=name: done.append(name) for name in "AB"}
    found = in_alternation(actions, 10, turn=0, read=read)
    assert "".join(done) == "ABABAB"
    assert {name: f["passes"] for name, f in found.items()} == {"A": 3, "B": 3}
    assert [found["A"][key] for key in ("kWh", "seconds")] == pytest.approx([2e-6, 4])
    assert [found["B"][key] for key in ("kWh", "seconds")] == pytest.approx([6e-6, 9])


def test_short_passes_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: by hand: passes of 2 s fill a turn of 5 s after 3, which cost 9e-6 kWh, so that one costs 3e-6; two such
    turns are 12 s."""
    now = [0.0]

    def take(seconds: float) -> None:
        now[0] += seconds

    def read(action: Callable[[], object]) -> Metered:
        before = now[0]
        action()
        return reading(9e-6, now[0] - before)

    monkeypatch.setattr("experiments.runs.energy.time.perf_counter", lambda: now[0])
    found = in_alternation({"A": lambda: take(2)}, 7, turn=5, read=read)["A"]
    assert (found["passes"], found["seconds"]) == (6, 2)
    assert found["kWh"] == pytest.approx(3e-6)


def test_parts_add_up_and_one_estimate_makes_all_an_estimate() -> None:
    """Oracle: sums by hand."""
    both = joined(reading(1.0, 2.0), reading(0.5, 3.0, estimated=False))
    assert (both["kWh"], both["seconds"], both["estimated"]) == (1.5, 5.0, True)
    assert joined(None, reading(1.0, 2.0)) == reading(1.0, 2.0)


def test_a_training_that_goes_on_adds_to_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: sums by hand; another phase stands for itself; a damaged file is begun anew; an exception costs too."""
    readings = iter([reading(1.0, 10.0), reading(0.25, 5.0), reading(8.0, 1.0), reading(2.0, 1.0)])
    monkeypatch.setattr(energy, "Meter", lambda: SimpleNamespace(failure=None, stop=lambda: next(readings)))
    for phase in ("student", "student", "quantize"):
        with measured(tmp_path, phase):
            pass
    assert read_energy(tmp_path) == {
        "energy/student/kWh": 1.25,
        "energy/student/seconds": 15.0,
        "energy/quantize/kWh": 8.0,
        "energy/quantize/seconds": 1.0,
    }
    for damaged in ("{", "[]", '{"student": 3}', '{"student": {}}'):
        (tmp_path / "energy.json").write_text(damaged)
        assert read_phases(tmp_path) == read_energy(tmp_path) == {}
    with pytest.raises(KeyboardInterrupt), measured(tmp_path, "student"):
        raise KeyboardInterrupt
    assert read_phases(tmp_path) == {"student": reading(2.0, 1.0)}


def test_a_phase_of_unknown_cost_is_no_figure(tmp_path: Path) -> None:
    """Oracle: what is not known has no number."""
    phases = {"a": reading(1.0, 2.0), "b": {"kWh": None, "seconds": None, "estimated": False}}
    (tmp_path / "energy.json").write_text(json.dumps(phases))
    assert read_energy(tmp_path) == {"energy/a/kWh": 1.0, "energy/a/seconds": 2.0}


def test_the_meter_reads_more_for_more() -> None:
    """Oracle: codecarbon itself: 30 times the work takes more time and energy; it says what it read."""
    x = torch.rand(500, 500)
    little, much = (meter(lambda n=n: [x @ x for _ in range(n)]) for n in (10, 300))
    assert 0 <= little["kWh"] < much["kWh"]
    assert little["seconds"] < much["seconds"]
    assert isinstance(much["estimated"], bool)
    assert much["cpu"]


def test_what_was_metered_is_whole_or_metered_again() -> None:
    """Oracle: by hand: a model that is missing, a cost that is not known, and passes that are not counted."""
    whole = {name: {**reading(1.0, 2.0), "clips": 4, "passes": 3} for name in ("inference", "baseline")}
    assert is_complete(whole, whole)
    unknown, uncounted = {**whole["baseline"], "kWh": None}, reading(1.0, 2.0)
    for baseline in (unknown, uncounted, {}):
        assert not is_complete({"inference": whole["inference"], "baseline": baseline}, whole)
    assert not is_complete({"inference": whole["inference"]}, whole)


def test_normalised_is_above_one_where_less_is_needed() -> None:
    """Oracle: by hand, with the 0.068 kWh of the published baseline: half of it is twice as good."""
    assert normalised(reading(0.068, 1), reading(0.034, 1)) == 2
    for nothing in ((0.0, 1.0), (1.0, 0.0)):
        with pytest.raises(UserError, match="no energy at all"):
            normalised(reading(nothing[0], 1), reading(nothing[1], 1))


def clips_of(data: DataModule, count: int) -> Clips:
    """Some test clips as they are stored."""
    rows = data.clips.indices("test")[:count]
    return Clips(torch.from_numpy(data.store.take(rows)), torch.from_numpy(data.store.scale[rows]))


@pytest.fixture
def prepared(miniature: ClipSet, miniature_waves: WaveStore) -> DataModule:
    return DataModule(miniature, miniature_waves, None)


def test_the_baseline_costs_what_is_published(tmp_path: Path, prepared: DataModule) -> None:
    """Oracle: NeSsi's published table, 46,512 bytes and 29,234,920 multiply-accumulates, 3,200 more as counted here
    (tests/test_baseline.py says why); it is the same file every time."""
    front_end, clips = build_front_end(44_100, BASELINE_MEL), of_baseline(clips_of(prepared, 20), 32_000)
    assert (1, 1, front_end.mels, front_end.frames(clips.waves.shape[1])) == SHAPE
    path = make_baseline(tmp_path / "a.tflite", front_end, clips, 10)
    cost = tflite_complexity(path)
    assert (cost.parameter_bytes, cost.macs) == (46_512, 29_234_920 + 3_200)
    torch.manual_seed(7)
    assert make_baseline(tmp_path / "b.tflite", front_end, clips, 10).read_bytes() == path.read_bytes()


def test_a_pass_is_over_every_clip_once(prepared: DataModule) -> None:
    """Oracle: the front end's spectrograms of the same clips in one batch."""

    class Recorder:
        given: list[torch.Tensor] = []  # noqa: RUF012

        def logits(self, spectrograms: torch.Tensor) -> None:
            self.given.append(spectrograms)

    rows, front_end = prepared.clips.indices("test")[:5], build_front_end(32_000, MEL)
    model = Recorder()
    classifying(model, front_end, clips_of(prepared, 5))()
    assert [len(spectrograms) for spectrograms in model.given] == [1] * 5
    torch.testing.assert_close(torch.cat(model.given), front_end(prepared.store.read(rows)))


@pytest.mark.parametrize(
    ("rate", "seconds", "pieces"), [(32_000, 1, 1), (44_100, 1, 1), (32_000, 5, 5), (16_000, 2.5, 3)]
)
def test_the_baseline_hears_the_same_sound_in_seconds(rate: int, seconds: float, pieces: int) -> None:
    """Oracle: by hand: tones of a hundred turns a second at half of full scale are that at the baseline's rate, too,
    within a hundredth away from the ends, and what lies behind a clip is silence."""
    time = torch.arange(round(rate * seconds)) / rate
    tone = 0.5 * torch.sin(2 * torch.pi * 100 * time)
    given = Clips((tone * 32_767).round().short().repeat(2, 1), torch.full((2,), 1 / 32_767))
    found = of_baseline(given, rate)
    assert found.waves.shape == (2 * pieces, 44_100)
    heard = (found.waves * found.scales[:, None]).reshape(2, -1)
    length = round(44_100 * seconds)
    expected = 0.5 * torch.sin(2 * torch.pi * 100 * torch.arange(length) / 44_100)
    torch.testing.assert_close(heard[:, 100 : length - 100], expected[100:-100].repeat(2, 1), atol=0.01, rtol=0)
    assert not heard[:, length:].any()


def test_the_table_lists_each_training(tmp_path: Path, prepared: DataModule) -> None:
    """Oracle: by hand: 1e-6 kWh of 4 clips are 0.9 J each and twice the other's; each teacher has its line, what is not
    known its reason."""
    clips = of_baseline(clips_of(prepared, 20), 32_000)
    path = make_baseline(tmp_path / "b.tflite", build_front_end(44_100, BASELINE_MEL), clips, 10)
    phases = {
        name: {**reading(kwh, 2.0), "clips": 4, "passes": 3} for name, kwh in (("inference", 1e-6), ("baseline", 2e-6))
    }
    unknown = {"kWh": None, "seconds": None, "estimated": False}
    phases["training/student"] = {**unknown, "runs": {}, "missing": ["no run [a] has it"]}
    phases["training/teacher"] = {
        **reading(3.5, 1.0),
        "runs": {"runs/teacher/x": 2.0, "runs/teacher/y": 1.5},
        "missing": [],
    }
    phases["training/all"] = unknown
    console = Console(width=120, record=True, file=io.StringIO())
    costs = dict.fromkeys(("inference", "baseline"), tflite_complexity(path))
    console.print(energy_table(phases, costs, "device", normalised(phases["baseline"], phases["inference"])))
    lines = {" ".join(line.replace("│", " ").split()) for line in console.export_text().splitlines()}
    assert {
        "multiply-accumulates 29,238,120 29,238,120",
        "ms a clip 500.00 500.00",
        "J a clip 0.9 1.8",
        "kWh a pass 1e-06 2e-06",
        "baseline's over model's 2.000 1",
        "kWh of training, student not known",
        "kWh of runs/teacher/x 2 *",
        "kWh of runs/teacher/y 1.5 *",
        "kWh of training, all not known",
        "not known: no run [a] has it",
    } <= lines


@pytest.fixture
def model(tmp_path: Path, generator: torch.Generator) -> Path:
    """What stage=quantize leaves of an untrained student, as far as it matters here."""
    folder = tmp_path / "runs/quantize/default"
    folder.mkdir(parents=True)
    network = build_student("cp_mobile", size="6k").eval()
    integers = calibrate(fold(network), [torch.randn(4, 1, 64, 64, generator=generator)])
    (folder / "run.json").write_text(json.dumps({"settings": {"quantize": {"method": "ptq"}}, "inputs": {}}))
    write_tflite(integers, tmp_path / "bare.tflite", {})
    return write_tflite(integers, folder / "model.tflite", {"sample_rate": 32_000, "mel": MEL})


@pytest.mark.slow  # some seconds
def test_model_and_baseline_are_metered_side_by_side(tmp_path: Path, miniature: ClipSet, model: Path) -> None:
    """Oracle: the scores against each other: the quotient of the kWh, the number of test clips; the baseline costs
    more than the smallest student, which has a tenth of its multiply-accumulates. No training is known, which is
    said. The same command again is no new run, another setting is refused; the training of a baseline that was done
    since is added, and one that is none is refused."""
    arguments = ["stage=energy", f"data.root={miniature.root}", "tracking=none", "energy.seconds=0.01"]
    result = run(tmp_path, *arguments)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "runs/energy/default"
    scores = json.loads((folder / "score.json").read_text())
    assert scores["energy/clips"] == len(miniature.indices("test"))
    assert scores["energy/normalised"] == scores["energy/baseline/kWh"] / scores["energy/inference/kWh"] > 1
    assert not any("training" in name for name in scores)
    cost, baseline = (tflite_complexity(path) for path in (model, folder / "baseline.tflite"))
    assert baseline.parameter_bytes == 46_512
    assert baseline.macs > 10 * cost.macs
    assert "device kernels" in result.stdout
    assert "not known: no run in runs/student" in " ".join(result.stdout.split())
    if json.loads((folder / "energy.json").read_text())["inference"]["estimated"]:
        assert "* an estimate" in result.stdout
    again = run(tmp_path, *arguments)
    assert "reused" in again.stdout
    assert f"{scores['energy/normalised']:.3f}" in again.stdout
    assert "settings.kernels: device there, host asked for" in run(tmp_path, *arguments, "energy.kernels=host").stderr
    assert json.loads((folder / "score.json").read_text()) == scores
    trained = tmp_path / "runs/student/own"
    trained.mkdir(parents=True)
    (trained / "run.json").write_text(json.dumps({"settings": {"student": {"builder": "baseline"}}, "inputs": {}}))
    (trained / "energy.json").write_text(json.dumps({"student": reading(3.0, 1)}))
    assert run(tmp_path, *arguments).returncode == 0
    assert json.loads((folder / "score.json").read_text()) == {
        **scores,
        **{"energy/baseline/training/kWh": 3.0, "energy/baseline/training/seconds": 1},
    }
    wrong = run(tmp_path, *arguments, "energy.baseline=other")
    assert "energy.baseline=other: runs/student/other is no finished training of student=baseline" in wrong.stderr


@pytest.mark.slow  # several passes of two models
def test_a_model_of_longer_clips_is_metered_on_clips_of_its_own(tmp_path: Path, long_model: Path) -> None:
    """Oracle: by hand: of a table with the defaults of one second, two test clips of five, which are ten of the
    baseline's; what is asked for by hand and is not the model's is refused, and nothing is begun."""
    generator = np.random.default_rng(0)
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", generator.uniform(-0.5, 0.5, 32_000 * 5), 32_000)
    rows = [f"{number}.wav,{'ab'[number % 2]},{'train' if number < 2 else 'test'}" for number in range(4)]
    (tmp_path / "clips.csv").write_text("\n".join(["filename,label,split", *rows]) + "\n")
    arguments = ["stage=energy", "data=folder", f"data.root={tmp_path}", "tracking=none", "energy.seconds=0.01"]
    arguments += [f"model={long_model}", "data.validation_fraction=0"]
    wrong = run(tmp_path, *arguments, "data.clip_seconds=1")
    assert wrong.returncode == 1
    said = " ".join(wrong.stderr.split())
    assert f"data.clip_seconds=1: {long_model} takes clips of 5 s at 32000 Hz: leave it out" in said
    assert not (tmp_path / "runs/energy").exists()
    result = run(tmp_path, *arguments)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "runs/energy/default"
    phases = json.loads((folder / "energy.json").read_text())
    assert (phases["inference"]["clips"], phases["baseline"]["clips"]) == (2, 10)
    assert json.loads((folder / "score.json").read_text())["energy/clips"] == 2
    assert tflite_complexity(folder / "baseline.tflite").macs == 29_234_920 + 3_200 - 100 * 8  # of two classes
    assert "its multiply-accumulates are of one, and a clip is 5" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("model=none.tflite", "model=none.tflite does not exist"),
        ("model=bare.tflite", "bare.tflite does not name its front end"),
        ("energy.seconds=nan", "energy.seconds=nan must be a finite number"),
        ("energy.seconds=0", "energy.seconds=0.0 must be above 0"),
        ("energy.kernels=micro", "energy.kernels"),
    ],
)
def test_mistakes_are_messages(tmp_path: Path, miniature: ClipSet, model: Path, mistake: str, message: str) -> None:
    """Oracle: the message; nothing is begun."""
    result = run(tmp_path, "stage=energy", f"data.root={miniature.root}", "tracking=none", mistake)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "runs/energy").exists()
