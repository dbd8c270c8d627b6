"""What a system's trainings used that others made is what its submission declares: by content, through all its runs.

The lines of the task's page ("External data resources") that the tests name: "The used external resource is clearly
referenced and freely accessible to any other research group in the world. External data refers to public datasets or
pretrained models." "The list of external data sources used in training must be clearly indicated in the technical
report."
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import soundfile
import torch
from torch import nn

from data.errors import UserError
from data.front_ends import build_front_end, front_ends
from data.impulse import uses_of_impulses
from data.resources import AUDIOSET, DATA, MICIRP, RESPONSES, WEIGHTS, Resource, Use, as_rows
from experiments.inference.classifier import load_classifier
from experiments.run import resolve
from experiments.runs.reader import find_record, read_record
from experiments.runs.record import Run
from experiments.stages.external import uses_of_weights
from experiments.submission.about import EXAMPLE, About, read_about
from experiments.submission.declared import declared, unnamed
from experiments.submission.describe import System, description, external_datasets
from experiments.submission.entries import off_task, read_entries
from experiments.submission.layout import label_of
from experiments.submission.lineage import Lineage, read_lineage
from experiments.submission.report_tables import tables_of, training
from teachers import build_teacher, find_teacher
from teachers.weights import loaded_digest

FINGERPRINT = "f" * 64
OWN = Use(RESPONSES, "own: 1 file, mine.wav", FINGERPRINT, is_known=False)
NAMED = {
    "name": "Responses of our microphones",
    "url": "https://example.org/ours",
    "total_audio_length": None,
    "type": "IR",
    "licence": "CC0",
    "of": FINGERPRINT,
}


def known_as(builder: str, weights: Path) -> list[str]:
    """What the weights of a file are known to be."""
    digest = loaded_digest(build_teacher(builder, weights=weights))
    found = find_teacher(builder).pretraining({}, pretrained=True, weights=weights, digest=digest)
    assert found.is_complete == bool(found.resources)
    return [each.name for each in found.resources]


@pytest.mark.parametrize(
    ("builder", "file", "names"),
    [
        ("efficientat", "mn04_as", ["EfficientAT mn04_as_mAP_432", "AudioSet", "ImageNet"]),
        ("yamnet", "yamnet", ["YAMNet", "AudioSet"]),
    ],
)
def test_weights_are_known_by_their_tensors_and_not_by_a_name(
    shared_data: Path, tmp_path: Path, builder: str, file: str, names: list[str]
) -> None:
    """Oracle: "clearly referenced": the real published weights are known, also as a file of another kind and name, with
    another last layer; with one number changed they are nobody's, under whatever name."""
    tensors = safetensors.torch.load_file(shared_data / f"weights/{file}.safetensors")
    body = next(name for name in tensors if name.endswith("weight") and tensors[name].ndim == 4)
    head = [name for name in tensors if name.startswith(("head", "classifier.5"))]
    torch.save({**tensors, **{name: tensors[name] + 1 for name in head}}, tmp_path / "mine.pt")
    torch.save({**tensors, body: tensors[body] * 1.001}, tmp_path / f"{file}.pt")
    assert known_as(builder, shared_data / f"weights/{file}.safetensors") == names
    assert known_as(builder, tmp_path / "mine.pt") == names
    assert known_as(builder, tmp_path / f"{file}.pt") == []


def test_what_is_fetched_is_known_by_the_name_that_it_resolves_to() -> None:
    """Oracle: timm's own list of tags, read at training: the default's weights are of ImageNet alone; a name without a
    tag means a noisy student, whose data nobody can have; a tag that does not name all data leaves the rest to the
    user, as those of networks that learnt from DALL-E or CLIP do; random weights are nobody's."""
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    teacher = resolve(["stage=teacher", "teacher=timm"]).teacher
    (use,) = uses_of_weights(teacher, teacher.arguments, network, {})
    assert (use.name, [each.name for each in use.resources[1:]]) == ("timm tf_efficientnet_b0.in1k", ["ImageNet"])
    assert (use.is_known, use.fingerprint) == (True, loaded_digest(network))
    for model, names, is_known in (
        ("tf_efficientnet_b0", ["JFT-300M", "ImageNet"], True),
        ("vit_base_patch16_clip_224.laion2b_ft_in1k", ["ImageNet"], False),
        ("beit_base_patch16_224.in22k_ft_in22k_in1k", ["ImageNet-21k", "ImageNet"], False),
        ("eva02_base_patch14_448.mim_in22k_ft_in1k", ["ImageNet-21k", "ImageNet"], False),
    ):
        (use,) = uses_of_weights(teacher, {"model_name": model}, network, {})
        assert ([each.name for each in use.resources[1:]], use.is_known) == (names, is_known)
    assert uses_of_weights(replace(teacher, pretrained=False), {}, network, {}) == []


def test_micirp_is_known_by_its_samples(shared_data: Path, tmp_path: Path) -> None:
    """Oracle: the collection's 66 files: all of them, or some, in a folder of any name, with other dates, as FLAC, are
    MicIRP; a file of one's own beside them is not, and its fingerprint depends on nothing but its samples."""
    published = sorted((shared_data / "micirp").iterdir())
    (whole,) = uses_of_impulses(shared_data / "micirp")
    assert (len(published), whole.resources, whole.is_known) == (66, (MICIRP,), True)
    mine = tmp_path / "mine"
    mine.mkdir()
    for number, path in enumerate(published[:3]):
        sound, rate = soundfile.read(path, dtype="int32")
        soundfile.write(mine / f"{9 - number}.flac", sound, rate, subtype="PCM_24")
        os.utime(mine / f"{9 - number}.flac", (number, number))
    (some,) = uses_of_impulses(mine)
    assert (some.resources, some.is_known) == ((MICIRP,), True)
    found = []
    for name in ("0.wav", "z.wav"):
        soundfile.write(mine / name, sound // 2, rate, subtype="PCM_24")
        micirp, own = uses_of_impulses(mine)
        assert (micirp, own.resources, own.is_known) == (some, (), False)
        assert own.name == f"mine: 1 file, {name}"
        found.append(own.fingerprint)
        (mine / name).unlink()
    assert found[0] == found[1] != some.fingerprint


def test_a_record_keeps_what_was_used(tmp_path: Path) -> None:
    """Oracle: what was given is what is read, also behind a second finish of the same result; records of 0.1.0 do not
    say it, which is another thing than nothing; damaged ones are messages."""
    uses = [Use(WEIGHTS, "w.pt", FINGERPRINT, (AUDIOSET, Resource("X", "https://x.org", 1.5)), is_known=False)]
    run = Run(tmp_path / "teacher/t", settings={}, inputs={})
    run.external = uses
    run.start()
    run.finish({})
    again = Run(tmp_path / "teacher/t", settings={}, inputs={})
    assert again.is_done()
    again.finish({"test/accuracy": 1.0})
    run.reopened().finish({})
    path = tmp_path / "teacher/t/run.json"
    assert read_record(path.parent).external == uses
    content = json.loads(path.read_text())
    (use,) = content["external"]
    for damaged, words in (
        (5, "a list of uses"),
        ([5], "resources is missing in 5"),
        ([{}], "resources is missing"),
        ([{**use, "what": 1}], "what"),
        ([{**use, "resources": [{}]}], "name"),
        ([{**use, "more": 1}], "more"),
    ):
        path.write_text(json.dumps({**content, "external": damaged}))
        with pytest.raises(UserError, match=f"is damaged.*{words}"):
            read_record(path.parent)
    del content["external"]
    path.write_text(json.dumps(content))
    record = find_record(path.parent)
    assert record is not None
    assert record.external is None


@pytest.fixture
def runs(trained_once: Path, tmp_path: Path) -> Path:
    """Runs of a teacher, its student and the student's integers, for a test to change."""
    return shutil.copytree(trained_once / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns("wandb"))


def edit(run: Path, **changes: object) -> None:
    """Change what a run's record says; inputs and settings are added to those that are there."""
    record = json.loads((run / "run.json").read_text())
    for key in ("inputs", "settings"):
        record[key] |= changes.pop(key, {})  # type: ignore[call-overload]
    (run / "run.json").write_text(json.dumps({**record, **changes}))


def twin(run: Path, name: str) -> tuple[Path, str]:
    """A copy of a run under another name, with another checkpoint; returns that one's fingerprint, too."""
    copy = shutil.copytree(run, run.with_name(name))
    (copy / "checkpoint.safetensors").write_bytes(name.encode())
    return copy, hashlib.sha256(name.encode()).hexdigest()


def itself(runs: Path) -> Path:
    return runs / "teacher/first"


def through_an_ensemble(runs: Path) -> Path:
    member = hashlib.sha256((runs / "teacher/first/logits.h5").read_bytes()).hexdigest()
    (runs / "ensemble/two").mkdir(parents=True)
    (runs / "ensemble/two/logits.h5").write_bytes(b"logits")
    (runs / "ensemble/two/run.json").write_text(json.dumps({"settings": {}, "inputs": {"one": member}}))
    edit(runs / "student/first", inputs={"logits": hashlib.sha256(b"logits").hexdigest()})
    return runs / "teacher/first"


def a_fold(runs: Path) -> Path:
    fold, _ = twin(runs / "teacher/first", "first.fold0")
    edit(runs / "teacher/first", settings={"teacher.folds": 2}, sources=[str(fold / "logits.h5")])
    return fold


def a_first_phase(runs: Path) -> Path:
    first, digest = twin(runs / "teacher/first", "first.held_out")
    edit(runs / "teacher/first", inputs={"first_phase": digest})
    return first


def what_the_teacher_began_with(runs: Path) -> Path:
    earlier, digest = twin(runs / "teacher/first", "earlier")
    began = Use(WEIGHTS, "checkpoint.safetensors", digest, is_known=False)
    edit(runs / "teacher/first", inputs={"weights": digest}, external=as_rows([began]))
    return earlier


def what_the_teacher_goes_on_from(runs: Path) -> Path:
    earlier, digest = twin(runs / "teacher/first", "earlier")
    start = str(earlier / "checkpoint.safetensors")
    edit(runs / "teacher/first", inputs={"weights": digest}, settings={"teacher.start": str(earlier)}, sources=[start])
    return earlier


def what_the_student_began_with(runs: Path) -> Path:
    earlier, digest = twin(runs / "student/first", "earlier")
    edit(runs / "student/first", inputs={"weights": digest})
    return earlier


def the_student(runs: Path) -> Path:
    return runs / "student/first"


def the_integers(runs: Path) -> Path:
    return runs / "quantize/first"


@pytest.mark.parametrize(
    "user",
    [
        itself,
        through_an_ensemble,
        a_fold,
        a_first_phase,
        what_the_teacher_began_with,
        what_the_teacher_goes_on_from,
        what_the_student_began_with,
        the_student,
        the_integers,
    ],
)
def test_what_any_run_of_the_line_used_must_be_named(runs: Path, user: Callable[[Path], Path]) -> None:
    """Oracle: "The list of external data sources used in training": histories made by hand, in each of which another
    run used something that nobody can name: it and its fingerprint are said, and nothing else; once it is named, it is
    declared as this run's."""
    used_by = user(runs)
    edit(used_by, external=as_rows([OWN]))
    lineage = read_lineage(runs / "quantize/first")
    (asked,) = unnamed([lineage], [])
    assert asked.startswith(f"{used_by} used impulse responses that are not known here: {OWN.name}")
    assert f'of: "{FINGERPRINT}"' in asked
    assert unnamed([lineage], [NAMED]) == []
    (found,) = declared([lineage], [NAMED])
    assert (found.resource.name, found.resource.type) == ("Responses of our microphones", "IR")
    assert found.runs == (f"{used_by.parent.name}/{used_by.name}",)


def lineage_of(runs: Path) -> Lineage:
    return read_lineage(runs / "quantize/first")


def test_records_of_before_are_asked_about(runs: Path) -> None:
    """Oracle: records of 0.1.0, made by hand: what their settings say was used is asked about, by the fingerprint that
    the record has, or else by the run: a builder's name is no reference; where nothing was used nothing is asked."""
    for path in runs.glob("*/first/run.json"):
        content = json.loads(path.read_text())
        content.pop("external", None)
        path.write_text(json.dumps(content))
    assert unnamed([lineage_of(runs)], []) == []
    teacher = runs / "teacher/first"
    settings = json.loads((teacher / "run.json").read_text())["settings"]["teacher"]
    for changes, inputs, of in (
        ({"pretrained": True, "builder": "yamnet"}, {}, "teacher/first"),
        ({"pretrained": True, "weights": "w.pt", "builder": "yamnet"}, {"weights": FINGERPRINT}, FINGERPRINT),
    ):
        edit(teacher, settings={"teacher": {**settings, **changes}}, inputs=inputs)
        (asked,) = unnamed([lineage_of(runs)], [])
        assert "run its stage again with force=true, or say under external_datasets" in asked
        assert f'of: "{of}"' in asked
        assert declared([lineage_of(runs)], []) == []
        assert unnamed([lineage_of(runs)], [{**NAMED, "of": of}]) == []
    edit(teacher, settings={"teacher": settings})
    config = runs / "student/first/config.yaml"
    config.write_text(config.read_text().replace("impulses: null", "impulses: /somewhere/mine"))
    (asked,) = unnamed([lineage_of(runs)], [])
    assert "student/first used impulse responses that are not known here" in asked


@pytest.mark.parametrize(
    ("begin", "stage"), [(what_the_student_began_with, "student"), (what_the_teacher_goes_on_from, "teacher")]
)
def test_other_data_of_a_first_phase_are_declared_or_asked_about(
    runs: Path, begin: Callable[[Path], Path], stage: str
) -> None:
    """Oracle: "public datasets": ESC-50, by its reader, is declared with its link and licence; a folder of sounds is
    anybody's, and its user must say what it is; computed sounds are nobody's."""
    earlier = begin(runs)
    assert unnamed([lineage_of(runs)], []) == []
    config = earlier / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("kind: synthetic", "kind: esc50"))
    (found,) = declared([lineage_of(runs)], [])
    assert (found.resource.name, found.resource.url) == ("ESC-50", "https://github.com/karolpiczak/ESC-50")
    assert (found.runs, found.whats) == ((f"{stage}/earlier",), (DATA,))
    config.write_text(text.replace("kind: synthetic", "kind: folder"))
    (asked,) = unnamed([lineage_of(runs)], [])
    waves = json.loads((earlier / "run.json").read_text())["inputs"]["waves"]
    assert f"{earlier} used data that are not the challenge's" in asked
    assert f'of: "{waves}"' in asked


def test_a_run_that_a_teacher_went_on_from_and_that_is_gone_is_asked_about(runs: Path) -> None:
    """Oracle: by hand: the fingerprint of its checkpoint, by which its user says what it was trained on; until then no
    sum of what the teachers cost is given."""
    earlier = what_the_teacher_goes_on_from(runs)
    digest = json.loads((runs / "teacher/first/run.json").read_text())["inputs"]["weights"]
    shutil.rmtree(earlier)
    (asked,) = unnamed([lineage_of(runs)], [])
    assert "teacher/first began with weights that are not known here: earlier" in asked
    assert f"If a run of yours wrote them, restore it in {runs / 'teacher'}; or else say" in asked
    assert f'of: "{digest}"' in asked
    spent = lineage_of(runs).energy["training/teacher"]
    assert spent["missing"] == [f"no run in {runs / 'teacher'} has the checkpoint.safetensors {digest[:12]}"]
    assert lineage_of(runs).kwh("training/all") is None
    named = read_lineage(runs / "quantize/first", foreign={digest})
    assert unnamed([named], [{**NAMED, "of": digest}]) == []
    assert named.kwh("training/all") is not None


def test_a_checkpoint_of_others_can_be_named(runs: Path) -> None:
    """Oracle: by hand: a student that began with a checkpoint of no run: its fingerprint is asked for; once it is
    named, its cost counts as that of published weights does, not at all."""
    edit(runs / "student/first", inputs={"weights": FINGERPRINT})
    (asked,) = unnamed([lineage_of(runs)], [])
    assert "student/first began with weights that are not known here" in asked
    assert lineage_of(runs).kwh("training/all") is None
    named = read_lineage(runs / "quantize/first", foreign={FINGERPRINT})
    assert unnamed([named], [NAMED]) == []
    system = System("Doe_UNIX_task1_1", named, {})
    assert dict(training([system]))["begins with"] == "weights of others"
    meta = description(named, load_classifier(named.model), About("", []), system.label, declared([named], [NAMED]))
    assert meta["system"]["description"]["external_data_usage"] == "pre-trained model"
    assert meta["system"]["description"]["pipeline"].startswith("pretraining, ")
    assert named.kwh("training/all") is not None


def about_of(tmp_path: Path, *entries: dict) -> About:
    """The example, with these external data sets."""
    text = EXAMPLE.replace("external_datasets: []", f"external_datasets: {json.dumps(entries)}")
    (tmp_path / "about.yaml").write_text(text)
    return read_about(tmp_path / "about.yaml", 1)


def test_submit_refuses_what_nobody_has_named(runs: Path, tmp_path: Path) -> None:
    """Oracle: the messages; the description and the report's table of a system whose resources are all named; a name
    for what no run used is a slip; what the rules forbid is refused whoever names it."""
    energy = runs / "energy/first"
    energy.mkdir(parents=True, exist_ok=True)
    (energy / "score.json").write_text("{}")
    model = hashlib.sha256((runs / "quantize/first/model.tflite").read_bytes()).hexdigest()
    (energy / "run.json").write_text(json.dumps({"settings": {}, "inputs": {"model": model}}))
    phase = {"kWh": 1e-5, "seconds": 1.0, "estimated": False, "clips": 9}
    (energy / "energy.json").write_text(json.dumps({"inference": phase, "baseline": phase}))
    edit(runs / "teacher/first", external=as_rows([OWN, replace(OWN, fingerprint="0" * 64, resources=(MICIRP,))]))
    folders, team = [runs / "quantize/first"], "Doe_UNIX"
    with pytest.raises(UserError) as told:
        read_entries(folders, about_of(tmp_path), team)
    assert str(told.value).count("that are not known here") == 2
    complete = {**NAMED, "of": "0" * 64}
    with pytest.raises(UserError, match=f"nothing that these runs used has of: {'1' * 64}"):
        read_entries(folders, about_of(tmp_path, NAMED, complete, {**NAMED, "of": "1" * 64}), team)
    (entry,) = read_entries(folders, about_of(tmp_path, NAMED, complete), team)
    names = ["MicIRP", "Responses of our microphones"]
    assert [each["name"] for each in entry.system.meta["system"]["external_datasets"]] == names
    assert external_datasets(entry.system.external)[1] == {k: NAMED[k] for k in ("name", "url", "total_audio_length")}
    assert entry.system.label == label_of("Doe", "UNIX", 1)
    (caption, rows) = tables_of([entry.system])["data"][1]
    assert caption == "External resources."
    assert rows[2][:2] == ["Responses of our microphones (not on the list of 2023)", "IR"]
    assert rows[2][2:] == ["https://example.org/ours", "CC0", "teacher/first"]
    jft = find_teacher("timm_cnn").pretraining({"model_name": "tf_efficientnet_b0"}, pretrained=True, weights=None)
    edit(runs / "teacher/first", external=as_rows([Use(WEIGHTS, "timm", FINGERPRINT, jft.resources)]))
    with pytest.raises(UserError, match="JFT-300M: by the rules of 2023, 'The data must be public"):
        read_entries(folders, about_of(tmp_path), team)


def test_a_front_end_that_learns_is_not_for_free(small_model: Path) -> None:
    """Oracle: "In case of using learned features [...], the network used to generate them counts in the calculated
    model size and complexity!": costs are those of the network behind the front end, so that one with parameters is
    refused; those here have none."""
    classifier = load_classifier(small_model)
    assert off_task(classifier) == []
    classifier.front_end.learned = nn.Linear(4, 2)  # type: ignore[attr-defined]
    (reason,) = off_task(classifier)
    assert reason.startswith("its front end has 10 parameters, which the costs of its run do not count")
    for kind in front_ends():
        front_end = build_front_end(32000, {"kind": kind})
        assert not list(front_end.parameters()), kind  # type: ignore[attr-defined]


@pytest.mark.parametrize("lacking", ["type", "licence"])
def test_what_names_a_file_says_all_of_it(tmp_path: Path, lacking: str) -> None:
    """Oracle: the columns of the report's table: name, type, link and licence."""
    with pytest.raises(UserError, match=f"of 'Responses of our microphones', {lacking} must be a text"):
        about_of(tmp_path, {key: value for key, value in NAMED.items() if key != lacking})
