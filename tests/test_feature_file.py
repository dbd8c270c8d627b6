"""Files of features: what was written is read, and nothing else."""

from pathlib import Path

import fuzzing
import numpy as np
import pytest

from data.feature_file import feature_file

NAMES = [f"clip {number}.wav" for number in range(6)]
VALUES = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


def write(folder: Path) -> Path:
    """A file of all but the last clip."""
    with feature_file(folder, NAMES, 3, {"weights": "w"}) as file:
        assert file.missing(NAMES).all()
        file.fill(NAMES[4::-1], VALUES[4::-1])
    return file.path


def test_features_are_read_by_name_in_any_order(tmp_path: Path) -> None:
    """Oracle: the values; another identity, list or width has another file."""
    path = write(tmp_path)
    with feature_file(tmp_path, NAMES, 3, {"weights": "w"}) as file:
        assert file.path == path
        assert file.missing(NAMES).tolist() == [False] * 5 + [True]
        np.testing.assert_array_equal(file.read(NAMES[3:0:-1]), VALUES[3:0:-1])
    for names, channels, weights in ((NAMES, 3, "v"), (NAMES[:5], 3, "w"), (NAMES, 4, "w")):
        with feature_file(tmp_path, names, channels, {"weights": weights}) as file:
            assert file.missing(names).all()
    assert len(list(tmp_path.glob("features_*.h5"))) == 4


@pytest.mark.slow  # some seconds
def test_damaged_files_are_never_read_as_others(tmp_path: Path, fuzz: int) -> None:
    """Oracle: tests/fuzzing.py, with the values that were written: a row is missing, or it is as it was written."""
    path = write(tmp_path)

    def read(damaged: Path) -> None:
        with feature_file(damaged.parent, NAMES, 3, {"weights": "w"}) as file:
            there = ~file.missing(NAMES)
            assert np.array_equal(file.read(NAMES)[there], VALUES[there])

    content = path.read_bytes()
    fuzzing.survive(read, content, fuzzing.mutants(content, fuzz // 20), tmp_path, path.name)
