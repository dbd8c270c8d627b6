"""Pieces of data sets whose clips have several classes, as their authors publish them."""

import json
from pathlib import Path

import numpy as np
import soundfile

from data.scenes import ClipSet

RATE = 8_000
# annotations/train/soundscape_train_uniform1736.txt of URBAN-SED 2.0, as it stands in soundata/soundata,
# tests/resources/sound_datasets/urbansed.
SOUNDSCAPE = """1.265813\t1.6759810000000002\tgun_shot
1.297431\t2.326387\tjackhammer
1.773775\t4.187711\tstreet_music
3.9099150000000003\t6.9685700000000015\tair_conditioner
4.1928839999999985\t5.414589\tjackhammer
9.164048\t10.000000000000002\tdog_bark
"""
# What soundscape_train_uniform1736.jams there has of these events.
OBSERVATIONS = (
    ("background", 0.0, 10.0, "noise"),
    ("foreground", 1.265813, 0.41016800000000003, "gun_shot"),
    ("foreground", 1.297431, 1.028956, "jackhammer"),
    ("foreground", 1.773775, 2.413936, "street_music"),
    ("foreground", 3.9099150000000003, 3.0586550000000003, "air_conditioner"),
    ("foreground", 4.192884, 1.221705, "jackhammer"),
    ("foreground", 9.164048000000001, 0.835952, "dog_bark"),
)
JAMS = json.dumps(
    {
        "annotations": [
            {
                "namespace": "scaper",
                "data": [
                    {"time": time, "duration": duration, "value": {"role": role, "label": label}, "confidence": 1.0}
                    for role, time, duration, label in OBSERVATIONS
                ],
            }
        ]
    }
)
# Lines of https://research.google.com/audioset/download.html, and of class_labels_indices.csv.
VOCABULARY = """index,mid,display_name
0,/m/09x0r,"Speech"
1,/m/05zppz,"Male speech, man speaking"
66,/m/053hz1,"Cheering"
307,/m/0k4j,"Car"
379,/m/03v3yw,"Keys jangling"
"""
HEAD = """# Segments csv created Sun Mar  5 10:54:25 2017
# num_ytids=20371, num_segs=20371, num_unique_labels=527, num_positive_labels=51804
# YTID, start_seconds, end_seconds, positive_labels
"""
KEYS = '-0RWZT-miFs, 420.000, 430.000, "/m/03v3yw,/m/0k4j"\n'
# Rows of FSD50K.ground_truth as they stand in soundata/soundata, tests/resources/sound_datasets/fsd50k.
GUITAR = (
    '"Electric_guitar,Guitar,Plucked_string_instrument,Musical_instrument,Music",'
    '"/m/02sgy,/m/0342h,/m/0fx80y,/m/04szw,/m/04rlf"'
)
CLASSES = ("Electric_guitar", "Guitar", "Music", "Musical_instrument", "Plucked_string_instrument", "Strum")


def write_sound(path: Path, seconds: float = 1.0) -> None:
    """A file of noise, other for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(sum(path.name.encode())).uniform(-0.9, 0.9, round(seconds * RATE))
    soundfile.write(path, samples, RATE)


def write_list(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def classes_of(clips: ClipSet) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Split and classes of each clip, by its name."""
    return {clip.filename: (clip.split, clip.classes) for clip in clips.clips}


def write_audioset(root: Path, folder: str = "metadata") -> None:
    """Ten train segments of which nine have a sound, in each of the names that people give them, and one to test on."""
    rows = [f'video_-000{n}, {n}0.000, {n + 1}0.000, "/m/09x0r,/m/05zppz"\n' for n in range(9)]
    rows += ["video_-0009,90,99,/m/09x0r\n"]  # as a spreadsheet saves it, of a video that ends before ten seconds
    write_list(root / folder / "class_labels_indices.csv", VOCABULARY)
    write_list(root / folder / "balanced_train_segments.csv", HEAD + "".join(rows))
    write_list(root / folder / "eval_segments.csv", HEAD + KEYS)
    write_list(root / folder / "unbalanced_train_segments.csv", HEAD + 'YYYYYYYYYYY, 0.000, 10.000, "/m/053hz1"\n')
    for name in (
        "balanced/Yvideo_-0000.wav",
        "balanced/video_-0001.flac",
        "video_-0002_20000.wav",
        "Yvideo_-0003_30000.wav",
        "video_-0004_40000_50000.flac",
        "video_-0005_50_60.wav",
        "video_-0006_60.000_70.000.wav",
        "video_-0007_70.wav",
        "Yvideo_-0008_80000_90000.wav",
        "video_-0009_0_10.wav",  # of another part of that video
        "eval/Y-0RWZT-miFs.wav",
        "unbalanced/YYYYYYYYYYYY.wav",
        "elsewhere/Yvideo_-0100.wav",
    ):
        write_sound(root / "audios" / name, 2.0)


def write_strong(root: Path) -> None:
    head, more = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n", "video_-000"
    write_list(
        root / "mid_to_display_name.tsv", "/m/053hz1\tCheering\n/m/09x0r\tSpeech\n/m/x\tCar\n/m/y\tCar\n/m/z\tNever\n"
    )
    rows = [f"{more}{n}_{n}0000\t0.000\t10.000\t/m/x\n{more}{n}_{n}0000\t0.500\t0.700\t/m/09x0r\n" for n in range(3)]
    write_list(root / "audioset_train_strong.tsv", head + "".join(rows))
    write_list(root / "audioset_eval_strong.tsv", head + "s9d-2nhuJCQ_30000\t2.627\t7.237\t/m/053hz1\n")
    for name in ("Ys9d-2nhuJCQ.wav", *(f"Y{more}{n}_{n}0000.wav" for n in range(3))):
        write_sound(root / name, 10.0)


def write_fsd50k(root: Path, seconds: float = 2.4) -> None:
    """One file of dev to train on, one to validate, and two of eval, so many seconds each."""
    tables = root / "FSD50K.ground_truth"
    write_list(tables / "vocabulary.csv", "".join(f"{n},{name},/m/{n}\n" for n, name in enumerate(CLASSES)))
    write_list(tables / "dev.csv", f"fname,labels,mids,split\n64760,{GUITAR},train\n345111,{GUITAR},val\n")
    write_list(tables / "eval.csv", f'fname,labels,mids\n37199,{GUITAR}\n235579,"Strum,Music","/m/07s0s5r,/m/04rlf"\n')
    for name in ("dev_audio/64760.wav", "dev_audio/345111.flac", "eval_audio/37199.wav", "eval_audio/235579.wav"):
        write_sound(root / f"FSD50K.{name}", seconds)


def write_urban_sed(root: Path) -> None:
    for split in ("train", "validate", "test"):
        write_sound(root / f"audio/{split}/soundscape_{split}_uniform1736.wav", 10.0)
        write_list(root / f"annotations/{split}/soundscape_{split}_uniform1736.txt", SOUNDSCAPE)
        write_list(root / f"annotations/{split}/soundscape_{split}_uniform1736.jams", JAMS)
        write_list(root / f"annotations/{split}/._soundscape_{split}_uniform1736.txt", "of macOS")
