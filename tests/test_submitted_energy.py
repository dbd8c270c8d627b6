"""The energy that a submission states: each phase apart, summed, beside the baseline's, and what it was metered on."""

from pathlib import Path

import pytest
import yaml

from data.errors import UserError
from experiments.runs.formats import Metered
from experiments.submission.about import EXAMPLE, read_about
from experiments.submission.energy import energy_fields, energy_notes, energy_words, with_given
from experiments.submission.meta import meta_text

HERE = "A processor, measured by RAPL"


def metered(kwh: float | None, **more: object) -> Metered:
    return {"kWh": kwh, "seconds": None if kwh is None else 1.0, "estimated": False, "on": [HERE], **more}


ENERGY = {
    "training/teacher": metered(2.0),
    "training/logits": metered(0.5),
    "training/student": metered(1.0, lost=["/home/me/runs/student/s: a part that was killed"]),
    "training/quantize": metered(0.5),
    "training/all": metered(4.0, codecarbon="3.0"),
    "inference": metered(0.034, clips=29_680),
    "baseline": metered(0.068, clips=29_680),
    "baseline/training": metered(0.210, runs={"/home/me/runs/student/b": 0.210}),
}


def test_every_phase_stands_apart_and_beside_the_baseline() -> None:
    """Oracle: the page's formula by hand, with the 0.21 and 0.068 kWh that the baseline of 2022 states: 0.21 / 4 and
    0.068 / 0.034; the phases add up to the sum. No path of the machine is told."""
    words = energy_words(ENERGY)
    parts = [float(word) for name, word in words.items() if name.startswith(("training of the t", "teachers"))]
    assert parts == [2.0, 0.5]
    assert (words["training of the student"], words["quantisation"], words["training, all"]) == ("1", "0.5", "4")
    assert words["baseline / system, training"] == f"{0.21 / 4:.4g}"
    assert words["baseline / system, inference"] == "2"
    assert energy_fields(ENERGY) == {
        "training": 4.0,
        "inference": 0.034,
        "baseline_training": 0.210,
        "baseline_inference": 0.068,
    }
    notes = energy_notes(ENERGY)
    assert (
        notes[0]
        == "inference and baseline_inference are of 29680 clips; no processor that was metered here had to be estimated"
    )
    assert f"training on: {HERE} (codecarbon 3.0)" in notes
    assert "not counted: student/s: a part that was killed" in notes
    assert words["not counted"] == "student/s: a part that was killed"
    assert "baseline_training is that of student/b, trained here" in notes
    assert any("our own copy" in note for note in notes)
    assert "/home" not in f"{notes}{words}"
    text = meta_text({"a": 1}, [*notes, "x" * 300])
    assert all(line.startswith("#") for line in text.splitlines()[:-1])
    assert yaml.safe_load(text) == {"a": 1}


def test_what_was_not_metered_is_said_and_is_no_zero() -> None:
    """Oracle: by hand: a phase that is not known, and one that is missing; a ratio needs both."""
    gone = {**ENERGY, "training/logits": metered(None), "training/all": metered(None)}
    del gone["baseline/training"]
    words = energy_words(gone)
    for name in ("teachers writing their logits", "training, all", "training of the baseline"):
        assert words[name] == "not metered"
    assert words["baseline / system, training"] == "not metered"
    assert "0" not in {*words.values()}
    assert energy_fields(gone)["baseline_training"] is None
    assert "baseline_training is not metered" in energy_notes(gone)


def test_a_figure_from_elsewhere_stands_only_where_none_was_metered() -> None:
    """Oracle: by hand: 0.21 kWh on another machine stand for the training, and have no ratio; the inference that was
    metered here stays. A training on other hardware has no ratio either."""
    given = {"training": 0.21, "inference": 9.0, "hardware": "a V100"}
    alone = {name: phase for name, phase in ENERGY.items() if name != "baseline/training"}
    found = with_given(alone, given)
    assert energy_fields(found)["baseline_training"] == 0.21
    assert energy_fields(found)["baseline_inference"] == 0.068
    words = energy_words(found)
    assert words["training of the baseline"] == "0.21 (given)"
    assert words["baseline / system, training"] == "not on one hardware"
    assert "baseline_training is given: measured elsewhere, on a V100" in energy_notes(found)
    assert with_given(ENERGY, given) == with_given(ENERGY, None) == ENERGY
    moved = {**ENERGY, "baseline/training": {**ENERGY["baseline/training"], "on": ["a GPU"]}}
    assert energy_words(moved)["baseline / system, training"] == "not on one hardware"


@pytest.mark.parametrize(
    "wrong",
    [
        "{training: -0.1, hardware: x}",
        "{training: 0, hardware: x}",
        "{training: .nan, hardware: x}",
        "{training: .inf, hardware: x}",
        "{training: 0.21 kWh, hardware: x}",
        "{training: true, hardware: x}",
        "{training: 0.21}",
        "{training: 0.21, hardware: 3}",
        "{training: null, inference: null, hardware: x}",
        "0.21",
    ],
)
def test_a_figure_that_is_none_is_refused(tmp_path: Path, wrong: str) -> None:
    """Oracle: the message, for energies that are no energies and for figures of unknown hardware."""
    path = tmp_path / "about.yaml"
    path.write_text(EXAMPLE.replace("baseline_energy: null", f"baseline_energy: {wrong}"))
    with pytest.raises(UserError, match="baseline_energy must be null, or training and inference"):
        read_about(path, 1)


def test_a_figure_from_elsewhere_is_read(tmp_path: Path) -> None:
    """Oracle: the file; a key that means nothing is named."""
    path = tmp_path / "about.yaml"
    path.write_text(EXAMPLE.replace("baseline_energy: null", "baseline_energy: {training: 0.21, hardware: a V100}"))
    assert read_about(path, 1).baseline_energy == {"training": 0.21, "hardware": "a V100"}
    path.write_text(path.read_text().replace("hardware:", "kwh: 1, hardware:"))
    with pytest.raises(UserError, match="baseline_energy: 'kwh' means nothing"):
        read_about(path, 1)
