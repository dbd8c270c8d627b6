"""The data stage: fetch what is missing, check it, pack it, and nothing else."""

import logging

from experiments.datasets.reading import fetch, note, read_and_pack, unchanged
from experiments.settings.shared import Settings

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Pack the data set of `data`, unless nothing has changed since it was packed."""
    data, cache = settings.data, settings.cache_folder
    if (waves := unchanged(data, cache)) is not None:
        log.info("%s: the lists and every sound file are unchanged, nothing to do", waves)
        return
    fetch(data, cache)
    note(data, read_and_pack(data, cache))
