"""The answers of a trial's integers to the clips held out: a table in the challenge's format, in the trial's folder."""

from pathlib import Path

import numpy as np

from experiments.datasets.datamodule import DataModule
from experiments.evaluation.predictions import read_predictions

SPLIT = "validation"
TRIALS = "trials"  # folder of the trials' runs


def answers_in(folder: Path, trial: str, bits: int) -> Path:
    """Where the answers of a trial's integers to the clips held out lie.

    Args:
        folder: of the search.
        trial: its key.
        bits: of its weights.
    """
    return folder / TRIALS / trial / f"{bits}bit.csv"


def read_answers(folder: Path, trial: str, bits: int, data: DataModule) -> np.ndarray:
    """Probabilities (n, classes) of the clips held out by a trial's integers; folder: of the search.

    Raises:
        UserError: the table is gone or damaged.
    """
    clips = data.clips
    names = [clips.clips[row].filename for row in clips.indices(SPLIT)]
    return read_predictions(answers_in(folder, trial, bits), names, clips.scenes)
