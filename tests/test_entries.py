"""Teachers and students are found by their modules, and what these declare is what a submission says of them."""

import doctest
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import timm
import torch

import students
import teachers
from data.errors import UserError
from data.readers import readers
from data.registry import discover
from data.resources import AUDIOSET, IMAGENET, WEIGHTS, Use
from experiments.inference.classifier import load_classifier
from experiments.runs.reader import RunFiles
from experiments.submission.about import EXAMPLE, About, read_about
from experiments.submission.declared import declared, unnamed
from experiments.submission.describe import System, description
from experiments.submission.entries import Entry, entry_warnings
from experiments.submission.lineage import Lineage
from experiments.submission.report_tables import external_resources, overview, references, training
from students import build_student, find_student, list_students
from students.quantize.fold import fold
from teachers import build_teacher, find_teacher, list_teachers
from teachers.entry import Pretraining
from teachers.passt import ARCHITECTURES
from teachers.timm_cnn import datasets_of_tag

LABEL = "Doe_UNIX_task1_1"
TEACHER = """
from torch import nn
from data.resources import Resource
from teachers.entry import Pretraining, Teacher

def slim(*, classes=10, pretrained=True, weights=None, hours=1):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, classes))

TEACHER = Teacher(
    build=slim,
    family="linear model",
    citation="J. Doe, Slim teachers, 2025.",
    published=lambda arguments: Pretraining((Resource("Birdsong", "https://example.org", 60 * arguments["hours"]),)),
)
"""
STUDENT = """
from torch import nn
from students.entry import Student

def slender(*, classes=10):
    return nn.Sequential(nn.Conv2d(1, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

STUDENT = Student(build=slender, family="CRNN", citation="J. Roe, Slender students, 2025.", has_integer_form=True)
"""


@pytest.fixture
def throw_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more teacher and one more student: a module each, in folders beside those of the packages."""
    added = ((teachers, "slim", TEACHER), (students, "slender", STUDENT))
    for package, name, text in added:
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    discover.cache_clear()
    yield
    discover.cache_clear()
    for package, name, _ in added:
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)


def run_files(folder: str, settings: dict[str, object], layers: tuple = (), external: tuple[Use, ...] = ()) -> RunFiles:
    """A run that says no more than its settings, and what it used."""
    empty = ("", {}, layers, [], [], [], [])
    return RunFiles(Path("runs") / folder, {}, [], settings, {}, [], *empty, external=external)


def teacher_files(number: int, settings: dict[str, object]) -> RunFiles:
    """A teacher's run, which began with what its builder declares."""
    arguments = {k.removeprefix("teacher.arguments."): v for k, v in settings.items()}
    began, external = bool(settings["teacher.pretrained"]), ()
    if began and settings["teacher.builder"] in list_teachers():
        found = find_teacher(str(settings["teacher.builder"])).pretraining(arguments, pretrained=True, weights=None)
        external = (Use(WEIGHTS, "published", "0" * 64, found.resources, found.is_complete),)
    return run_files(f"teacher/{number}", settings, external=external)


def lineage(student: str, *members: dict[str, object]) -> Lineage:
    """A system's history: a student of this builder and teachers of these settings."""
    return Lineage(
        quantized=run_files("quantize/a", {"quantize.method": "ptq"}, ({"bits": 8},)),
        student=run_files(
            "student/a", {"student.builder": student, **{f"student.mel.{k}": 1 for k in ("mels", "window", "hop")}}
        ),
        teachers=tuple(teacher_files(number, settings) for number, settings in enumerate(members)),
        energy={},
        data={"kind": "tau22", "subset": 100, "validation_fraction": 0.1},
        kind="tau22",
    )


@pytest.fixture
def about(tmp_path: Path) -> About:
    (tmp_path / "about.yaml").write_text(EXAMPLE)
    return read_about(tmp_path / "about.yaml", 1)


def test_a_module_more_is_a_builder_more(throw_away: None) -> None:
    """Oracle: the modules' text; all others are still there."""
    assert build_teacher("slim", classes=3)(torch.zeros(2, 1, 4, 4)).shape == (2, 3)
    assert build_student("slender", classes=3)(torch.zeros(2, 1, 4, 4)).shape == (2, 3)
    for package, entry, found, added in (
        (teachers, "TEACHER", list_teachers(), "slim"),
        (students, "STUDENT", list_students(), "slender"),
    ):
        folder = Path(package.__file__).parent
        own = {path.stem for path in folder.glob("*.py") if f"\n{entry} = " in path.read_text()}
        assert len(own) > 5
        assert set(found) == {*own, added}
    with pytest.raises(UserError, match=r"teacher slim: .*'colour'; it takes classes, pretrained, weights, hours"):
        build_teacher("slim", colour="red")


def test_what_new_modules_declare_is_in_the_submission(throw_away: None, small_model: Path, about: About) -> None:
    """Oracle: the modules' text, in the description, in the report's table of systems and in its references."""
    settings = {"teacher.builder": "slim", "teacher.pretrained": True, "teacher.arguments.hours": 2}
    history = lineage("slender", settings)
    meta = description(history, load_classifier(small_model), about, LABEL, declared([history], []))
    assert meta["system"]["external_datasets"] == [
        {"name": "Birdsong", "url": "https://example.org", "total_audio_length": 120}
    ]
    assert meta["system"]["description"]["machine_learning_method"] == "CRNN"
    assert meta["system"]["description"]["external_data_usage"] == "pre-trained model"
    systems = [System(LABEL, history, meta)]
    assert {"J. Doe, Slim teachers, 2025.", "J. Roe, Slender students, 2025."} <= set(references(systems))
    assert dict(overview(systems))["teachers"] == "slim (linear model, 0)"


def test_what_a_student_began_with_is_declared(small_model: Path, about: About) -> None:
    """Oracle: by hand: the run's name and its data set's title, in the report and the description; data that are not
    the challenge's must be named by the authors; runs without numbers of clips are of an unknown part."""
    plain = lineage("cp_mobile")
    earlier = replace(run_files("student/before", {}), config="data: {kind: folder}")
    history = replace(plain, pretrained=(earlier,))
    classifier = load_classifier(small_model)
    systems = [System(LABEL, each, description(each, classifier, about, LABEL, [])) for each in (plain, history)]
    title = readers()["folder"].title
    assert {row[0]: row[1:] for row in training(systems)}["begins with"] == [
        "random weights",
        f"before ({title})",
    ]
    taught = replace(
        lineage("cp_mobile", {"teacher.builder": "yamnet", "teacher.pretrained": True}), pretrained=(earlier,)
    )
    systems.append(System(LABEL, taught, description(taught, classifier, about, LABEL, [])))
    pipelines = [system.meta["system"]["description"]["pipeline"] for system in systems]
    assert pipelines == [
        "training, weight quantization",
        "pretraining, training, weight quantization",
        "pretraining, knowledge distillation, training, weight quantization",
    ]
    parts = entry_warnings([Entry(system, classifier) for system in systems[:2]])
    assert all("metrics are of an unknown part of the official test split" in part for part in parts)
    assert unnamed([plain], about.external_datasets) == []
    (asked,) = unnamed([history], about.external_datasets)
    assert asked.startswith("runs/student/before used data that are not the challenge's: folder")


def test_the_report_states_the_recipe_as_it_was_used() -> None:
    """Oracle: by hand: what fitting to the clips changed goes before what was asked for; of a refit the epochs are the
    rows of its history; nothing is fitted where it changed nothing."""
    asked = {"epochs": None, "student.fit.epochs": 150, "student.fit.learning_rate": 9e-4, "batch_size": 16}
    used = {"fitted.epochs": 334, "fitted.learning_rate": 0.00284}
    three = [{"epoch": float(number)} for number in (1, 2, 3)]
    for settings, told in (
        (asked, ["150", "0.0009", "16"]),
        ({**asked, "epochs": 20}, ["20", "0.0009", "16"]),
        ({**asked, **used}, ["334", "0.00284", "16"]),
        ({**asked, "fitted.learning_rate": 0.00284, "refit": True}, ["3", "0.00284", "16"]),
    ):
        plain = lineage("cp_mobile")
        student = replace(plain.student, settings={**plain.student.settings, **settings}, history=three)
        rows = dict(training([System(LABEL, replace(plain, student=student), {})]))
        assert [rows[name] for name in ("epochs", "learning rate", "batch size")] == told


def test_a_builder_that_is_not_installed_is_an_error(small_model: Path, about: About) -> None:
    """Oracle: the messages, which name the run and the builder: nothing is left out silently."""
    classifier = load_classifier(small_model)
    gone = {"teacher.builder": "slim", "teacher.pretrained": True}
    with pytest.raises(UserError, match=r"runs/teacher/0 .*unknown teacher 'slim'"):
        references([System(LABEL, lineage("baseline", gone), {})])
    with pytest.raises(UserError, match=r"runs/student/a .*unknown student 'slender'"):
        description(lineage("slender"), classifier, about, LABEL, [])
    with pytest.raises(UserError, match="unknown student 'slender'"):
        references([System(LABEL, lineage("slender"), {})])


def test_every_builder_is_cited() -> None:
    """Oracle: by hand: each citation is among the references, once, also where the task's own is the student's."""
    members = [{"teacher.builder": name, "teacher.pretrained": False} for name in list_teachers()]
    for name, entry in list_students().items():
        found = references([System(LABEL, lineage(name, *members), {})])
        assert entry.citation in found
        assert {teacher.citation for teacher in list_teachers().values()} <= set(found)
        assert len(found) == len(set(found))
    assert references([System(LABEL, lineage("baseline"), {})]).count(find_student("baseline").citation) == 1


def test_pretraining_follows_the_settings() -> None:
    """Oracle: by hand: random weights know no other data; published ones those that are declared; of a file nothing is
    known, whatever the builder is, and the answer says so."""
    passt, cp_resnet = find_teacher("passt"), find_teacher("cp_resnet")
    assert passt.pretraining({}, pretrained=False, weights=None) == Pretraining()
    published = passt.pretraining({}, pretrained=True, weights=None)
    assert (published.datasets, published.is_complete) == ((AUDIOSET, IMAGENET), True)
    for pretrained in (True, False):
        own = passt.pretraining({}, pretrained=pretrained, weights="w.pt")
        assert (own.resources, own.is_complete) == ((), False)
    assert not cp_resnet.pretraining({}, pretrained=False, weights="w.pt").is_complete
    assert cp_resnet.pretraining({}, pretrained=False, weights=None).is_complete


def test_weights_that_are_not_on_the_list_are_said_in_the_report(about: About) -> None:
    """Oracle: by hand: "The used external resource is clearly referenced": of three teachers each resource is a row,
    with the runs that used it, and the one that the list of 2023 does not have says so; random weights are none."""
    mn04 = {"teacher.builder": "efficientat", "teacher.pretrained": True}
    listed = {"teacher.builder": "yamnet", "teacher.pretrained": True}
    fresh = {"teacher.builder": "efficientat", "teacher.pretrained": False}

    def shown(*members: dict[str, object]) -> list[list[str]]:
        history = lineage("baseline", *members)
        return external_resources([System(LABEL, history, {}, external=declared([history], about.external_datasets))])

    head, *rows = shown(mn04, listed, mn04)
    assert head == ["name", "type", "link", "licence", "used by"]
    assert [(row[0], row[1], row[3], row[4]) for row in rows] == [
        ("EfficientAT mn04_as_mAP_432 (not on the list of 2023)", "model", "MIT", "teacher/0, teacher/2"),
        ("AudioSet", "audio, video", "CC BY 4.0 (labels)", "teacher/0, teacher/1, teacher/2"),
        ("ImageNet", "image", "non-commercial research and education", "teacher/0, teacher/2"),
        ("YAMNet", "model", "Apache-2.0", "teacher/1"),
    ]
    assert shown(fresh) == [head, ["none", *"----"]]


def test_each_passt_declares_what_its_name_says() -> None:
    """Oracle: the architectures' names: two data sets beside AudioSet and ImageNet stand in them; their releases."""
    for arch in ARCHITECTURES:
        names = [dataset.name for dataset in find_teacher("passt").published({"arch": arch}).datasets]
        further = {"openmic": ["OpenMIC-2018"], "fsd50k": ["FSD50K"]}.get(arch.split("_")[0], [])
        assert names == ["AudioSet", "ImageNet", *further]
    with pytest.raises(UserError, match="unknown PaSST arch"):
        find_teacher("passt").published({"arch": "passt_xxl"})


@pytest.mark.parametrize(
    ("tag", "names", "is_complete"),
    [
        ("a1_in1k", ["ImageNet"], True),
        ("augreg_in21k_ft_in1k", ["ImageNet-21k", "ImageNet"], True),
        ("ns_jft_in1k", ["JFT-300M", "ImageNet"], True),
        ("mim_in22k_ft_in22k_in1k", ["ImageNet-21k", "ImageNet"], True),
        ("clip_laion2b_ft_in12k_in1k", ["ImageNet-21k", "ImageNet"], False),
        ("swsl_ig1b_ft_in1k", ["ImageNet"], False),
        ("swag_lc_in1k", ["ImageNet"], False),
        ("openai", [], False),
        ("", [], False),
    ],
)
def test_tags_of_timm_say_what_weights_were_trained_on(tag: str, names: list[str], is_complete: bool) -> None:
    """Oracle: timm's naming of its weights, by hand; what is not known to be all is not called so."""
    datasets, complete = datasets_of_tag(tag)
    assert ([dataset.name for dataset in datasets], complete) == (names, is_complete)


def test_timm_is_asked_for_the_tag() -> None:
    """Oracle: timm's own list of weights: a tag that is named counts, the first one where none is; the default has
    one of ImageNet alone, as the rules ask for public data; a name without weights declares nothing, and says that this
    may not be all."""
    published = find_teacher("timm_cnn").published
    named = published({"model_name": "tf_efficientnet_b0.in1k"})
    assert [dataset.name for dataset in named.datasets] == ["ImageNet"]
    assert published({}) == named
    first, untagged = timm.get_pretrained_cfg("tf_efficientnet_b0"), published({"model_name": "tf_efficientnet_b0"})
    assert (first.tag, untagged.model.licence) == ("ns_jft_in1k", first.license)
    assert untagged.model.name == "timm tf_efficientnet_b0.ns_jft_in1k"
    assert untagged.model.url.endswith("tf_efficientnet_b0.ns_jft_in1k")
    for name in ("resnet18.none", "no_such_network", "nf_resnet26"):
        found = published({"model_name": name})
        assert (found.resources, found.is_complete) == ((), False)


def test_entries_say_the_truth_about_their_builders() -> None:
    """Oracle: the builders themselves: sizes are accepted, the width is an argument, what is said to have an integer
    form is folded, and the rest is refused."""
    for name, entry in list_students().items():
        parameters = inspect.signature(entry.build).parameters
        assert ("size" in parameters) is bool(entry.sizes)
        assert entry.width is None or entry.width.argument in parameters
        for size in entry.sizes:
            build_student(name, size=size)
        network, shape = build_student(name), (1, 1, 40, 51)
        if entry.has_integer_form:
            assert fold(network, shape, torch.zeros(shape)).layers
        else:
            with pytest.raises(UserError, match="no integer form"):
                fold(network, shape)
    for entry in list_teachers().values():
        assert {"classes", "pretrained", "weights"} <= inspect.signature(entry.build).parameters.keys()


def test_packages_and_limits_need_no_torch() -> None:
    """Oracle: the modules that a fresh interpreter has loaded."""
    names = "teachers, teachers.entry, students, students.entry, students.limits, data.flatbuffer"
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent).returncode == 0


@pytest.mark.parametrize("package", [teachers, students], ids=["teachers", "students"])
def test_examples_in_docstrings_are_true(package: ModuleType) -> None:
    """Oracle: doctest."""
    attempted = 0
    for path in sorted(Path(package.__path__[0]).rglob("*.py")):
        parts = path.relative_to(Path(package.__path__[0]).parent).with_suffix("").parts
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
        result = doctest.testmod(module)
        attempted += result.attempted
        assert result.failed == 0, module.__name__
    assert attempted > 0
