"""Damaged tables, descriptions, packages and records of runs: each is read, or refused in one message within bounds."""

import csv
import hashlib
import io
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fuzzing
import numpy as np
import packages
import pytest
import structures
import yaml
from fuzzing import Mutant
from test_report import make_run

from data.errors import UserError, listed
from data.files import write_whole
from data.readers.folder import read_folder
from data.readers.tau22 import read_tau22
from data.resources import AUDIOSET, Use, as_rows
from data.scenes import SCENES, Clip, ClipSet
from experiments.evaluation.predictions import predictions_text, read_predictions
from experiments.evaluation.ranking import rank
from experiments.evaluation.results import read_results
from experiments.evaluation.seeds import Setting, all_metrics, caveats, group, headline
from experiments.evaluation.systems import PUBLISHED, read_runs, read_systems
from experiments.report.summary import summary_grids, summary_of, summary_table
from experiments.report.tables import metric_rows
from experiments.runs.lineage import trainings
from experiments.runs.reader import find_record, read_phases, read_run
from experiments.runs.record import Run
from experiments.runs.relatives import ancestors
from experiments.submission.about import EXAMPLE, read_about
from experiments.submission.builders import features_of, student_of
from experiments.submission.declared import declared, unnamed
from experiments.submission.describe import augmentations, network_of, notes
from experiments.submission.lineage import Lineage, read_lineage
from experiments.submission.validate import validate


def rows_of(text: str, separator: str) -> list[list[str]]:
    """Of a table, by Python's csv module."""
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))


def both(original: bytes, structural: Callable[[int], Iterator[Mutant]], count: int) -> Iterator[Mutant]:
    """Half of the mutants by bytes, half by structure."""
    return itertools.chain(fuzzing.mutants(original, count // 2), structural(count - count // 2))


def survive_table(reader: fuzzing.Reader, text: str, separator: str, count: int, folder: Path, name: str) -> int:
    """Have a reader read a table's mutants."""
    rows, original = rows_of(text, separator), text.encode()

    def structural(number: int) -> Iterator[Mutant]:
        return structures.table_mutants(rows, number, separator=separator)

    return fuzzing.survive(reader, original, both(original, structural, count), folder, name)


def test_tables_of_clips(fuzz: int, tmp_path: Path) -> None:
    """Oracle: the bounds; the sound table is read."""
    rows = [
        f"{n}.wav,{'cat' if n % 2 else 'owl'},{'ab'[n % 3 % 2]},place {n},{'train' if n % 4 else 'test'}"
        for n in range(24)
    ]
    text = "\n".join(["filename,label,device,location,split", *rows]) + "\n"
    assert survive_table(lambda path: read_folder(path.parent), text, ",", fuzz, tmp_path, "clips.csv")


@pytest.mark.slow  # three tables are read for each mutant
@pytest.mark.parametrize("name", ["meta.csv", "fold1_train.csv"])
def test_official_lists(name: str, fuzz: int, tmp_path: Path) -> None:
    """Oracle: the bounds; the sound lists are read."""
    clips = [
        (f"audio/{scene}-lyon-{place}-{place}-{part}-a.wav", scene, f"lyon-{place}", "a")
        for place, scene in enumerate(SCENES * 2)
        for part in range(2)
    ]
    for folder in ("evaluation_setup", "audio"):
        (tmp_path / folder).mkdir()
    for filename, *_ in clips:
        (tmp_path / filename).touch()
    lists = {
        "meta.csv": [("filename", "scene_label", "identifier", "source_label"), *clips],
        "evaluation_setup/fold1_train.csv": [("filename", "scene_label"), *(clip[:2] for clip in clips[:20])],
        "evaluation_setup/fold1_evaluate.csv": [("filename", "scene_label"), *(clip[:2] for clip in clips[20:])],
    }
    for file, rows in lists.items():
        (tmp_path / file).write_text("".join("\t".join(row) + "\n" for row in rows))
    file = next(tmp_path.rglob(name))
    assert survive_table(lambda _: read_tau22(tmp_path), file.read_text(), "\t", fuzz, file.parent, name)


def test_predictions(fuzz: int, tmp_path: Path) -> None:
    """Oracle: the bounds; what is accepted are probabilities of the clips asked for."""
    names = [f"{side}/{n}.wav" for side in ("left", "right") for n in range(5)]
    text = predictions_text(names, np.random.default_rng(0).dirichlet(np.ones(10), size=10), SCENES)

    def read(path: Path) -> None:
        found = read_predictions(path, names, SCENES)
        assert found.shape == (10, 10)
        np.testing.assert_allclose(found.sum(axis=1), 1)

    assert survive_table(read, text, "\t", fuzz, tmp_path, "predictions.csv")


@pytest.mark.slow  # as test_predictions, which is quick
def test_systems(fuzz: int, tmp_path: Path) -> None:
    """Oracle: the bounds; the published table is read."""
    assert survive_table(read_systems, PUBLISHED.read_text(), ",", fuzz, tmp_path, "systems.csv")


def test_descriptions_of_authors(fuzz: int, tmp_path: Path) -> None:
    """Oracle: the bounds; the example is accepted."""

    def structural(number: int) -> Iterator[Mutant]:
        return structures.tree_mutants(yaml.safe_load(EXAMPLE), number, lambda tree: yaml.safe_dump(tree).encode())

    assert fuzzing.survive(
        lambda path: read_about(path, 1),
        EXAMPLE.encode(),
        both(EXAMPLE.encode(), structural, fuzz),
        tmp_path,
        "about.yaml",
    )


@pytest.mark.slow  # a package is zipped and looked through for each mutant
def test_packages(fuzz: int, tmp_path: Path) -> None:
    """Oracle: the bounds; the sound package has no defect."""
    files = packages.files()
    original = packages.zipped(tmp_path / "original.zip", files).read_bytes()
    parts = {name[name.rindex(".") :]: name for name in files}

    def inside(name: str, mutants: Iterator[Mutant]) -> Iterator[Mutant]:
        for change, content in mutants:
            yield f"{name}: {change}", packages.zipped(tmp_path / "x.zip", {**files, name: content}).read_bytes()

    def structural(number: int) -> Iterator[Mutant]:
        some = number // 4
        yield from structures.zip_mutants(files, some)
        rows = rows_of(files[parts[".csv"]].decode(), "\t")
        yield from inside(parts[".csv"], structures.table_mutants(rows, some, separator="\t"))
        tree = structures.tree_mutants(packages.description(), some, lambda tree: yaml.safe_dump(tree).encode())
        yield from inside(parts[".yaml"], tree)
        yield from inside(parts[".pdf"], fuzzing.mutants(files[parts[".pdf"]], number - 3 * some))

    def read(path: Path) -> None:
        if defects := validate(path, packages.CLIPS)[0]:
            raise UserError(f"{path} has defects:\n{listed(defects)}")

    assert fuzzing.survive(read, original, both(original, structural, fuzz), tmp_path, "p.zip")


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    """Clips of which there are no files."""
    clips = [Clip(f"{n}.wav", SCENES[n % 10], "lyon", f"lyon-{n}", str(n), 0, "a", "test") for n in range(20)]
    return ClipSet(name="small", root=tmp_path_factory.mktemp("small"), clips=clips)


WEIGHTS = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture
def quantized(tmp_path: Path, small_set: ClipSet) -> Path:
    """A run of the quantize stage, with its student's beside it, whose files are no networks."""
    runs = tmp_path / "runs"
    folder, student = make_run(runs / "quantize/a", small_set), make_run(runs / "student/a", small_set)
    (folder / "model.tflite").write_bytes(b"model")
    checkpoint = write_whole(student / "checkpoint.safetensors", b"weights")
    config = yaml.safe_dump({"data": {"kind": "tau22", "subset": 100, "validation_fraction": 0.3}})
    settings = {"student": {"builder": "cp_mobile", "mel": {"kind": "log_mel"}, "size": "6k"}, "seed": 0}
    inputs = {"checkpoint": WEIGHTS, "waves": "ab"}
    for run, record in (
        (folder, {"settings": {"quantize": {"method": "ptq", "bits": 8}, "seed": 0}, "inputs": inputs}),
        (student, {"settings": settings, "inputs": {"waves": "ab"}}),
    ):
        (run / "config.yaml").write_text(config)
        sources = [str(checkpoint)] if run == folder else []
        external = as_rows([Use("weights", "w.pt", WEIGHTS, (AUDIOSET,)), Use("data", "d", "ab", is_known=False)])
        (run / "run.json").write_text(json.dumps({**record, "sources": sources, "external": external}))
    return folder


def _summarise(settings: Sequence[Setting]) -> None:
    summary_table(summary_grids(summary_of(settings, settings[0], headline(all_metrics(settings))))[0])
    caveats(settings, settings[0])


def _describe(lineage: Lineage) -> None:
    for part in (augmentations, network_of, notes, lambda each: (declared([each], []), unnamed([each], []))):
        part(lineage)
    metric_rows(lineage.quantized.scores)
    features_of(lineage.student)
    student_of(lineage.student)


def use(path: Path) -> None:
    """What the stages rank, summary, energy and submit read of the run that a file lies in, and of reusing it."""
    folder = path.parent
    for reader in (find_record, read_phases, ancestors):
        reader(folder)
    run, quantized = Run(folder, settings={"seed": 1}, inputs={}), folder.parent.parent / "quantize/a"
    trainings(quantized / "model.tflite", {"checkpoint_sha256": WEIGHTS}, folder.parent.parent)
    problems = []
    for attempt in (
        lambda: read_run(folder),
        lambda: rank(read_runs([folder])),
        lambda: _summarise(group(read_results([folder])[0])),
        lambda: _describe(read_lineage(quantized)),
        run.is_done,
        run.reopened,
    ):
        try:
            attempt()
        except UserError as error:
            problems += [str(error)] if "holds a result of other settings" not in str(error) else []
    if problems:
        raise UserError(f"{path}: {problems[0]}")


RECORDS = ("run.json", "score.json", "energy.json", "layers.json", "operators.json", "history.jsonl")


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("stage", ["quantize", pytest.param("student", marks=pytest.mark.slow)])  # half of them do
def test_records_of_runs(stage: str, name: str, fuzz: int, quantized: Path) -> None:
    """Oracle: the bounds; the undamaged run is read, ranked, summarised and described."""
    folder = quantized.parent.parent / stage / "a"
    original = (folder / name).read_bytes()
    lines = name.endswith("l")
    tree = [json.loads(line) for line in original.splitlines()] if lines else json.loads(original)

    def write(tree: Any) -> bytes:
        return (
            b"\n".join(map(structures.as_json, tree)) if lines and isinstance(tree, list) else structures.as_json(tree)
        )

    def structural(number: int) -> Iterator[Mutant]:
        return structures.tree_mutants(tree, number, write)

    assert fuzzing.survive(use, original, both(original, structural, max(20, fuzz // 8)), folder, name)


@pytest.mark.parametrize("name", ["confusion.csv", "reliability.csv"])
def test_tables_of_runs(name: str, fuzz: int, quantized: Path) -> None:
    """Oracle: the bounds; the undamaged run is read, ranked, summarised and described."""
    assert survive_table(use, (quantized / name).read_text(), ",", max(20, fuzz // 8), quantized, name)
