"""stage=score: official figures of any table of predictions, whoever made them.

Conventions: the table has a column `filename` and one of probabilities for each class, as the challenge wants it
(tab-separated; commas will do); `scene_label`, if it is there, must be the most probable class. Every clip of the split
is scored once, none is guessed. Figures are those of the other stages (score.py), intervals are over recordings.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from data.errors import UserError, listed
from data.files import file_sha256
from data.tables import read_table
from experiments.datasets.reading import read_clips
from experiments.evaluation.evaluate import evaluate_and_save
from experiments.evaluation.metrics import confusion
from experiments.evaluation.predictions import check_predictions, last_part
from experiments.report.publish import finish, is_done
from experiments.report.tables import confusion_table, split_table
from experiments.runs.layout import CONFUSION, SCORES
from experiments.runs.reader import read_scores
from experiments.settings.shared import Settings
from experiments.settings.stages import Score
from experiments.stages.context import new_run

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Score `score.predictions` on the test split; write score.json and its tables; print the tables."""
    path = _path(settings)
    clips = read_clips(settings.data, settings.cache_folder)[0]
    rows = clips.indices("test")
    names = [clips.filenames[row] for row in rows]
    probabilities = read_predictions(path, names, clips.scenes)
    asked = hashlib.sha256("\n".join(names).encode()).hexdigest()
    inputs = {"predictions": file_sha256(path), "clips": asked}
    this = new_run(settings, "score", depends_on={}, inputs=inputs)
    if not is_done(this, CONFUSION):
        this.start()
        finish(this, evaluate_and_save(clips, probabilities, this.folder))
    scores = read_scores(this.folder / SCORES)
    counts = confusion(probabilities, clips.labels[rows])
    for table in (split_table(scores), confusion_table(counts.tolist(), clips.scenes)):
        Console().print(table)
    log.info("%d clips: %s", len(names), this.folder / SCORES)


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    if not Path(_path(settings)).is_file():
        raise UserError(f"score.predictions={_path(settings)} is no file")


def _path(settings: Settings) -> str:
    path = settings.of(Score).predictions
    if path is None:
        raise UserError(
            "the score stage needs a table: score.predictions=FILE, columns filename and one for each class"
        )
    return path


def read_predictions(path: str | Path, filenames: Sequence[str], scenes: Sequence[str]) -> np.ndarray:
    """Probabilities of the given clips, float64 (len(filenames), classes), in the order asked for.

    Names are compared as they are, or by their last part, so that `audio/x.wav` and `x.wav` are the same clip.

    Raises:
        UserError: the table is no such table, or clips are missing, strange or there twice, or values are no
            probabilities, or contradict scene_label; all of a kind are listed.
    """
    table = read_table(path, ["filename", *scenes])
    values, wrong = check_predictions(table, scenes, filenames, of="the test split")
    if wrong:
        raise UserError(f"{path} has {len(wrong)} defects:\n{listed(wrong)}")
    found = {last_part(name): row for row, name in enumerate(table["filename"])}
    rows = values[[found[last_part(name)] for name in filenames]]
    return rows / rows.sum(axis=1, keepdims=True)
