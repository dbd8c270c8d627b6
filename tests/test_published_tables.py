"""ESC-50 and UrbanSound8K as their authors lay them out."""

import csv
from collections import Counter
from pathlib import Path

import pytest
import yaml
from command import ROOT

from data.errors import UserError
from data.readers import read
from data.readers.esc50 import read_esc50
from data.readers.urbansound8k import read_urbansound8k

HEADERS = {
    "esc50": ("meta/esc50.csv", "filename,fold,target,category,esc10,src_file,take"),
    "urbansound8k": ("metadata/UrbanSound8K.csv", "slice_file_name,fsID,start,end,salience,fold,classID,class"),
}
ROWS = {  # as they stand in the published tables
    "esc50": ["{n}-{s}-A-0.wav,{n},0,dog,True,{s},A", "{n}-{t}-A-14.wav,{n},14,chirping_birds,False,{t},A"],
    "urbansound8k": ["{s}-3-0-0.wav,{s},0,0.317551,1,{n},3,dog_bark", "{t}-2-0-117.wav,{t},58.5,62.5,1,{n},2,children"],
}


def write_set(root: Path, kind: str, folds: int) -> Path:
    """The table alone; every fold has a clip of each of two classes."""
    table, header = HEADERS[kind]
    (root / table).parent.mkdir(parents=True)
    lines = [row.format(n=n, s=1000 + n, t=2000 + n) for n in range(1, folds + 1) for row in ROWS[kind]]
    (root / table).write_text("\n".join([header, *lines]) + "\n")
    return root


@pytest.mark.parametrize("kind", HEADERS)
def test_the_table_as_published_is_enough(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: rows in the published form, with the paths of the published folders; no warning, for nothing is odd."""
    folds = {"esc50": 5, "urbansound8k": 10}[kind]
    clips = read(kind, write_set(tmp_path / "set", kind, folds), {"test_fold": 2}, cache=tmp_path)
    test = {clip.filename for clip in clips.clips if clip.split == "test"}
    assert (
        test
        == {
            "esc50": {"audio/2-1002-A-0.wav", "audio/2-2002-A-14.wav"},
            "urbansound8k": {"audio/fold2/1002-3-0-0.wav", "audio/fold2/2002-2-0-117.wav"},
        }[kind]
    )
    assert {clip.location for clip in clips.clips if clip.split == "test"} == {"2-1002", "2-2002"}
    assert clips.name == kind
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_the_first_fold_is_the_test_split_by_default(tmp_path: Path) -> None:
    """Oracle: fold 1 of the rows; the yaml file says the same, and the length of a clip that its authors state."""
    for kind, reader, seconds in (("esc50", read_esc50, 5), ("urbansound8k", read_urbansound8k, 4)):
        clips = reader(write_set(tmp_path / kind, kind, 4)).clips
        assert {clip.location[0] for clip in clips if clip.split == "test"} == {"1"}
        said = yaml.safe_load((ROOT / f"experiments/conf/data/{kind}.yaml").read_text())
        assert (said["kind"], said["test_fold"], said["clip_seconds"]) == (kind, 1, seconds)


def test_esc50_has_the_folds_of_its_authors(tmp_path: Path, shared_data: Path) -> None:
    """Oracle: tables of all 2,000 clips, split by split, which were made from the published folds by other hands. The
    published table is made again from the names of the files, which state fold, source, take and class."""
    folder = shared_data / "esc50-16k"
    with open(folder / "fold1.csv", newline="") as file:
        labels = {row["filename"]: row["label"] for row in csv.DictReader(file)}
    (tmp_path / "meta").mkdir()
    with open(tmp_path / "meta/esc50.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(HEADERS["esc50"][1].split(","))
        for name, label in labels.items():
            last = name.removeprefix("audio/")
            fold, source, take, target = last.removesuffix(".ogg").split("-")
            table.writerow([last, fold, target, label, False, source, take])
    for fold in range(1, 6):
        found = read_esc50(tmp_path, test_fold=fold, validation_fraction=0).clips
        with open(folder / f"fold{fold}.csv", newline="") as file:
            wanted = {(row["filename"], row["label"], row["split"]) for row in csv.DictReader(file)}
        assert {(clip.filename, clip.scene, clip.split) for clip in found} == wanted
        assert Counter(clip.split for clip in found) == {"train": 1600, "test": 400}


def test_a_folder_that_is_not_the_data_set_s_is_a_message(tmp_path: Path) -> None:
    """Oracle: the folder that has the table, from the one around it, and from one inside; a folder of another kind."""
    root = write_set(tmp_path / "got" / "ESC-50-master", "esc50", 5)
    (root / "audio").mkdir()
    for wrong in (root.parent, root / "audio", root / "meta"):
        with pytest.raises(UserError, match=f"ESC-50-master has meta/esc50.csv: say data.root={root}$"):
            read_esc50(wrong)
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"esc50.csv is missing: let data.root be the folder of esc50 that has it"):
        read_esc50(tmp_path / "other")
    with pytest.raises(UserError, match=r"data=esc50 needs data.root=FOLDER, the folder with meta/esc50.csv"):
        read("esc50", None, {}, cache=tmp_path)
    with pytest.raises(UserError, match=r"data.test_fold=6 is none of the folds: .* are 1, 2, 3, 4, 5"):
        read_esc50(root, test_fold=6)
