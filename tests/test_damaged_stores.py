"""Damaged and foreign stores: whatever is in the file, what is read is right, or is refused in words."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fuzzing import mutants, survive
from hdf5_mutants import structural

from data.errors import UserError
from data.feature_targets import kept_features, read_features
from data.logits import LogitsWriter, load_logits
from data.logits_file import FeatureColumn
from data.packing import pack
from data.scenes import ClipSet, parse_filename
from data.waves import WaveStore

SCENES = ["bus", "metro", "park"]
NAMES = [f"audio/clip {i}.wav" for i in range(4)]
IDENTITY = {name: name * 20 for name in ("teacher", "config", "weights", "waves", "clips", "impulses", "trained_on")}


def write_logits(path: Path) -> bytes:
    values = np.random.default_rng(0).normal(size=(4, 3, 3)).astype(np.float32)
    writer = LogitsWriter(path, NAMES, SCENES, IDENTITY, (-1, 0, 1), FeatureColumn("pooled", 5))
    writer.fill(range(4), values, np.linspace(-2, 2, 20, dtype=np.float32).reshape(4, 5))
    writer.seal(test_accuracy=0.5)
    return path.read_bytes()


def reading_logits(whole: Path) -> Callable[[Path], None]:
    """A reader that notices if other logits than those of a whole file are taken without a word."""
    expected, features = load_logits(whole), read_features(whole, NAMES)

    def read(path: Path) -> None:
        said: list[logging.LogRecord] = []
        handler = logging.Handler()
        handler.emit = said.append
        logging.getLogger("data").addHandler(handler)
        try:
            found = load_logits(path)
            kept = None if kept_features(path) is None else read_features(path, NAMES)
        finally:
            logging.getLogger("data").removeHandler(handler)
        same = found.filenames == expected.filenames and found.scenes == expected.scenes
        assert said or (same and np.array_equal(found.logits, expected.logits) and np.array_equal(kept, features))

    return read


@pytest.mark.slow  # HDF5 reads each file in a process of its own: ten seconds
def test_damaged_logits_are_refused_or_said(tmp_path: Path, fuzz: int) -> None:
    """Oracle: the undamaged file's content."""
    original = write_logits(tmp_path / "whole.h5")
    survive(reading_logits(tmp_path / "whole.h5"), original, mutants(original, fuzz), tmp_path, "logits.h5")


@pytest.mark.slow  # a process for each of HDF5's possibilities
def test_logits_of_another_structure_are_refused(tmp_path: Path) -> None:
    """Oracle: each column and attribute replaced by each thing that HDF5 can hold in its place."""
    original = write_logits(tmp_path / "whole.h5")
    wrong = list(
        structural(
            original,
            tmp_path,
            ["filename", "logits", "by_shift", "features", "done"],
            ["format", "scenes", "features_channels"],
        )
    )
    assert survive(reading_logits(tmp_path / "whole.h5"), original, wrong, tmp_path, "logits.h5") == len(wrong)


@pytest.mark.slow  # many damaged files, each in a process
def test_what_logits_say_of_themselves_is_a_text_or_a_number(tmp_path: Path) -> None:
    """Oracle: counted by hand: none, 8 texts and 3 numbers are taken, which is said; the others are refused."""
    original = write_logits(tmp_path / "whole.h5")
    wrong = list(structural(original, tmp_path, [], ["trained_on"]))
    assert survive(reading_logits(tmp_path / "whole.h5"), original, wrong, tmp_path, "logits.h5") == len(wrong) - 12


@pytest.fixture
def clips(tmp_path: Path) -> ClipSet:
    """Four short noises."""
    found = [parse_filename(f"audio/tram-paris-{n}-{n}-0-a.wav") for n in range(4)]
    (tmp_path / "set" / "audio").mkdir(parents=True)
    for clip, wave in zip(found, np.random.default_rng(0).uniform(-0.5, 0.5, (4, 320)), strict=True):
        soundfile.write(tmp_path / "set" / clip.filename, wave, 32_000, "PCM_24")
    return ClipSet("noises", tmp_path / "set", found)


def packing(clips: ClipSet, whole: Path) -> Callable[[Path], None]:
    """A reader that packs into the folder where a damaged file lies, and reads the waves: a damaged wave may be found
    as it is read, once; after that they are right."""
    expected = WaveStore(whole)

    def read(path: Path) -> None:
        for final in (False, True):
            try:
                store = WaveStore(pack(clips, path.parent, clip_seconds=0.01))
                np.testing.assert_array_equal(store.read(np.arange(4)), expected.read(np.arange(4)))
                assert (store.digest, store.filenames) == (expected.digest, expected.filenames)
                return
            except UserError as error:
                if final or "run the command again" not in str(error):
                    raise

    return read


@pytest.mark.slow  # every mutant is packed again
def test_damaged_waves_are_made_anew(clips: ClipSet, tmp_path: Path, fuzz: int) -> None:
    """Oracle: the waves and the digest of an undamaged store; no file is refused."""
    whole = pack(clips, tmp_path / "whole", clip_seconds=0.01)
    original = whole.read_bytes()
    survive(packing(clips, whole), original, mutants(original, fuzz), tmp_path, whole.name)


@pytest.mark.slow  # a process for each of HDF5's possibilities
def test_waves_of_another_structure_are_made_anew(clips: ClipSet, tmp_path: Path) -> None:
    """Oracle: the waves and the digest of an undamaged store; no file is refused."""
    whole = pack(clips, tmp_path / "whole", clip_seconds=0.01)
    columns, attributes = ["filename", "wave", "scale", "stamp", "done"], ["format", "source", "sample_rate"]
    wrong = structural(whole.read_bytes(), tmp_path, columns, [*attributes, "clip_seconds"])
    assert survive(packing(clips, whole), whole.read_bytes(), wrong, tmp_path, whole.name) == 0
