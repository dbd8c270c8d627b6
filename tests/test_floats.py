"""Students of floats are used and submitted as they are stored: as checkpoints of 32 or 16 bits."""

import dataclasses
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from command import run
from safetensors import safe_open
from test_submission import CLIPS, ENERGY, LABEL, content, edit

from data.errors import UserError
from data.scenes import SCENES, ClipSet
from data.waves import read_pieces
from experiments.models.classifiers import load_model
from experiments.quantization.convert import halved
from experiments.runs.lineage import trainings
from experiments.submission.about import EXAMPLE, read_about
from experiments.submission.describe import description, notes
from experiments.submission.entries import read_entries
from experiments.submission.lineage import read_lineage
from experiments.submission.report_tables import overview, references, tables_of
from experiments.training import checkpoint
from students.quantize.answer import ONE

FILE = "checkpoint.safetensors"


@pytest.fixture(scope="module")
def runs_once(trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained runs; beside the integers a run that stored floats of 16 bits, with metrics that are the student's;
    and what inference by the floats costs."""
    runs = tmp_path_factory.mktemp("floats") / "runs"
    shutil.copytree(trained_once / "runs", runs, ignore=shutil.ignore_patterns("wandb"))
    network, blueprint = checkpoint.load_student(runs / "student/first" / FILE)
    half = shutil.copytree(runs / "quantize/first", runs / "quantize/half")
    for name in ("model.tflite", "layers.json", "operators.json"):
        (half / name).unlink()
    checkpoint.save(half / FILE, halved(network), blueprint)
    scores = json.loads((half / "score.json").read_text())
    number = sum(parameter.numel() for parameter in network.parameters())
    (half / "score.json").write_text(json.dumps({**scores, "parameters": number, "parameter_bytes": 2 * number}))
    edit(half, lambda record: record["settings"]["quantize"].update(bits="16f"))
    edit(half, lambda record: record.update(models={FILE: digest(half / FILE)}))
    for stage, name in (("student", "first"), ("quantize", "half")):
        metered = runs / "energy" / f"of_{stage}"
        metered.mkdir(parents=True)
        (metered / "score.json").write_text("{}")
        (metered / "run.json").write_text(
            json.dumps({"settings": {}, "inputs": {"model": digest(runs / stage / name / FILE)}})
        )
        phases = {p: {"kWh": kwh, "seconds": 1.0, "estimated": True, "clips": CLIPS} for p, kwh in ENERGY.items()}
        (metered / "energy.json").write_text(json.dumps(phases))
    return runs


@pytest.fixture
def runs(runs_once: Path, tmp_path: Path) -> Path:
    """The runs, for a test to change."""
    return shutil.copytree(runs_once, tmp_path / "runs")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def scored(run: Path, **scores: float) -> None:
    """Change what a run's score.json says."""
    path = run / "score.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **scores}))


def test_a_checkpoint_classifies_as_its_run_measured(runs_once: Path, miniature: ClipSet) -> None:
    """Oracle: the probabilities that the student stage wrote for the same clips, from its packed waves; calibrated ones
    are these in steps of 1 / ONE."""
    classifier = load_model(runs_once / "student/first" / FILE)
    rows = miniature.indices("test")[:40]
    paths = [miniature.root / miniature.filenames[row] for row in rows]
    found = classifier.classify_clips(paths)
    table = pd.read_csv(runs_once / "student/first/predictions.csv", sep="\t").set_index("filename")
    measured = table.loc[[miniature.filenames[row] for row in rows], list(SCENES)].to_numpy()
    np.testing.assert_allclose(found, measured, rtol=1e-4)
    answers = classifier.answers(classifier.spectrograms(torch.cat([*classifier.waves(paths[0])])))
    np.testing.assert_allclose(answers.calibrated[0] / ONE, found[0], atol=0.5 / ONE)


def test_floats_of_16_bits_are_computed_as_they_are_stored(runs_once: Path, miniature: ClipSet) -> None:
    """Oracle: torch, with the student's weights rounded to 16 bits by numpy: what is scored is the file, whose tensors
    have 2 bytes each."""
    path = runs_once / "quantize/half" / FILE
    network, _ = checkpoint.load_student(runs_once / "student/first" / FILE)
    with safe_open(path, "np") as file:
        for name, parameter in network.named_parameters():
            rounded = parameter.detach().numpy().astype(np.float16)
            np.testing.assert_array_equal(file.get_tensor(name), rounded, strict=True)
            parameter.data = torch.from_numpy(rounded.astype(np.float32))
    classifier = load_model(path)
    sound = miniature.root / miniature.filenames[0]
    waves = torch.cat([*read_pieces(sound, classifier.sample_rate, classifier.clip_seconds)])
    spectrograms = classifier.spectrograms(waves)
    with torch.no_grad():
        expected = network.eval()(spectrograms).double().softmax(1).numpy()
    np.testing.assert_allclose(classifier.probabilities(spectrograms), expected, rtol=1e-6)


def test_the_length_of_a_clip_stands_in_the_file(runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: the settings of the run, 1 s; of a file that does not say it, the task's 1 s, which is said; a network
    for other clips than its file says is refused."""
    path = runs / "student/first" / FILE
    network, blueprint = checkpoint.load_student(path)
    assert blueprint.clip_seconds == 1
    checkpoint.save(path, network, dataclasses.replace(blueprint, clip_seconds=None))
    with caplog.at_level(logging.WARNING):
        assert load_model(path).clip_seconds == 1
    assert "does not say how long its clips are: 1 s are assumed" in caplog.text
    checkpoint.save(path, network, dataclasses.replace(blueprint, clip_seconds=0.01))
    with pytest.raises(UserError, match=r"its network cannot be applied to a clip of 0\.01 s"):
        load_model(path)


def test_each_devices_floats_answer_its_sounds(tmp_path: Path, runs: Path) -> None:
    """Oracle: torch: a device whose set has another last bias gets other logits, by the difference; others the general
    ones; parameters that are not zero, by numpy."""
    path = runs / "student/first" / FILE
    network, blueprint = checkpoint.load_student(path)
    name = [name for name, _ in network.named_parameters() if name.endswith("bias")][-1]
    own = {name: network.state_dict()[name] + 1}
    known = dataclasses.replace(blueprint, devices=("a",))
    checkpoint.save(tmp_path / FILE, network, known, [own])
    classifier = load_model(tmp_path / FILE)
    assert list(classifier.devices) == ["a"]
    spectrograms = torch.randn(2, 1, 64, 32)
    with torch.no_grad():
        general = network.eval()(spectrograms)
        network.load_state_dict({**network.state_dict(), **own})
        special = network.eval()(spectrograms)
    for device, logits in (("a", special), ("b", general)):
        expected = logits.double().softmax(1).numpy()
        np.testing.assert_allclose(classifier.of_device(device).probabilities(spectrograms), expected, rtol=1e-6)
    with safe_open(tmp_path / FILE, "np") as file:
        parameters = [*dict(network.named_parameters()), f"device/0/{name}"]
        assert classifier.non_zero == sum(int(np.count_nonzero(file.get_tensor(each))) for each in parameters)


@pytest.mark.parametrize(("run", "bits", "size"), [("student/first", 32, 4), ("quantize/half", 16, 2)])
def test_the_description_is_of_the_floats(run: str, bits: int, size: int, runs: Path, tmp_path: Path) -> None:
    """Oracle: the task page: "no requirement on the numerical representation", and 4 bytes of a float32; the words of
    the organisers for what was done: floats of 32 bits are not quantised; nothing is cited that was not used; it is
    said that the baseline beside them is one of integers."""
    (tmp_path / "about.yaml").write_text(EXAMPLE)
    lineage = read_lineage(runs / run)
    assert lineage.model == runs / run / FILE
    about = read_about(tmp_path / "about.yaml", 1)
    meta = description(lineage, load_model(lineage.model), about, LABEL, [])["system"]
    costs, words = meta["complexity"], meta["description"]
    assert costs["total_model_size"] == size * costs["total_parameters"]
    assert costs["total_parameters_non_zero"] <= costs["total_parameters"]
    quantised = ", weight quantization" * (bits == 16)
    assert words["pipeline"] == words["complexity_management"] == f"knowledge distillation{quantised}"
    assert meta["energy_consumption"]["inference"] == ENERGY["inference"]
    (entry,) = read_entries([runs / run], about, "Doe_UNIX")
    said = [note for note in notes(entry.system.lineage) if note.startswith(("of floats, memory_use", "floats are"))]
    ((caption, _),) = tables_of([entry.system])["energy"]
    assert len(said) == 2
    assert said[1] in caption
    assert dict(overview([entry.system]))["bits"] == f"floats of {bits}"
    assert not any("Integer-Arithmetic" in each for each in references([entry.system]))


def test_what_led_to_floats_is_what_led_to_the_student(runs: Path) -> None:
    """Oracle: by hand: the energy of the student's and the teacher's training, and of its logits, of the student's file
    and of that of 16 bits alike."""
    phases = {"student": {"student": 1}, "teacher": {"teacher": 2, "logits": 4}}
    for stage, known in phases.items():
        metered = {phase: {"kWh": kwh, "seconds": 1.0, "estimated": False} for phase, kwh in known.items()}
        (runs / stage / "first/energy.json").write_text(json.dumps(metered))
    for model in (runs / "student/first" / FILE, runs / "quantize/half" / FILE):
        found = trainings(model, {}, runs)
        known = {phase: entry["kWh"] for phase, entry in found.items()}
        assert known == {"training/student": 1, "training/teacher": 2, "training/logits": 4, "training/all": 7}


@pytest.mark.parametrize(("number", "is_allowed"), [(30_000, True), (32_000, True), (40_000, False)])
def test_floats_have_the_limit_of_bytes(number: int, is_allowed: bool, runs: Path, tmp_path: Path) -> None:
    """Oracle: the task page: "32K parameters when using float32 (32000 * 32 bits per parameter / 8 bits per byte =
    128KB)": 40,000 are 160,000 bytes, more than 128,000; of a run whose metrics say so."""
    scored(runs / "student/first", parameters=number, parameter_bytes=4 * number)
    (tmp_path / "about.yaml").write_text(EXAMPLE)
    about = read_about(tmp_path / "about.yaml", 1)
    if is_allowed:
        assert len(read_entries([runs / "student/first"], about, "Doe_UNIX")) == 1
        return
    shutil.rmtree(runs / "energy/of_student")
    with pytest.raises(UserError, match=r"from 1 to 128000, not 160000 bytes, of floats of 32 bits: ") as error:
        read_entries([runs / "student/first"], about, "Doe_UNIX")
    assert "(quantize.bits=16f or 8)" in str(error.value)
    assert f"stage=energy name=first model={runs / 'student/first' / FILE}" in str(error.value)


def replaced(name: str, model: str) -> Callable[[Path], object]:
    return lambda runs: (runs / name / model).write_bytes(b"another file")


@pytest.mark.parametrize(
    ("run", "spoil", "message"),
    [
        ("student/first", replaced("student/first", FILE), "is not the file that its run wrote"),
        ("quantize/half", replaced("quantize/half", FILE), "is not the file that its run wrote"),
        ("quantize/first", replaced("quantize/first", "model.tflite"), "is not the file that its run wrote"),
        ("student/first", lambda runs: (runs / "student/first" / FILE).unlink(), "has no checkpoint.safetensors"),
        (
            "teacher/first",
            lambda runs: None,
            "is a run of the teacher stage: name one of the quantize or of the student",
        ),
        ("quantize/half", lambda runs: shutil.rmtree(runs / "student"), "was made of a student that is in none of"),
    ],
)
def test_another_file_than_the_runs_is_refused(
    run: str, spoil: Callable[[Path], object], message: str, runs: Path
) -> None:
    """Oracle: the message: the metrics of a run are of the file that it wrote, and of no other; by its fingerprint in
    run.json."""
    spoil(runs)
    with pytest.raises(UserError, match=message):
        read_lineage(runs / run)


def test_where_integers_are_needed_floats_are_refused(runs: Path) -> None:
    """Oracle: the messages: the inference package of 2025 and the C of a device hold integers."""
    with pytest.raises(UserError, match=r"half stores floats, and the inference package of this year holds"):
        read_lineage(runs / "quantize/half", device_is_known=True)
    shutil.copytree(runs / "student/first", runs / "specialize/first")
    with pytest.raises(UserError, match=r"specialize/first is a student with tensors of devices: quantise it"):
        read_lineage(runs / "specialize/first")
    result = run(runs.parent, "deploy", "name=half", "tracking=none")
    assert result.returncode == 1
    assert "half/checkpoint.safetensors stores floats, and the C computes integers" in result.stderr


@pytest.mark.slow  # an evaluation set is classified twice, and energy metered twice: a minute
def test_floats_go_all_the_way(trained: Path, miniature: ClipSet) -> None:
    """Oracle: pandas and PyYAML read the package, our validator finds no defect; the probabilities are those that the
    runs measured on the same clips, sizes 4 and 2 bytes a parameter."""
    (trained / "about.yaml").write_text(re.sub("systems:.*\n.*\n", "", EXAMPLE))
    (trained / "evaluation").mkdir()
    rows = miniature.indices("test")[:12]
    for number, row in enumerate(rows):
        shutil.copy(miniature.root / miniature.filenames[row], trained / "evaluation" / f"{number}.wav")
    common = [f"data.root={miniature.root}", "tracking=none"]
    of = {"student/first": f"runs/student/first/{FILE}", "quantize/half": f"runs/quantize/half/{FILE}"}
    student = f"checkpoint={of['student/first']}"
    commands = [["quantize", "name=half", "quantize.bits=16f", student, *common]]
    commands += [
        ["energy", f"name=e{n}", f"model={path}", "energy.seconds=0.2", *common] for n, path in enumerate(of.values())
    ]
    commands += [["predict", "evaluation", "name=half"]]
    systems = f"submit.runs=[{','.join(f'runs/{each}' for each in of)}]"
    commands += [["submit", systems, "submit.about=about.yaml", "submit.evaluation=evaluation", "submit.partial=true"]]
    commands += [["validate", "runs/submit/default/submission.zip", "submit.evaluation=evaluation"]]
    for command in commands:
        result = run(trained, *command)
        assert result.returncode == 0, result.stderr
    assert "no defect found" in result.stdout
    package = trained / "runs/submit/default/submission.zip"
    for number, (each, size) in enumerate(zip(of, (4, 2), strict=True), 1):
        meta = yaml.safe_load(content(package, f"task1_{number}.meta.yaml"))["system"]["complexity"]
        assert meta["total_model_size"] == size * meta["total_parameters"]
        table = pd.read_csv(BytesIO(content(package, f"task1_{number}.output.csv")), sep="\t")
        measured = pd.read_csv(trained / "runs" / each / "predictions.csv", sep="\t").set_index("filename")
        wanted = measured.loc[[miniature.filenames[row] for row in rows], list(SCENES)]
        np.testing.assert_allclose(table[list(SCENES)], wanted, rtol=1e-4)
