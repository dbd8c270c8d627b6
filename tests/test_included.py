"""The model that comes with the package answers until there is another one, and is what it is said to be."""

from pathlib import Path

import pytest
from command import run

from data.readers.folder import read_folder
from data.readers.synthetic import wave_of
from experiments.inference.included import FOLDER, about, included_model
from experiments.models.classifiers import load_model
from experiments.study.cells import read_rows
from experiments.study.table import methods_table
from students.complexity import tflite_complexity

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty one with a sound."""
    found = tmp_path_factory.mktemp("before")
    (found / "some.wav").write_bytes(wave_of("park"))
    return found


def test_a_sound_is_classified_before_anything_is_trained(folder: Path) -> None:
    """Oracle: the file's classes are ESC-50's, and the command names the model with the figures of about.json."""
    result = run(folder, "predict", "some.wav")
    assert result.returncode == 0, result.stderr
    assert f"not for commercial use, accuracy {100 * about()['accuracy']:.1f} %" in result.stdout
    header = (folder / "runs/predict/some/predictions.csv").read_text().splitlines()[0].split("\t")
    assert {"dog", "rain", "siren", "clock_alarm"} < set(header)


def test_a_name_means_the_run_of_that_name(folder: Path) -> None:
    """Oracle: there is no such run, so nothing answers for it; the model's own name is known with any."""
    result = run(folder, "count", "name=mine")
    assert result.returncode == 1
    assert "runs/quantize/mine/model.tflite does not exist" in result.stderr
    assert run(folder, "count", "name=mine", "model=esc50").returncode == 0


@pytest.mark.parametrize("stage", ["student", "quantize"])
def test_it_does_not_answer_for_a_student_that_is_not_quantised_yet(tmp_path: Path, stage: str) -> None:
    """Oracle: of a training without a name, under way or finished, the costs are not those of another network."""
    (tmp_path / f"runs/{stage}/default").mkdir(parents=True)
    result = run(tmp_path, "count")
    assert result.returncode == 1
    assert "runs/quantize/default/model.tflite does not exist: run the quantize stage" in result.stderr


def test_a_model_that_was_trained_comes_first(trained: Path) -> None:
    """Oracle: the run of the default name has ten classes."""
    (trained / "runs/quantize/first").rename(trained / "runs/quantize/default")
    (trained / "some.wav").write_bytes(wave_of("park"))

    result = run(trained, "predict", "some.wav")
    assert "model default:" in result.stdout
    assert "model esc50:" in run(trained, "predict", "some.wav", "model=esc50", "name=other").stdout


@pytest.mark.slow  # the C is compiled and run
def test_c_is_written_of_it_with_its_licence(folder: Path) -> None:
    """Oracle: the licence of the recordings, not of the code; nothing is written beside the model."""
    before = sorted(FOLDER.iterdir())
    result = run(folder, "deploy")
    assert result.returncode == 0, result.stderr
    assert "NonCommercial" in (folder / "runs/deploy/default/NOTICE.txt").read_text()
    assert sorted(FOLDER.iterdir()) == before


def test_its_figures_are_those_of_the_study() -> None:
    """Oracle: the line of the study's table for these integers on fold 1, and the size that the study's run counted."""
    key = "distilled_int8", 1, 0
    line = methods_table({key: read_rows(ROOT / "docs/studies/esc50.csv")[key]}).splitlines()[-1]
    low, high, accuracy = (f"{100 * about()[name]:.1f}" for name in ("low", "high", "accuracy"))
    assert f"| {accuracy} % ({low} to {high}) |" in line
    assert tflite_complexity(included_model()).parameter_bytes == 68_176


@pytest.mark.slow  # 400 clips of five seconds
def test_it_answers_as_the_study_says(shared_data: Path) -> None:
    """Oracle: the answers in docs/studies/esc50.csv to the clips of fold 1. The spectrograms are of floats, which
    processors round differently: one answer of a hundred may change."""
    root = shared_data / "esc50-16k"
    row = read_rows(ROOT / "docs/studies/esc50.csv")["distilled_int8", 1, 0]
    clips = read_folder(root, csv=root / "fold1.csv")
    names = sorted(clips.filenames[index] for index in clips.indices("test"))
    classifier = load_model(included_model())
    assert classifier.scenes == clips.scenes
    answers = classifier.classify_clips([root / name for name in names]).argmax(1)
    assert (answers == row.answers).mean() >= 0.99
