"""The data stage: fetch what is missing, check it, pack it, and nothing else; the evaluation set is not packed."""

import logging
from pathlib import Path

from data import readers
from data.records import EVALUATION, RULE
from experiments.datasets.reading import fetch, note, read_and_pack, reader_settings, unchanged
from experiments.settings.shared import Settings
from experiments.submission.evaluation_set import evaluation_files, require_published
from experiments.submission.layout import EDITIONS, YEAR

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Pack the data set of `data`, unless nothing has changed since it was packed; of the evaluation set, check that it
    is there as published."""
    data, cache = settings.data, settings.cache_folder
    if data.part == EVALUATION:
        fetch(data, cache)
        root = readers.root_of(data.kind, data.root, reader_settings(data), cache=cache)
        _check_evaluation(root)
        return
    if (waves := unchanged(data, cache)) is not None:
        log.info("%s: the lists and every sound file are unchanged, nothing to do", waves)
        return
    fetch(data, cache)
    note(data, read_and_pack(data, cache))


def _check_evaluation(root: Path) -> None:
    files = evaluation_files(root, named="data.root")
    require_published(root, files, EDITIONS[YEAR])
    log.info(
        "%s: %d clips without labels, as published: for scenelet submit, and for nothing that learns", root, len(files)
    )
    log.info("%s", RULE)
