"""Reading the official lists, and holding locations out."""

import gzip
import shutil
from collections import Counter
from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.tau22 import read_tau22
from data.records import UNFINISHED
from data.scenes import SCENES

META = "filename\tscene_label\tidentifier\tsource_label"


def write_set(root: Path, rows: list[str], *, end: str = "\n", meta: str = META) -> Path:
    """Lists only, no audio: two rows of train, the rest test."""
    (root / "evaluation_setup").mkdir(parents=True)
    names = ["\t".join(row.split("\t")[:2]) for row in rows]
    lists = {
        "meta.csv": [meta, *rows],
        "evaluation_setup/fold1_train.csv": ["filename\tscene_label", *names[:2]],
        "evaluation_setup/fold1_evaluate.csv": ["filename\tscene_label", *names[2:]],
    }
    for name, lines in lists.items():
        (root / name).write_bytes((end.join(lines) + end).encode())
    return root


def row(number: int, scene: str = "tram", device: str = "a") -> str:
    return f"audio/{scene}-paris-{number}-{number}-0-{device}.wav\t{scene}\tparis-{number}\t{device}"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_both_line_ends_give_the_same_clips(tmp_path: Path, end: str) -> None:
    """Oracle: the rows themselves, counted by hand."""
    clips = read_tau22(write_set(tmp_path / "set", [row(1), row(2), row(3, device="s4")], end=end)).clips
    assert [(c.location, c.device) for c in clips] == [("paris-1", "a"), ("paris-2", "a"), ("paris-3", "s4")]
    assert Counter(c.split for c in clips) == {"train": 1, "validation": 1, "test": 1}


def test_all_bad_rows_are_reported_at_once(tmp_path: Path) -> None:
    """Oracle: three defects planted by hand."""
    bad = [row(1), row(1), row(2, scene="forest"), row(3).replace("paris-3\ta", "paris-3\tb")]
    with pytest.raises(UserError) as caught:
        read_tau22(write_set(tmp_path / "set", bad))
    for part in ("3 bad rows", "line 3: audio/tram-paris-1", "forest", "contradicts its columns tram, paris-3, b"):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["meta.csv", "evaluation_setup/fold1_train.csv", "."])
def test_a_missing_list_or_root_says_where_to_get_it(tmp_path: Path, name: str) -> None:
    """Oracle: the message names the file and the remedy."""
    root = write_set(tmp_path / "set", [row(1), row(2), row(3)])
    if name == ".":
        root = tmp_path / "absent"
    else:
        (root / name).unlink()
    with pytest.raises(UserError, match=r"zenodo.org/records/6337421") as caught:
        read_tau22(root)
    assert (name if name != "." else "absent") in str(caught.value)


def test_a_list_that_contradicts_the_meta_table_is_refused(tmp_path: Path) -> None:
    """Oracle: a scene changed in the train list only, and a row that stands twice."""
    root = write_set(tmp_path / "set", [row(1), row(2), row(3)])
    path = root / "evaluation_setup/fold1_train.csv"
    path.write_text(path.read_text().replace("\ttram", "\tbus", 1) + "audio/tram-paris-2-2-0-a.wav\ttram\n")
    with pytest.raises(UserError, match=r"2 rows of .*fold1_train.csv are duplicate or contradict meta.csv"):
        read_tau22(root)


def test_a_comma_separated_list_is_refused(tmp_path: Path) -> None:
    """Oracle: the message."""
    with pytest.raises(UserError, match="tab-separated"):
        read_tau22(write_set(tmp_path / "set", [row(1), row(2)], meta=META.replace("\t", ",")))


def test_everything_that_is_wrong_is_reported_at_once(tmp_path: Path) -> None:
    """Oracle: six defects planted by hand, audio files that are not there among them."""
    root = write_set(tmp_path / "set", [row(1), row(2), row(3), row(3), "a broken row\ttram\tparis-4\ta"])
    with open(root / "evaluation_setup/fold1_train.csv", "a") as file:
        file.write("audio/tram-paris-3-3-0-a.wav\ttram\naudio/tram-paris-9-9-0-a.wav\ttram\n")
    with pytest.raises(UserError) as caught:
        read_tau22(root)
    for part in (
        "2 bad rows",
        "line 5: audio/tram-paris-3-3-0-a.wav appears twice",
        "'a broken row'",
        "1 rows of",
        "audio/tram-paris-9-9-0-a.wav",
        "1 clips are in both",
        "3 of 3 audio files are missing",
    ):
        assert part in str(caught.value)


def test_a_location_in_train_and_test_is_refused(tmp_path: Path) -> None:
    """Oracle: a test clip of another part of a train recording."""
    same = row(1).replace("-0-a.wav", "-1-a.wav")
    with pytest.raises(UserError, match=r"1 locations are in both .*\n  paris-1"):
        read_tau22(write_set(tmp_path / "set", [row(1), row(2), same]))


def test_an_unfinished_download_is_refused(tmp_path: Path) -> None:
    """Oracle: the message."""
    root = write_set(tmp_path / "set", [row(1), row(2), row(3)])
    (root / UNFINISHED).mkdir()
    with pytest.raises(UserError, match="is not finished: fetch it with the same settings"):
        read_tau22(root)


def write_subsets(root: Path, **members: list[int]) -> None:
    for name, numbers in members.items():
        lines = ["filename\tscene_label", *("\t".join(row(n).split("\t")[:2]) for n in numbers)]
        (root / f"evaluation_setup/{name}.csv").write_text("\n".join(lines) + "\n")


def eight_train_rows(root: Path) -> Path:
    write_set(root, [row(n) for n in range(10)])
    lines = [row(n).split("\t")[0] for n in range(8)]
    (root / "evaluation_setup/fold1_train.csv").write_text("\n".join(["filename", *lines]) + "\n")
    (root / "evaluation_setup/fold1_evaluate.csv").write_text("filename\n" + "\n".join(map(name_of, (8, 9))) + "\n")
    return root


def name_of(number: int) -> str:
    return row(number).split("\t")[0]


def test_a_subset_leaves_the_rest_of_train_unused(tmp_path: Path) -> None:
    """Oracle: four of eight train clips, listed by hand."""
    root = eight_train_rows(tmp_path / "set")
    write_subsets(root, split50=[0, 2, 4, 6], split25=[0, 4])
    clips = read_tau22(root, subset=50).clips
    assert {c.filename for c in clips if c.split in ("train", "validation")} == {name_of(n) for n in (0, 2, 4, 6)}
    assert Counter(c.split for c in clips)["unused"] == 4
    assert Counter(c.split for c in clips)["test"] == 2


def test_a_list_may_be_gzipped_and_the_plain_one_counts(tmp_path: Path) -> None:
    """Oracle: two lists of one subset that differ."""
    root = eight_train_rows(tmp_path / "set")
    write_subsets(root, split50=[0, 2, 4, 6])
    plain = root / "evaluation_setup/split50.csv"
    (root / "evaluation_setup/split50.csv.gz").write_bytes(
        gzip.compress(plain.read_bytes().replace(b"-6-6-", b"-7-7-"))
    )
    for expected in (6, 7):
        used = {c.filename for c in read_tau22(root, subset=50).clips if c.split in ("train", "validation")}
        assert name_of(expected) in used
        plain.unlink(missing_ok=True)


def test_subsets_that_are_not_nested_are_refused(tmp_path: Path) -> None:
    """Oracle: a smaller subset with a clip that the larger one lacks, and one with a test clip."""
    root = eight_train_rows(tmp_path / "set")
    write_subsets(root, split5=[1], split10=[0, 2], split50=[0, 2, 9])
    with pytest.raises(UserError) as caught:
        read_tau22(root, subset=10)
    assert f"1 clips of the 5 % subset are not in the 10 % one:\n  {name_of(1)}" in str(caught.value)
    assert f"1 clips of the 50 % subset are not in the 100 % one:\n  {name_of(9)}" in str(caught.value)


@pytest.mark.slow  # reads the official lists five times: seven seconds
def test_the_2024_subsets_have_their_published_sizes(official: Path, shared_data: Path) -> None:
    """Oracle: 6,980 / 13,960 / 34,900 / 69,800 rows (DCASE 2024 Task 1)."""
    for percent, rows in {5: 6_980, 10: 13_960, 25: 34_900, 50: 69_800}.items():
        clips = read_tau22(official, subset=percent, subset_lists=shared_data / "tau22-official").clips
        splits = Counter(clip.split for clip in clips)
        assert (splits["train"] + splits["validation"], splits["test"]) == (rows, 29_680)
        assert 0.25 < splits["validation"] / rows < 0.35
        cities = {s: {c.city for c in clips if c.split == s} for s in ("train", "validation")}
        assert cities["train"] == cities["validation"]


@pytest.mark.slow  # some seconds
def test_incomplete_lists_of_the_complete_set_are_refused(official: Path, tmp_path: Path) -> None:
    """Oracle: one row taken out of the train list; its 139,620 rows."""
    shutil.copytree(official, tmp_path / "set")
    path = tmp_path / "set/evaluation_setup/fold1_train.csv"
    path.write_text(path.read_text().rstrip("\n").rsplit("\n", 1)[0] + "\n")
    with pytest.raises(UserError, match=r"fold1_train.csv has 139619 rows; the official list has 139620"):
        read_tau22(tmp_path / "set")


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """The complete official lists, without audio."""
    root = tmp_path_factory.mktemp("official")
    (root / "evaluation_setup").mkdir()
    for name in ("meta.csv", "evaluation_setup/fold1_train.csv", "evaluation_setup/fold1_evaluate.csv"):
        packed = shared_data / "tau22-official" / f"{Path(name).name}.gz"
        (root / name).write_bytes(gzip.decompress(packed.read_bytes()))
    return root


def test_the_published_lists_are_read_whole(official: Path) -> None:
    """Oracle: the counts that the task page publishes (139,620 train rows, 29,680 test rows, ten cities, nine
    devices)."""
    clips = read_tau22(official).clips
    splits = Counter(c.split for c in clips)
    assert len(clips) == 230_350
    assert (splits["train"] + splits["validation"], splits["test"]) == (139_620, 29_680)
    assert 0.28 < splits["validation"] / 139_620 < 0.32
    by_device = Counter(c.device for c in clips if c.split in ("train", "validation"))
    assert by_device == {"a": 102_150, "b": 7_490, "c": 7_480, "s1": 7_500, "s2": 7_500, "s3": 7_500}
    shares = Counter((c.scene, c.split == "validation") for c in clips if c.split in ("train", "validation"))
    for scene in SCENES:
        assert 0.2 < shares[scene, True] / (shares[scene, True] + shares[scene, False]) < 0.4
