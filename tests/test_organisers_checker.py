"""Tables of predictions are judged as the organisers' checker judges them, and scored as the task's page means them."""

import csv
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import run
from packages import LABEL, files, zipped

from data.scenes import SCENES
from experiments.evaluation.predictions import header, read_predictions
from experiments.submission.layout import EDITIONS, output_path
from experiments.submission.validate import validate

# The "Example output" of the task's page, https://dcase.community/challenge2023, Task 1, "System output file".
PAGE = (
    "filename	scene_label	airport	bus	metro	metro_station	park	public_square	shopping_mall	"
    "street_pedestrian	street_traffic	tram\n"
    "0.wav	bus	0.25	0.99	0.12	0.32	0.41	0.42	0.23	0.34	0.12	0.45\n"
    "1.wav	tram	0.25	0.19	0.12	0.32	0.41	0.42	0.23	0.34	0.12	0.85\n"
)
HEADER, FIRST, SECOND = PAGE.splitlines(keepends=True)
SUMS = "in 2 of 2 rows the probabilities do not sum to 1 (0.wav: 3.65; 1.wav: 3.25)"
TWO = ["0.wav", "1.wav"]


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation set of two clips, as that of the page's example."""
    monkeypatch.setitem(EDITIONS, 2023, replace(EDITIONS[2023], files=2))


def written(folder: Path, text: str) -> Path:
    path = folder / f"{LABEL}.output.csv"
    path.write_bytes(text.encode())
    return path


@pytest.mark.usefixtures("two")
def test_the_rows_that_the_page_shows_are_warned_of_and_pass(tmp_path: Path) -> None:
    """Oracle: the page's example rows, whose probabilities sum to 3.65 and 3.25 by hand; alone and in a package, with
    a list of files and without one."""
    package = {**files(), output_path(LABEL): PAGE.encode()}
    for path in (written(tmp_path, PAGE), zipped(tmp_path / "p.zip", package)):
        for names in (None, TWO):
            found = validate(path, names)
            assert found.defects == []
            assert [warning.split(": ", 1)[1] for warning in found.warnings] == [SUMS]
    told = run(tmp_path, "stage=validate", f"package={LABEL}.output.csv")
    assert told.returncode == 0, told.stderr
    assert SUMS in " ".join(told.stdout.split())
    assert "no defect found" in told.stdout


def test_the_rows_that_the_page_shows_are_scored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: the page's example rows divided by their sums, by hand; what was done is said."""
    found = read_predictions(written(tmp_path, PAGE), TWO, SCENES)
    rows = [[float(value) for value in line.split("\t")[2:]] for line in (FIRST, SECOND)]
    np.testing.assert_allclose(found, [np.divide(rows[0], 3.65), np.divide(rows[1], 3.25)])
    assert caplog.messages == [f"{tmp_path / LABEL}.output.csv: {SUMS}: each row is divided by its sum"]


def test_a_label_that_is_not_the_most_probable_scene_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: the page's second row with another of its ten scenes: the organisers' checker asks for one of them, and
    no more."""
    path = written(tmp_path, HEADER + FIRST + SECOND.replace("tram", "park", 1))
    found = validate(path, TWO)
    said = "in 1 of 2 rows scene_label is not the most probable scene (1.wav: park, not tram)"
    assert found.defects == []
    assert f"{path}: {said}" in found.warnings
    with caplog.at_level(logging.WARNING):
        assert read_predictions(path, TWO, SCENES).argmax(1).tolist() == [SCENES.index("bus"), SCENES.index("tram")]
    assert f"{path}: {said}: metrics are those of the probabilities" in caplog.messages


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + FIRST, "it has 1 row, and the official evaluation set of 2023 has 2 clips"),
        (PAGE + FIRST.replace("0.wav", "2.wav"), "it has 3 rows, and the official evaluation set of 2023 has 2 clips"),
        (PAGE + FIRST, "it has 3 rows, and the official evaluation set of 2023 has 2 clips"),
        (PAGE + FIRST, "0.wav: there twice"),
        (HEADER + FIRST + FIRST, "1.wav: missing"),
        (HEADER + FIRST + FIRST.replace("0.wav", "audio/0.wav"), "audio/0.wav: there twice, also as 0.wav"),
        (HEADER, "it has no rows"),
        ("", "lacks the columns"),
        (FIRST + SECOND, "lacks the columns filename, scene_label, airport"),
        (PAGE.replace("\t", ","), "lacks the columns"),
        (PAGE.replace("airport\tbus", "bus\tairport", 1), "the header is"),
        (PAGE.replace("\tbus\t0.25", "\tBus\t0.25"), "0.wav: row 1: scene_label 'Bus' is no scene"),
        (PAGE.replace("\tbus\t0.25", "\tbus \t0.25"), "0.wav: row 1: scene_label 'bus ' is no scene"),
        (PAGE.replace("0.99", "nan"), "0.wav: row 1, column bus: 'nan' is no number"),
        (PAGE.replace("0.99", "9.9"), "0.wav: row 1, column bus: 9.9 is not between 0 and 1"),
        (PAGE.replace("0.99", "-0.1"), "0.wav: row 1, column bus: -0.1 is not between 0 and 1"),
        (PAGE.replace("0.wav", "x.wav"), "x.wav: no clip of the official evaluation set of 2023"),
        (PAGE.replace("0.wav", "2.wav"), "2.wav: no clip of the official evaluation set of 2023"),
        (PAGE.replace("0.wav", "0.mp3"), "0.mp3: no clip of the official evaluation set of 2023"),
    ],
)
def test_what_the_checker_refuses_is_a_defect(tmp_path: Path, text: str, message: str) -> None:
    """Oracle: the page's example, with one thing changed that its "System output file" or the organisers' checker
    forbids; alone and in a package."""
    for path in (
        written(tmp_path, text),
        zipped(tmp_path / "p.zip", {**files(), output_path(LABEL): text.encode()}),
    ):
        assert message in "\n".join(validate(path).defects)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    "text",
    [
        HEADER + SECOND + FIRST,
        PAGE.replace("0.wav", "audio/0.wav").replace("1.wav", "audio/1.wav"),
        PAGE.replace("\n", "\r\n"),
        PAGE.replace("0.99", "9.9e-1"),
    ],
)
def test_what_the_checker_passes_passes(tmp_path: Path, text: str) -> None:
    """Oracle: the page: "Result items can be in any order"; the checker takes a name without its folders."""
    assert validate(written(tmp_path, text)).defects == []


def accepted(text: str, clips: int) -> bool:
    """An independent reading of what the organisers' checker asks for; see submission/layout.py."""
    first, *rows = csv.reader(text.splitlines(), delimiter="\t")
    if not {*header(SCENES)} <= {*first}:
        return False
    seen = set()
    for row in rows:
        cells = dict(zip(first, row, strict=False))
        name = cells["filename"].rsplit("/", 1)[-1]
        try:
            numbers = [float(cells[scene]) for scene in SCENES] + [int(name.removesuffix(".wav"))]
        except ValueError:
            return False
        is_right = len(row) == 12 and name.endswith(".wav") and cells["scene_label"] in SCENES and name not in seen
        if not is_right or not 0 <= numbers[-1] < clips:
            return False
        seen.add(name)
    return len(seen) == clips


@pytest.mark.usefixtures("two")
def test_what_passes_here_passes_there(tmp_path: Path) -> None:
    """Oracle: the checker's rules read independently: no table without a defect is refused by them. Each table is the
    page's example with a cell replaced by what may stand there, or not."""
    words = (
        "0.5",
        "1",
        "1e0",
        "nan",
        "inf",
        "bus",
        "Bus",
        "0.wav",
        "1.wav",
        "audio/1.wav",
        "2.wav",
        "00.wav",
        " 1",
        "",
    )
    both = {True: 0, False: 0}
    for line in range(3):
        for cell in (0, 1, 2, 11):
            for word in words:
                table = [row.split("\t") for row in PAGE.splitlines()]
                table[line][cell] = word
                text = "".join("\t".join(row) + "\n" for row in table)
                passes = not validate(written(tmp_path, text)).defects
                assert accepted(text, 2) or not passes, text
                both[passes] += 1
    assert min(both.values()) > 15


@pytest.mark.slow  # tables of 118,800 rows
def test_the_official_number_of_rows_is_asked_for(tmp_path: Path) -> None:
    """Oracle: the organisers' checker of 2023: 118,800 files from 0.wav to 118799.wav. A table without the last one,
    and one with another one too many."""
    rows = [FIRST.replace("0.wav", f"{number}.wav", 1) for number in range(118_801)]
    assert validate(written(tmp_path, HEADER + "".join(rows[:-1]))).defects == []
    for few in (rows[:-2], rows):
        written(tmp_path, HEADER + "".join(few))
        told = run(tmp_path, "stage=validate", f"package={LABEL}.output.csv")
        assert (told.returncode, "no defect found" in told.stdout) == (1, False)
        said = " ".join(told.stderr.split())
        assert f"it has {len(few):,} rows, and the official evaluation set of 2023 has 118,800 clips" in said
        assert ("118799.wav: missing" in said, "118800.wav: no clip" in said) == (few is not rows, few is rows)


def test_where_the_number_is_not_known_that_is_said(tmp_path: Path) -> None:
    """Oracle: the message; how many clips the evaluation set of 2025 has was found nowhere."""
    (warning,) = [w for w in validate(written(tmp_path, PAGE), None, 2025).warnings if "sum" not in w]
    assert warning == "how many clips the evaluation set of 2025 has was not found: the rows are not counted"
