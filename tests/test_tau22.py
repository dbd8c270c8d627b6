"""Reading the official lists, and holding locations out."""

import gzip
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from data.scenes import SCENES, parse_filename
from data.splits import validation_locations
from data.tau22 import read_tau22

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


clip_sets = st.lists(
    st.tuples(
        st.sampled_from(SCENES), st.sampled_from(["rome", "oslo", "bern"]), st.integers(0, 12), st.integers(0, 9)
    ),
    min_size=1,
    max_size=120,
    unique=True,
)


@given(clip_sets, st.floats(0.05, 0.95), st.integers(0, 3))
def test_no_location_is_on_both_sides_and_every_city_is(rows: list, fraction: float, seed: int) -> None:
    """Oracle: the rule itself, over random metadata."""
    clips = [parse_filename(f"audio/{s}-{c}-{p}-{p}-{part}-a.wav") for s, c, p, part in rows]
    held_out = validation_locations(clips, fraction=fraction, seed=seed)
    stays = {c.location for c in clips} - held_out
    for city in {c.city for c in clips}:
        places = {c.location for c in clips if c.city == city}
        assert places & stays
        assert bool(places & held_out) == (len(places) > 1)
    assert validation_locations(clips[::-1], fraction=fraction, seed=seed) == held_out


def test_the_published_lists_are_read_whole(tmp_path: Path, shared_data: Path) -> None:
    """Oracle: the counts that the task page publishes (139,620 train rows, 29,680 test rows, ten cities, nine
    devices)."""
    (tmp_path / "evaluation_setup").mkdir()
    for name in ("meta", "fold1_train", "fold1_evaluate"):
        target = tmp_path / ("meta.csv" if name == "meta" else f"evaluation_setup/{name}.csv")
        target.write_bytes(gzip.decompress((shared_data / "tau22-official" / f"{name}.csv.gz").read_bytes()))
    clips = read_tau22(tmp_path).clips
    splits = Counter(c.split for c in clips)
    assert len(clips) == 230_350
    assert (splits["train"] + splits["validation"], splits["test"]) == (139_620, 29_680)
    assert 0.28 < splits["validation"] / 139_620 < 0.32
    by_device = Counter(c.device for c in clips if c.split in ("train", "validation"))
    assert by_device == {"a": 102_150, "b": 7_490, "c": 7_480, "s1": 7_500, "s2": 7_500, "s3": 7_500}
    shares = Counter((c.scene, c.split == "validation") for c in clips if c.split in ("train", "validation"))
    for scene in SCENES:
        assert 0.2 < shares[scene, True] / (shares[scene, True] + shares[scene, False]) < 0.4
