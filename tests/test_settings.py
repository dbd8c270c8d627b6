"""Settings as they are declared: types, ranges, choices and paths; what the command line says of wrong ones."""

import dataclasses
import errno
import inspect
import math
import os
import re
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from command import run
from hypothesis import given
from hypothesis import strategies as st
from test_command_line import ODD, SCREEN

from data.errors import UserError
from data.front_ends import front_ends
from data.ranges import Range, described, fits, wanted
from data.registry import build
from data.scenes import ClipSet
from data.settings import problems_of
from experiments.command.arguments import read_arguments
from experiments.command.keys import declared_keys
from experiments.command.quoting import divided
from experiments.run import resolve, run_stages
from experiments.settings.shared import SPECIAL, Settings
from experiments.settings.stages import STAGES
from students import list_students
from teachers import list_teachers

KEYS = declared_keys()
TOO_LARGE = 10**30


def declared(kind: type, prefix: str = "") -> Iterator[tuple[str, type, dataclasses.Field, Any]]:
    """Every setting of a dataclass: its key, the dataclass, the field, its type with ranges."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for each in dataclasses.fields(kind):
        if kind is Settings and each.name in SPECIAL:
            continue
        if dataclasses.is_dataclass(hints[each.name]):
            yield from declared(hints[each.name], f"{prefix}{each.name}.")
        else:
            yield f"{prefix}{each.name}", kind, each, hints[each.name]


DECLARED = {key: rest for key, *rest in declared(Settings)}
for name, stage in STAGES.items():
    DECLARED |= {key: rest for key, *rest in declared(stage.own, f"{name}.")} if stage.own else {}
BUILDERS = {f"teacher {name}": entry.build for name, entry in list_teachers().items()}
BUILDERS |= {f"student {name}": entry.build for name, entry in list_students().items()}
BUILDERS |= {f"front end {name}": entry.build for name, entry in front_ends().items()}


def alternatives(kind: Any) -> tuple[Any, ...]:
    return (kind,) if typing.get_origin(kind) in (None, Annotated, Literal, list, dict) else typing.get_args(kind)


def wrong_values(kind: Any) -> list[Any]:
    """Values that a setting of a type may not have, by the declaration alone."""
    found: list[Any] = [math.nan, math.inf, -math.inf]
    kinds = alternatives(kind)
    if type(None) not in kinds:
        found.append(None)
    for each in kinds:
        if typing.get_origin(each) is Annotated:
            base, limits = typing.get_args(each)
            found += [TOO_LARGE, -TOO_LARGE, limits.low - 1, limits.high + 1, True, [], ["x"], {"a": 1}, "many", ""]
            found += [limits.low] * limits.above + [limits.high] * limits.below + [1.5] * (base is int)
        elif each is bool:
            found += [2, "maybe", [], {}]
        elif each is str:
            found += [[1], {"a": "b"}]
        elif typing.get_origin(each) is Literal:
            found += ["none of them", -1, 99, [math.nan], {"a": 99}]
    return found


# The declarations.


def numbers_without_range(kind: Any) -> bool:
    """Whether a type has numbers, alone or in lists and mappings, whose range is not declared."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return numbers_without_range(arguments[0]) and not any(isinstance(each, Range) for each in arguments[1:])
    if origin is Literal:
        return False
    return kind in (int, float) or any(numbers_without_range(each) for each in arguments)


def test_every_number_has_a_range() -> None:
    """Oracle: the types of all settings, and of all parameters of builders of teachers, students and front ends: a new
    number without a range is named here."""
    without = [key for key, (_, _, kind) in DECLARED.items() if numbers_without_range(kind)]
    assert KEYS.keys() == DECLARED.keys()
    for name, builder in BUILDERS.items():
        parameters = inspect.signature(builder).parameters.values()
        without += [f"{name}: {p.name}" for p in parameters if numbers_without_range(p.annotation)]
    assert without == []


@pytest.mark.parametrize("key", DECLARED)
def test_a_setting_refuses_what_its_declaration_excludes(key: str) -> None:
    """Oracle: the ends of its range, values beyond them, other types, and what is no finite number; the message names
    the key and, unless the value is no finite number, what is allowed. Its default is accepted."""
    owner, field, kind = DECLARED[key]
    prefix = key.removesuffix(field.name)
    for value in wrong_values(kind):
        if field.metadata.get("is_path") and value == []:
            continue
        problems = list(problems_of(owner, {field.name: value}, prefix))
        if fits(kind, value) and not field.metadata.get("choices"):
            assert not problems  # an alternative of the type, such as a list
            continue
        assert len(problems) == 1, (key, value)
        assert problems[0].startswith((f"{key}=", f"unknown {key} "))
        assert any(word in problems[0] for word in ("must be", "choose one of"))
    if field.default is not dataclasses.MISSING:
        assert not list(problems_of(owner, {field.name: field.default}, prefix))


@pytest.mark.parametrize("name", BUILDERS)
def test_a_builder_refuses_what_its_parameters_exclude(name: str) -> None:
    """Oracle: the ends of each range, values beyond them, other types; nothing is built. The message names the
    builder, the parameter and what is allowed."""
    calls = []

    def called(**arguments: Any) -> None:
        calls.append(arguments)

    signature = inspect.signature(BUILDERS[name])
    called.__signature__ = signature  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    for parameter in signature.parameters.values():
        for value in wrong_values(parameter.annotation):
            if fits(parameter.annotation, value):
                continue
            with pytest.raises(UserError, match="must be") as error:
                build(name, called, {parameter.name: value})
            assert str(error.value).startswith(f"{name}: {parameter.name}=")
            assert len(str(error.value).splitlines()) == 1
    assert calls == []


@given(st.integers(-5, 5), st.integers(-5, 5), st.booleans(), st.booleans(), st.floats(-6, 6))
def test_a_range_has_what_lies_between_its_ends(low: int, high: int, above: bool, below: bool, number: float) -> None:
    """Oracle: the definition of open and closed intervals, as sympy or a textbook has it."""
    inside = (number > low if above else number >= low) and (number < high if below else number <= high)
    assert (number in Range(low, high, above, below)) == inside


def test_types_are_told_in_words() -> None:
    """Oracle: sentences by hand."""
    share, count = Annotated[float, Range(0, 1)], Annotated[int, Range(1, 9, unit="Hz")]
    assert described(count) == "a whole number from 1 to 9 Hz"
    assert described(share | None) == "a number from 0 to 1, or null"
    assert described(Literal["a", 8] | Sequence[share]) == "a, 8, or a list, each a number from 0 to 1"
    assert wanted(count, 10) == "from 1 to 9 Hz"
    assert wanted(count, "x") == "a whole number from 1 to 9 Hz"
    assert wanted(share | None, 2.0) == "from 0 to 1"
    assert not fits(count, True)
    assert not fits(Literal[1], True)
    assert fits(share, 1)


# The command line: all keys by themselves.

WRONG_TYPES = {"[1,2]": [1, 2], "{a:1}": {"a": 1}, "many": "many", "null": None, "nan": math.nan, "-1": -1}
AT_ONCE = 10  # wrong settings that one message lists


def refused(key: str, value: Any) -> bool:
    """Whether a setting may not have a value; Hydra makes texts of numbers, and true of any number but 0."""
    owner, field, kind = DECLARED[key]
    if kind is bool and value == -1:
        return False
    is_text = str in alternatives(kind) and not field.metadata.get("choices")
    return (
        not is_text
        and dict not in (kind, typing.get_origin(kind))
        and bool(list(problems_of(owner, {field.name: value})))
    )


@pytest.mark.parametrize("start", range(0, len(DECLARED), AT_ONCE))
def test_the_command_line_refuses_wrong_types_of_every_setting(start: int) -> None:
    """Oracle: the declared types: each key is named, with what it must be, in a message that fits on a screen."""
    left = {}
    for number, key in enumerate(list(DECLARED)[start : start + AT_ONCE]):
        wrong = [text for text, value in WRONG_TYPES.items() if refused(key, value)]
        left |= {key: wrong[(number + start // AT_ONCE) % len(wrong)]} if wrong else {}
    while left:  # what Hydra's schema refuses is found before the rest
        with pytest.raises(UserError) as error:
            resolve(["rank", *(f"{key}={value}" for key, value in left.items())])
        message = str(error.value)
        named = [key for key in left if f"{key}=" in message or f"unknown {key} " in message]
        assert named, (left, message)
        assert len(message.splitlines()) <= SCREEN
        left = {key: value for key, value in left.items() if key not in named}


# Settings that contradict each other, arguments of builders, choices, paths.

WRONG = {
    "student student.augment.frequency_mask=256": "student.augment.frequency_mask=256 must be below 256",
    "student student.augment.filter_gain=6 student.augment.filter_width=52": (
        "student.augment.filter_bands=5 times filter_width=52 must be at most 256, the bands of a log-mel"
    ),
    "student student.augment.time_mask=64": "student.augment.time_mask=64 must be below 64, the frames of a log-mel",
    "teacher teacher.augment.time_mask=999": "teacher.augment.time_mask=999 must be below",
    "student student.mel.high=17000": "half of sample_rate=32000",
    "student student.mel.window=8192": "window=8192 must not be longer than fft=4096",
    "student student.mel.hop=0": "hop=0 must be from 1",
    "student student.mel.mels=3": "mels=3 must be from 4",
    "student student.mel.mels=99999": "mels=99999 must be from 4 to 1024",
    "student student.mel.fft=many": "fft='many' must be a whole number",
    "student data.clip_seconds=600 student.mel.hop=20": "take shorter clips",
    "student data.clip_seconds=0.00001": "data.clip_seconds=1e-05",
    "student data.sample_rate=8000": "half of sample_rate=8000",
    "student student.fit.epochs=3": "student.fit.warm_up=14 is longer than student.fit.epochs=3",
    "quantize quantize.method=qat quantize.fit.warm_up=99": "quantize.fit.warm_up=99 is longer",
    "student student.fit.accumulate=9": "accumulate=9 parts of 16 clips are too small",
    "student student.fit.frozen_layers=1": "fit.frozen_layers are for teachers",
    "teacher teacher.fit.frozen_layers=999": "leaves nothing to train",
    "student student.augment.crop=true": "augment.crop=true is for teachers",
    "student student.augment.crop_seconds=2": "needs student.augment.crop=true",
    "student student.distill.weights=[1,1]": "student.distill.weights=[1, 1] must be 1 numbers",
    "student student.distill.weights=[0,0]": "not all zero",
    "student student.arguments.base_channels=9": "base_channels=9 must be a multiple of 8",
    "student student.arguments.base_channels=1e9": "base_channels=1000000000.0 must be a whole number",
    "student student.arguments.expansion_rate=-1": "expansion_rate=-1 must be above 0",
    "student student.arguments.grn=5": "grn=5 must be true or false",
    "student +student.arguments.foo=1": "it takes classes, size",
    "student student=baseline student.arguments.dropout=1": "dropout=1 must be from 0 to below 1",
    "student student=baseline student.size=6k": "unexpected keyword argument 'size'",
    "student student=cnn_gru student.arguments.units=0": "units=0 must be from 1",
    "student student=null": "student=null must be one of: baseline, bc_resnet, cnn_gru, cnn_gru_2025, cp_mobile",
    "student student=foo": "there is no student/foo",
    "teacher teacher=[passt,ast]": "teacher=[passt,ast] must be one of",
    "teacher teacher.arguments.rho=-1": "rho=-1 must be from 0",
    "teacher teacher.arguments.blocks=[]": "blocks=[] must be three numbers",
    "teacher teacher.arguments.layout=odd": "unknown cp_resnet layout 'odd'",
    "teacher teacher.shifts=2": "teacher.shifts=2 must be odd",
    "teacher teacher.weights=/dev/zero": "/dev/zero",
    "teacher teacher.weights=/tmp": "/tmp",
    "teacher teacher.weights=no.pt": "no.pt",
    "teacher teacher=beats_head": "fetch BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2.pt by hand, from",
    "teacher teacher=pase": "fetch FE_e199.ckpt by hand, from https://github.com/santi-pdp/pase, and name it",
    "teacher teacher=soundnet": "fetch sound8.npy by hand, from https://github.com/eborboihuc/SoundNet-tensorflow",
    "teacher teacher=beats data=unlabelled data.root=. only=logits": "fetch BEATs_iter3_plus_AS2M_finetuned_on",
    "student student.weights=no.safetensors": "student.weights=no.safetensors does not exist",
    "teacher teacher.start=/tmp": "teacher.start=/tmp is a folder without checkpoint.safetensors: name",
    "teacher teacher.start=nowhere": "teacher.start=nowhere does not exist",
    "student student.weights=/tmp": "student.weights=/tmp is a folder without checkpoint.safetensors",
    "teacher fabric.accelerator=tpu": "fabric.accelerator=tpu",
    "teacher fabric.precision=64": "unknown fabric.precision",
    "teacher fabric.num_nodes=2": "fabric.num_nodes=2: start the command on every machine",
    "teacher fabric.strategy=odd": "strategy=odd",
    "data data=5": "data=5 must be one of: audioset, audioset_strong, classes, cochlscene, dcase2013, esc50,",
    "data data=unlabelled": "data=unlabelled needs data.root=FOLDER",
    "data data=unlabelled data.root=. data.subset=5": "data.subset=5 means nothing to data=unlabelled",
    "teacher data=unlabelled data.root=.": "labels are needed to train a teacher: give only=logits",
    "teacher data=unlabelled data.root=. only=logits": "=FILE, of ast, beats, efficientat, panns, passt, yamnet",
    "teacher teacher=timm data=unlabelled data.root=. only=logits": "give checkpoint=FILE, or published weights",
    "student data=unlabelled data.root=. distill=none": "by distill=none: give distill=kd, and logits=FILE",
    "student data=unlabelled data.root=. student.distill.hard_weight=1": "hard_weight=1: set it to 0",
    "student data=unlabelled data.root=. student.distill.temperature=auto": "by student.distill.temperature=auto: give",
    "all student.distill.temperature=auto data.validation_fraction=0": "temperature=auto needs validation clips",
    "all quantize.bits=auto quantize.budget=9999 data.validation_fraction=0": "sensitivities, needs validation clips",
    "stage.steps=[teacher,ensemble] ensemble.weights=fit data.validation_fraction=0": "needs validation clips",
    "ensemble data=unlabelled data.root=. logits=a.h5": "logits=a.h5 does not exist",
    "ensemble data=unlabelled data.root=.": "give the student logits=[A,B], whose mean it takes",
    "quantize data=unlabelled data.root=.": "labels are needed by the quantize stage: give a data set with labels",
    "score data=unlabelled data.root=.": "labels are needed by the score stage",
    "data data.kind=foo": "unknown data.kind 'foo'",
    "data data.folds=3 data.fold=3": "with fold from 0 to folds - 1",
    "data data.csv=x.csv": "data.csv=x.csv means nothing to data=synthetic",
    "data data.root=": "data.root= names nothing",
    "stage=[data,teacher]": "several stages are stage.steps=[data,teacher]",
    "stage.steps=[data,data]": "names data twice",
    "stage=null": "stage=null must be one of",
    "ensemble ensemble.weights=[0,0]": "none negative and not all zero",
    "predict predict.audio=. predict.out=/dev/null": "/dev/null is no regular file and is not replaced",
    "predict predict.audio=. predict.out=/dev/null/x/p.csv": "/dev/null is no folder: name another file",
    "ensemble ensemble.weights=odd": "ensemble.weights=odd must be equal, fit, or a list",
    "quantize quantize.export=[odd]": "quantize.export=[odd] must be a list, each onnx, torch",
    "quantize quantize.bits=auto": "bits=auto needs a budget",
    "score score.predictions=no.csv": "score.predictions=no.csv does not exist",
    "submit submit.about=no.yaml submit.evaluation=.": "no.yaml",
    "student seed=18446744073709551616": "seed=18446744073709551616 must be from 0 to 9223372036854775807",
    "student fabric=3": "it is a group of settings, such as fabric.accelerator=...",
    "rank runs=": "runs= names nothing",
    "stage.steps=student": "stage.steps=student must be a list: [student]",
    "quantize quantize.export=onnx": "quantize.export=onnx must be a list, each onnx, torch: [onnx]",
    "student student.mel.mels=0": "student.mel: front end log_mel: mels=0 must be from 4 to 1024",
    "teacher teacher=ast teacher.mel.mels=0": "teacher.mel: front end kaldi_fbank: mels=0 must be from 4 to 1024",
    "predict predict.audio=/dev/zero": "predict.audio=/dev/zero is no regular file: name another",
    "predict predict.audio=none": "predict.audio=none does not exist",
    "student logits=[/tmp,/dev/zero]": "logits=/tmp is a folder: name a file in it",
    "quantize checkpoint=/dev/zero": "checkpoint=/dev/zero is no regular file",
    "energy model=/tmp": "model=/tmp is a folder",
    "student": "logits.h5 does not exist: run the teacher stage under this name first, or give logits=FILE",
    "demo name=mine": "model.tflite does not exist: run the quantize stage under this name first, or give model=FILE",
    "rank name=": "name='' must be letters",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_cannot_be_together_is_refused_before_a_stage_starts(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the setting and what it must be, in one message that fits on a screen; no file is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        run_stages(resolve([*words.split(), "tracking=none"]))
    assert WRONG[words] in str(error.value)
    assert len(str(error.value).splitlines()) <= SCREEN
    assert not list(tmp_path.iterdir())


# Paths.

FOLDER = "Ton Aufnahmen (ü), 1=2 $HOME #3"
NAMES = [FOLDER, *ODD, "o'brien", "[x]", "{a}", "1e3", "true", "007", "a:b%c;d&e", "日本", "a\nb", " a ", "${x", "a\\"]
PATHS = [key for key, declared in KEYS.items() if declared.is_path]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "null" and "${" not in name and name != "[x]"])
def test_a_path_is_taken_as_it_stands(name: str) -> None:
    """Oracle: the text itself, of a setting of one path and of one that takes several."""
    found = resolve(["student", f"data.root={name}", f"logits={name}", f"runs={name}"])
    expected = os.path.expanduser(name)
    assert (found.data.root, found.logits, found.runs) == (expected, expected, expected)


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: os.path.expanduser, for ~ and ~user, in each setting that names files."""
    monkeypatch.setenv("HOME", str(tmp_path))
    found = resolve(["rank", *(f"{key}=~/a b, {key}" for key in PATHS)])
    values = {
        f"{type(own).__name__.lower()}.{key}": value for own in found.own.values() for key, value in vars(own).items()
    }
    values |= vars(found) | {f"data.{key}": value for key, value in vars(found.data).items()}
    values |= {f"source.{key}": value for key, value in vars(found.source).items()}
    values |= {f"teacher.{key}": getattr(found.teacher, key) for key in ("weights", "start")}
    values |= {"student.weights": found.student.weights}
    assert {key: values[key] for key in PATHS} == {key: f"{tmp_path}/a b, {key}" for key in PATHS}
    assert resolve(["rank", "runs=~root/x"]).runs == os.path.expanduser("~root/x")


@pytest.mark.parametrize("key", ["runs", "logits", "predict.audio"])
def test_a_path_that_cannot_be_followed_is_refused(key: str, tmp_path: Path) -> None:
    """Oracle: the system's own words for a link to itself and for a name of 300 bytes."""
    (tmp_path / "loop").symlink_to("loop")
    for name, why in {"loop": errno.ELOOP, "x" * 300: errno.ENAMETOOLONG}.items():
        with pytest.raises(UserError, match=re.escape(f": {os.strerror(why)}: name another path")):
            resolve(["rank", f"{key}={tmp_path / name}"])


def test_lists_and_sweeps_of_paths_are_divided_at_commas() -> None:
    """Oracle: by hand; quotes keep a comma."""
    assert divided("a b, 'c,d',[e,f]*") == ["a b", "'c,d'", "[e,f]*"]
    assert resolve(["student", "logits=[a b,~root/c,'d,e',f=1,7]"]).logits == [
        "a b",
        os.path.expanduser("~root/c"),
        "d,e",
        "f=1",
        "7",
    ]
    command = read_arguments(["student", "-m", "data.root=a b,'c, d',ü"])
    assert [each for each in command.overrides if "root" in each] == ["data.root='a b','c, d','ü'"]
    assert read_arguments(["student", "-m", "data.root=glob(*)"]).overrides[-1] == "data.root=glob(*)"


@pytest.mark.slow  # some seconds
def test_a_data_set_in_an_odd_folder_is_packed(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: the command succeeds, of a data set, a cache and a setting of a sweep with blanks, commas, = and $."""
    place = tmp_path / FOLDER
    place.symlink_to(miniature.root)
    result = run(tmp_path, "data", "data=tau22", "data.download=false", f"data.root={place}", f"cache=./{FOLDER} cache")
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / f"{FOLDER} cache").rglob("waves_*.h5"))
    result = run(tmp_path, "rank", "-m", "seed=1,2", f"runs='{FOLDER} runs'")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / f"{FOLDER} runs" / "rank").is_dir()
