"""Clips a second of packing and of reading, beside the naive ways; and how long a full-size set takes to open.

The naive ways are those of the peers: librosa.load each time a clip is asked for (its default resampler is the same
soxr HQ as ours), and one torch.save file a clip.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from data.errors import UserError
from data.packing import pack
from data.readers.synthetic import write_synthetic
from data.readers.tau22 import read_tau22
from data.records import META, TEST, TRAIN
from data.scenes import Clip, ClipSet
from data.tables import read_table
from data.waves import WaveStore
from experiments.bench.timing import Row, in_turns, rates, row

RATE = 32_000
BATCH = 256
NAIVE_CLIPS = 400  # that the naive ways read a round; they are slow
MAP_BATCHES = 100  # a round
SHORT_SECONDS = 0.02  # of the clips of the full-size set
LINKS = 20_000  # of one file: file systems allow no more than some ten thousands

# Between us and the command whose memory is measured: a child begins with what its parent had at most.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def run(arguments: argparse.Namespace) -> list[Row]:
    """All rows: what, median, unit, rounds."""
    root, lists, clips, rounds = arguments.root, arguments.lists, arguments.clips, arguments.rounds
    if clips < NAIVE_CLIPS or rounds < 1:
        raise UserError(f"--clips={clips} must be at least {NAIVE_CLIPS}, --rounds={rounds} at least 1")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        source = read_tau22(root or write_synthetic(place / "synthetic"))
        rows = _packing_and_reading(repeated(source, clips, place / "set"), place, rounds)
        return rows + (_full_size(lists, source.root / source.filenames[0], place / "full", rounds) if lists else [])


def _packing_and_reading(clips: ClipSet, place: Path, rounds: int) -> list[Row]:
    load = _librosa_load()
    load(clips.root / clips.filenames[0])  # librosa imports its parts at the first call
    few = clips.filenames[:NAIVE_CLIPS]
    files, cache = place / "files", place / "cache"
    paths = [files / f"{number}.pt" for number in range(NAIVE_CLIPS)]
    random = np.random.default_rng(0)

    def save_each() -> None:
        for number, name in enumerate(clips.filenames):
            torch.save(load(clips.root / name), files / f"{number}.pt")

    def pack_all() -> None:
        pack(clips, cache, sample_rate=RATE)

    def from_nothing() -> None:
        for folder in (files, cache):
            shutil.rmtree(folder, ignore_errors=True)
        files.mkdir()

    packing = in_turns({"each": save_each, "pack": pack_all}, rounds, before=from_nothing)
    each, packed = (rates(packing[way], len(clips.clips)) for way in ("each", "pack"))
    save_each()
    store = WaveStore(cache / f"waves_{RATE}.h5")

    def read_map() -> None:
        for _ in range(MAP_BATCHES):
            store.read(random.choice(len(store), BATCH, replace=False))

    def read_files() -> None:
        torch.stack([torch.load(path) for path in random.permutation(np.array(paths))])

    def decode_each() -> None:
        torch.stack([load(clips.root / name) for name in random.permutation(few)])

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    reading = in_turns({"map": read_map, "files": read_files, "decode": decode_each}, rounds)
    torch.set_num_threads(threads)
    mapped = rates(reading["map"], MAP_BATCHES * BATCH)
    return [
        row("packing: librosa.load, torch.save, a file a clip", each, "clips/s"),
        row("packing: scenelet, all cores", packed, "clips/s"),
        row("packing: scenelet / librosa", np.divide(packed, each).tolist(), "times"),
        row("reading, 1 core: librosa.load each time", rates(reading["decode"], NAIVE_CLIPS), "clips/s"),
        row("reading, 1 core: torch.load, a file a clip", rates(reading["files"], NAIVE_CLIPS), "clips/s"),
        row(f"reading, 1 core: scenelet, random batches of {BATCH} from the map", mapped, "clips/s"),
    ]


def _full_size(lists: Path, sound: Path, root: Path, rounds: int) -> list[Row]:
    """The official 230,350 names, each a link to one sound of which little is read: what the number of clips costs."""
    (root / "audio").mkdir(parents=True)
    (root / "evaluation_setup").mkdir()
    for name in (META, TRAIN, TEST):
        table = read_table(lists / f"{Path(name).name}.gz", ["filename"])
        lines = zip(*table.values(), strict=True)
        (root / name).write_text("".join("\t".join(line) + "\n" for line in (tuple(table), *lines)))
    for number, name in enumerate(read_table(root / META, ["filename"])["filename"]):
        if number % LINKS == 0:
            original = root / f"{number}.wav"
            shutil.copyfile(sound, original)
        os.link(original, root / name)
    command = [sys.executable, "-m", "experiments.run", "stage=data", "data=tau22", f"data.root={root}"]
    command += [f"data.clip_seconds={SHORT_SECONDS}", f"cache={root / 'cache'}"]

    def stage() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def open_all() -> None:
        WaveStore(next((root / "cache").glob("*/waves_*.h5")))
        read_tau22(root)

    started = time.perf_counter()
    memory = float(subprocess.run([sys.executable, "-c", PEAK, *command], check=True, capture_output=True).stdout)
    first = [time.perf_counter() - started]
    again = in_turns({"stage": stage, "open": open_all}, rounds)
    return [
        row(f"230,350 clips of {SHORT_SECONDS} s: stage=data, first time", first, "s"),
        row("230,350 clips: stage=data, most memory resident", [memory], "MiB"),
        row("230,350 clips: stage=data, second time (whole command)", again["stage"], "s"),
        row("230,350 clips: open store, lists and split", again["open"], "s"),
    ]


def _librosa_load() -> Callable[[Path], torch.Tensor]:
    try:
        import librosa
    except ImportError as error:
        raise UserError("the bench compares with librosa: pip install librosa") from error
    return lambda path: torch.from_numpy(librosa.load(path, sr=RATE)[0])


def repeated(clips: ClipSet, count: int, root: Path) -> ClipSet:
    """`count` clips: links to those of a set, under new names."""
    (root / "audio").mkdir(parents=True)
    found: list[Clip] = []
    for number in range(count):
        clip = clips.clips[number % len(clips.clips)]
        name = f"audio/{number}.wav"
        (root / name).symlink_to((clips.root / clip.filename).resolve())
        found.append(clip._replace(filename=name))
    return ClipSet("bench", root, found)
