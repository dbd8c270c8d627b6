"""Clips that may have several classes: their metrics, their losses, a training on them, and what is kept of it."""

import json
import math
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from command import QUICK, run
from multi_label import write_audioset
from sklearn.metrics import average_precision_score
from torch import nn
from torch.distributions import Bernoulli, kl_divergence
from torch.nn import functional as F

from data.augment import Mixing
from data.augmentation import Augmentation
from data.batches import Batch
from data.errors import UserError
from data.files import file_sha256
from data.front_ends.log_mel import LogMel
from data.logits import LogitsWriter, read_logits
from data.logits_file import MULTI_LABEL, open_logits
from data.resources import DATA
from data.scenes import SCENES, ClipSet
from data.waves import WaveStore
from experiments.datasets.datamodule import DataModule
from experiments.distributed.fabric import make_fabric
from experiments.evaluation.evaluate import evaluate_and_save, in_words, split_metrics
from experiments.evaluation.metrics import probabilities_of
from experiments.evaluation.multi_label import (
    average_precision,
    binary_cross_entropy,
    evaluate_multi_label,
    mean_average_precision,
)
from experiments.models.classifiers import load_floats
from experiments.report.sections import write_report
from experiments.run import resolve
from experiments.runs.reader import read_record, read_run
from experiments.runs.record import Run
from experiments.settings.parts import Distillation, Hardware, Recipe
from experiments.stages.labels import require_labels
from experiments.stages.same_data import as_trained_on
from experiments.submission.about import EXAMPLE
from experiments.submission.declared import declared
from experiments.submission.lineage import read_lineage
from experiments.training import checkpoint
from experiments.training.distillation import by_targets, student_loss
from experiments.training.losses import label_loss
from experiments.training.trainer import Trainer
from students import build_student
from students.distill import multi_label_terms

GROUPS = ("by foot, or not", "loud/quiet", "transport")
FRONT_END = {"mels": 64, "hop": 1000}


@pytest.fixture
def several(miniature: ClipSet) -> ClipSet:
    """The miniature with three classes that a clip may have: of scenes in their order all but the first, every second,
    and every third; some clips have none."""
    classes = {
        scene: tuple(name for step, name in enumerate(GROUPS, 1) if number and number % step == 0)
        for number, scene in enumerate(SCENES)
    }
    clips = [clip._replace(scene="", classes=classes[clip.scene]) for clip in miniature.clips]
    return replace(miniature, clips=clips, scenes=GROUPS, is_multi_label=True)


@pytest.fixture
def data(several: ClipSet, miniature_waves: WaveStore) -> DataModule:
    return DataModule(several, miniature_waves, None)


def test_average_precision_is_that_of_scikit_learn() -> None:
    """Oracle: scikit-learn's average_precision_score, which public code of AudioSet's mAP calls; scores with ties, and
    a class that no clip has, which is left out."""
    random = np.random.default_rng(0)
    scores, labels = random.uniform(size=(60, 6)).round(1), random.uniform(size=(60, 6)) < 0.3
    labels[:, 2] = False
    expected = [average_precision_score(labels[:, n], scores[:, n]) for n in range(6) if n != 2]
    assert mean_average_precision(scores, labels) == pytest.approx(np.mean(expected), abs=1e-12)
    found = evaluate_multi_label(scores, labels, "abcdef", detailed=True)
    assert [found[f"average_precision/scene/{name}"] for name in "abdef"] == pytest.approx(expected, abs=1e-12)
    assert set(evaluate_multi_label(scores, labels, "abcdef")) == {"mean_average_precision", "binary_cross_entropy"}


def test_average_precision_by_hand() -> None:
    """Oracle: the clips of the class are first and third: (1/1 + 2/3) / 2; all scores equal: 2 of 4."""
    labels = np.array([True, False, True, False])
    assert average_precision(np.array([0.9, 0.8, 0.7, 0.1]), labels) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.full(4, 0.5), labels) == pytest.approx(0.5)
    with pytest.raises(UserError, match="none of these 3 clips has a class"):
        mean_average_precision(np.ones((3, 2)), np.zeros((3, 2), bool))


def test_binary_cross_entropy_is_that_of_pytorch_and_finite() -> None:
    """Oracle: torch's loss of the logits, in float64; sure and wrong answers, by the precision of a float64."""
    random = np.random.default_rng(0)
    logits, labels = 5 * random.normal(size=(20, 5)), random.uniform(size=(20, 5)) < 0.5
    found = binary_cross_entropy(probabilities_of(logits, is_multi_label=True), labels)
    expected = F.binary_cross_entropy_with_logits(torch.from_numpy(logits), torch.from_numpy(labels).double())
    assert found == pytest.approx(expected.item(), abs=1e-9)
    wrong = probabilities_of(np.array([[99.0, -999.0]]), is_multi_label=True)
    assert binary_cross_entropy(wrong, np.array([[False, True]])) == pytest.approx(52 * math.log(2))


def test_the_loss_of_several_classes_by_hand_and_by_its_laws(generator: torch.Generator) -> None:
    """Oracle: one clip, one class: the student says 1/2, the teacher 3/4: KL = 0.75 ln 1.5 + 0.25 ln 0.5, BCE = ln 2;
    equal logits cost nothing; the gradient of the soft part is that of the public recipe, BCE with the teacher's
    probabilities; labels alone are BCE."""
    student, teacher = torch.zeros(1, 1), torch.tensor([[math.log(3.0)]])
    loss, hard, soft = multi_label_terms(student, teacher, torch.tensor([[True]]), 0.3)
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert [loss.item(), hard.item(), soft.item()] == pytest.approx(
        [0.3 * math.log(2) + 0.7 * divergence, math.log(2), divergence], abs=1e-6
    )
    mine, theirs = torch.randn(2, 8, 10, generator=generator)
    labels = torch.rand(8, 10, generator=generator) < 0.3
    assert multi_label_terms(theirs, theirs, labels, 0.0).loss.item() == pytest.approx(0, abs=1e-6)
    public, ours = mine.clone().requires_grad_(), mine.clone().requires_grad_()
    F.binary_cross_entropy_with_logits(public, theirs.sigmoid()).backward()
    multi_label_terms(ours, theirs, labels, 0.0).loss.backward()
    torch.testing.assert_close(ours.grad, public.grad)
    assert torch.equal(
        multi_label_terms(mine, None, labels, 0.3).loss, F.binary_cross_entropy_with_logits(mine, labels.float())
    )


def test_mixup_mixes_the_rows_of_labels(generator: torch.Generator) -> None:
    """Oracle: equation 1 of the paper, by hand; a student's and a teacher's loss are then BCE with these shares."""
    labels = torch.tensor([[True, False, True], [False, False, False]])
    rows = torch.arange(2)
    batch = Batch(rows, torch.zeros(2, 1), labels, labels[:, 0], None)
    mixed = batch.mixed(Mixing(partners=torch.tensor([1, 0]), weights=torch.tensor([0.7, 0.9])), 3)
    torch.testing.assert_close(mixed.labels, torch.tensor([[0.7, 0.0, 0.7], [0.1, 0.0, 0.1]]))
    logits = torch.randn(2, 3, generator=generator)
    expected = F.binary_cross_entropy_with_logits(logits, mixed.labels)
    assert torch.equal(label_loss(is_multi_label=True)(logits, mixed), expected)
    assert torch.equal(student_loss(Distillation(), is_multi_label=True)(logits, mixed).loss, expected)


def test_a_training_is_validated_by_map_and_keeps_the_epoch_with_the_lowest_cross_entropy(
    data: DataModule, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: scikit-learn's mAP and torch's BCE of the network that is returned, on the clips held out, are those of
    the row with the lowest BCE; the console says mAP."""
    caplog.set_level("INFO")
    network = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(64, 3))
    front_end = LogMel(mels=16, fft=1024, window=1024, hop=4000)
    recipe = Recipe(
        epochs=4, batch_size=8, learning_rate=0.3, weight_decay=0.0, constant_until=4, down_over=0, floor=1.0
    )
    cpu, mixup = Hardware(accelerator="cpu", compile=False), Augmentation(mixup_p=0.5, mixup_alpha=0.3)
    trainer = Trainer(recipe=recipe, augmentation=mixup, hardware=cpu, residency="disk", seed=0)
    this = Run(tmp_path / "student/run", settings={}, inputs={})
    network = trainer.train(this, data, network, front_end, loss=label_loss(is_multi_label=True))
    rows = [json.loads(line) for line in (this.folder / "history.jsonl").read_text().splitlines()]
    names = ["validation/mean_average_precision", "validation/binary_cross_entropy"]
    best = min(rows, key=lambda row: row[names[1]])
    held_out = data.clips.indices("validation")
    with torch.no_grad():
        logits = network(front_end(data.store.read(held_out)))
    labels = data.clips.label_matrix[held_out]
    found = (
        average_precision_score(labels, logits.numpy()),
        F.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels).float()),
    )
    assert best is not rows[-1]
    assert [best[name] for name in names] == pytest.approx([float(each) for each in found], abs=1e-5)
    assert f"validation mAP {rows[0][names[0]]:.3f}  binary cross-entropy {rows[0][names[1]]:.3f}" in caplog.text


def test_without_labels_the_divergence_from_the_teacher_is_that_of_bernoulli_variables(data: DataModule) -> None:
    """Oracle: torch.distributions, the mean over clips and classes; the student's own logits as targets: nothing."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(64, 3)).eval()
    front_end, held_out = LogMel(mels=16, fft=1024, window=1024, hop=4000), data.clips.indices("validation")
    with torch.no_grad():
        own = network(front_end(data.store.read(held_out)))
    fabric, validate = make_fabric(Hardware(accelerator="cpu", compile=False)), by_targets(2.0, is_multi_label=True)
    sounds = replace(data, clips=replace(data.clips, is_labelled=False))
    for shift in (0.0, 1.5):
        targets = np.zeros((len(data.clips.clips), 3), np.float32)
        targets[held_out] = own + shift
        batches = sounds.batches("validation", batch_size=32, device=fabric.device, targets=targets)
        found = validate(network, front_end, batches, fabric)["validation/divergence"]
        expected = kl_divergence(Bernoulli(logits=own + shift), Bernoulli(logits=own)).mean()
        assert found == pytest.approx(expected.item(), abs=1e-5)


def test_predictions_are_the_probabilities_of_each_class(several: ClipSet, tmp_path: Path) -> None:
    """Oracle: pandas reads what was answered, without a most probable class; there is no matrix of confusions, and the
    page says mAP."""
    rows = several.indices("test")
    logits = np.random.default_rng(0).normal(size=(len(rows), 3))
    folder = tmp_path / "runs/teacher/tags"
    this = Run(folder, settings={"seed": 0}, inputs={})
    this.start()
    probabilities = probabilities_of(logits, is_multi_label=True)
    scores = evaluate_and_save(several, probabilities, folder)
    this.finish(scores)
    frame = pd.read_csv(folder / "predictions.csv", sep="\t")
    assert list(frame.columns) == ["filename", *GROUPS]
    np.testing.assert_allclose(frame[[*GROUPS]], 1 / (1 + np.exp(-logits)), atol=1e-7)
    assert not list(folder.glob("confusion*")) + list(folder.glob("mistakes*"))
    labels = several.label_matrix[rows]
    expected = average_precision_score(labels, probabilities)
    assert scores["test/mean_average_precision"] == pytest.approx(expected)
    assert scores["test/average_precision/scene/loud/quiet"] == pytest.approx(
        average_precision_score(labels[:, 1], probabilities[:, 1])
    )
    low, high = (scores[f"test/mean_average_precision/{edge}"] for edge in ("low", "high"))
    assert low < expected < high
    assert in_words(scores).startswith(f"test mAP {expected:.3f}, binary cross-entropy ")
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert f"the mean average precision (mAP) over classes is {expected:.3f}" in page
    assert f"95 %: {low:.3f} to {high:.3f}" in page
    assert "loud/quiet" in page
    assert read_run(folder).scores == scores
    with pytest.raises(UserError, match=r"to 1 of .* test clips are no numbers"):
        split_metrics(several, "test", np.where(np.arange(len(rows))[:, None] == 2, np.nan, probabilities))


def test_logits_say_of_which_kind_they_are_and_are_refused_with_the_other(tmp_path: Path) -> None:
    """Oracle: the message, either way; earlier files, which say nothing, are of one class; another value is damage."""
    for name, more in {"one": {}, "several": {MULTI_LABEL: 1}, "odd": {MULTI_LABEL: 2}}.items():
        writer = LogitsWriter(tmp_path / f"{name}.h5", ["a"], ["x", "y"], more)
        writer.fill([0], np.array([[1.0, 2.0]], np.float32))
        writer.seal()
    assert not open_logits(tmp_path / "one.h5").is_multi_label
    read_logits(tmp_path / "several.h5", ["a"], ["x", "y"], is_multi_label=True)
    one, many = "one class each", "several classes each"
    for name, theirs, ours in (("one", one, many), ("several", many, one)):
        with pytest.raises(UserError, match=f"{name}.h5 has logits of clips with {theirs}, .*have {ours}: write"):
            read_logits(tmp_path / f"{name}.h5", ["a"], ["x", "y"], is_multi_label=ours is many)
    with pytest.raises(UserError, match="its attribute multi_label is 2"):
        open_logits(tmp_path / "odd.h5")


def test_a_checkpoint_says_of_which_kind_it_is(data: DataModule, miniature: ClipSet, tmp_path: Path) -> None:
    """Oracle: the messages: a student of several classes is no classifier, and neither kind is applied to clips of the
    other; one of one class a clip has the bytes that it had before there were others."""
    path, arguments = tmp_path / "c.safetensors", {"classes": 3, "size": "6k"}
    network = build_student("cp_mobile", **arguments)
    one = checkpoint.Blueprint("cp_mobile", arguments, FRONT_END, GROUPS, 32_000, "clips", clip_seconds=1.0)
    assert "is_multi_label" not in one.described()
    checkpoint.save(path, network, replace(one, is_multi_label=True))
    _, found = checkpoint.load_student(path)
    assert found.is_multi_label
    with pytest.raises(UserError, match=r"several classes each, and a classifier gives one: .*student.weights="):
        load_floats(path)
    assert as_trained_on(path, found, data) is data
    single = DataModule(replace(miniature, scenes=GROUPS), data.store, None)
    with pytest.raises(UserError, match="clips with several classes each, and those of the data set have one"):
        as_trained_on(path, found, single)
    with pytest.raises(UserError, match="clips with one class each, and those of the data set have several"):
        as_trained_on(path, one, data)


def test_what_needs_one_class_a_clip_is_refused_before_the_first_stage(tmp_path: Path) -> None:
    """Oracle: the message, a line for each stage and setting of a command; what is left when they are left out begins,
    and so does all of it where a clip has one class."""
    data, steps = ["data=folder", f"data.root={tmp_path}"], "data,teacher,student"
    every = f"stage.steps=[{steps},ensemble,import,quantize,specialize,score,energy]"
    strange = ["teacher.folds=3", "student.distill.temperature=auto", "student.distill.label_smoothing=0.1"]
    with pytest.raises(UserError) as caught:
        require_labels(resolve([every, *data, "data.label_separator=;", *strange]))
    lines = str(caught.value).splitlines()
    assert all(
        line.startswith("data=folder has several classes a clip, and one a clip is needed by ") for line in lines
    )
    needed = [line.split(" is needed by ")[1].split(": ")[0] for line in lines]
    assert needed[:3] == strange
    stages = ("ensemble", "import", "quantize", "specialize", "score", "energy")
    assert needed[3:] == [f"the {step} stage" for step in stages]
    require_labels(resolve([f"stage.steps=[{steps}]", *data, "data.label_separator=;"]))
    require_labels(resolve([every, *data, *strange]))


@pytest.mark.slow  # three trainings
def test_a_teacher_of_several_classes_teaches_a_student_and_is_gone_on_from(
    several: ClipSet, miniature: ClipSet, tmp_path: Path
) -> None:
    """Oracle: what each command says and writes: mAP, logits of several classes, a student's loss of them, then a
    teacher of scenes that began with all tensors but the classifier's, and whose record names the checkpoint."""
    rows = [f"{clip.filename}\t{';'.join(clip.classes)}\t{clip.location}\t{clip.split}" for clip in several.clips]
    kept = [row for row, clip in zip(rows, several.clips, strict=True) if clip.classes]
    (tmp_path / "tags.tsv").write_text("\n".join(["filename\tlabel\tlocation\tsplit", *kept]))
    tags = ["data=folder", f"data.root={miniature.root}", "data.csv=tags.tsv", "data.label_separator=;"]
    taught = run(tmp_path, "stage.steps=[teacher,student]", *tags, "name=tags", *QUICK)
    assert taught.returncode == 0, taught.stderr
    assert "teacher: test mAP 0." in taught.stdout
    assert "student: test mAP 0." in taught.stdout
    assert open_logits(tmp_path / "runs/teacher/tags/logits.h5").is_multi_label
    history = read_run(tmp_path / "runs/student/tags").history
    assert {"hard_loss", "soft_loss", "validation/mean_average_precision"} <= history[0].keys()
    start = tmp_path / "runs/teacher/tags/checkpoint.safetensors"
    scenes = ["teacher", f"data.root={miniature.root}", "name=scenes", *QUICK]
    after = run(tmp_path, *scenes, "teacher.start=runs/teacher/tags")
    assert after.returncode == 0, after.stderr
    assert "of 3 classes: 66 tensors are taken over, new are 10, 11, for 10 classes" in after.stdout
    record = read_record(tmp_path / "runs/teacher/scenes")
    assert record.inputs["weights"] == file_sha256(start)
    refused = run(tmp_path, *scenes, "teacher.start=runs/teacher/tags", "teacher.weights=tags.tsv")
    assert "are two beginnings of one teacher: give one of them" in refused.stderr
    wrong = run(tmp_path, "student", f"data.root={miniature.root}", *QUICK, "logits=runs/teacher/tags/logits.h5")
    assert "has logits of clips with several classes each, those of the data set have one class each" in wrong.stderr
    sounds = ["data=unlabelled", f"data.root={miniature.root / 'audio'}", "student.distill.temperature=4"]
    soft = run(tmp_path, "student", *sounds, *QUICK, "name=soft", "logits=runs/teacher/tags/logits.h5")
    assert "logits.h5 has several classes a clip, and one a clip is needed by student.distill.temp" in soft.stderr


@pytest.mark.slow  # three trainings of real clips
def test_a_package_declares_the_sounds_that_its_teacher_began_with(shared_data: Path, tmp_path: Path) -> None:
    """Oracle: the task's rule, "The list of external data sources used in training must be clearly indicated": the
    teacher of a student of real clips of TAU22 began with one of a small set in AudioSet's layout: the package names
    AudioSet, and the run that used it; what both teachers cost is counted."""
    write_audioset(tmp_path / "sounds")
    quick = [*QUICK, "epochs=1", "refit=false"]
    cut = ["data=audioset", "data.root=sounds", "data.clip_seconds=1", "data.cut=true"]
    sounds = run(tmp_path, "teacher", "name=sounds", *cut, *quick)
    assert sounds.returncode == 0, sounds.stderr
    scenes = ["data=tau22", f"data.root={shared_data / 'tau22-mini'}", "name=scenes", "energy.seconds=0.1"]
    steps = "stage.steps=[teacher,student,quantize,energy]"
    done = run(tmp_path, steps, *scenes, "teacher.start=runs/teacher/sounds", *quick)
    assert done.returncode == 0, done.stderr
    (tmp_path / "about.yaml").write_text(EXAMPLE)
    (tmp_path / "evaluation").mkdir()
    for number, path in enumerate(sorted((shared_data / "tau22-mini/audio").iterdir())[:3]):
        shutil.copy(path, tmp_path / f"evaluation/{number}.wav")
    where = ["submit.evaluation=evaluation", "submit.about=about.yaml", "submit.partial=true"]
    packed = run(tmp_path, "submit", "name=scenes", *where, "tracking=none")
    assert packed.returncode == 0, packed.stderr
    with zipfile.ZipFile(tmp_path / "runs/submit/scenes/submission.zip") as package:
        (meta,) = (yaml.safe_load(package.read(name)) for name in package.namelist() if name.endswith(".meta.yaml"))
    assert [each["name"] for each in meta["system"]["external_datasets"]] == ["AudioSet"]
    lineage = read_lineage(tmp_path / "runs/quantize/scenes")
    assert [run.name for run in lineage.teachers] == ["scenes", "sounds"]
    (found,) = declared([lineage], [])
    assert (found.runs, found.whats) == (("teacher/sounds",), (DATA,))
    both = [str(tmp_path / f"runs/teacher/{name}") for name in ("scenes", "sounds")]
    assert [str(Path(name).resolve()) for name in lineage.energy["training/teacher"]["runs"]] == both
