"""A challenge package of trained students, read back by other libraries."""

import dataclasses
import hashlib
import inspect
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import ai_edge_litert.schema_py_generated as schema
import numpy as np
import packages
import pandas as pd
import pytest
import soundfile
import yaml
from command import run
from pypdf import PdfReader
from sklearn import metrics

from data.errors import UserError
from data.resources import WEIGHTS, Use, as_rows
from data.scenes import DEVICES, SCENES, ClipSet
from experiments.evaluation.predictions import predictions_text
from experiments.inference.classifier import load_classifier
from experiments.inference.clip_classifier import BATCH
from experiments.report.scene_devices import scene_device_rows
from experiments.submission.about import EXAMPLE, read_about
from experiments.submission.declared import declared
from experiments.submission.describe import System, augmentations, description
from experiments.submission.evaluation_set import evaluation_files
from experiments.submission.layout import label_of, write_package
from experiments.submission.lineage import read_lineage
from experiments.submission.meta import meta_defects
from experiments.submission.report_tables import references, tables_of, training
from experiments.submission.technical_report import report_pdf
from experiments.submission.validate import write_valid
from teachers import find_teacher, list_teachers

ENERGY = {"inference": 1.25e-5, "baseline": 2.5e-5}  # kWh
CLIPS = 90  # that they were measured on
GIVEN = {"evaluation": "evaluation", "about": "about.yaml"}
LABEL = "Doe_UNIX_task1_1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, trained_once: Path, miniature: ClipSet) -> Path:
    """A folder with the trained runs, their energy, a description of the authors, and the test clips without labels."""
    out = tmp_path_factory.mktemp("submission")
    shutil.copytree(trained_once / "runs", out / "runs", ignore=shutil.ignore_patterns("wandb"))
    energy = out / "runs" / "energy" / "first"
    energy.mkdir(parents=True, exist_ok=True)
    (energy / "score.json").write_text("{}")
    model = hashlib.sha256((out / "runs/quantize/first/model.tflite").read_bytes()).hexdigest()
    (energy / "run.json").write_text(json.dumps({"settings": {}, "inputs": {"model": model}}))
    phases = {
        name: {"kWh": kwh, "seconds": 1.0, "estimated": name == "inference", "clips": CLIPS}
        for name, kwh in ENERGY.items()
    }
    (energy / "energy.json").write_text(json.dumps(phases))
    (out / "about.yaml").write_text(EXAMPLE)
    (out / "evaluation").mkdir()
    for number, row in enumerate(miniature.indices("test")):
        shutil.copy(miniature.root / miniature.filenames[row], out / "evaluation" / f"{number}.wav")
    return out


@pytest.fixture
def runs(folder: Path, tmp_path: Path) -> Path:
    """The runs, for a test to change."""
    return shutil.copytree(folder / "runs", tmp_path / "runs")


def edit(run: Path, change: Callable[[dict], object]) -> None:
    """Change what a run says of itself."""
    record = json.loads((run / "run.json").read_text())
    change(record)
    (run / "run.json").write_text(json.dumps(record))


def submit(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    defaults = ["tracking=none", "submit.partial=true", *(f"submit.{key}={value}" for key, value in GIVEN.items())]
    given = {argument.split("=")[0] for argument in arguments}
    return run(folder, "stage=submit", *(d for d in defaults if d.split("=")[0] not in given), *arguments)


@pytest.fixture(scope="module")
def package(folder: Path) -> Path:
    """What stage=submit makes of it."""
    result = submit(folder, "name=first")
    assert result.returncode == 0, result.stderr
    (folder / "stdout.txt").write_text(result.stdout)
    return folder / "runs/submit/first/submission.zip"


def content(package: Path, ending: str) -> bytes:
    with zipfile.ZipFile(package) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(ending))
        return archive.read(name)


def test_the_package_holds_what_the_file_computes(package: Path, folder: Path, miniature: ClipSet) -> None:
    """Oracle: pandas reads the table; its probabilities, and its figures by scikit-learn, are those that stage=quantize
    measured on the same clips, which it read from its packed waves."""
    table = pd.read_csv(BytesIO(content(package, ".output.csv")), sep="\t")
    assert list(table) == ["filename", "scene_label", *SCENES]
    rows = miniature.indices("test")
    assert list(table["filename"]) == [f"{number}.wav" for number in range(len(rows))]
    p, labels = table[list(SCENES)].to_numpy(), miniature.labels[rows]
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    assert list(table["scene_label"]) == [SCENES[n] for n in p.argmax(1)]
    measured = pd.read_csv(folder / "runs/quantize/first/predictions.csv", sep="\t")
    np.testing.assert_allclose(p, measured[list(SCENES)], rtol=1e-6)
    scores = json.loads((folder / "runs/quantize/first/score.json").read_text())
    assert metrics.balanced_accuracy_score(labels, p.argmax(1)) == pytest.approx(scores["test/accuracy"])
    loss = metrics.log_loss(labels, p / p.sum(1, keepdims=True), labels=range(10))
    assert loss == pytest.approx(scores["test/log_loss"], abs=1e-4)


def test_files_are_classified_alike_alone_and_together(small_model: Path, miniature: ClipSet, tmp_path: Path) -> None:
    """Oracle: a clip's probabilities depend on no other clip; files that are none are all named."""
    classifier = load_classifier(small_model)
    paths = [miniature.root / name for name in miniature.filenames[: BATCH + 3]]
    together = classifier.classify_clips(paths)
    alone = [classifier.classify_clips([path])[0] for path in (paths[1], paths[-1])]
    np.testing.assert_array_equal(alone, together[[1, -1]])
    broken = [tmp_path / "x.wav", tmp_path / "y.wav"]
    for path in broken:
        path.write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"2 of 4 sound files are unreadable(.|\n)*x\.wav(.|\n)*y\.wav"):
        classifier.classify_clips([paths[0], *broken, paths[1]])


def test_the_description_says_what_the_runs_measured(package: Path, folder: Path) -> None:
    """Oracle: PyYAML reads it; score.json and energy.json of the runs, and LiteRT's own list of the file's tensors."""
    meta = yaml.safe_load(content(package, ".meta.yaml"))
    scores = json.loads((folder / "runs/quantize/first/score.json").read_text())
    assert meta["submission"]["label"] == LABEL
    assert meta["submission"]["authors"][0]["lastname"] == "Doe"
    costs, figures = meta["system"]["complexity"], meta["results"]["development_dataset"]
    assert costs["macs"] == scores["macs"]
    assert costs["total_model_size"] == scores["parameter_bytes"]
    assert costs["total_parameters"] == scores["parameters"]
    model = schema.ModelT.InitFromPackedBuf((folder / "runs/quantize/first/model.tflite").read_bytes(), 0)
    stored = [(t, model.buffers[t.buffer].data) for t in model.subgraphs[0].tensors]
    weights = [
        np.frombuffer(bytes(d), np.int8) for t, d in stored if t.type == schema.TensorType.INT8 and d is not None
    ]
    biases = [d for t, d in stored if t.type == schema.TensorType.INT32 and len(t.shape) == 1 and d is not None]
    constants = [*weights, *(np.frombuffer(bytes(d), np.int32) for d in biases)]
    assert costs["total_parameters_non_zero"] == sum(map(np.count_nonzero, constants))
    assert figures["overall"]["accuracy"] == round(100 * scores["test/accuracy"], 2)
    for scene in SCENES:
        assert figures["class_wise"][scene]["logloss"] == round(scores[f"test/log_loss/scene/{scene}"], 4)
    for device in DEVICES:
        assert figures["device_wise"][device]["accuracy"] == round(100 * scores[f"test/accuracy/device/{device}"], 2)
    trained = [
        phase
        for stage, names in (("teacher", {"teacher", "logits"}), ("student", {"student"}), ("quantize", {"quantize"}))
        for phases in [json.loads((folder / f"runs/{stage}/first/energy.json").read_text())]
        for phase in phases.values()
        if phases.keys() == names
    ]
    assert len(trained) == 4
    assert meta["system"]["energy_consumption"] == {
        "training": pytest.approx(sum(phase["kWh"] for phase in trained)),
        "inference": ENERGY["inference"],
        "baseline_training": None,
        "baseline_inference": ENERGY["baseline"],
    }
    head = content(package, ".meta.yaml").decode().replace("\n#   ", " ")
    assert f"inference and baseline_inference are of {CLIPS} clips; estimates" in head
    note = head.split("meter of its processor: ")[1].split(".\n")[0].split(", ")
    estimated = ["training"] if any(phase["estimated"] for phase in trained) else []
    assert note == [*estimated, "inference"]
    about = meta["system"]["description"]
    assert about["pipeline"] == "knowledge distillation, weight quantization"
    assert about["input_sampling_rate"] == "32kHz"
    assert "frequency masking" in about["data_augmentation"]


def described(run: Path, folder: Path) -> dict:
    """The description of a run's system."""
    lineage = read_lineage(run)
    about, external = read_about(folder / "about.yaml", 1), declared([lineage], [])
    return description(lineage, load_classifier(lineage.model), about, LABEL, external)["system"]


def begin(run: Path, builder: str) -> None:
    """Make a run that of a teacher that began with its published weights."""
    found = find_teacher(builder).pretraining({}, pretrained=True, weights=None)
    use = Use(WEIGHTS, "published", "0" * 64, found.resources, found.is_complete)
    edit(run, lambda record: record["settings"]["teacher"].update(builder=builder, pretrained=True))
    edit(run, lambda record: record.update(external=as_rows([use])))


def test_pretrained_teachers_are_found_behind_an_ensemble(folder: Path, runs: Path) -> None:
    """Oracle: a history made by hand: a pretrained PaSST, in an ensemble, taught the student, which was then trained as
    integers; the organisers want what others trained on to be named."""
    begin(runs / "teacher/first", "passt")
    member = hashlib.sha256((runs / "teacher/first/logits.h5").read_bytes()).hexdigest()
    (runs / "ensemble/two").mkdir(parents=True)
    (runs / "ensemble/two/logits.h5").write_bytes(b"logits")
    (runs / "ensemble/two/score.json").write_text("{}")
    (runs / "ensemble/two/run.json").write_text(json.dumps({"settings": {}, "inputs": {"waves": "0", "one": member}}))
    edit(runs / "student/first", lambda record: record["inputs"].update(logits=hashlib.sha256(b"logits").hexdigest()))
    edit(runs / "quantize/first", lambda record: record["settings"]["quantize"].update(method="qat"))

    lineage = read_lineage(runs / "quantize/first")
    assert [teacher.folder for teacher in lineage.teachers] == [runs / "teacher/first"]
    system = described(runs / "quantize/first", folder)
    assert [dataset["name"] for dataset in system["external_datasets"]] == [
        "PaSST passt_s_swa_p16_128_ap476",
        "AudioSet",
        "ImageNet",
    ]
    assert system["description"]["external_data_usage"] == "pre-trained model"
    assert system["description"]["pipeline"] == "pretraining, knowledge distillation, quantization aware training"


def test_teachers_of_the_integers_alone_are_teachers(folder: Path, runs: Path) -> None:
    """Oracle: a history made by hand: the student learnt from labels, its integers from a pretrained timm network,
    whose default weights learnt from ImageNet alone; energy is the sum of three trainings and of the logits."""
    begin(runs / "teacher/first", "timm_cnn")
    edit(runs / "student/first", lambda record: record["inputs"].update(logits=""))
    logits = hashlib.sha256((runs / "teacher/first/logits.h5").read_bytes()).hexdigest()

    def taught(record: dict) -> None:
        record["settings"]["quantize"].update(method="qat")
        record["settings"]["distill"] = {"temperature": 3.5, "hard_weight": 0.0}
        record["inputs"].update(logits=logits)

    edit(runs / "quantize/first", taught)
    phase = {"kWh": 0.5, "seconds": 1.0, "estimated": False}
    for stage in ("quantize", "student", "teacher"):
        (runs / stage / "first/energy.json").write_text(json.dumps({stage: phase, "logits": phase}))
    system = described(runs / "quantize/first", folder)
    names = [dataset["name"] for dataset in system["external_datasets"]]
    assert names == ["timm tf_efficientnet_b0.in1k", "ImageNet"]
    assert (
        system["description"]["pipeline"]
        == "pretraining, training, knowledge distillation, quantization aware training"
    )
    assert system["description"]["complexity_management"] == "knowledge distillation, weight quantization"
    assert system["energy_consumption"]["training"] == 2
    told = dict(training([System(LABEL, read_lineage(runs / "quantize/first"), {})]))
    assert (told["temperature"], told["weight of labels"], told["quantised"]) == ("3.5", "0", "in training")


def test_every_teacher_with_published_weights_has_their_data() -> None:
    """Oracle: the builders: one that is pretrained unless told otherwise has weights that others published, on data
    that a submission must name."""
    for name, teacher in list_teachers().items():
        pretrained = inspect.signature(teacher.build).parameters["pretrained"].default
        assert bool(teacher.pretraining({}, pretrained=pretrained, weights=None).datasets) is pretrained, name
        assert (teacher.published is not None) is pretrained, name


def test_a_student_that_learnt_from_labels_has_no_temperature(runs: Path) -> None:
    """Oracle: the settings, by hand; a weight decay of 0 is a figure."""

    def change(record: dict) -> None:
        record["inputs"]["logits"] = ""
        record["settings"]["student"]["fit"]["weight_decay"] = 0

    edit(runs / "student/first", change)
    told = dict(training([System(LABEL, read_lineage(runs / "quantize/first"), {})]))
    assert (told["temperature"], told["weight of labels"], told["weight decay"]) == ("-", "-", "0")
    assert told["quantised"] == "after training"


def test_the_data_of_a_student_are_those_it_was_trained_with(runs: Path) -> None:
    """Oracle: quantised with another share of locations held out, which the student never saw."""
    student = (runs / "student/first/config.yaml").read_text()
    share = yaml.safe_load(student)["data"]["validation_fraction"]
    path = runs / "quantize/first/config.yaml"
    path.write_text(path.read_text().replace(f"validation_fraction: {share}", "validation_fraction: 0.99"))
    assert yaml.safe_load(path.read_text())["data"]["validation_fraction"] == 0.99
    assert read_lineage(runs / "quantize/first").data["validation_fraction"] == share


def test_energy_is_that_of_the_file(folder: Path, runs: Path) -> None:
    """Oracle: by hand: what was measured under another name is found, what was measured of another file is not; where a
    training was not metered there is no sum."""
    (runs / "energy/first").rename(runs / "energy/other")
    assert read_lineage(runs / "quantize/first").kwh("inference") == ENERGY["inference"]
    (runs / "teacher/first/energy.json").unlink()
    assert described(runs / "quantize/first", folder)["energy_consumption"]["training"] is None
    edit(runs / "energy/other", lambda record: record["inputs"].update(model="0"))
    assert read_lineage(runs / "quantize/first").kwh("inference") is None


def test_of_equal_trainings_the_one_that_was_used_is_submitted(runs: Path) -> None:
    """Oracle: by hand: twins of student and teacher whose names sort before and behind, with another energy: that of
    the same name is submitted; then that which run.json names; a measurement of the very file comes before others."""
    for stage in ("student", "teacher"):
        for name, kwh in (("a", 100.0), ("z", 10.0)):
            shutil.copytree(runs / stage / "first", twin := runs / stage / name)
            phase = {"kWh": kwh, "seconds": 1.0, "estimated": False}
            (twin / "energy.json").write_text(json.dumps({stage: phase, "logits": phase}))
    phase = {"kWh": 1.0, "seconds": 1.0, "estimated": False}
    (runs / "quantize/first/energy.json").write_text(json.dumps({"quantize": phase}))
    quantized = runs / "quantize/first"
    lineage = read_lineage(quantized)
    assert [run.name for run in (lineage.student, *lineage.teachers)] == ["first", "first"]
    assert 1 < lineage.kwh("training/all") < 2
    edit(quantized, lambda record: record.update(sources=[str(runs / "student/z/checkpoint.safetensors")]))
    edit(runs / "student/z", lambda record: record.update(sources=["runs/teacher/a/logits.h5"]))
    lineage = read_lineage(quantized)
    assert [run.name for run in (lineage.student, *lineage.teachers)] == ["z", "a"]
    assert lineage.kwh("training/all") == 10 + 100 + 100 + 1  # student z, teacher a and its logits, quantisation
    shutil.copytree(runs / "energy/first", measured := runs / "energy/z")
    edit(measured, lambda record: record.update(sources=[str(quantized / "model.tflite")]))
    phases = json.loads((measured / "energy.json").read_text())
    phases["inference"]["kWh"] = 7.0
    (measured / "energy.json").write_text(json.dumps(phases))
    assert read_lineage(quantized).kwh("inference") == 7
    quantized.rename(runs / "quantize/other")
    edit(runs / "quantize/other", lambda record: record.update(sources=[]))
    with pytest.raises(UserError, match=r"made of a student that is there twice, keep one:\n.*student/a, .*student/z"):
        read_lineage(runs / "quantize/other")


def test_a_student_of_devices_is_not_for_a_package_whose_clips_name_none(runs: Path) -> None:
    """Oracle: the message, for a quantised run whose checkpoint the specialize stage wrote."""
    (runs / "specialize").mkdir()
    (runs / "student/first").rename(runs / "specialize/first.device0")
    with pytest.raises(UserError, match=r"made of .*specialize/first.device0, .*: quantise the general student"):
        read_lineage(runs / "quantize/first")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: (r / "teacher/first/logits.h5").unlink(), "learnt from teachers that are gone"),
        (lambda r: shutil.rmtree(r / "teacher"), "no run in .*teacher has the logits.h5"),
        (lambda r: shutil.rmtree(r / "student"), "was made of a student that is in none of"),
        (lambda r: (r / "quantize/first/run.json").unlink(), "is no finished run"),
        (lambda r: (r / "quantize/first/model.tflite").unlink(), "has no model.tflite"),
        (lambda r: (r / "quantize/first/layers.json").unlink(), "has no layers.json"),
        (lambda r: edit(r / "quantize/first", lambda d: d["settings"].clear()), "does not say quantize.method"),
        (
            lambda r: edit(r / "student/first", lambda d: d["settings"].clear()),
            "student.builder, student.mel.kind: ",
        ),
        (lambda r: edit(r / "teacher/first", lambda d: d["settings"].clear()), "does not say teacher.builder, teacher"),
        (lambda r: (r / "student/first/config.yaml").unlink(), "does not say which data"),
        (lambda r: (r / "student/first/config.yaml").write_text("- 1"), "does not say which data"),
        (lambda r: (r / "student/first/config.yaml").write_text("a: ["), "does not say which data"),
        (lambda r: (r / "quantize/first/config.yaml").write_text("data: 5"), "does not say which data"),
    ],
)
def test_a_history_with_gaps_is_a_message(runs: Path, spoil: Callable[[Path], object], message: str) -> None:
    """Oracle: the message, for each part that may be gone or damaged."""
    spoil(runs)
    with pytest.raises(UserError, match=message):
        read_lineage(runs / "quantize/first")


def test_impulse_responses_are_named_where_they_were_used(folder: Path) -> None:
    """Oracle: histories made by hand: responses or none (the hash of nothing), applied or not."""
    lineage = read_lineage(folder / "runs/quantize/first")
    nothing = hashlib.sha256(b"").hexdigest()
    for responses, probability, named in (("some", 0.6, True), (nothing, 0.6, False), ("some", 0.0, False)):
        student = dataclasses.replace(
            lineage.student,
            inputs={**lineage.student.inputs, "impulses": responses},
            settings={**lineage.student.settings, "student.augment.impulse_p": probability},
        )
        ours = dataclasses.replace(lineage, student=student, teachers=())
        assert ("device impulse response augmentation" in augmentations(ours)) is named


def test_the_report_shows_the_figures_and_asks_for_the_rest(package: Path, folder: Path) -> None:
    """Oracle: pypdf reads it: title, authors, label, and the numbers of score.json; what was not written is marked, and
    said when the package is made."""
    pages = PdfReader(BytesIO(content(package, ".technical_report.pdf"))).pages
    text = " ".join(" ".join(page.extract_text() for page in pages).split())
    scores = json.loads((folder / "runs/quantize/first/score.json").read_text())
    for word in (
        "A small network that learnt from large ones",
        "Jo Doe",
        "jo@uni.org",
        LABEL,
        "Two or three sentences",
    ):
        assert word in text
    for figure in ("accuracy", "accuracy/scene/tram", "accuracy/device/s6", "accuracy/group/unseen"):
        assert f"{100 * scores[f'test/{figure}']:.1f}" in text
    assert f"{scores['macs']:,}" in text
    assert f"{scores['parameter_bytes']:,}" in text
    assert f"inference 1.25e-05 (estimate) inference of the baseline 2.5e-05 clips of inference {CLIPS}" in text
    cells = [cell for row in scene_device_rows(scores) for cell in row if cell]
    assert [cell for cell in cells if cell not in text] == []  # no number is broken between lines
    assert text.count("[To be written by the authors:") == 6
    assert sum(len(page.images) for page in pages) == 4  # devices, reliability, training, confusions
    assert "has no introduction, system, data, results, complexity, energy" in (folder / "stdout.txt").read_text()


def test_the_package_passes_and_is_made_once(package: Path, folder: Path) -> None:
    """Oracle: stage=validate; the file's time of change."""
    passed = run(folder, "stage=validate", f"package={package}", "submit.evaluation=evaluation")
    assert passed.returncode == 0, passed.stderr
    assert LABEL in passed.stdout
    made = package.stat().st_mtime_ns
    assert "reused" in submit(folder, "name=first").stdout
    assert package.stat().st_mtime_ns == made


@pytest.mark.slow  # some seconds
def test_two_systems_share_a_package(package: Path, folder: Path, tmp_path: Path) -> None:
    """Oracle: the zip: two of everything but the report; a file with as many zeros at its end gives equal answers, and
    is another file. What cannot be printed is said."""
    runs = shutil.copytree(folder / "runs", tmp_path / "runs")
    shutil.copytree(runs / "quantize/first", runs / "quantize/second")
    shutil.copytree(runs / "energy/first", runs / "energy/second")
    with open(runs / "quantize/second/model.tflite", "ab") as file:
        file.write(bytes(16))
    model = hashlib.sha256((runs / "quantize/second/model.tflite").read_bytes()).hexdigest()
    edit(runs / "energy/second", lambda record: record["inputs"].update(model=model))
    edit(runs / "quantize/second", lambda record: record.update(models={"model.tflite": model}))
    about = re.sub("systems:.*\n.*\n", "", EXAMPLE).replace("A small", "\N{CJK UNIFIED IDEOGRAPH-738B} small")
    (tmp_path / "about.yaml").write_text(about)
    named = "submit.runs=[runs/quantize/first,runs/quantize/second]"
    evaluation = f"submit.evaluation={folder / 'evaluation'}"
    both = submit(tmp_path, "name=both", named, "submit.surname=Mc-Doe", evaluation)
    assert both.returncode == 0, both.stderr
    assert "lacks \N{CJK UNIFIED IDEOGRAPH-738B}, which print as empty boxes" in " ".join(both.stdout.split())
    said = "clips: the official evaluation set has 118,800, 0.wav to 118799.wav: the organisers' checker will refuse"
    assert said in " ".join(both.stdout.split())
    with zipfile.ZipFile(tmp_path / "runs/submit/both/submission.zip") as archive:
        assert len(archive.namelist()) == 5
        for number in (1, 2):
            name = f"task1/Mc-Doe_UNIX_task1_{number}/Mc-Doe_UNIX_task1_{number}.output.csv"
            assert archive.read(name) == content(package, ".output.csv")


def test_a_model_of_another_task_is_no_entry(folder: Path, runs: Path, long_model: Path, tmp_path: Path) -> None:
    """Oracle: the rules of the challenge, which the message names: clips of one second, and its ten classes."""
    shutil.copy(long_model, runs / "quantize/first/model.tflite")
    edit(runs / "quantize/first", lambda record: record.pop("models"))  # as earlier versions wrote it
    given = [f"submit.{name}={folder / path}" for name, path in GIVEN.items()]
    result = submit(tmp_path, "name=first", f"runs={runs}", *given)
    assert result.returncode == 1
    said = " ".join(result.stderr.split())
    assert "first: its classes are ['sound 0', " in said
    assert "by the rules of DCASE 2023 Task 1, the classes are airport, bus, metro, " in said
    assert "first: it takes clips of 5 s; by the rules of DCASE 2023 Task 1, a clip is 1 s" in said


def test_a_package_of_a_part_of_the_evaluation_set_is_refused(folder: Path) -> None:
    """Oracle: the task's page: "a classification result for each audio file in the evaluation set"; the organisers'
    checker wants 118,800. Nothing is written."""
    result = submit(folder, "name=partial", "submit.runs=runs/quantize/first", "submit.partial=false")
    assert result.returncode == 1
    said = " ".join(result.stderr.split())
    assert (
        "120 clips: the official evaluation set has 118,800, 0.wav to 118799.wav, and the organisers' checker" in said
    )
    assert "restore the set, or give submit.partial=true, which makes a package of these for a rehearsal" in said
    assert not (folder / "runs/submit/partial").exists()


def test_runs_that_make_no_package_are_named(folder: Path) -> None:
    """Oracle: the messages: five are too many, one twice is one, one that is not finished is none."""
    first = "runs/quantize/first"
    (folder / "some.yaml").write_text(re.sub("systems:.*\n.*\n", "", EXAMPLE))
    (folder / "runs/quantize/unfinished").mkdir()
    for named, messages in (
        ([first] * 5, ["names 5 runs, a package holds at most 4"]),
        (
            [first, first, "runs/quantize/unfinished"],
            ["first: its model is that of runs/quantize/first, byte for byte", "unfinished is no finished run"],
        ),
    ):
        result = submit(folder, "name=none", f"submit.runs=[{','.join(named)}]", "submit.about=some.yaml")
        assert (result.returncode, "Traceback" in result.stderr) == (1, False)
        assert all(message in result.stderr for message in messages)
        assert not (folder / "runs/submit/none").exists()


def test_a_package_with_defects_gets_no_name(tmp_path: Path) -> None:
    """Oracle: the folder: what our validator refuses is not there as a package."""
    sound = packages.files()
    path = tmp_path / "submission.zip"
    with pytest.raises(UserError, match=r"no sound package(.|\n)*7\.wav: missing"):
        write_valid(path, sound, [*packages.CLIPS, "7.wav"])
    assert not path.exists()
    assert len(write_valid(path, sound, packages.CLIPS)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["submission.zip"]


def test_a_failed_force_leaves_no_package_of_before(package: Path, folder: Path, tmp_path: Path) -> None:
    """Oracle: the folder: a clip that is none stops the second run, whose folder must not hold the first one's zip."""
    shutil.copytree(folder / "runs", tmp_path / "runs")
    shutil.copytree(folder / "evaluation", tmp_path / "evaluation")
    (tmp_path / "evaluation/0.wav").write_bytes(b"RIFF")
    assert (tmp_path / "runs/submit/first/submission.zip").exists()
    result = submit(tmp_path, "name=first", "force=true", f"submit.about={folder / 'about.yaml'}")
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert "0.wav" in result.stderr
    assert not list((tmp_path / "runs/submit/first").glob("submission*"))


def test_metrics_that_are_gone_are_one_line(runs: Path, folder: Path) -> None:
    """Oracle: by hand: of 40 metrics none is there, which is one thing to do."""
    path = runs / "quantize/first/score.json"
    scores = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in scores.items() if not name.startswith("test/")}))
    result = submit(runs.parent, "name=first", *(f"submit.{k}={folder / v}" for k, v in GIVEN.items()))
    assert result.returncode == 1
    assert "40 metrics of the test split cannot be told" in result.stderr
    assert result.stderr.count("runs/quantize/first:") == 1


@pytest.mark.slow  # PDFs of many pages
def test_long_words_and_lists_find_room_in_the_report(folder: Path) -> None:
    """Oracle: pypdf finds the last of a hundred data sets, and a name of 200 wide letters in each of four columns."""
    lineage, about = read_lineage(folder / "runs/quantize/first"), read_about(folder / "about.yaml", 1)
    datasets = [{"name": f"{'w' * 190} {n}", "url": "u", "total_audio_length": 1} for n in range(100)]
    about = dataclasses.replace(
        about, systems=[{"name": "W" * 200, "abbreviation": "W"}] * 4, external_datasets=datasets
    )
    labels = [label_of("Doe", "UNIX", number) for number in range(1, 5)]
    classifier = load_classifier(lineage.model)
    external = declared([lineage], datasets)
    systems = [
        System(label, lineage, description(lineage, classifier, about, label, external), external=external)
        for label in labels
    ]
    assert meta_defects(systems[0].meta, labels[0]) == []
    pdf = report_pdf(about, tables_of(systems), references(systems))
    text = "".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages)
    text = "".join(text.split())
    assert text.count("w99") == 1
    assert text.count("W") >= 800


def test_what_is_in_the_way_is_said(folder: Path, tmp_path: Path) -> None:
    """Oracle: the messages, each with what to do."""
    told = run(folder, "stage=submit", "name=first", "tracking=none").stderr
    assert "submit.evaluation=FOLDER" in told
    assert "submit.about=FILE" in told
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder / "runs", elsewhere / "runs")
    with open(elsewhere / "runs/quantize/first/model.tflite", "ab") as file:
        file.write(bytes(16))  # the same answers by another file
    edit(elsewhere / "runs/quantize/first", lambda record: record.pop("models"))  # as earlier versions wrote it
    (elsewhere / "runs/teacher/first/energy.json").unlink()
    about = f"submit.about={folder / 'about.yaml'}"
    result = submit(elsewhere, "name=first", about, f"submit.evaluation={folder / 'evaluation'}")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "energy_consumption.inference must be a number above 0, not None" in result.stderr
    assert "measure it with stage=energy name=first force=true" in result.stderr
    assert "teacher/first: training not metered" in result.stderr
    assert "teacher/first: writing of logits not metered" in result.stderr


def test_defects_of_what_authors_say_are_all_listed(tmp_path: Path) -> None:
    """Oracle: the messages."""
    path = tmp_path / "about.yaml"
    path.write_text("titel: x\nauthors: [{lastname: Doe}]\nsystems: [a]\nabstract: 5\nsource_code: []\n")
    with pytest.raises(UserError) as told:
        read_about(path, 1)
    for word in (
        "'titel' means nothing",
        "title must be",
        "authors must be",
        "systems: of number 1, name must be",
        "abstract must",
        "source_code",
    ):
        assert word in str(told.value)
    path.write_text(EXAMPLE.replace("lastname: Doe", "lastname: Müller"))
    about = read_about(path, 1)
    with pytest.raises(UserError, match=r"submit\.surname"):
        about.team(None, None)
    assert about.team("Mueller", None) == "Mueller_UNIX"
    assert label_of(*about.team("Mueller", None).split("_"), 2) == "Mueller_UNIX_task1_2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: a["systems"][0].update(label="zzz"),
            "'label' means nothing; the keys are abbreviation, name",
        ),
        (lambda a: a["systems"][0].update(abbreviation="x" * 11), "abbreviation must be a text of at most 10"),
        (lambda a: a["systems"][0].update(name="x " * 1200), "name must be a text of at most 200"),
        (lambda a: a["systems"][0].update(name="\x1b[2J"), "name must be a text of at most 200 printable"),
        (lambda a: a["authors"][0].update(orcid="1"), "authors: 'orcid' means nothing"),
        (lambda a: a["authors"][0]["affiliation"].update(logo="1"), "affiliation: 'logo' means nothing"),
        (lambda a: a["authors"][0]["affiliation"].update(department={"a": 1}), "department and location are texts"),
        (lambda a: a.update(title="\ud800"), "title must be a text"),
        (
            lambda a: a.update(external_datasets=[{"name": "a", "url": "b", "total_audio_length": 1, "x": 2}]),
            "external_datasets: 'x' means nothing",
        ),
    ],
)
def test_what_authors_cannot_say_is_refused(tmp_path: Path, change: Callable[[dict], object], message: str) -> None:
    """Oracle: the example, with one thing changed."""
    about = yaml.safe_load(EXAMPLE)
    change(about)
    (tmp_path / "about.yaml").write_text(yaml.safe_dump(about))
    with pytest.raises(UserError, match=f"has 1 defect:\n(.|\n)*{re.escape(message)}"):
        read_about(tmp_path / "about.yaml", 1)


@pytest.mark.parametrize("name", [b"a\rb.wav", b"a\tb.wav", b"a\xffb.wav"])
def test_names_that_no_table_can_hold_are_refused(tmp_path: Path, name: bytes) -> None:
    """Oracle: the message can be printed."""
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    with pytest.raises(UserError, match="file names that no table can hold") as told:
        evaluation_files(tmp_path)
    assert str(told.value).replace("\n", " ").isprintable()


def test_evaluation_sets_are_read_as_they_come(tmp_path: Path) -> None:
    """Oracle: both layouts by hand: a plain folder in the order of its numbers, the official one in its list's."""
    (tmp_path / "audio").mkdir()
    for name in ("10.wav", "2.wav", "1.wav"):
        soundfile.write(tmp_path / "audio" / name, np.zeros(32), 32000)
    assert [path.name for path in evaluation_files(tmp_path / "audio")] == ["1.wav", "2.wav", "10.wav"]
    assert [path.name for path in evaluation_files(tmp_path)] == ["1.wav", "2.wav", "10.wav"]
    (tmp_path / "evaluation_setup").mkdir()
    (tmp_path / "evaluation_setup/fold1_test.csv").write_text("filename\r\naudio/2.wav\r\naudio/1.wav\r\n")
    assert [path.name for path in evaluation_files(tmp_path)] == ["2.wav", "1.wav"]
    (tmp_path / "evaluation_setup/fold1_test.csv").write_text("filename\naudio/2.wav\naudio/7.wav\n")
    with pytest.raises(UserError, match=r"7\.wav"):
        evaluation_files(tmp_path)
    with pytest.raises(UserError, match="no sound files"):
        evaluation_files(tmp_path / "evaluation_setup")


def test_small_probabilities_are_kept(tmp_path: Path) -> None:
    """Oracle: pandas; a probability of 1e-9 read as 0 would cost a log loss of 34 instead of 21."""
    p = np.full((1, 10), 1e-9)
    p[0, 3] = 1 - 9e-9
    read = pd.read_csv(BytesIO(predictions_text(["a.wav"], p, SCENES).encode()), sep="\t")
    np.testing.assert_allclose(read[list(SCENES)].to_numpy(), p, rtol=1e-5)
    assert list(read["scene_label"]) == ["metro_station"]


def test_equal_files_make_equal_packages(tmp_path: Path) -> None:
    """Oracle: the bytes, whatever the order and the time."""
    write_package(tmp_path / "a.zip", {"a": b"1", "b": b"2"})
    write_package(tmp_path / "b.zip", {"b": b"2", "a": b"1"})
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
