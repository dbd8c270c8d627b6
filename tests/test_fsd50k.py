"""FSD50K and URBAN-SED in their published layouts, made by the tests, and what submissions declare such sets as."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from multi_label import CLASSES, classes_of, write_fsd50k, write_list, write_sound, write_urban_sed

from data.errors import UserError
from data.readers import read, readers


def test_fsd50k_is_read_in_its_splits(tmp_path: Path) -> None:
    """Oracle: rows of the published tables: 64760 trains, 345111 validates, eval.csv is for the test; a file of 2.4 s
    gives two clips of a second with all its classes."""
    write_fsd50k(tmp_path)
    clips = read("fsd50k", tmp_path, {"clip_seconds": 10.0}, cache=tmp_path)
    assert clips.scenes == CLASSES
    guitar = ("Electric_guitar", "Guitar", "Plucked_string_instrument", "Musical_instrument", "Music")
    assert classes_of(clips) == {
        "FSD50K.dev_audio/64760.wav": ("train", guitar),
        "FSD50K.dev_audio/345111.flac": ("validation", guitar),
        "FSD50K.eval_audio/37199.wav": ("test", guitar),
        "FSD50K.eval_audio/235579.wav": ("test", ("Strum", "Music")),
    }
    cut = read("fsd50k", tmp_path, {"cut": True, "clip_seconds": 1.0}, cache=tmp_path)
    assert Counter(clip.classes for clip in cut.clips) == {guitar: 6, ("Strum", "Music"): 2}


def test_what_is_wrong_with_fsd50k_is_said_at_once(tmp_path: Path) -> None:
    """Oracle: the rows, by hand: an unknown class, an unknown split, a file missing, one twice, two files for one."""
    write_fsd50k(tmp_path / "set")
    root = tmp_path / "set"
    write_sound(root / "FSD50K.dev_audio/64760.flac")
    with open(root / "FSD50K.ground_truth/dev.csv", "a") as file:
        file.write("1,Drums,/m/1,train\n2,Music,/m/2,test\n3,Music,/m/3,val\n345111,Music,/m/3,val\n")
    with pytest.raises(UserError) as caught:
        read("fsd50k", root, {}, cache=tmp_path)
    for line in (
        "FSD50K.ground_truth has 5 mistakes",
        "dev.csv line 2: several files, FSD50K.dev_audio/64760.flac, FSD50K.dev_audio/64760.wav",
        "dev.csv line 4: 'Drums' not in FSD50K.ground_truth/vocabulary.csv",
        "dev.csv line 5: split 'test' is neither train nor val",
        "dev.csv line 6: no file FSD50K.dev_audio/3.wav",
        "dev.csv line 7: 345111 is the file of dev.csv line 3",
    ):
        assert line in str(caught.value)
    with pytest.raises(UserError, match=r"vocabulary.csv is missing; .*/set has FSD50K.* say data.root=.*/set$"):
        read("fsd50k", root / "FSD50K.dev_audio", {}, cache=tmp_path)
    write_list(root / "FSD50K.ground_truth/dev.csv", "fname,labels,mids,split\n")
    with pytest.raises(UserError, match=r"FSD50K.ground_truth has no clips of the split train"):
        read("fsd50k", root, {}, cache=tmp_path)
    write_list(root / "FSD50K.ground_truth/vocabulary.csv", "Music\n")
    with pytest.raises(UserError, match=r"vocabulary.csv line 1: 'Music' is not a number, a name and an identifier"):
        read("fsd50k", root, {}, cache=tmp_path)


def test_urban_sed_is_read_in_its_splits(tmp_path: Path) -> None:
    """Oracle: a published file of annotations, as text and as JAMS, which say the same; the ten classes and three
    splits of the README; which second has which class: test_events.py."""
    write_urban_sed(tmp_path)
    clips = read("urban_sed", tmp_path, {"cut": True, "clip_seconds": 1.0}, cache=tmp_path)
    assert len(clips.scenes) == 10
    assert Counter(clip.split for clip in clips.clips) == {"train": 10, "validation": 10, "test": 10}
    assert Counter(label for clip in clips.clips for label in clip.classes) == {
        **{"gun_shot": 3, "jackhammer": 12, "street_music": 12, "air_conditioner": 9, "dog_bark": 3}
    }
    whole = read("urban_sed", tmp_path, {"clip_seconds": 10.0}, cache=tmp_path)
    assert {len(clip.classes) for clip in whole.clips} == {5}
    for path in (tmp_path / "annotations").rglob("soundscape*.txt"):
        path.rename(path.with_name(f"{path.name}.bak"))
    assert read("urban_sed", tmp_path, {"cut": True, "clip_seconds": 1.0}, cache=tmp_path).clips == clips.clips
    late = f'{{"time": {10**400}, "duration": 0.5, "value": {{"role": "foreground", "label": "siren"}}}}'
    name = "soundscape_test_uniform1736.jams"
    for event in ("{}", late):
        write_list(tmp_path / "annotations/test" / name, f'{{"annotations": [{{"data": [{event}]}}]}}')
        with pytest.raises(UserError, match=rf"has 1 mistakes:\n  {name} is no JAMS file of scaper's"):
            read("urban_sed", tmp_path, {}, cache=tmp_path)
    write_urban_sed(tmp_path)
    (tmp_path / "annotations/train/soundscape_train_uniform1736.jams").unlink()
    (tmp_path / "annotations/train/soundscape_train_uniform1736.txt").rename(tmp_path / "annotations/train/b.txt")
    with open(tmp_path / "annotations/test/soundscape_test_uniform1736.txt", "a") as file:
        file.write("1\t2\tcat\n2\t1\tsiren\n1\t2\n")
    with pytest.raises(UserError) as caught:
        read("urban_sed", tmp_path, {}, cache=tmp_path)
    for line in (
        f"{tmp_path} has 5 mistakes",
        "annotations/train/b.txt: no audio/train/b.wav",
        "audio/train/soundscape_train_uniform1736.wav: no annotations/train/soundscape_train_uniform1736.txt",
        "soundscape_test_uniform1736.txt line 7: 'cat' is none of air_conditioner",
        "soundscape_test_uniform1736.txt line 8: it begins at 2 s and ends before, at 1 s",
        "soundscape_test_uniform1736.txt line 9: '1\\t2' is not start, end and class",
    ):
        assert line in str(caught.value)
    with pytest.raises(UserError, match=r"has no audio/train, audio/validate, .*; .* has audio/train: say data.root="):
        read("urban_sed", tmp_path / "audio", {}, cache=tmp_path)


def test_what_submissions_declare_these_sets_as() -> None:
    """Oracle: the task page's list of external data, which has all four."""
    from experiments.submission.resources import unlisted_among

    kinds = ("audioset", "audioset_strong", "fsd50k", "urban_sed")
    declared = [asdict(resource) for kind in kinds for resource in readers()[kind].resources]
    assert len(declared) == 4
    assert unlisted_among(declared) == []
