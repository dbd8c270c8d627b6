"""The command line by itself: how its words are read, what it says of mistakes, help, completion, and how it ends."""

import ast
import inspect
import json
import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from command import ROOT, environment_of, run
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

import experiments.stages
from data.errors import UserError
from data.settings import setting
from experiments.bench import __main__ as bench
from experiments.bench import command as command_bench
from experiments.command import arguments
from experiments.command.arguments import quoted, read_arguments
from experiments.command.comments import beside_values
from experiments.command.completion import candidates, read_line, replies
from experiments.command.composition import CONF
from experiments.command.keys import declared_keys, is_read
from experiments.run import main, resolve
from experiments.settings.models import Predict
from experiments.settings.shared import Settings
from experiments.settings.stages import ALL, STAGES, Rank, Score, Stage, Validate
from experiments.stages import context, fitting, pruning, training, whereabouts

SCREEN = 30  # lines
HANGS = 60  # seconds, after which a shell is taken to wait for more
BREAKS = " \t\n\"'@><=;|&(:"  # of bash
ODD = ["a b.csv", "a=b.csv", "~x.csv", "-x.csv", "ä.csv", "q'uo\"te.csv", "back\\slash.csv", "end\\", "${name}.csv"]
ODD += ["[x],{y}.csv", "student", "data", "x:y.csv", "a,b.csv", "(1).csv", "\\'.csv", "\\${x}.csv", "#.csv", "null"]


def as_text(settings: Settings) -> str:
    return repr({key: value for key, value in vars(settings).items() if key != "given"})


# The words.


@pytest.mark.parametrize(
    ("words", "in_full"),
    [
        (["student", "seed=1"], ["stage=student", "seed=1"]),
        (["seed=1", "student"], ["stage=student", "seed=1"]),
        (["all"], ["stage=all"]),
        ([], ["stage=all"]),
        (["score", "x.csv"], ["stage=score", "score.predictions=x.csv"]),
        (["stage=score", "x.csv"], ["stage=score", "score.predictions=x.csv"]),
        (["predict", "sounds"], ["stage=predict", "predict.audio=sounds"]),
        (["validate", "x.zip", "seed=2"], ["stage=validate", "validate.package=x.zip", "seed=2"]),
        (["stage.steps=[quantize,score]", "x.csv"], ["stage.steps=[quantize,score]", "score.predictions=x.csv"]),
        (["stage=score", "predictions=x.csv"], ["stage=score", "score.predictions=x.csv"]),
        (["stage=validate", "package=x.zip"], ["stage=validate", "validate.package=x.zip"]),
        (["stage=rank", "systems=x.csv"], ["stage=rank", "rank.systems=x.csv"]),
        (["stage=predict", "audio=x"], ["stage=predict", "predict.audio=x"]),
    ],
)
def test_short_words_mean_what_is_written_in_full(words: list[str], in_full: list[str]) -> None:
    """Oracle: the settings of the command in full."""
    assert as_text(resolve(words)) == as_text(resolve(in_full))


@pytest.mark.parametrize("name", ODD)
def test_an_input_may_have_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the name itself, of a file that exists; behind -- no file need exist."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    assert resolve(["score", name]).of(Score).predictions == name
    (tmp_path / name).unlink()
    assert resolve(["predict", "--", name]).of(Predict).audio == name
    assert resolve(["validate", f"./{name}"]).of(Validate).package == f"./{name}"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\x00")))
def test_a_quoted_text_is_read_as_it_is(text: str) -> None:
    """Oracle: the text, after Hydra's parser and OmegaConf's interpolation."""
    value = OverridesParser.create().parse_override(f"key={quoted(text)}").value()
    assert OmegaConf.create({"key": value}).key == text


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: os.path.expanduser; shells leave a tilde behind key= alone."""
    monkeypatch.setenv("HOME", str(tmp_path))
    found = resolve(["score", "~/a b.csv", "data.root=~/set", "logits=['~/a','b']", "name=x"])
    assert found.of(Score).predictions == f"{tmp_path}/a b.csv"
    assert found.data.root == f"{tmp_path}/set"
    assert found.logits == [f"{tmp_path}/a", "b"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["studnt"], "unknown stage 'studnt'; did you mean student?"),
        (["xyz"], "unknown stage 'xyz'; choose one of: data, teacher"),
        (["student", "epochs"], "epochs has no value: write epochs=VALUE"),
        (["student.lr"], "did you mean student.fit.learning_rate?"),
        (["student", "x.csv"], "'x.csv' is no setting"),
        (["teacher", "student"], "stage.steps=[teacher,student]"),
        (["score", "a.csv", "b.csv"], "2 inputs, and score.predictions is one file or folder: 'a.csv', 'b.csv'"),
        (["stage.steps=[predict,score]", "x"], "Write predict.audio=... or score.predictions=..."),
        (["--hlp"], "--hlp is no flag; did you mean --help?"),
        (["student", "student.lr=1"], "'student.lr' is no setting; did you mean student.fit.learning_rate?"),
        (["student", "lr=1"], "student.fit.learning_rate"),
        (["student", "studnt.fit.lr=1"], "did you mean student.fit.learning_rate?"),
        (["student", "teachr=passt"], "'teachr' is no setting; did you mean teacher?"),
        (["student", "data.roots=x"], "'data.roots' is no setting; did you mean data.root?"),
        (["teacher", "teacher=passst"], "there is no teacher/passst; did you mean teacher=passt"),
        (
            ["teacher", "teacher=passt", "teacher.arguments.rho=3"],
            "setting of teacher=cp_resnet, not of what was chosen",
        ),
        (["student", "seed=1,2"], "give -m to run them one after the other"),
        (["student", "epochs=[1"], "no viable alternative at input '[1'"),
        (["student", "epochs=many"], "epochs=many must be a whole number from 1 to 100000, or null"),
        (["student", "name=${nothing}"], "nothing"),
    ],
)
def test_what_was_meant_is_suggested(words: list[str], message: str) -> None:
    """Oracle: what the message must name; it fits on a screen."""
    with pytest.raises(UserError) as error:
        resolve(words)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) <= SCREEN


def test_all_mistakes_are_listed_at_once() -> None:
    """Oracle: one line for each of five mistakes, and none for what is right."""
    with pytest.raises(UserError) as error:
        resolve(["student", "student.lr=1", "data.roots=x", "epochs=many", "student=cp_mobil", "force=2.5", "name=ok"])
    lines = str(error.value).splitlines()
    for word in ("'student.lr'", "'data.roots'", "epochs=many", "student/cp_mobil", "force=2.5"):
        assert sum(word in line for line in lines) == 1
    assert not any("name" in line for line in lines)


def test_values_out_of_their_choices_are_listed_at_once() -> None:
    """Oracle: the choices in the declarations, and that nan is no number."""
    with pytest.raises(UserError) as error:
        resolve(["limits=no", "tracking.kind=x", "quantize.activations=9", "teacher.mel.hop=nan", "energy.seconds=inf"])
    assert set(str(error.value).splitlines()) == {
        "unknown limits 'no'; choose one of: error, warn",
        "unknown tracking.kind 'x'; choose one of: wandb, none",
        "unknown quantize.activations 9; choose one of: 8, 16",
        "teacher.mel.hop=nan must be a finite number",
        "energy.seconds=inf must be a finite number: energy.seconds is a number above 0 and at most 86400",
    }


# What stages read.


def test_a_setting_that_no_stage_reads_is_said(tmp_path: Path) -> None:
    """Oracle: one line with these keys, and none about those that are read."""
    result = run(tmp_path, "rank", "quantize.bits=4", "teacher=passt", "name=x", "rank.runs=null")
    assert result.returncode == 0
    assert [line for line in result.stdout.splitlines() if "not read" in line] == [
        "not read by rank: quantize.bits (read by quantize), teacher (read by teacher)"
    ]
    assert "not read" not in run(tmp_path, "rank", "name=x", "runs=runs").stdout


def test_parts_of_groups_are_read() -> None:
    """Oracle: the declaration of quantize, which reads student.augment and student.distill."""
    for key in ("student", "student.augment", "student.augment.roll", "quantize.fit.epochs", "data.root"):
        assert is_read(key, ["quantize"]), key
    for key in ("student.fit", "student.size", "teacher", "limits", "score.predictions"):
        assert not is_read(key, ["quantize"]), key
    assert is_read("teacher.fit.epochs", ALL)


@pytest.mark.parametrize(
    ("words", "unread"),
    [
        ("score epochs=3", "not read by score: epochs (read by teacher, student, quantize, specialize, search)"),
        ("teacher quantize.bits=4", "not read by teacher: quantize.bits (read by quantize)"),
        ("quantize epochs=3", "not read by quantize: epochs (read by teacher, student, quantize, specialize, search)"),
        ("quantize epochs=3 quantize.method=qat", None),
        ("quantize quantize.fit.epochs=30", "not read by quantize: quantize.fit.epochs (read by quantize)"),
        (
            "student distill=none logits=x.h5",
            "not read by student: logits (read by ensemble, student, quantize, specialize, search)",
        ),
        ("student logits=x.h5", None),
        (
            "teacher only=logits epochs=3",
            "not read by teacher: epochs (read by teacher, student, quantize, specialize, search)",
        ),
        ("all epochs=3", None),
        ("student -m epochs=1,2", None),
    ],
)
def test_what_has_no_effect_is_said_with_the_stages_that_read_it(words: str, unread: str | None) -> None:
    """Oracle: what each stage does with the settings, by hand."""
    assert read_arguments(words.split()).notices() == ([] if unread is None else [unread])


def touched(source: str) -> set[str]:
    """The attributes of objects called `settings` in a source."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = node.value
            if getattr(owner, "id", getattr(owner, "attr", "")) == "settings":
                found.add(node.attr)
    return found


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_what_it_reads(name: str) -> None:
    """Oracle: the attributes of `settings` in its module, and in what this names of context.py, whereabouts.py,
    fitting.py, training.py and pruning.py."""
    stage = STAGES[name]
    source = (ROOT / f"{stage.module.replace('.', '/')}.py").read_text()
    helpers = {
        key: value
        for module in (context, whereabouts, fitting, training, *([pruning] if pruning.__name__ in source else []))
        for key, value in vars(module).items()
    }
    used, pending = set(), [source]
    while pending:
        text = pending.pop()
        used |= touched(text)
        names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
        for key in names & helpers.keys():
            if inspect.isfunction(helpers[key]) or getattr(helpers[key], "__module__", "") == pruning.__name__:
                pending.append(inspect.getsource(helpers[key]))
                del helpers[key]
    properties = {"cache_folder": "cache", "is_refitted": "refit"}
    used = {properties.get(key, key) for key in used} & set(vars(resolve(["rank"])))
    used -= {"own", "job", "given", "steps"}
    owners = {each.own.__name__: key for key, each in STAGES.items() if each.own}
    used |= {key for owner, key in owners.items() if f"of({owner})" in source and key != name}
    assert {key.split(".")[0] for key in stage.reads} == used


# Before the first stage starts.

WRONG = {
    "student.size=62k": "unknown cp_mobile size '62k'",
    "quantize.bits=3": "quantize.bits=3 must be 8, 4, auto, 16f, or a mapping",
    "quantize.method=qat fabric.devices=2": "trains on one device",
    "seed=-1": "seed=-1 must be from 0",
    "seed=9223372036854775808": "seed=9223372036854775808 must be from 0 to 9223372036854775807",
    "data.seed=-1": "data.seed=-1 must be from 0",
    "data.folds=1 data.fold=0": "data.folds=1 must be from 2",
    "data.folds=3": "give both",
    "data.validation_fraction=1.5": "must be from 0 to below 1",
    "data.sample_rate=0": "data.sample_rate=0 must be from 1000 to 384000 Hz",
    "data.clip_seconds=0.001": "32 samples are too few",
    "data.clip_seconds=nan": "data.clip_seconds=nan must be a finite number",
    "student.arguments.base_channels=nan": "must be a finite number",
    "quantize.percentile=20": "quantize.percentile=20",
    "quantize.activations=16 quantize.bits=4": "quantize.activations=16 needs quantize.bits=8",
    "quantize.bits={nolayer:4}": "4 bits for the weights of nolayer",
    "quantize.bits=auto quantize.budget=99": "quantize.budget=99 bytes is below the smallest possible",
    "student=cnn_gru student.mel.mels=96": "no integer form: AdaptiveAvgPool2d",
    "stage.steps=[]": "names no stage",
    "stage.steps=[teacher,foo]": "unknown stage 'foo'",
    "stage.steps=[student,quantize,predict] distill=none": "needs sounds: predict.audio",
    "stage.steps=[teacher,validate]": "needs a package: validate.package",
    "stage.steps=[data,summary]": "needs the run folders: summary.runs",
    "stage.steps=[teacher,score]": "needs a table: score.predictions",
    "stage.steps=[teacher,score] score.predictions=no.csv": "score.predictions=no.csv does not exist",
    "stage.steps=[teacher,energy] energy.seconds=0": "energy.seconds=0.0 must be above 0",
    "stage.steps=[teacher,predict] predict.audio=. model=no.tflite": "model=no.tflite does not exist",
    "checkpoint=no.safetensors": "checkpoint=no.safetensors does not exist",
    "logits=[no.h5]": "logits=no.h5 does not exist",
    "logits=[]": "logits=[] names nothing",
    "teacher.shifts=99999999": "teacher.shifts=99999999 must be from 1 to 9999",
    "teacher.shifts=8003": "more than the 8001 shifts",
    "teacher.fit.accumulate=1000": "accumulate=1000 parts of 16 clips are too small: give at most 8",
    "student.distill.weights=abc": "student.distill.weights=abc must be a list",
    "student.distill.weights=[0]": "not all zero",
    "student.distill.temperature=nan": "student.distill.temperature=nan must be a finite number",
    "fabric.devices=0": "fabric.devices=0 must be from 1",
    "fabric.compile=maybe": "choose one of: auto, true, false, cuda-graphs",
    "epochs=0": "epochs=0 must be from 1",
    "name=../x": "name='../x' must be letters",
    "limits=no": "choose one of: error, warn",
    "tracking.kind=x": "unknown tracking.kind 'x'",
    "student.builder=foo": "unknown student 'foo'",
    "teacher.mel.kind=foo": "unknown front end 'foo'",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_found_before_the_first_stage_starts(words: str, tmp_path: Path) -> None:
    """Oracle: one message that names it, exit code 1, no traceback, no stage that started, no file."""
    result = run(tmp_path, *words.split())
    assert result.returncode == 1
    assert WRONG[words] in result.stderr
    assert result.stderr.count("error: ") == 1
    assert "Traceback" not in result.stderr + result.stdout
    assert len(result.stderr.splitlines()) <= SCREEN
    assert not [line for line in result.stdout.splitlines() if line.startswith("stage ")]
    assert not list(tmp_path.iterdir())


def test_what_an_earlier_stage_writes_need_not_be_there_yet(tmp_path: Path) -> None:
    """Oracle: the first stage starts, and finds something else missing."""
    words = ["stage.steps=[quantize,score]", "score.predictions=runs/quantize/x/predictions.csv", "name=x"]
    (tmp_path / "student.pt").touch()
    result = run(tmp_path, *words, "data=folder", f"data.root={tmp_path}", "checkpoint=student.pt")
    assert "stage quantize" in result.stdout
    assert "student.pt is damaged" in result.stderr


# Help.


def test_the_stages_are_on_one_screen(tmp_path: Path) -> None:
    """Oracle: the declarations; 80 columns and hardly more than 24 lines."""
    result = run(tmp_path, "--help")
    lines = result.stdout.splitlines()
    assert len(lines) <= SCREEN
    assert max(map(len, lines)) <= 80
    for name, stage in STAGES.items():
        assert any(line.split()[:1] == [name] and stage.about in line for line in lines), name
    assert result.stdout == run(tmp_path, "-h").stdout


@pytest.mark.parametrize("name", [*STAGES, "all"])
def test_a_stage_lists_what_it_reads(name: str, tmp_path: Path) -> None:
    """Oracle: the declarations, with what they say of each setting."""
    result = run(tmp_path, name, "--help", environment={"COLUMNS": "200"})
    assert result.returncode == 0, result.stderr
    steps = ALL if name == "all" else (name,)
    text = " ".join(result.stdout.split())
    for key, declared in declared_keys().items():
        if is_read(key, steps) and not declared.is_free:
            assert f"\n  {key}=" in result.stdout
            assert declared.about in text
        else:
            assert declared.is_free or f"\n  {key}=" not in result.stdout


def test_help_shows_the_chosen_files_and_the_values_of_this_command(tmp_path: Path) -> None:
    """Oracle: the yaml files, read by hand, and the overrides."""
    out = run(tmp_path, "teacher", "teacher=passt", "teacher.mel.hop=160", "seed=3", "--help").stdout
    mel = yaml.safe_load((CONF / "mel/passt.yaml").read_text())
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    assert rows[f"teacher.mel.window={mel['window']}"].endswith("samples")
    assert rows["teacher.mel.hop=160"].endswith("samples")
    assert "seed=3" in rows
    assert "teacher.arguments.frequency_patchout=6" in rows
    assert "less memory for a third more time" in out  # beside checkpointing, which has a line of its own
    assert "teacher.arguments.rho" not in out
    for choice in (CONF / "teacher").glob("*.yaml"):
        assert f"teacher={choice.stem}" in out
        assert choice.read_text().splitlines()[0].removeprefix("# ").split()[0] in out


def test_comments_beside_values_are_read() -> None:
    """Oracle: the text, by hand; a # in a value is no comment."""
    text = "# about\na: 1  # one\nb:\n  c: '#2'  # two # three\n  d: [1, 2]\ne: {f: 1}  # of e\n"
    assert dict(beside_values(text)) == {"a": "one", "b.c": "two # three"}


def test_help_of_wrong_settings_is_a_message(tmp_path: Path) -> None:
    """Oracle: the suggestion, and exit code 1."""
    result = run(tmp_path, "student", "student.lr=1", "--help")
    assert result.returncode == 1
    assert "did you mean student.fit.learning_rate" in result.stderr


def test_help_needs_no_heavy_package(tmp_path: Path) -> None:
    """Oracle: sys.modules of a process of its own."""
    code = (
        "import sys; from experiments.run import main; main(['teacher', 'teacher=passt', '--help']); main(['--help']); "
        "sys.exit(str({'torch', 'wandb', 'pandas', 'h5py', 'numpy', 'scipy', 'ray'} & sys.modules.keys() or ''))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment_of(), capture_output=True, text=True, check=False
    )
    assert result.stderr.strip() == ""
    assert "teacher.mel.window=800" in result.stdout


def test_the_version_is_that_of_the_project(tmp_path: Path) -> None:
    """Oracle: git, and a word for the number."""
    words = run(tmp_path, "--version").stdout.split()
    assert words[0] == "scenelet"
    assert all(part.isdigit() for part in words[1].split(".")[:2])
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if head:
        assert head.strip() in words[3]


def test_flags_of_hydra_stay_usable(tmp_path: Path) -> None:
    """Oracle: Hydra's own parser knows the same flags; its config is YAML with the values of this command."""
    theirs = {flag for action in get_args_parser()._actions for flag in action.option_strings}
    assert {*arguments.FLAGS, *arguments.VALUED, *arguments.INFO, *arguments.OURS} - {"--completion"} == theirs
    for words in (
        ["--cfg", "job", "score", "x.csv"],
        ["score", "x.csv", "-c", "job"],
        ["x.csv", "stage=score", "--cfg=job"],
    ):
        result = run(tmp_path, *words, "seed=5", "quantize.bits=4")
        cfg = yaml.safe_load(result.stdout)
        assert (cfg["stage"]["steps"], cfg["seed"], cfg["score"]["predictions"]) == (["score"], 5, "x.csv")
    assert "Hydra" in run(tmp_path, "student", "--hydra-help").stdout
    assert "defaults" in run(tmp_path, "--info", "defaults", "student").stdout.lower()


# Completion.

COMPLETIONS = {
    "scenelet ": [*STAGES, "all"],
    "scenelet stu": ["student"],
    "scenelet student student.fit.learn": ["student.fit.learning_rate="],
    "scenelet student fabric.dev": ["fabric.devices="],
    "scenelet student student.f": ["student.fit."],
    "scenelet student student.arg": ["student.arguments."],
    "scenelet student student=c": ["student=cnn_gru", "student=cnn_gru_2025", "student=cp_mobile"],
    "scenelet teacher teacher=passt teacher.arguments.freq": ["teacher.arguments.frequency_patchout="],
    "scenelet teacher teacher.arguments.r": ["teacher.arguments.rho="],
    "scenelet quantize quantize.method=": ["quantize.method=ptq", "quantize.method=qat"],
    "scenelet student force=": ["force=true", "force=false"],
    "scenelet student -m teacher=passt,a": ["teacher=passt,ast", "teacher=passt,ast_small"],
    "scenelet stage=sc": ["stage=score"],
    "scenelet --ver": ["--version"],
    "scenelet student --cfg ": ["job", "hydra", "all"],
    "scenelet score my": ["my file.csv", "my folder/"],
    "scenelet score 'my fi": ["my file.csv"],
    r"scenelet score my\ fo": ["my folder/"],
    "scenelet data data.root=my": ["data.root=my file.csv", "data.root=my folder/"],
    "scenelet student logits=[a,my": ["logits=[a,my file.csv", "logits=[a,my folder/"],
    "scenelet score 'my folder'/in": ["my folder/inside.csv"],
    "A=1 scenelet rep": ["report"],
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to complete names of, in which the test then is."""
    (tmp_path / "my folder").mkdir()
    for name in ("my file.csv", "my folder/inside.csv", "other.csv", ".hidden"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("text", COMPLETIONS)
def test_words_are_completed(text: str) -> None:
    """Oracle: a list by hand."""
    line = read_line(text)
    assert candidates(line.words[1:], line.current) == COMPLETIONS[text]


@pytest.mark.parametrize(
    ("text", "words", "current", "kept"),
    [
        ("scenelet a", ["scenelet"], "a", 0),
        ("scenelet a ", ["scenelet", "a"], "", 0),
        ("scenelet a=b", ["scenelet"], "a=b", 2),
        ("scenelet a=", ["scenelet"], "a=", 2),
        ("scenelet a='b c", ["scenelet"], "a=b c", 2),
        ("scenelet 'a=b c'/d", ["scenelet"], "a=b c/d", 5),
        (r"scenelet a\ b=c", ["scenelet"], "a b=c", 4),
        ('scenelet "a\\"b', ["scenelet"], 'a"b', 0),
        ("scenelet '' x", ["scenelet", ""], "x", 0),
    ],
)
def test_a_half_written_command_is_divided_as_bash_does(
    text: str, words: Sequence[str], current: str, kept: int
) -> None:
    """Oracle: bash's manual, "Quoting" and "Programmable Completion": it wants what comes behind its last break."""
    line = read_line(text, BREAKS)
    assert (list(line.words), line.current, line.kept) == (list(words), current, kept)


@pytest.mark.usefixtures("files")
def test_names_are_quoted_as_bash_wants_them() -> None:
    """Oracle: by hand; within quotes nothing is quoted again."""
    assert replies("scenelet score my", BREAKS) == [r"my\ file.csv", r"my\ folder/"]
    assert replies("scenelet data data.root=my", BREAKS) == [r"my\ file.csv", r"my\ folder/"]
    assert replies("scenelet score 'my", BREAKS) == ["my file.csv", "my folder/"]
    assert replies("scenelet score my") == ["my file.csv", "my folder/"]


def test_bash_completes(files: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Oracle: what an interactive bash makes of a line and the tab key, asked to print its arguments."""
    pty = pytest.importorskip("pty", reason="needs pseudo-terminals")
    place = tmp_path_factory.mktemp("bin")
    program = place / "scenelet"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m experiments.run "$@"\n')
    program.chmod(0o755)
    variables = environment_of({"PATH": f"{place}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "", "HISTFILE": ""})
    lines = {
        "scenelet student student.fit.learn\t1": "student|student.fit.learning_rate=1|",
        "scenelet teacher teacher=cp\tx": "teacher|teacher=cp_resnet|x|",
        "scenelet score my\\ fi\tx": "score|my file.csv|x|",
        "scenelet data data.root='my fo\tx": "data|data.root=my folder/x|",
        "scenelet data data.root=my\\ fo\tx": "data|data.root=my folder/x|",
    }
    master, slave = pty.openpty()
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        cwd=files,
        env=variables,
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as bash:

        def printed_after(text: str) -> str:
            os.write(master, text.encode())
            if not select.select([bash.stdout], [], [], HANGS)[0]:
                bash.kill()  # it waits for more
            return bash.stdout.readline().decode().strip()

        # The function of the same name comes before the program, which completion has asked by its path.
        begin = 'eval "$(scenelet --completion bash)"; scenelet() { printf "%s|" "$@"; echo; }; echo ready\n'
        assert printed_after(begin) == "ready"
        assert {line: printed_after(f"{line}\n") for line in lines} == lines
        os.write(master, b"exit\n")
    os.close(master)
    os.close(slave)


def test_an_unknown_shell_is_named(tmp_path: Path) -> None:
    """Oracle: the shells that there are scripts for."""
    result = run(tmp_path, "--completion", "tcsh")
    assert result.returncode == 1
    assert "unknown shell 'tcsh'; choose one of: bash, zsh, fish" in result.stderr
    for shell in ("zsh", "fish"):
        assert "--complete" in run(tmp_path, "--completion", shell).stdout


# How it ends.


def test_ctrl_c_ends_with_130_and_one_line(tmp_path: Path) -> None:
    """Oracle: what shells say of a program that SIGINT ended, 128 + 2; the threads that pack clips end too."""
    command = [sys.executable, "-m", "experiments.run", "data"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment_of(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("writing"):
                break
        process.send_signal(signal.SIGINT)
        errors = process.communicate()[1]
    assert process.returncode == 130
    assert errors.startswith("error: interrupted; what was finished is kept")
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["--help", "student --help", "rank", "rank --cfg job", "--info"])
def test_a_reader_that_leaves_gets_no_complaint(words: str, unbuffered: str, tmp_path: Path) -> None:
    """Oracle: nothing on standard error, however early the reader, which closes the pipe at once, leaves."""
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-m", "experiments.run", *words.split()],
        cwd=tmp_path,
        env=environment_of({"PYTHONUNBUFFERED": unbuffered}),
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert result.stderr == ""
    assert result.returncode in (0, 1)


@pytest.mark.slow  # trains in three of them: five seconds
def test_many_commands_run_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Oracle: each command's messages are on the standard output of its time, and everything else is as before."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    before = list(root.handlers), root.level, list(sys.argv), dict(os.environ)
    for number in range(3):
        main(["rank", f"name=a{number}"])
        out = capsys.readouterr().out
        assert f"runs/rank/a{number}" in out
        assert out.count("stage rank") == 1
        with pytest.raises(SystemExit):
            main(["rank", "rank.systems=no.csv"])
        main(["rank", "-m", "seed=1,2", f"name=b{number}"])
        assert capsys.readouterr().out.count("stage rank") == 2  # the mistake is found before the stage starts
        assert (list(root.handlers), root.level, list(sys.argv), dict(os.environ)) == before
        assert not GlobalHydra.instance().is_initialized()
        assert not HydraConfig.initialized()
    assert Path.cwd() == tmp_path


def test_an_old_spelling_is_named_once(tmp_path: Path) -> None:
    """Oracle: one line, also of a sweep of two jobs."""
    table = tmp_path / "systems.csv"
    table.write_text((ROOT / "experiments/published_systems.csv").read_text())
    result = run(tmp_path, "-m", "seed=1,2", "stage=rank", f"systems={table}")
    assert result.returncode == 0, result.stderr
    line = "systems= is now called rank.systems=; the old name still works"
    assert result.stdout.count(line) == 1
    assert result.stdout.count("stage rank") == 2


# Adding to it.


@dataclass(frozen=True, kw_only=True)
class Echo:
    """What the throw-away stage reads."""

    text: str = setting("what it says", default="nothing")
    tone: str = setting("in which tone", choices=("low", "high"), default="low")
    source: str | None = setting("a file", is_path=True, default=None)


MODULE = """
import logging
from experiments.run import resolve
from test_command_line import Echo

def check(settings):
    logging.getLogger(__name__).info("checked")

def run(settings):
    own = settings.of(Echo)
    inner = resolve(["student", "seed=77"]).seed
    logging.getLogger(__name__).info("says %s in %s of %s, %d", own.text, own.tone, own.source, inner)
"""


@pytest.fixture
def _echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage made of one module and one declaration."""
    folder = tmp_path / "more_stages"
    folder.mkdir()
    (folder / "echo.py").write_text(MODULE)
    monkeypatch.setattr(experiments.stages, "__path__", [*experiments.stages.__path__, str(folder)])
    declared = Stage("say something", "experiments.stages.echo", Echo, ("seed",), "echo.source")
    monkeypatch.setitem(STAGES, "echo", declared)  # type: ignore[misc]
    monkeypatch.delitem(sys.modules, "experiments.stages.echo", raising=False)


@pytest.mark.usefixtures("_echo")
def test_a_stage_is_one_module_and_one_declaration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the module's own words; its settings are in help and completion, and are checked."""
    (tmp_path / "a file").touch()
    result = run(tmp_path, "echo", "a file", "echo.text=hello", "-m", "echo.tone=low,high")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("says")] == [
        "says hello in low of a file, 77",
        "says hello in high of a file, 77",
    ]
    assert lines.index("checked") < lines.index("stage echo")
    assert "say something" in run(tmp_path, "--help").stdout
    page = run(tmp_path, "echo", "echo.text=x", "--help").stdout
    assert "echo.text=x" in page
    assert "in which tone (low, high)" in page
    assert replies("scenelet ec") == ["echo"]
    assert replies("scenelet echo echo.t") == ["echo.text=", "echo.tone="]
    assert replies("scenelet echo echo.tone=h") == ["echo.tone=high"]
    monkeypatch.chdir(tmp_path)
    assert replies("scenelet echo more") == ["more_stages/"]
    assert replies("scenelet echo echo.source=more") == ["echo.source=more_stages/"]
    assert "unknown echo.tone 'loud'; choose one of: low, high" in run(tmp_path, "echo", "echo.tone=loud").stderr
    assert "not read by echo: name" in run(tmp_path, "echo", "name=x").stdout


def test_a_stage_that_is_gone_is_unknown(tmp_path: Path) -> None:
    """Oracle: the declaration above, which is taken back; what Hydra keeps is not."""
    assert "unknown stage 'echo'" in run(tmp_path, "echo").stderr
    assert "there is no stage/echo" in run(tmp_path, "stage=echo").stderr


def test_the_start_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a row with a positive time for each round; a command that ends otherwise is not timed."""
    out = tmp_path / "command.json"
    monkeypatch.setattr(command_bench, "COMMANDS", {"--version": (["--version"], 0)})
    monkeypatch.setattr("sys.argv", ["bench", "command", "--rounds", "2", "--out", str(out)])
    bench.main()
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["what"], row["unit"], len(row["rounds"])) == ("--version", "s", 2)
    assert min(row["rounds"]) > 0
    monkeypatch.setattr(command_bench, "COMMANDS", {"nothing": (["nothing"], 0)})
    with pytest.raises(SystemExit):
        bench.main()


def test_what_was_given_by_hand_is_known() -> None:
    """Oracle: keys of settings, also of dicts, and no groups; of a sweep, which ones have several values."""
    command = read_arguments(["student", "-m", "student.fit={epochs: 3}", "seed=1,2", "data.root=x", "data=folder"])
    assert command.is_sweep
    assert command.for_hydra()[-3:] == ["swept=[seed]", "given=[student.fit.epochs,seed,data.root]", "-m"]
    assert resolve(["student", "student.fit={epochs: 3}"]).given == {"student.fit.epochs"}
    assert resolve(["rank"]).of(Rank).systems is None
