"""The score stage: the official metrics of any table of predictions; its format: see evaluation/predictions.py."""

import hashlib
import logging
from pathlib import Path

from rich.console import Console

from data.errors import UserError
from data.files import file_sha256
from experiments.datasets.reading import read_clips
from experiments.evaluation.evaluate import evaluate_and_save
from experiments.evaluation.metrics import confusion
from experiments.evaluation.predictions import read_predictions
from experiments.report.publish import finish, is_done
from experiments.report.scene_devices import scene_devices_table
from experiments.report.tables import confusion_table, split_table
from experiments.report.terminal import print_whole
from experiments.runs.layout import CONFUSION, SCORES
from experiments.runs.reader import read_scores
from experiments.settings.shared import Settings
from experiments.settings.stages import Score
from experiments.stages.context import new_run

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    if Path(_table(settings)).is_dir():
        raise UserError(f"score.predictions={_table(settings)} is a folder: name a file in it")


def run(settings: Settings) -> None:
    """Score `score.predictions` on the test split; write score.json and its tables; print the tables."""
    path = _table(settings)
    clips = read_clips(settings.data, settings.cache_folder)
    rows = clips.indices("test")
    names = [clips.clips[row].filename for row in rows]
    probabilities = read_predictions(path, names, clips.scenes)
    asked = hashlib.sha256("\n".join(names).encode()).hexdigest()
    inputs = {"predictions": file_sha256(path), "clips": asked}
    this = new_run(settings, "score", depends_on={}, inputs=inputs)
    if not is_done(this, CONFUSION):
        this.start()
        finish(this, evaluate_and_save(clips, probabilities, this.folder))
    scores = read_scores(this.folder / SCORES)
    Console().print(split_table(scores))
    if settings.of(Score).by_device and (table := scene_devices_table(scores)) is not None:
        print_whole(table)
    Console().print(confusion_table(confusion(probabilities, clips.labels[rows]).tolist(), clips.scenes))
    log.info("%d clips: %s", len(names), this.folder / SCORES)


def _table(settings: Settings) -> str:
    path = settings.of(Score).predictions
    if path is None:
        raise UserError(
            "the score stage needs a table: score.predictions=FILE, columns filename and one for each class"
        )
    return path
