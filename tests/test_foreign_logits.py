"""Logits that others computed: the kinds of files, whose rows and columns they are, and what is refused."""

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path

import fuzzing
import numpy as np
import pytest
import safetensors.torch
import torch

from data.errors import UserError
from data.foreign_arrays import read_array
from data.foreign_logits import read_foreign_logits
from data.scenes import Clip, ClipSet

SCENES = ("bus", "metro", "park")
NAMES = [f"audio/{number}.wav" for number in range(5)]
LOGITS = np.array([[1.5, -2, 0], [0.25, 3, -1], [4, 0, 0], [0, -8, 2], [1, 1, 0.125]], np.float32)
TURNED = [2, 0, 1]  # columns in another order: park, bus, metro


@pytest.fixture
def clips(tmp_path: Path) -> ClipSet:
    found = [Clip(name, "bus", "x", "x-1", name, 0, "a", "train") for name in NAMES]
    return ClipSet("some", tmp_path, found, SCENES, sources=(tmp_path / "meta.csv",))


def table(names: list[str], columns: list[str], rows: np.ndarray, separator: str = "\t", more: str = "") -> str:
    lines = [separator.join(["filename", *([more] if more else []), *columns])]
    cells = (
        separator.join([name, *(["x"] if more else []), *map(str, row)])
        for name, row in zip(names, rows.tolist(), strict=True)
    )
    return "\n".join([*lines, *cells]) + "\n"


def saved(path: Path, content: object) -> None:
    torch.save(content, path)


T = torch.from_numpy(LOGITS)
KINDS: dict[str, Callable[[Path], None]] = {
    "tensor.pt": lambda path: saved(path, T),
    "half.pt": lambda path: saved(path, T.half()),
    "old": lambda path: torch.save(T, path, _use_new_zipfile_serialization=False),
    "parameter.pt": lambda path: saved(path, torch.nn.Parameter(T)),
    "named.pt": lambda path: saved(path, {"logits": T.flip(0), "filenames": NAMES[::-1], "epoch": 3}),
    "by_name.pt": lambda path: saved(path, {name: T[row] for row, name in reversed([*enumerate(NAMES)])}),
    "a.safetensors": lambda path: safetensors.torch.save_file({"logits": T}, path),
    "a.npy": lambda path: np.save(path, LOGITS),
    "f.npy": lambda path: np.save(path, np.asfortranarray(LOGITS.astype(np.float64))),
    "tabs.csv": lambda path: path.write_text(table(NAMES, [*SCENES], LOGITS, more="scene_label")),
    "commas.csv": lambda path: path.write_text(table(NAMES, [*SCENES], LOGITS, ",")),
    "turned.csv": lambda path: path.write_text(
        table(NAMES[::-1], [SCENES[column] for column in TURNED], LOGITS[::-1, TURNED])
    ),
    "nameless.csv": lambda path: path.write_text("bus,metro,park\n" + "\n".join(",".join(map(str, r)) for r in LOGITS)),
    "numbers.csv": lambda path: np.savetxt(path, LOGITS, delimiter=","),
    "numbers.tsv": lambda path: np.savetxt(path, LOGITS, delimiter="\t"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_file_has_the_same_logits(kind: str, clips: ClipSet, tmp_path: Path) -> None:
    """Oracle: the numbers that were written, which float16 has too, joined by name where there are names."""
    KINDS[kind](tmp_path / kind)
    found = read_foreign_logits(tmp_path / kind, clips)
    assert found.dtype == np.float32
    assert np.array_equal(found, LOGITS)


def test_rows_and_classes_that_a_file_does_not_name_are_said_and_can_be_given(
    clips: ClipSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the numbers, put back in order by hand; the two lines; none where both are given."""
    caplog.set_level(logging.INFO)
    np.save(tmp_path / "a.npy", LOGITS)
    read_foreign_logits(tmp_path / "a.npy", clips)
    assert "classes are taken in the order of the data set's: ['bus', 'metro', 'park']" in caplog.text
    assert "its rows are taken for the 5 clips of meta.csv, in their order from 'audio/0.wav' on" in caplog.text
    caplog.clear()
    np.save(tmp_path / "b.npy", LOGITS[::-1, TURNED])
    (tmp_path / "names.txt").write_text("\n".join(name.removeprefix("audio/") for name in NAMES[::-1]))
    (tmp_path / "names.csv").write_text("filename\tscene_label\n" + "".join(f"{name}\tx\n" for name in NAMES[::-1]))
    for names in ("names.txt", "names.csv"):
        scenes = [SCENES[column] for column in TURNED]
        found = read_foreign_logits(tmp_path / "b.npy", clips, filenames=tmp_path / names, scenes=scenes)
        assert np.array_equal(found, LOGITS)
    assert not caplog.messages


def test_probabilities_become_logits_with_the_same_softmax(
    clips: ClipSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the softmax of what is read, within 1e-6; a probability of 0 gives a finite logit; it is said."""
    wanted = torch.from_numpy(LOGITS).double().softmax(1).numpy()
    wanted[0] = [1, 0, 0]
    np.save(tmp_path / "p.npy", wanted)
    found = torch.from_numpy(read_foreign_logits(tmp_path / "p.npy", clips))
    np.testing.assert_allclose(found.double().softmax(1).numpy(), wanted, atol=1e-6)
    assert "holds probabilities: their logarithms are taken" in caplog.text


class Code:
    """What a pickle would have to call."""


WRONG_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "few.npy": (lambda path: np.save(path, LOGITS[:4]), "has 4 rows, and meta.csv of the data set has 5 clips: name"),
    "wide.npy": (lambda path: np.save(path, np.ones((5, 4))), "is of 4 classes, and the data set has 3, .'bus'"),
    "nan.npy": (
        lambda path: np.save(path, np.where(LOGITS == 3, np.nan, LOGITS)),
        r"has 1 rows with values that are not numbers.*\n  audio/1.wav: \[0.25, nan, -1.0\]",
    ),
    "large.npy": (lambda path: np.save(path, LOGITS * 1e12), "5 rows with values that are not numbers, or beyond"),
    "whole.npy": (lambda path: np.save(path, LOGITS.astype(int)), r"int64 numbers of the shape \(5, 3\): logits are"),
    "flat.npy": (lambda path: np.save(path, LOGITS[0]), r"shape \(3,\): logits are floats"),
    "objects.npy": (lambda path: np.save(path, np.array([Code()])), "damaged, or no array of numbers"),
    "cut.npy": (lambda path: path.write_bytes(npy(LOGITS)[:-9]), "damaged, or no array of numbers"),
    "code.pt": (lambda path: saved(path, {"logits": T, "by": Code()}), "needs the class or function .*Code, which is"),
    "text.pt": (lambda path: path.write_text("some"), "damaged or no file of tensors"),
    "list.pt": (lambda path: saved(path, [T]), "holds list, no tensor of logits"),
    "two.pt": (lambda path: saved(path, {"a": T, "b": T}), "holds 2 tensors .rows, classes., one is wanted"),
    "whole.pt": (lambda path: saved(path, T.int()), "numbers of the type int32"),
    "endless.pt": (lambda path: saved(path, torch.ones(1, 1).expand(10**6, 10**4)), "numbers, more than 40,000,000"),
    "names.pt": (lambda path: saved(path, {"x": T, "filenames": 3}), "names of clips are no list"),
    "words.csv": (
        lambda path: path.write_text(table(NAMES, [*SCENES], LOGITS).replace("-8.0", "NaN")),
        "row 4, column 'metro': 'NaN' is no number",
    ),
    "others.csv": (
        lambda path: path.write_text(table(NAMES, ["bus", "metro", "tram"], LOGITS)),
        r"has the columns \['bus', 'metro', 'tram'\].*source.scenes=\[CLASS",
    ),
    "stranger.csv": (
        lambda path: path.write_text(table([*NAMES[:4], "audio/9.wav"], [*SCENES], LOGITS)),
        "2 names do not fit the data set:\n  audio/9.wav: no clip of some .*\n  audio/4.wav: missing",
    ),
    "twice.csv": (
        lambda path: path.write_text(table([*NAMES[:4], NAMES[0]], [*SCENES], LOGITS)),
        "audio/0.wav: there twice\n  audio/4.wav: missing",
    ),
    "empty.csv": (lambda path: path.write_text(""), "has no logits: give a table with a column for each class"),
}


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.mark.parametrize("name", WRONG_FILES)
def test_what_is_wrong_with_a_file_is_said(name: str, clips: ClipSet, tmp_path: Path) -> None:
    """Oracle: the message, which names the file and what in it is wrong."""
    write, said = WRONG_FILES[name]
    write(tmp_path / name)
    with pytest.raises(UserError, match=said) as caught:
        read_foreign_logits(tmp_path / name, clips)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("names", "scenes", "said"),
    [
        (
            "\n".join(NAMES[:4]),
            None,
            "has 5 rows, and source.filenames=.*names.txt has 4 names: give the names of just",
        ),
        (
            "\n".join([*NAMES[:4], "b.wav"]),
            None,
            "source.filenames=.*: 2 names do not fit the data set:\n  b.wav: no cl",
        ),
        ("\n".join([*NAMES[:4], NAMES[1]]), None, "audio/1.wav: there twice"),
        ("a,b\nc,d", None, "has no column filename: give a table that has one"),
        (None, ["bus", "park"], "must be the classes of the data set, each once: missing: metro"),
        (None, ["bus", "bus", "park"], "missing: metro; there twice: bus"),
        (None, ["bus", "metro", "tram"], "not in the data set: tram; missing: park"),
    ],
)
def test_names_and_scenes_that_do_not_fit_are_refused(
    names: str | None, scenes: list[str] | None, said: str, clips: ClipSet, tmp_path: Path
) -> None:
    """Oracle: the message, with the setting."""
    np.save(tmp_path / "a.npy", LOGITS)
    (tmp_path / "names.txt").write_text(names or "")
    with pytest.raises(UserError, match=said):
        read_foreign_logits(
            tmp_path / "a.npy", clips, filenames=tmp_path / "names.txt" if names else None, scenes=scenes
        )


def test_what_a_file_says_itself_is_not_contradicted(clips: ClipSet, tmp_path: Path) -> None:
    """Oracle: the messages; the same scenes once more are no contradiction."""
    path = tmp_path / "a.csv"
    path.write_text(table(NAMES, [*SCENES], LOGITS))
    assert np.array_equal(read_foreign_logits(path, clips, scenes=SCENES), LOGITS)
    with pytest.raises(UserError, match=r"names its rows itself: leave source.filenames out"):
        read_foreign_logits(path, clips, filenames=path)
    with pytest.raises(UserError, match=r"has the columns .*: leave it out"):
        read_foreign_logits(path, clips, scenes=SCENES[::-1])


@pytest.mark.slow  # hundreds of damaged copies of each kind, in processes of their own: half a minute
@pytest.mark.parametrize("kind", ["tensor.pt", "named.pt", "old", "a.npy", "tabs.csv", "a.safetensors"])
def test_a_damaged_file_is_a_message(kind: str, tmp_path: Path, fuzz: int) -> None:
    """Oracle: bounds of time and memory, and a message for each damaged copy; also of headers of NumPy's that promise
    something else."""
    KINDS[kind](tmp_path / kind)
    content = (tmp_path / kind).read_bytes()
    damaged = [*fuzzing.mutants(content, fuzz)]
    if kind == "a.npy":
        for shape in ((10**9, 10**9), (-1, 3), (5, 3, 1), (), (2**63,), (0, 3)):
            head = json.dumps({"descr": "<f4", "fortran_order": False, "shape": None})[:-5].replace("false", "False")
            text = f"{head}{shape}}}".ljust(117) + "\n"
            damaged.append((f"shape {shape}", b"\x93NUMPY\x01\x00\x76\x00" + text.encode() + LOGITS.tobytes()))
    fuzzing.survive(read_array, content, damaged, tmp_path, kind)
