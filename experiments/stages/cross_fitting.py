"""Cross-fitting: the logits of a train clip are those of a teacher that was not trained on its location.

A teacher that has memorised its clips answers them as their labels do, and a student learns nothing from it that the
labels do not say. Of K teachers, each trained without one of K folds of the train locations, every train clip has one
that has not heard it. All other clips get the mean of the teachers.
Source: Wolpert, "Stacked generalization", Neural Networks 5, 1992, section 2 (answers to held-out parts).
"""

import json
import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from data.errors import UserError, listed
from data.logits import LogitsWriter, common_shifts, read_several
from data.logits_file import BY_SHIFT
from data.splits import location_folds
from experiments.datasets.datamodule import DataModule
from experiments.distributed.processes import is_first
from experiments.evaluation.metrics import macro_accuracy, softmax
from experiments.inference.teacher_logits import evaluate_and_seal
from experiments.report.publish import finish, is_done
from experiments.runs.layout import FOLD, LOGITS
from experiments.runs.lineage import digests_of
from experiments.settings.shared import Settings
from experiments.stages.context import new_run, renamed, trained_identity
from experiments.stages.whereabouts import layout_of

log = logging.getLogger(__name__)


def cross_fit(settings: Settings, data: DataModule, train: Callable[[Settings, DataModule], None]) -> None:
    """Train `teacher.folds` teachers, each a run of its own called <name>.fold0, ..., and write one logits file.

    Args:
        settings: of the command.
        data: the data set.
        train: trains a teacher on a data set and writes its logits, by the settings that it is given.

    Raises:
        UserError: there are fewer train locations than folds, or a class has train clips in one fold only.
    """
    teacher, clips = settings.teacher, data.clips
    assert teacher.folds is not None
    train_clips = [clips.clips[row] for row in clips.indices("train").tolist()]
    folds = location_folds(train_clips, folds=teacher.folds, seed=settings.data.seed)
    parts = [data.without(locations) for locations in folds]
    if lost := sorted({scene for part in parts for scene in part.clips.untaught}):
        raise UserError(
            f"teacher.folds={teacher.folds}: all train clips of these classes are in one fold of the locations, whose "
            f"teacher could not learn them:\n{listed(lost)}\ngive them more locations, or leave teacher.folds out"
        )
    own = [np.array([row for row in clips.indices("train") if clips.clips[row].location in some]) for some in folds]
    paths = []
    for number, (part, rows) in enumerate(zip(parts, own, strict=True)):
        log.info("fold %d of %d, %d clips held out", number, len(parts), len(rows))
        one = renamed(replace(settings, teacher=replace(teacher, folds=None), refit=False), f"{FOLD}{number}")
        train(one, part)
        paths.append(layout_of(one).folder("teacher") / LOGITS)
    this = new_run(
        settings,
        "teacher",
        depends_on={"teacher": trained_identity(teacher)},
        inputs={**data.fingerprint, "logits": digests_of(paths)},
        sources=paths,
    )
    if is_done(this, LOGITS) or not is_first():
        return
    column = BY_SHIFT if teacher.shifts > 1 else "logits"
    several = read_several(paths, clips.filenames, clips.scenes, column)
    together = several.mean(axis=0)
    for logits, rows in zip(several, own, strict=True):
        together[rows] = logits[rows]
    this.start()
    identity = {
        "teacher": teacher.builder,
        "config": json.dumps(this.identity["settings"]),
        "weights": this.identity["inputs"]["logits"],
        # No clip's logits are of a teacher that was trained on it, so that it may be held out here or not.
        "trained_on": data.fingerprint["clips"],
    }
    shifts = common_shifts(paths) if teacher.shifts > 1 else ()
    writer = LogitsWriter(this.folder / LOGITS, clips.filenames, clips.scenes, {**identity, **data.fingerprint}, shifts)
    writer.fill(range(len(together)), together)
    logits, rows = writer.values(), clips.indices("train")
    scores = evaluate_and_seal(writer, clips, this.folder)
    finish(this, scores)
    log.info(
        "teachers of %d folds: accuracy on train clips that they were not trained on %.3f, test accuracy %.3f (%s)",
        *(len(folds), macro_accuracy(softmax(logits[rows]), clips.labels[rows]), scores["test/accuracy"], this.folder),
    )
