"""Files that are cut into labelled clips, and the scene data sets whose files are longer than a clip."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command import QUICK, run

from data.errors import UserError
from data.packing import pack
from data.readers import read
from data.readers.classes import read_classes
from data.readers.cochlscene import read_cochlscene
from data.readers.dcase2013 import read_dcase2013
from data.readers.folder import read_folder
from data.waves import WaveStore

RATE = 8_000


def write(path: Path, seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).uniform(-0.9, 0.9, round(seconds * RATE)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return samples


def test_a_labelled_file_gives_as_many_clips_as_it_holds(tmp_path: Path) -> None:
    """Oracle: the samples that were written; 2.6 s are three clips, the last completed with silence; class, location
    and split are the file's; without `cut` a file is one clip. Tolerance: 16 bits below the peak."""
    for number, name in enumerate(("owl", "cat")):
        for n in range(5):
            write(tmp_path / f"set/{name}/{n}.wav", 2.6, seed=10 * number + n)
    clips = read_classes(tmp_path / "set", cut=True)
    assert len(clips.clips) == 3 * len(read_classes(tmp_path / "set").clips) == 30
    store = WaveStore(pack(clips, tmp_path / "cache", sample_rate=RATE))
    waves = dict(zip(store.filenames, store.read(np.arange(len(store))).numpy(), strict=True))
    for path in sorted((tmp_path / "set").glob("*/*.wav")):
        name = path.relative_to(tmp_path / "set").as_posix()
        expected = np.zeros(3 * RATE, np.float32)
        samples = soundfile.read(path, dtype="float32")[0]
        expected[: len(samples)] = samples
        np.testing.assert_allclose(np.concatenate([waves[f"{name}#{n}"] for n in range(3)]), expected, atol=1 / 32_767)
        own = [clip for clip in clips.clips if clip.recording == name]
        assert {(clip.scene, clip.location) for clip in own} == {(path.parent.name, name)}
        assert len({clip.split for clip in own}) == 1


def test_a_table_s_files_are_cut_and_keep_what_it_says(tmp_path: Path) -> None:
    """Oracle: the rows, by hand: device, location and split of a file are its clips'; 1.5 s are two clips of a second,
    and three of half a second."""
    rows = ["filename,label,device,location,split"]
    for n, (label, split) in enumerate([("x", "train"), ("y", "train"), ("x", "val"), ("y", "val"), ("x", "test")]):
        write(tmp_path / f"{n}.wav", 1.5, seed=n)
        rows.append(f"{n}.wav,{label},d{n % 2},place{n},{split}")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    for seconds, count in ((1.0, 2), (0.5, 3)):
        clips = read_folder(tmp_path, cut=True, clip_seconds=seconds).clips
        assert Counter(clip.recording for clip in clips) == {f"{n}.wav": count for n in range(5)}
        assert {clip.split for clip in clips if clip.recording in ("2.wav", "3.wav")} == {"validation"}
        assert all((clip.location, clip.device) == (f"place{n}", f"d{n % 2}") for n, clip in _numbered(clips))
    (tmp_path / "3.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"1 of 5 sound files below .* cannot be read:\n  .*3.wav"):
        read_folder(tmp_path, cut=True)


def _numbered(clips) -> list:
    return [(int(clip.recording[0]), clip) for clip in clips]


def dcase2013(root: Path, *folders: str) -> Path:
    for folder in folders:
        for n in (1, 2, 4, 7, 10):
            for seed, scene in enumerate(("bus", "busystreet", "tubestation")):
                write(root / f"{folder}/{scene}{n:02}.wav", 3.0, seed)
    return root


def test_the_parts_of_dcase_2013_are_read_as_published(tmp_path: Path) -> None:
    """Oracle: the published README, "classXX.wav where XX is a two-digit, non-consecutive number"; the private part was
    what the challenge tested on; one part alone is divided."""
    both = read_dcase2013(dcase2013(tmp_path / "both", "scenes_stereo", "scenes_stereo_testset"))
    assert both.scenes == ("bus", "busystreet", "tubestation")
    tested = {clip.recording for clip in both.clips if clip.split == "test"}
    assert tested == {clip.recording for clip in both.clips if clip.filename.startswith("scenes_stereo_testset/")}
    assert Counter(clip.recording for clip in both.clips)["scenes_stereo/bus07.wav"] == 3
    for part in ("scenes_stereo", "scenes_stereo_testset"):
        clips = read_dcase2013(dcase2013(tmp_path / "alone" / part, part)).clips
        assert {clip.split for clip in clips} == {"train", "validation", "test"}
        assert sum(clip.split == "test" for clip in clips) == 3 * 3  # one of five files of each class
    with pytest.raises(UserError, match=r"has neither scenes_stereo nor scenes_stereo_.*say data.root=.*/both$"):
        read_dcase2013(tmp_path / "both/scenes_stereo")
    write(tmp_path / "both/scenes_stereo/garden01.wav")
    with pytest.raises(UserError, match=r"1 of 16 files in .* are not named as published:\n  garden01.wav"):
        read_dcase2013(tmp_path / "both")


def test_cochlscene_is_read_in_its_splits(tmp_path: Path) -> None:
    """Oracle: published names, Bus_user0138_14982403_007.wav: a user is a location, and in one split."""
    for number, split in enumerate(("Train", "Val", "Test")):
        for scene in ("Bus", "SubwayStation"):
            for part in range(2):
                write(tmp_path / f"{split}/{scene}/{scene}_user{number:04}_14982403_{part:03}.wav", 2.0)
    clips = read("cochlscene", tmp_path, {"clip_seconds": 1.0}, cache=tmp_path)
    assert clips.scenes == ("Bus", "SubwayStation")
    assert Counter(clip.split for clip in clips.clips) == {"train": 8, "validation": 8, "test": 8}
    assert {(clip.location, clip.split) for clip in clips.clips} == {
        ("user0000", "train"),
        ("user0001", "validation"),
        ("user0002", "test"),
    }
    write(tmp_path / "Val/Bus/Bus_user0000_1_000.wav")
    with pytest.raises(UserError, match=r"1 locations in more than one split:\n  user0000"):
        read_cochlscene(tmp_path)
    (tmp_path / "Val/Bus/Bus_user0000_1_000.wav").rename(tmp_path / "Val/Bus/Car_user0009_1_000.wav")
    with pytest.raises(UserError, match=r"1 of 5 files in .*Val are not named as published"):
        read_cochlscene(tmp_path)
    (tmp_path / "Val").rename(tmp_path / "Eval")
    with pytest.raises(UserError, match="has no sounds in Val"):
        read_cochlscene(tmp_path)


@pytest.mark.slow  # a training of a second's epochs and its start: 15 s
def test_a_student_trains_on_files_that_are_cut(tmp_path: Path) -> None:
    """Oracle: counting: the predictions are of every clip of the test files, by name."""
    root = dcase2013(tmp_path / "set", "scenes_stereo", "scenes_stereo_testset")
    done = run(tmp_path, "student", "name=c", "distill=none", "data=dcase2013", f"data.root={root}", *QUICK)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "runs/student/c/predictions.csv").read_text().splitlines()[1:]
    names = {line.split("\t")[0].split(",")[0] for line in lines}
    expected = {
        f"scenes_stereo_testset/{s}{n:02}.wav#{p}"
        for s in ("bus", "busystreet", "tubestation")
        for n in (1, 2, 4, 7, 10)
        for p in range(3)
    }
    assert names == expected
