"""Any data set from a table."""

import csv
import itertools
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.folder import read_folder

HEADER = "filename,label,device,location,split"


def write(root: Path, *rows: str, header: str = HEADER) -> Path:
    (root / "clips.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


def test_everything_comes_from_the_table(tmp_path: Path) -> None:
    """Oracle: five rows written by hand: classes in alphabetical order, devices of train are seen, others unseen, the
    device with most train clips is the reference."""
    rows = ["1.wav,owl,x,wood,train", "2.flac,cat,x,yard,train", "3.ogg,owl,y,lake,train"]
    rows += ["4.wav,cat,x,roof,validation", "5.wav,owl,z,barn,test"]
    clips = read_folder(write(tmp_path, *rows))
    assert clips.scenes == ("cat", "owl")
    assert clips.labels.tolist() == [1, 0, 1, 0, 1]
    assert [clip.split for clip in clips.clips] == ["train"] * 3 + ["validation", "test"]
    assert clips.device_groups == {"seen": ("x", "y"), "unseen": ("z",)}
    assert clips.reference_device == "x"
    assert clips.from_reference_device.tolist() == [True, True, False, True, False]
    assert (
        read_folder(tmp_path, reference_device="y").from_reference_device.tolist() == [False, False, True] + [False] * 2
    )


def test_two_columns_are_enough(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: 100 files of two classes: about a fifth for the test and 30 % of the rest for validation, classes in
    proportion, one device and no groups; the same files in every split whatever the order of the rows."""
    rows = [f"{n}.wav,{'cat' if n % 2 else 'owl'}" for n in range(100)]
    clips = read_folder(write(tmp_path, *rows, header="filename,label"))
    counts = Counter((clip.split, clip.scene) for clip in clips.clips)
    assert counts == {(s, c): n for s, n in {"train": 28, "validation": 12, "test": 10}.items() for c in ("cat", "owl")}
    assert clips.device_groups == {}
    assert clips.from_reference_device.all()
    assert "no column location" in caplog.text
    again = read_folder(write(tmp_path, *rows[::-1], header="filename,label"))
    assert set(again.clips) == set(clips.clips)


def test_files_of_one_location_stay_together(tmp_path: Path) -> None:
    """Oracle: counting the splits of each of 20 locations; every fold of five holds four of the others out."""
    rows = [f"{n}.wav\t{'cat' if n % 3 else 'owl'}\tplace {n // 6}\ttrain" for n in range(120)]
    root = write(
        tmp_path, *rows, "t.wav\towl\telsewhere\ttest", header=HEADER.replace(",", "\t").replace("device\t", "")
    )
    held_out = Counter()
    for fold in range(5):
        splits: dict[str, set[str]] = {}
        for clip in read_folder(root, folds=5, fold=fold).clips:
            splits.setdefault(clip.location, set()).add(clip.split)
        assert all(len(found) == 1 for found in splits.values())
        held_out.update(place for place, found in splits.items() if found == {"validation"})
    assert held_out == {f"place {n}": 1 for n in range(20)}


def test_a_table_elsewhere_names_files_of_a_folder(tmp_path: Path) -> None:
    """Oracle: the table's own path and the folder's."""
    rows = [f"{n}.wav,{'cat' if n % 2 else 'owl'},x,{n},train" for n in range(8)]
    write(tmp_path, *rows).joinpath("clips.csv").rename(tmp_path / "mine.csv")
    clips = read_folder(tmp_path / "audio", csv=tmp_path / "mine.csv")
    assert (clips.root, clips.sources) == (tmp_path / "audio", (tmp_path / "mine.csv",))


def test_names_are_kept_and_separators_are_those_of_any_system(tmp_path: Path) -> None:
    """Oracle: the names in the table, which Python's csv module wrote, one of them as on Windows."""
    names = ["a\rb.wav", " c.wav ", "d\n.wav", '"e".wav', "f,g.wav", "NA", "001", "#h", "left\\i.wav", "\u202ej.wav"]
    with open(tmp_path / "clips.csv", "w", newline="", encoding="utf-8") as file:
        rows = [[name, "cat" if n % 2 else "owl", str(n), "train"] for n, name in enumerate(names)]
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["filename", "label", "location", "split"], *rows])
    assert read_folder(tmp_path).filenames == names  # none is there: they are shown as they stand
    (tmp_path / "left").mkdir()
    (tmp_path / "left/i.wav").touch()
    assert read_folder(tmp_path).filenames == [name.replace("left\\i", "left/i") for name in names]
    (tmp_path / "left\\i.wav").touch()
    assert read_folder(tmp_path).filenames == names


def test_a_file_is_known_by_its_place_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the file itself, named from the folder, by its absolute path and through a link to its folder; data.root
    absolute and relative."""
    (tmp_path / "set/a").mkdir(parents=True)
    (tmp_path / "link").symlink_to("set")
    monkeypatch.chdir(tmp_path)
    for root, name in itertools.product((tmp_path / "set", Path("set"), Path("link")), ("a/0.wav", "../link/a/0.wav")):
        write(root, "a/0.wav,cat,x,p,train", f"{tmp_path}/set/{name},cat,x,q,test", *GOOD)
        with pytest.raises(UserError, match=r"line 3: .*/a/0.wav is the file of line 2"):
            read_folder(root)


@pytest.mark.parametrize("column", ["label", "device", "location"])
def test_values_that_only_look_alike_are_named(tmp_path: Path, column: str) -> None:
    """Oracle: one word by hand in both normal forms of Unicode, which a terminal shows alike; names of files may be
    such two, for file systems keep both."""
    words = [unicodedata.normalize(form, "\u00e9t\u00e9") for form in ("NFC", "NFD")]
    good = dict(zip(HEADER.split(","), ("", "cat", "x", "p", "train"), strict=True))
    rows = [{**good, "filename": f"{n}{word}.wav", column: word} for n, word in enumerate(words)]
    message = r"été is written in 2 ways: '\\xe9t\\xe9' in line 2, 'e\\u0301te\\u0301' in line 3; write it alike"
    with pytest.raises(UserError, match=f"{column} {message}"):
        read_folder(write(tmp_path, *(",".join(row[name] for name in good) for row in rows), *GOOD))
    files = [f"{word}.wav,cat" for word in words]
    read_folder(write(tmp_path, *files, *(row[:9] for row in GOOD), header="filename,label"))


GOOD = [f"{n}.wav,{'cat' if n % 2 else 'owl'},x,{n},train" for n in range(8)]
WRONG = {
    "columns": ({"header": "file,class"}, ["a.wav,cat"], r"lacks the columns filename, label: .* \['file', 'class'\]"),
    "rows": ({}, ["1.wav,cat,x,1,train", "./1.wav,cat ,x,1,train", ",owl,x,2,train", "4.wav,owl,x,3,eval"], r"\(3\)"),
    "one class": ({}, ["1.wav,cat,x,1,train", "2.wav,cat ,x,2,train"], "all have the label 'cat'"),
    "no rows": ({}, [], "there are none"),
    "one file, written twice": (
        {},
        [*GOOD, "left/a.wav,cat,x,9,train", "left\\a.wav,cat,x,9,train"],
        "line 11: left\\\\a.wav is the file of line 10",
    ),
    "a divided location": ({}, [*GOOD, "t.wav,cat,x,1,test"], r"1 locations in more than one split:\n  1"),
    "an untaught class": ({}, [*GOOD, "t.wav,dog,x,t,test"], r"1 classes without train clips:\n  dog"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_table_is_a_message(tmp_path: Path, name: str) -> None:
    """Oracle: the message."""
    settings, rows, message = WRONG[name]
    with pytest.raises(UserError, match=message):
        read_folder(write(tmp_path, *rows, **settings))


def test_wrong_settings_are_a_message(tmp_path: Path) -> None:
    """Oracle: the messages."""
    root = write(tmp_path, *GOOD, "v.wav,cat,x,v,validation")
    with pytest.raises(UserError, match=r"data.folds and data.fold do not apply"):
        read_folder(root, folds=2, fold=0)
    with pytest.raises(UserError, match=r"data.reference_device=q is none of .*: x"):
        read_folder(root, reference_device="q")
    with pytest.raises(UserError, match=r"clips.csv is missing"):
        read_folder(tmp_path / "nowhere")
