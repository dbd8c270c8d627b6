"""The contract between teachers and students: joined by filename, or not at all."""

import json
import os
from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np
import pytest

from data.errors import UserError
from data.logits import (
    BY_SHIFT,
    LogitsWriter,
    common_shifts,
    load_logits,
    read_logits,
    read_several,
    weighted_mean,
)
from data.logits_file import FORMAT, LOGITS, is_current
from data.scenes import SCENES
from data.store import Store, create

NAMES = [f"audio/clip {i}.wav" for i in range(5)]
VALUES = np.arange(50, dtype=np.float32).reshape(5, 10)


def write(path: Path, names: list[str] = NAMES, values: np.ndarray = VALUES, scenes: tuple = SCENES) -> Path:
    writer = LogitsWriter(path, names, scenes, {"teacher": "test"})
    writer.fill(range(len(names)), values)
    writer.seal(validation_accuracy=0.5, test_accuracy=0.4)
    return path


def mean_of(paths: list[Path], weights: list[float] | None = None, column: str = "logits") -> np.ndarray:
    return weighted_mean(read_several(paths, NAMES, SCENES, column), weights)


def test_rows_are_joined_by_name_in_whatever_order(tmp_path: Path) -> None:
    """Oracle: a permutation by hand: a re-sorted meta.csv must not move a logit."""
    path = write(tmp_path / "logits.h5")
    np.testing.assert_array_equal(read_logits(path, [NAMES[3], NAMES[0]], SCENES), VALUES[[3, 0]])


def test_a_mean_is_over_files_clip_by_clip(tmp_path: Path) -> None:
    """Oracle: two files with different row orders; (x + 3x) / 2 = 2x."""
    a = write(tmp_path / "a.h5")
    b = write(tmp_path / "b.h5", NAMES[::-1], 3 * VALUES[::-1])
    np.testing.assert_allclose(mean_of([a, b]), 2 * VALUES)
    with pytest.raises(UserError, match="names no file"):
        mean_of([])


def test_teachers_count_by_their_weights(tmp_path: Path) -> None:
    """Oracle: (3 x + 1 * 5 x) / 4 = 2 x."""
    paths = [write(tmp_path / "a.h5"), write(tmp_path / "b.h5", values=5 * VALUES)]
    np.testing.assert_allclose(mean_of(paths, [3, 1]), 2 * VALUES)
    np.testing.assert_array_equal(mean_of(paths, [0, 2]), 5 * VALUES)
    with pytest.raises(UserError, match="names a file twice"):
        mean_of([paths[0], tmp_path / "." / "a.h5"])
    for wrong in ([1], [-1, 2], [0, 0]):
        with pytest.raises(UserError, match="one a file, none negative"):
            mean_of(paths, wrong)


def test_what_does_not_belong_is_refused(tmp_path: Path) -> None:
    """Oracle: a lacking clip, another order of scenes, a NaN, an absent and a damaged file."""
    path = write(tmp_path / "logits.h5")
    with pytest.raises(UserError, match=r"lacks 1 of 2 clips:\n  audio/other\.wav"):
        read_logits(path, [NAMES[0], "audio/other.wav"], SCENES)
    with pytest.raises(UserError, match="same scenes in the same order"):
        read_logits(path, NAMES, SCENES[::-1])
    with pytest.raises(UserError, match="train a teacher of this name first"):
        read_logits(tmp_path / "absent.h5", NAMES, SCENES)
    for wrong in (np.nan, -np.inf, 3e38):
        spoilt = write(tmp_path / "wrong.h5", values=np.where(VALUES == 7, np.float32(wrong), VALUES))
        with pytest.raises(UserError, match="not numbers, or beyond"):
            read_logits(spoilt, NAMES, SCENES)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match="damaged"):
        read_logits(path, NAMES, SCENES)


def test_an_interrupted_writer_goes_on_and_hands_out_nothing_before(tmp_path: Path) -> None:
    """Oracle: rows written before the interruption are not missing; another identity starts anew."""
    path = tmp_path / "logits.h5"
    LogitsWriter(path, NAMES, SCENES, {"weights": "1"}).fill([0, 2], VALUES[[0, 2]])
    assert not path.exists()
    with pytest.raises(UserError, match="3 of 5 rows are missing"):
        LogitsWriter(path, NAMES, SCENES, {"weights": "1"}).seal()
    assert list(LogitsWriter(path, NAMES, SCENES, {"weights": "1"}).missing) == [1, 3, 4]
    assert len(LogitsWriter(path, NAMES, SCENES, {"weights": "2"}).missing) == 5


@pytest.mark.parametrize("damage", ["cut", "bit", "type", "value"])
def test_a_damaged_partial_file_is_started_again_and_said(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: which rows are missing, and the log: all of them, or the one whose value is no number."""
    path, identity = tmp_path / "logits.h5", {"weights": "1"}
    writer = LogitsWriter(path, NAMES, SCENES, identity)
    writer.fill([0, 2], VALUES[[0, 2]])
    writer._lock.close()
    content = bytearray(writer.partial.read_bytes())
    if damage == "cut":
        del content[-1:]
    elif damage == "bit":
        content[60] ^= 1
    writer.partial.write_bytes(content)
    with h5py.File(writer.partial, "r+") if damage in ("type", "value") else nullcontext() as file:
        if damage == "value":
            file["logits"][2, 3] = np.nan
        elif damage == "type":
            del file["logits"]
            file["logits"] = ["text"] * 5
    again = LogitsWriter(path, NAMES, SCENES, identity)
    assert list(again.missing) == ([1, 2, 3, 4] if damage == "value" else [0, 1, 2, 3, 4])
    assert f"{writer.partial}" in caplog.text
    again.fill(range(5), VALUES)
    again.seal()
    np.testing.assert_array_equal(read_logits(path, NAMES, SCENES), VALUES)


def test_logits_that_changed_after_they_were_written_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: the log of each of the two readers: what a user edits is taken, what a command made is made again; a file
    of an earlier version does not say."""
    path = write(tmp_path / "logits.h5")
    assert is_current(path, {"teacher": "test"})
    assert not is_current(path, {"teacher": "other"})
    with h5py.File(path, "r+") as file:
        file["logits"][1, 1] += 1
    assert caplog.text == ""
    np.testing.assert_array_equal(read_logits(path, NAMES[1:2], SCENES)[0, 1], VALUES[1, 1] + 1)
    assert "it is not what was written" in caplog.text
    caplog.clear()
    assert not is_current(path, {"teacher": "test"})
    assert "is made anew" in caplog.text
    caplog.clear()
    with h5py.File(path, "r+") as file:
        del file.attrs["digest"]
    assert is_current(path, {"teacher": "test"})
    path.write_bytes(path.read_bytes()[:-1])
    assert caplog.text == ""
    assert not is_current(path, {"teacher": "test"})
    assert "is made anew" in caplog.text


@pytest.mark.parametrize("name", ["logits_vlen_segv.h5", "logits_flip_1.h5", "logits_flip_2.h5"])
def test_files_that_once_crashed_are_refused(shared_cases: Path, name: str) -> None:
    """Oracle: the message, which names the file and what to do."""
    with pytest.raises(UserError, match=f"{name} is damaged.*write the logits again"):
        load_logits(shared_cases / "damaged_files" / name)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "other format"])
def test_what_is_no_file_of_logits_is_refused(tmp_path: Path, kind: str) -> None:
    """Oracle: the message; a pipe would be waited for, a device never ends."""
    path = tmp_path / "logits.h5"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = Path("/dev/zero")
        case _:
            create(path, NAMES, {"logits": (np.float32, (10,))}, {"format": "scenelet waves 2"})
    with pytest.raises(UserError, match=f"{path} (does not exist|is damaged, or another kind of file)"):
        load_logits(path)


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    """Oracle: the second one's message; when the first is done the way is free."""
    first = LogitsWriter(tmp_path / "logits.h5", NAMES, SCENES, {"weights": "1"})
    with pytest.raises(UserError, match=rf"another process \(number {os.getpid()} on .+\) is writing"):
        LogitsWriter(tmp_path / "logits.h5", NAMES, SCENES, {"weights": "2"})
    first.fill(range(5), VALUES)
    first.seal()
    LogitsWriter(tmp_path / "logits.h5", NAMES, SCENES, {"weights": "2"})


def test_logits_of_several_shifts_are_kept_and_averaged(tmp_path: Path) -> None:
    """Oracle: the mean by hand, over shifts and over two files by their weights; files of other shifts, or of none, are
    refused."""
    paths, values = [], VALUES[:, None] + np.array([-1.0, 0.0, 4.0], np.float32)[:, None]
    for number, shifts in enumerate([(-9, 0, 9), (-9, 0, 9), (-8, 0, 8)]):
        writer = LogitsWriter(tmp_path / f"{number}.h5", NAMES, SCENES, {"teacher": "test"}, shifts)
        writer.fill(range(5), (1 + number) * values)
        writer.seal()
        paths.append(writer.path)
    np.testing.assert_allclose(read_logits(paths[0], NAMES[::-1], SCENES), VALUES[::-1] + 1)
    np.testing.assert_array_equal(read_logits(paths[0], NAMES[::-1], SCENES, BY_SHIFT), values[::-1])
    np.testing.assert_allclose(mean_of(paths[:2], [1, 2], BY_SHIFT), 5 / 3 * values, rtol=1e-6)
    assert common_shifts(paths[:2]) == (-9, 0, 9)
    with pytest.raises(UserError, match="write them with equal ones"):
        common_shifts(paths)
    with pytest.raises(UserError, match=r"teacher\.shifts=3"):
        common_shifts([paths[0], write(tmp_path / "one.h5")])


@pytest.mark.parametrize("shifts", [(), (0,), (-5, 5)])
def test_single_shifts_are_kept_where_there_are_several(tmp_path: Path, shifts: tuple[int, ...]) -> None:
    """Oracle: by hand: of two shifts both are kept, of one its logits alone."""
    writer = LogitsWriter(tmp_path / "logits.h5", NAMES, SCENES, {"teacher": "test"}, shifts)
    values = np.stack([VALUES, 3 * VALUES], axis=1)[:, : max(1, len(shifts))]
    writer.fill(range(5), values)
    np.testing.assert_array_equal(writer.values(), values.mean(axis=1))
    writer.seal()
    np.testing.assert_array_equal(read_logits(writer.path, NAMES, SCENES), values.mean(axis=1))
    if len(shifts) < 2:
        with pytest.raises(UserError, match="has no logits of single shifts"):
            read_logits(writer.path, NAMES, SCENES, BY_SHIFT)
    else:
        np.testing.assert_array_equal(read_logits(writer.path, NAMES, SCENES, BY_SHIFT), values)
        assert common_shifts([writer.path]) == shifts


def test_a_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    """Oracle: a store with nine columns for ten scenes, one without scenes, one with shifts and no logits of them."""
    about = {"format": FORMAT, "scenes": json.dumps(SCENES), "shifts": "[-1, 0, 1]"}
    for number, (width, attributes) in enumerate([(9, about), (10, {"format": FORMAT}), (10, about)]):
        path = tmp_path / f"{number}.h5"
        create(path, NAMES, {"logits": (np.float32, (width,))}, attributes)
        Store(path, LOGITS).fill(range(5), logits=VALUES[:, :width])
    for number, column in ((0, "logits"), (1, "logits"), (2, BY_SHIFT)):
        with pytest.raises(UserError, match="write the logits again"):
            read_logits(tmp_path / f"{number}.h5", NAMES, SCENES, column)
