"""Tables whose columns have other names, and columns of folds."""

import re
from collections import Counter
from pathlib import Path

import pytest

from data.columns import Columns
from data.errors import UserError
from data.readers.folder import read_folder
from data.settings import identity_of
from experiments.settings.data_set import DataSettings

URBAN = Columns(filename="audio/fold{fold}/{slice_file_name}", label="class", location="{fold}-{fsID}", split="fold")
HEADER = "slice_file_name,fsID,fold,class"


def write(root: Path, rows: list[str], header: str = HEADER) -> Path:
    (root / "clips.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


def rows_of_folds(folds: int = 3) -> list[str]:
    """Two recordings, of two classes, in every fold; two clips of each."""
    kinds = {"siren": 0, "drill": 1}
    return [
        f"{kind}-{fold}-{n}.wav,{10 * fold + number},{fold},{kind}"
        for fold in range(1, folds + 1)
        for kind, number in kinds.items()
        for n in range(2)
    ]


def test_columns_of_any_name_are_read_by_their_roles(tmp_path: Path) -> None:
    """Oracle: the rows, by hand: the path from two columns, the class, the location, and the split of each fold."""
    clips = read_folder(write(tmp_path, rows_of_folds()), columns=URBAN, test_fold=2, validation_fold=3)
    found = {(clip.filename, clip.scene, clip.location, clip.split) for clip in clips.clips}
    split = {1: "train", 2: "test", 3: "validation"}
    assert found == {
        (f"audio/fold{fold}/{kind}-{fold}-{n}.wav", kind, f"{fold}-{10 * fold + number}", split[fold])
        for fold in (1, 2, 3)
        for kind, number in (("siren", 0), ("drill", 1))
        for n in (0, 1)
    }


@pytest.mark.parametrize("columns", [Columns(label="class", filename="slice_file_name", split="fold"), None])
def test_one_fold_is_for_the_test_and_locations_of_the_others_are_held_out(
    tmp_path: Path, columns: Columns | None
) -> None:
    """Oracle: four clips in each of ten folds; a column called fold is found by itself, also beside one of splits. The
    validation clips are those of any table without a validation split: about a third of the rest."""
    rows, header = rows_of_folds(10), HEADER
    if columns is None:
        columns, header = Columns(), "filename,location,fold,label,split"
        rows = [f"{row},train" for row in rows]
    for fold in (1, 10):
        counts = Counter()
        for clip in read_folder(write(tmp_path, rows, header), columns=columns, test_fold=str(fold)).clips:
            counts[clip.split] += 1
            assert (f"-{fold}-" in clip.filename) == (clip.split == "test")
        assert counts["test"] == 4
        assert 8 <= counts["validation"] <= 14


@pytest.mark.parametrize(("name", "meant"), [("val", "validation"), ("Valid", "validation"), ("TEST", "test")])
def test_splits_may_be_spelt_as_people_do(tmp_path: Path, name: str, meant: str) -> None:
    """Oracle: the words."""
    rows = [f"{n}.wav,{'cat' if n % 2 else 'owl'},train" for n in range(8)]
    rows += [f"{n}.wav,{'cat' if n % 2 else 'owl'},{name}" for n in range(8, 10)]
    clips = read_folder(write(tmp_path, rows, "filename,label,split")).clips
    assert [clip.split for clip in clips[8:]] == [meant] * 2


def test_a_column_may_be_left_out(tmp_path: Path) -> None:
    """Oracle: a column of devices that is none: with null, all clips are of one device."""
    rows = [f"{n}.wav,{'cat' if n % 2 else 'owl'},{n}" for n in range(8)]
    root = write(tmp_path, rows, "filename,label,device")
    assert len({clip.device for clip in read_folder(root).clips}) == 8
    assert len({clip.device for clip in read_folder(root, columns=Columns(device=None)).clips}) == 1
    # The column that is the class is not the device as well.
    root = write(tmp_path, rows, "filename,device,x")
    assert len({clip.device for clip in read_folder(root, columns=Columns(label="device")).clips}) == 1


WRONG = {
    "no such column": (
        {"columns": Columns(label="kind", filename="slice_file_name")},
        r"lacks the columns kind: .*\['slice_file_name', 'fsID', 'fold', 'class'\]\n.*data.columns=",
    ),
    "no such column in a pattern": (
        {"columns": Columns(label="class", filename="{folder}/{slice_file_name}")},
        r"lacks the columns folder: .*\['slice_file_name', 'fsID', 'fold', 'class'\]",
    ),
    "no such optional column": (
        {"columns": Columns(label="class", filename="slice_file_name", device="microphone")},
        "lacks the columns microphone",
    ),
    "one column for two roles": (
        {"columns": Columns(label="class", filename="class")},
        "data.columns.filename and data.columns.label are the same column, class: give each its own",
    ),
    "no name": ({"columns": Columns(label=" ", filename="class")}, "data.columns.label='' names no column"),
    "folds that are taken for splits": (
        {"columns": URBAN},
        r"column fold of .*clips.csv are 1, 2, 3: none is a split .*data.test_fold=FOLD",
    ),
    "a fold of no row": (
        {"columns": URBAN, "test_fold": 11},
        r"data.test_fold=11 is none of the folds: values of the column fold of .* are 1, 2, 3$",
    ),
    "a validation fold of no row": (
        {"columns": URBAN, "test_fold": 1, "validation_fold": "None"},
        "data.validation_fold=None is none of the folds",
    ),
    "one fold for both": (
        {"columns": URBAN, "test_fold": 1, "validation_fold": 1},
        "data.validation_fold=1 is the test fold: choose another",
    ),
    "half of them": ({"columns": URBAN, "validation_fold": 1}, "data.validation_fold=1 needs data.test_fold=FOLD"),
    "two ways to validate": (
        {"columns": URBAN, "test_fold": 1, "validation_fold": 2, "folds": 2, "fold": 0},
        "names validation clips: data.folds and data.fold do not apply",
    ),
    "a divided recording": (
        {"columns": Columns(label="class", filename="slice_file_name", location="class", split="fold"), "test_fold": 1},
        "data.columns.label and data.columns.location are the same column",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_columns_and_folds_are_a_message(tmp_path: Path, name: str) -> None:
    """Oracle: the message, which names the value and what there is instead."""
    settings, message = WRONG[name]
    with pytest.raises(UserError, match=message):
        read_folder(write(tmp_path, rows_of_folds()), **settings)


def test_what_rows_of_folds_lack_is_a_message(tmp_path: Path) -> None:
    """Oracle: a class that is in the test fold alone; a recording in two folds; a row without a fold; no column of
    folds at all; a class without test clips, which is only said."""
    rows = rows_of_folds()
    root = write(tmp_path, [*rows, "bell-1-0.wav,99,1,bell"])
    with pytest.raises(UserError, match=r"1 classes without train clips:\n  bell\n.*choose another fold for the test"):
        read_folder(root, columns=URBAN, test_fold=1)
    columns = Columns(label="class", filename="slice_file_name", location="fsID", split="fold")
    with pytest.raises(UserError, match=r"1 locations in more than one split:\n  10"):
        read_folder(write(tmp_path, [*rows, "siren-2-9.wav,10,2,siren"]), columns=columns, test_fold=1)
    with pytest.raises(UserError, match=r"line 14: no fold"):
        read_folder(write(tmp_path, [*rows, "siren-2-9.wav,10,,siren"]), columns=URBAN, test_fold=1)
    with pytest.raises(UserError, match=r"no column fold, which .*data.columns.split=COLUMN; there are a, filename, l"):
        read_folder(write(tmp_path, ["1.wav,cat,1"], "filename,label,a"), test_fold=1)


def test_classes_on_which_nothing_is_measured_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: a class of one clip among two of eight: it is trained on, and the warning names it alone."""
    rows = [f"{n}.wav,{'cat' if n % 2 else 'owl'}" for n in range(16)]
    clips = read_folder(write(tmp_path, [*rows, "b.wav,bat"], "filename,label"))
    assert [clip.split for clip in clips.clips if clip.scene == "bat"] == ["train"]
    (said,) = (record.getMessage() for record in caplog.records if "without test clips" in record.getMessage())
    assert re.search(r"1 classes .*\n  bat$", said)


def test_records_of_runs_before_these_settings_are_still_theirs() -> None:
    """Oracle: the keys of a record of version 0.1.0 (identity_of leaves out what is newer, and has its default)."""
    new = {"columns", "test_fold", "validation_fold"}
    assert not new & identity_of(DataSettings(kind="folder")).keys()
    mapped = identity_of(DataSettings(kind="folder", columns=Columns(label="class"), test_fold=1))
    assert mapped["columns"]["label"] == "class"
    assert mapped["test_fold"] == 1


def test_a_column_may_hold_several_classes(tmp_path: Path) -> None:
    """Oracle: the rows, by hand, with commas as in FSD50K's tables, and with another separator and blanks; a class that
    is there twice counts once, a cell without one is a clip of none, which only a set of one class a clip refuses; what
    is wrong is listed."""
    rows = [
        'a.wav,"Dog,Animal"',
        'b.wav,"Animal"',
        'c.wav,"Cat,Animal,Cat"',
        "d.wav,Cat",
        'e.wav,"Dog, Cat"',
        "f.wav,Dog",
    ]
    header = "filename,label"
    clips = read_folder(write(tmp_path, rows, header), label_separator=",", test_fraction=0.2, validation_fraction=0.3)
    assert clips.is_multi_label
    assert clips.scenes == ("Animal", "Cat", "Dog")
    assert {clip.filename[0]: clip.classes for clip in clips.clips} == {
        **{"a": ("Dog", "Animal"), "b": ("Animal",), "c": ("Cat", "Animal"), "d": ("Cat",), "e": ("Dog", "Cat")},
        "f": ("Dog",),
    }
    assert {clip.scene for clip in clips.clips} == {""}
    semicolons = [row.replace('"', "").replace(",", ";").replace(".wav;", ".wav,") for row in rows]
    assert read_folder(write(tmp_path, semicolons, header), label_separator=";").clips[0].classes == ("Dog", "Animal")
    silent = read_folder(write(tmp_path, [*rows, "g.wav, "], header), label_separator=",")
    assert (silent.clips[-1].classes, silent.label_matrix.sum(1).tolist()) == ((), [2, 1, 2, 1, 2, 1, 0])
    with pytest.raises(UserError, match="line 8: no label"):
        read_folder(tmp_path)
    with pytest.raises(UserError, match="there are no classes"):
        read_folder(write(tmp_path, ["a.wav, ", "b.wav, "], header), label_separator=",")
    write(tmp_path, [*rows, 'g.wav,"Dog,,Cat"', 'h.wav,"Caf\u00e9,Dog"', 'i.wav,"Dog,Cafe\u0301"'], header)
    with pytest.raises(UserError) as caught:
        read_folder(tmp_path, label_separator=",")
    assert "bad rows (2)" in str(caught.value)
    assert "line 8: label 'Dog,,Cat' has an empty class" in str(caught.value)
    assert "is written in 2 ways: 'Caf\\xe9' in line 9, 'Cafe\\u0301' in line 10" in str(caught.value)
    with pytest.raises(UserError, match=r"data.label_separator='' separates nothing"):
        read_folder(tmp_path, label_separator="")
