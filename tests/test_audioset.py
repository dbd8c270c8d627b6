"""AudioSet and its part with strong labels, in their published layouts, made by the tests."""

import logging
from collections import Counter
from pathlib import Path

import pytest
from multi_label import HEAD, KEYS, VOCABULARY, classes_of, write_audioset, write_list, write_sound, write_strong

from data.errors import UserError
from data.readers import read


def test_audioset_is_read_with_the_sounds_that_there_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: the download page's example: 420 to 430 s of a video with keys jangling and a car; the names of files in
    the loaders that data/segments.py names; one train segment of ten has no file of its part."""
    write_audioset(tmp_path)
    with caplog.at_level(logging.WARNING):
        clips = read("audioset", tmp_path, {"clip_seconds": 10.0}, cache=tmp_path)
    assert (
        "has no sound files of 1 of 11 segments, which are passed over:\n  video_-0009 from 90 to 99 s" in caplog.text
    )
    assert clips.is_multi_label
    assert {tmp_path, tmp_path / "audios/eval", tmp_path / "metadata/eval_segments.csv"} <= set(clips.sources)
    assert clips.scenes == ("Speech", "Male speech, man speaking", "Cheering", "Car", "Keys jangling")
    found = classes_of(clips)
    assert found.pop("audios/eval/Y-0RWZT-miFs.wav") == ("test", ("Keys jangling", "Car"))
    assert {labels for _, labels in found.values()} == {("Speech", "Male speech, man speaking")}
    assert Counter(split for split, _ in found.values()) == {"train": 6, "validation": 3}
    assert {clip.location for clip in clips.clips if clip.split != "test"} == {f"video_-000{n}" for n in range(9)}
    more = read("audioset", tmp_path, {"unbalanced": True, "cut": True, "clip_seconds": 1.0}, cache=tmp_path)
    assert len(more.clips) == 2 * 11
    loud = [clip for clip in more.clips if clip.recording == "audios/unbalanced/YYYYYYYYYYYY.wav"]
    assert [(clip.part, clip.classes) for clip in loud] == [(0, ("Cheering",)), (1, ("Cheering",))]
    matrix = clips.label_matrix[clips.indices("test")]
    assert matrix.tolist() == [[False, False, False, True, True]]


def test_what_is_wrong_with_audioset_is_said_at_once(tmp_path: Path) -> None:
    """Oracle: the lines, by hand: an unknown class, a cut line, times reversed, a video twice; files; lists."""
    write_audioset(tmp_path, ".")
    lines = [
        KEYS,
        'video_-0001, 10.000, 20.000, "/m/0k4j"\n',
        'aaaaaaaaaaa, 10.000, 20.000, "/m/0k4j,/m/none"\n',
        'bbbbbbbbbbb, 30.000, 20.000, "/m/0k4j"\n',
        'ccccccccccc, 30.000, 40.000, "/m/0k',
    ]
    write_list(tmp_path / "eval_segments.csv", HEAD + "".join(lines))
    with pytest.raises(UserError) as caught:
        read("audioset", tmp_path, {}, cache=tmp_path)
    for line in (
        f"{tmp_path} has 4 mistakes",
        "eval_segments.csv line 5: video_-0001 is the video of balanced_train_segments.csv line 5",
        "eval_segments.csv line 6: '/m/none' not in class_labels_indices.csv",
        "eval_segments.csv line 7: it begins at 30.000 s and ends before, at 20.000 s",
        "eval_segments.csv line 8: 'ccccccccccc, 30.000, 40.000, \"/m/0k' is not a video, start, end",
    ):
        assert line in str(caught.value)
    write_list(tmp_path / "eval_segments.csv", HEAD + KEYS)
    write_sound(tmp_path / "audios/video_-0001.wav")
    with pytest.raises(
        UserError, match=r"video_-0001 from 10 to 20 s: audios/balanced/video_-0001.flac, audios/video_-0001.wav\nkeep"
    ):
        read("audioset", tmp_path, {}, cache=tmp_path)
    write_list(tmp_path / "class_labels_indices.csv", VOCABULARY + '9,/m/0k4j,"Bus"\n')
    with pytest.raises(UserError, match=r"class_labels_indices.csv has 1 identifiers twice:\n  /m/0k4j"):
        read("audioset", tmp_path, {}, cache=tmp_path)
    (tmp_path / "class_labels_indices.csv").unlink()
    with pytest.raises(UserError, match=r"has no class_labels_indices.csv, also not in metadata/; fetch it from https"):
        read("audioset", tmp_path, {}, cache=tmp_path)
    write_audioset(tmp_path / "lists")
    for path in (tmp_path / "lists/audios").rglob("*.*"):
        path.unlink()
    with pytest.raises(UserError, match=r"lists has no sound file of the 11 segments .* VIDEO_START_END.*Yvideo_-0000"):
        read("audioset", tmp_path / "lists", {}, cache=tmp_path)
    with pytest.raises(UserError, match=r"data=audioset needs data.root=FOLDER, the folder with balanced_train"):
        read("audioset", None, {}, cache=tmp_path)


def test_strong_labels_are_those_of_each_clip(tmp_path: Path) -> None:
    """Oracle: the example of download_strong.html: cheering from t=2.627 to t=7.237 s of the ten seconds from 30 s on:
    seconds 2 to 7 have it. Classes are those of the lists; two of one name have their identifiers."""
    write_strong(tmp_path)
    clips = read("audioset_strong", tmp_path, {"cut": True, "clip_seconds": 1.0}, cache=tmp_path)
    assert clips.scenes == ("Car (/m/x)", "Cheering", "Speech")
    tested = [clip for clip in clips.clips if clip.split == "test"]
    assert [clip.part for clip in tested if clip.classes == ("Cheering",)] == [2, 3, 4, 5, 6, 7]
    assert [clip.classes for clip in tested if clip.part in (0, 1, 8, 9)] == [()] * 4
    found = {clip.filename: clip.classes for clip in clips.clips if clip.recording == "Yvideo_-0001_10000.wav"}
    assert found.pop("Yvideo_-0001_10000.wav#0") == ("Car (/m/x)", "Speech")
    assert set(found.values()) == {("Car (/m/x)",)}
    whole = read("audioset_strong", tmp_path, {"clip_seconds": 10.0}, cache=tmp_path)
    assert classes_of(whole)["Ys9d-2nhuJCQ.wav"] == ("test", ("Cheering",))
    with open(tmp_path / "audioset_eval_strong.tsv", "a") as file:
        file.write(
            "video_-0001_10000\t0\t1\t/m/x\nvideo_-0004_10000\t1\t0\t/m/x\nvideo_-0004_10000\t0\t1\t/m/none\nvid"
        )
    with pytest.raises(UserError) as caught:
        read("audioset_strong", tmp_path, {}, cache=tmp_path)
    for line in (
        f"{tmp_path} has 4 mistakes",
        "audioset_eval_strong.tsv line 3: video_-0001 from 10 s is in audioset_train_strong.tsv too",
        "audioset_eval_strong.tsv line 4: it begins at 1 s and ends before, at 0 s",
        "audioset_eval_strong.tsv line 5: '/m/none' not in mid_to_display_name.tsv",
        "audioset_eval_strong.tsv line 6: 'vid' is not VIDEO_START (milliseconds), start, end and class",
    ):
        assert line in str(caught.value)
