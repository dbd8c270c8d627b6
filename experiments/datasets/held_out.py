"""Logits of clips that are held out, and whether the teachers who wrote them were trained on these clips."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.errors import UserError, listed
from data.logits import read_several
from data.logits_file import read_identity
from experiments.datasets.datamodule import DataModule
from experiments.runs.lineage import of_first_phases

log = logging.getLogger(__name__)


def has_heard(path: Path, data: DataModule) -> bool:
    """Whether a teacher of a logits file was trained on the validation clips too (refit=true)."""
    trained_on = str(read_identity(path).get("trained_on")).split()
    return data.clips.has_validation and data.with_all_trained.fingerprint["clips"] in trained_on


def warn_of_leaks(paths: Sequence[str | Path], data: DataModule) -> None:
    """Name the logits files whose teacher was trained on other splits: maybe on clips that are held out here."""
    for path in paths:
        if read_identity(path).get("trained_on") not in (data.fingerprint["clips"], data.before):
            log.warning(
                "%s: its teacher was trained on other clips or splits, maybe on clips that are held out here", path
            )


def held_out_logits(paths: Sequence[Path], data: DataModule, what: str) -> tuple[np.ndarray, list[Path]]:
    """Logits of the validation clips by teachers that were not trained on them, to which weights and temperatures are
    fitted: float32 (files, clips, classes), and the files that they stand in; of a teacher that was trained twice
    (refit=true) that of its first phase.

    Args:
        paths: logits files.
        data: with its validation clips.
        what: needs them, for the message.

    Raises:
        UserError: no clips are held out; a first phase's file is gone; or a file's network was trained on the
            validation clips, and its first phase is not known.
    """
    data.require_validation(what)
    files = of_first_phases(paths)
    if gone := [str(path) for path in files if not path.is_file()]:
        raise UserError(
            f"{what} is fitted to these logits of first phases, which are gone:\n{listed(gone)}\nrun their teachers "
            "again, with refit=true"
        )
    if heard := [str(path) for path in files if has_heard(path, data)]:
        raise UserError(
            f"{what} needs answers to clips that a teacher was not trained on, and the networks of these files were "
            f"trained on the validation clips too (refit=true):\n{listed(heard)}\nname the files that the teachers "
            "wrote when they were trained, runs/teacher/NAME/logits.h5, whose first phases are known"
        )
    clips = data.clips
    return read_several(files, clips.filenames, clips.scenes)[:, clips.indices("validation")], files
