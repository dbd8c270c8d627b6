"""The evaluation set: fetched and checked as published, kept from all that learns, and submitted by default."""

import io
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import test_download
import test_submission
from command import run
from test_download import Server

from data import download
from data.errors import UserError
from data.evaluation_set import is_evaluation
from data.readers import own_settings, read, tau22
from data.records import EVALUATION, RECORDS
from data.scenes import ClipSet
from experiments.submission.evaluation_set import evaluation_files, require_published
from experiments.submission.layout import EDITIONS

# Of the task's page, "Task specific rules".
RULE = (
    "The evaluation dataset cannot be used to train the submitted system; the use of statistics about the evaluation "
    "data in the decision-making is also forbidden."
)
TOP = "TAU-urban-acoustic-scenes-2023-mobile-evaluation"
NAMES = ["0.wav", "1.wav", "2.wav"]
server = test_download.server  # a fixture: an HTTP server of a record
folder = test_submission.folder  # a fixture: trained runs, and about.yaml


def sound() -> bytes:
    """A second as the page says: "Audio is provided in a single-channel 44.1kHz 24-bit format"."""
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 44_100), 44_100, "PCM_24", format="WAV")
    return file.getvalue()


def listed(names: list[str]) -> bytes:
    return "\r\n".join(["filename", *(f"audio/{name}" for name in names), ""]).encode()


@pytest.fixture
def published(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A record of an evaluation set of three clips, as if that were all of them."""
    server.files.clear()
    server.md5.clear()
    server.add(f"{TOP}.meta.zip", {f"{TOP}/evaluation_setup/fold1_test.csv": listed(NAMES)})
    server.add(f"{TOP}.audio.1.zip", {f"{TOP}/audio/{name}": sound() for name in NAMES})
    record = replace(RECORDS[EVALUATION], url=f"{server.url}/record", md5=dict(server.md5))
    for module in ("data.readers.tau22", "experiments.stages.submit"):
        monkeypatch.setattr(f"{module}.RECORDS", {**RECORDS, EVALUATION: record})
    monkeypatch.setitem(EDITIONS, 2023, replace(EDITIONS[2023], files=3))
    return server


ARGUMENTS = ("stage=data", "data=tau22", "data.part=evaluation")


def test_the_evaluation_set_is_fetched_and_checked(published: Server, tmp_path: Path) -> None:
    """Oracle: the members of the archives; the rule of the task's page is said; a second command fetches nothing, and
    nothing is packed."""
    done = run(tmp_path, *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    root = tmp_path / "cache" / TOP
    members = {}
    for data in published.files.values():
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members |= {name.removeprefix(f"{TOP}/"): archive.read(name) for name in archive.namelist()}
    assert test_download.content(root) == dict(sorted(members.items()))
    said = " ".join(done.stdout.split())
    assert "3 clips without labels, as published" in said
    assert RULE in said
    published.asked.clear()
    again = run(tmp_path, *ARGUMENTS, "data.subset=25")
    assert again.returncode == 0
    assert "not read by data: data.subset" in " ".join(again.stdout.split())
    assert not published.asked
    assert not list(tmp_path.rglob("*.h5"))


def test_a_fetch_that_stopped_goes_on_and_its_part_is_no_evaluation_set(published: Server, tmp_path: Path) -> None:
    """Oracle: the bytes that the server is asked for; the list is there already, and no stage takes the folder."""
    published.break_at = 100_000
    assert "could not be fetched whole" in run(tmp_path, *ARGUMENTS).stderr
    root = tmp_path / "cache" / TOP
    with pytest.raises(UserError, match="is not finished"):
        evaluation_files(root)
    published.break_at, published.asked = None, []
    assert run(tmp_path, *ARGUMENTS).returncode == 0
    assert published.asked[-1] == (f"{TOP}.audio.1.zip", "bytes=100000-")
    assert [path.name for path in evaluation_files(root)] == NAMES


def test_what_is_not_as_published_is_refused(published: Server, tmp_path: Path) -> None:
    """Oracle: the md5 sums that are known: a record that describes another archive is not fetched; an archive that is
    cut short is not what the record says, or no archive."""
    whole = dict(published.files)
    name = f"{TOP}.audio.1.zip"
    published.add(name, {f"{TOP}/audio/0.wav": sound()})
    refused = run(tmp_path, *ARGUMENTS)
    assert f"{name}: {published.md5[name]}, not" in refused.stderr
    assert [asked for asked, _ in published.asked] == ["record"]
    published.files[name] = whole[name][:-100]
    published.md5[name] = tau22.RECORDS[EVALUATION].md5[name]
    assert f"{name} is not what the record says (md5" in " ".join(run(tmp_path, *ARGUMENTS).stderr.split())
    (tmp_path / "x.zip").write_bytes(whole[name][:-100])
    with pytest.raises(UserError, match="is no zip archive"):
        download.unpack(tmp_path / "x.zip", tmp_path / "cache", TOP)


def test_the_record_is_that_which_others_read() -> None:
    """Oracle: soundata's loader, soundata/datasets/tau2022uas_mobile.py: the record and ten archives, two of their md5
    sums."""
    record = RECORDS[EVALUATION]
    assert record.url.endswith("/7870258")
    assert sorted(record.md5) == sorted(
        [*(f"{TOP}.audio.{number}.zip" for number in range(1, 9)), f"{TOP}.doc.zip", f"{TOP}.meta.zip"]
    )
    assert record.md5[f"{TOP}.audio.1.zip"] == "9f085fb1f4678a2f54eb3ef89f68693c"
    assert record.md5[f"{TOP}.meta.zip"] == "21deb3451741b6dab46287eb220261c2"
    assert EDITIONS[2023].files == 33 * 3600  # soundata: "33 hours"; the organisers' checker: 118,800


def made(root: Path, names: list[str] = NAMES) -> Path:
    """An evaluation set on disk."""
    (root / "audio").mkdir(parents=True)
    (root / "evaluation_setup").mkdir()
    for name in names:
        (root / "audio" / name).write_bytes(sound())
    (root / "evaluation_setup/fold1_test.csv").write_bytes(listed(names))
    return root


def test_order_and_number_are_those_of_the_list(tmp_path: Path) -> None:
    """Oracle: the organisers' checker: 118,800 clips; the page: "Result items can be in any order". A clip that is
    missing, one that is called otherwise, and labels are defects."""
    edition = replace(EDITIONS[2023], files=3)
    root = made(tmp_path / "set", ["2.wav", "0.wav", "1.wav"])
    files = evaluation_files(root)
    assert [path.name for path in files] == ["2.wav", "0.wav", "1.wav"]
    require_published(root, files, edition)
    with pytest.raises(UserError, match=r"has 2 clips: the official evaluation set has 3, 0\.wav to 2\.wav"):
        require_published(root, files[1:], edition)
    with pytest.raises(UserError, match="has 3 clips: the official evaluation set has 118,800"):
        require_published(root, files, EDITIONS[2023])
    with pytest.raises(UserError, match="1 of them with other names"):
        require_published(root, [*files[1:], root / "audio/x.wav"], edition)
    (root / "meta.csv").write_text("filename\tscene_label\naudio/0.wav\tbus\n")
    with pytest.raises(UserError, match=r"whose labels are not released: there is a column scene_label in\n.*meta.csv"):
        require_published(root, files, edition)
    (root / "audio/1.wav").unlink()
    with pytest.raises(UserError, match=r"lists 1 missing file:\n.*1\.wav"):
        evaluation_files(root)


@pytest.mark.parametrize("table", ["meta.csv", "evaluation_setup/fold1_train.csv"])
def test_a_folder_with_labels_is_no_evaluation_set(tmp_path: Path, table: str) -> None:
    """Oracle: the task's page: "Reference labels for evaluation dataset will not be released"; a list that has some, as
    a development set has."""
    (made(tmp_path / "set") / table).write_text("filename\tscene_label\naudio/0.wav\tbus\n")
    told = run(tmp_path, *ARGUMENTS, "data.root=set", "data.download=false")
    assert told.returncode == 1
    said = " ".join(told.stderr.split())
    assert f"whose labels are not released: there is a column scene_label in set/{table}" in said


@pytest.mark.parametrize("steps", ["teacher", "student", "[data,teacher,student,quantize]", "score"])
def test_no_stage_but_one_takes_the_evaluation_part(tmp_path: Path, steps: str) -> None:
    """Oracle: the rule of the task's page, word by word; nothing is fetched, made or trained."""
    named = f"stage.steps={steps}" if "[" in steps else f"stage={steps}"
    told = run(tmp_path, named, "data=tau22", "data.part=evaluation", "tracking=none")
    assert told.returncode == 1
    assert RULE in " ".join(told.stderr.split())
    assert not (tmp_path / "cache").exists()
    with pytest.raises(UserError, match=r"is read by nothing that learns: The evaluation dataset cannot be used"):
        read("tau22", tmp_path, {"part": EVALUATION}, cache=tmp_path)


@pytest.mark.parametrize("kind", ["folder", "classes", "esc50", "urbansound8k", "unlabelled", "synthetic"])
def test_other_data_sets_have_no_such_part(kind: str) -> None:
    """Oracle: the message."""
    with pytest.raises(UserError, match=f"data.part=evaluation means nothing to data={kind}: leave it out"):
        own_settings(kind, {"part": EVALUATION})


@pytest.mark.slow  # some seconds
def test_nothing_learns_from_its_folder_by_another_name(tmp_path: Path, miniature: ClipSet) -> None:
    """Oracle: the rule of the task's page, for each other way to name the sounds: as sounds without labels, from a
    folder around it, by a table elsewhere, through links to its folder and to its files, and as impulse responses."""
    root = made(tmp_path / "around" / "set")
    (tmp_path / "link").symlink_to(root / "audio")
    (tmp_path / "links").mkdir()
    for name in NAMES:
        (tmp_path / "links" / name).symlink_to(root / "audio" / name)
    table = "filename,label\n" + "".join(f"{root}/audio/{name},{'ab'[n % 2]}\n" for n, name in enumerate(NAMES))
    (tmp_path / "clips.csv").write_text(table)
    renamed = tmp_path / TOP / "audio"
    renamed.mkdir(parents=True)
    (renamed / "0.wav").write_bytes(sound())
    ways = [
        ("data=unlabelled", f"data.root={root}"),
        ("data=unlabelled", f"data.root={tmp_path / 'around'}"),
        ("data=unlabelled", f"data.root={tmp_path / 'link'}"),
        ("data=unlabelled", f"data.root={tmp_path / 'links'}"),
        ("data=unlabelled", f"data.root={renamed}", "data.validation_fraction=0"),
        ("data=folder", f"data.root={tmp_path}", "data.validation_fraction=0", "data.test_fraction=0.4"),
        ("data=synthetic", f"data.root={miniature.root}", f"data.impulses={root / 'audio'}"),
        ("data=synthetic", f"data.root={miniature.root}", f"data.impulses={tmp_path / 'links'}"),
    ]
    for way in ways:
        told = run(tmp_path, "stage=data", *way)
        assert told.returncode == 1, way
        assert RULE in " ".join(told.stderr.split()), (way, told.stderr)
    assert not is_evaluation(miniature.root)


@pytest.mark.slow  # makes a package, of trained runs
def test_submit_takes_it_from_where_it_was_fetched_to(folder: Path, published: Server, tmp_path: Path) -> None:
    """Oracle: the clips of the made-up archives are those of the package's table, read by the standard library; without
    them the message says how they are fetched."""
    shutil.copytree(folder / "runs", tmp_path / "runs")
    shutil.copy(folder / "about.yaml", tmp_path)
    submit = ("stage=submit", "name=first", "submit.about=about.yaml", "tracking=none")
    missing = " ".join(run(tmp_path, *submit).stderr.split())
    assert f"fetch them to cache/{TOP}: stage=data data=tau22 data.part=evaluation" in missing
    assert run(tmp_path, *ARGUMENTS).returncode == 0
    made = run(tmp_path, *submit)
    assert made.returncode == 0, made.stderr
    package = "runs/submit/first/submission.zip"
    with zipfile.ZipFile(tmp_path / package) as archive:
        (table,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith(".output.csv"))
    assert [line.split("\t")[0] for line in table.splitlines()] == ["filename", *NAMES]
    told = run(tmp_path, "stage=validate", f"package={package}")
    assert "no defect found" in told.stdout
    assert "refuse" not in made.stdout
