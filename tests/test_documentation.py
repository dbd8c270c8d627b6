"""What README and docs say: their commands are understood and run, what they name exists, their examples run."""

import ast
import os
import pydoc
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import multi_label
import numpy as np
import panns
import pytest
import soundfile
import torch
from command import run
from documentation import (
    DOCS,
    NOT_RUN,
    ROOT,
    Command,
    filled,
    jobs_of,
    placeholders_of,
    read_commands,
    read_pages,
)
from public_networks import WIDTHS, lightning, public_tensors, save

from data.errors import UserError

PAGES = read_pages()
COMMANDS = [command for page in PAGES for command in read_commands(page)]
LINES = 150  # of the README
TRAINS = ("all", "teacher", "student", "specialize", "quantize")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
NAMED_PATH = re.compile(r"`((?:data|teachers|students|experiments|tests|docs)/[\w./-]*)`")
MESSAGE = re.compile(r"^### `([^`]+)`", re.MULTILINE)
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PLACES = (
    *("FOLDER", "IMPULSES", "MY_CLIPS", "CLASSES", "ESC_FOLDER", "URBAN_FOLDER", "SOUNDS", "FILE", "MODEL", "ABOUT"),
    *("SCENES_FOLDER", "COCHL_FOLDER", "EFFICIENTAT_FILE", "PANNS_FILE", "YAMNET_FILE", "CHECKPOINT", "LOGITS"),
    *("AUDIOSET_FOLDER", "STRONG_FOLDER", "FSD_FOLDER", "SED_FOLDER"),
)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_the_settings_of_each_command_are_understood(command: Command) -> None:
    """Oracle: the code that gives the stages their settings, for every job of a sweep."""
    for job in jobs_of(command):
        resolver()(job)


def test_a_command_with_an_unknown_setting_is_found() -> None:
    """Oracle: a setting that never was one."""
    with pytest.raises(UserError):
        resolver()(["student", "student.never_a_setting=1"])


def test_every_stage_is_shown() -> None:
    """Oracle: the stages that the command line knows; workspace, which needs a key, is described in words."""
    from experiments import run

    shown = {command.stage for command in COMMANDS}
    assert shown <= {*run.STAGES, "all"}
    assert {*run.STAGES, "all"} - shown <= {"workspace"}


def test_placeholders_and_reasons_are_in_use() -> None:
    """Oracle: the commands themselves: no placeholder without a place, no reason without a command."""
    assert set().union(*map(placeholders_of, COMMANDS)) == set(PLACES)
    assert {command.reason_not_to_run for command in COMMANDS} == {None, *NOT_RUN.values()}


def test_sweeps_are_taken_apart() -> None:
    """Oracle: the product by hand."""
    command = Command("page", 1, ("student", "-m", "name=x", "seed=0,1", "distill=none,kd", "logits=[a,b]"))
    assert jobs_of(command) == [
        ["student", "name=x", f"seed={seed}", f"distill={distill}", "logits=[a,b]"]
        for seed in (0, 1)
        for distill in ("none", "kd")
    ]


@pytest.mark.slow  # trains each network of README and docs for an epoch: some minutes
def test_each_command_runs(shared_data: Path, tmp_path: Path) -> None:
    """Oracle: exit code 0, in the order of the pages, each training for one epoch, on 200 real clips."""
    places = make_places(shared_data, tmp_path)
    failed = []
    for command in COMMANDS:
        if command.reason_not_to_run is not None:
            continue
        arguments = [each for each in filled(command.arguments, places) if not each.startswith("epochs=")]
        epochs = 2 if any(each.startswith("student.prune.") for each in arguments) else 1  # one to recover in
        arguments += [f"epochs={epochs}"] if command.stage in TRAINS else []
        arguments += ["energy.seconds=1"] if command.stage == "energy" else []
        result = run(tmp_path, *arguments, environment={"WANDB_MODE": "disabled"})
        if result.returncode:
            failed.append(f"{command}\n{result.stderr[-2000:]}")
    assert not failed, "\n\n".join(failed)


def test_the_readme_is_short() -> None:
    """Oracle: what a reader looks through."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= LINES


@each_page
def test_no_page_names_a_place_of_one_machine(page: Path) -> None:
    """Oracle: paths that exist only where this was written."""
    assert not re.search(r"\.\./shared|/home/|/tmp/|/work/|C:\\", page.read_text())


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """Oracle: the files below this folder, and the headings in them."""
    text = page.read_text()
    for link in LINK.findall(text):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), link
        assert not anchor or anchor in map(slug, HEADING.findall(target.read_text())), link


@each_page
def test_files_that_are_named_exist(page: Path) -> None:
    """Oracle: the files below this folder."""
    missing = [name for name in NAMED_PATH.findall(page.read_text()) if not (ROOT / name).exists()]
    assert not missing


def test_documented_functions_exist() -> None:
    """Oracle: Python's own import."""
    names = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert len(names) > 20
    assert not [name for name in names if pydoc.locate(name) is None]


def test_explained_messages_are_those_of_the_code() -> None:
    """Oracle: every text in the code; `...` in a heading stands for what a message fills in."""
    texts = "\n".join(text for room in ("data", "teachers", "students", "experiments") for text in texts_of(room))
    messages = MESSAGE.findall((DOCS / "faq.md").read_text())
    assert len(messages) > 20
    pieces = {piece.strip() for message in messages for piece in message.split("...")}
    assert not sorted(piece for piece in pieces if piece not in texts)


@pytest.mark.slow  # quantises and trains in each example: ten seconds
def test_the_examples_run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: each ends without an exception, in a folder where the demo has run under the name first."""
    page = (DOCS / "api.md").read_text()
    if "<!-- example:" in page:
        pytest.skip("examples are still to be written")
    examples = EXAMPLE.findall(page)
    assert len(examples) >= 5
    monkeypatch.chdir(request.getfixturevalue("trained"))
    for example in examples:
        assert len(example.splitlines()) <= 8
        exec(compile(example, "docs/api.md", "exec"), {"__name__": "example"})


def resolver():
    """What takes a command's arguments and gives the stages' settings."""
    from experiments import run

    if not hasattr(run, "resolve"):
        pytest.skip("the command line cannot resolve settings without running a stage")
    return run.resolve


def slug(heading: str) -> str:
    """A heading's anchor, as Python-Markdown and GitHub make it of plain words."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def texts_of(room: str) -> Iterator[str]:
    """Every string constant in the modules of a folder, parts of f-strings too."""
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def make_sets_in_folds(clips: Path, folder: Path) -> dict[str, Path]:
    """Clips as links to the 60 of two classes in `clips`: in classes' folders, and as ESC-50, UrbanSound8K, DCASE 2013
    and CochlScene lie; and a table of the second kind beside the clips."""
    esc, urban = ["filename,fold,target,category,src_file"], ["slice_file_name,fsID,fold,class"]
    places = {"CLASSES": folder / "classes", "ESC_FOLDER": folder / "esc", "URBAN_FOLDER": folder / "urban"}
    places |= {"SCENES_FOLDER": folder / "scenes", "COCHL_FOLDER": folder / "cochl"}
    for number in range(60):
        fold, label = number % 5 + 1, "quiet" if number % 2 else "loud"
        esc.append(f"{number}.wav,{fold},{number % 2},{label},{number}")
        urban.append(f"{number}.wav,{number},{fold},{label}")
        scene, split = ("Bus", "Park")[number % 2], ("Train", "Val", "Test")[number % 3]
        for place in (
            places["CLASSES"] / label / f"{number}.wav",
            places["ESC_FOLDER"] / f"audio/{number}.wav",
            places["URBAN_FOLDER"] / f"audio/fold{fold}/{number}.wav",
            clips / f"audio/fold{fold}/{number}.wav",
            places["SCENES_FOLDER"] / f"scenes_stereo/{scene.lower()}{number:02}.wav",
            places["COCHL_FOLDER"] / f"{split}/{scene}/{scene}_user{number:04}_1_000.wav",
        ):
            place.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(clips / f"{number}.wav", place)
    tables = {places["ESC_FOLDER"] / "meta/esc50.csv": esc, places["URBAN_FOLDER"] / "metadata/UrbanSound8K.csv": urban}
    for path, rows in {**tables, clips / "list.csv": urban}.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(rows))
    return places


def make_places(shared: Path, folder: Path) -> dict[str, Path]:
    """What the placeholders of the commands stand for, below `folder` where it is to be made."""
    from experiments.submission.about import EXAMPLE as ABOUT

    clips = folder / "my_clips"
    clips.mkdir()
    rows, generator = ["filename,label"], np.random.default_rng(0)
    for number in range(60):
        label, scale = ("quiet", 0.01) if number % 2 else ("loud", 0.3)
        soundfile.write(clips / f"{number}.wav", scale * generator.standard_normal(32_000).clip(-3, 3), 32_000)
        rows.append(f"{number}.wav,{label}")
    (clips / "clips.csv").write_text("\n".join(rows))
    in_folds = make_sets_in_folds(clips, folder)
    several = {
        "AUDIOSET_FOLDER": multi_label.write_audioset,
        "STRONG_FOLDER": multi_label.write_strong,
        "FSD_FOLDER": partial(multi_label.write_fsd50k, seconds=20),  # clips enough for a training
        "SED_FOLDER": multi_label.write_urban_sed,
    }
    for name, write in several.items():
        write(folder / name)
    (folder / "about.yaml").write_text(ABOUT)
    panns.write(folder / "panns.pth", "mobilenetv1")
    sounds = folder / "sounds"
    sounds.mkdir()
    for path in sorted((shared / "tau22-mini" / "audio").iterdir())[:40]:
        os.symlink(path, sounds / path.name)
    return {
        "FOLDER": shared / "tau22-mini",
        "IMPULSES": shared / "micirp",
        "MY_CLIPS": clips,
        **in_folds,
        **{name: folder / name for name in several},
        "SOUNDS": sounds,
        "FILE": Path("runs/student/mine/predictions.csv"),
        "MODEL": Path("runs/quantize/mine/model.tflite"),
        "ABOUT": folder / "about.yaml",
        "EFFICIENTAT_FILE": shared / "weights/mn04_as.safetensors",
        "PANNS_FILE": folder / "panns.pth",
        "YAMNET_FILE": shared / "weights/yamnet.safetensors",
        "CHECKPOINT": save(folder / "last.ckpt", lightning(public_tensors(*WIDTHS["61k"]))),
        "LOGITS": save(folder / "logits.pt", torch.randn(200, 10)),
    }
