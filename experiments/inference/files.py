"""What a quantised network thinks of sound files, computed as a device would compute it.

Conventions: a file is read, resampled, cut and rounded to 16 bits as the wave store does it (data/audio.py), so that
its probabilities are the same whether it was packed or not. Only some hundred clips are in memory at once.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from data.audio import decode
from data.errors import UserError, listed
from data.scenes import PART_SECONDS
from data.waves import to_float
from experiments.inference.classifier import Recogniser

BATCH = 32  # files that a thread decodes in one go, and that are heard together

log = logging.getLogger(__name__)


def probabilities_of_files(
    recogniser: Recogniser, paths: Sequence[Path], progress: Callable[[int], None] = lambda done: None
) -> np.ndarray:
    """Probabilities of the classes, float64 (len(paths), classes).

    Args:
        recogniser: of the file that is shipped.
        paths: the files, one clip each; shorter ones are padded with silence, longer ones cut, and that is said.
        progress: is told how many files are done.

    Raises:
        UserError: files are unreadable; every one is counted and the first listed.
    """
    found, failures, oddities = [], [], Counter()

    def read(some: Sequence[Path]) -> tuple[torch.Tensor, list[str], Counter]:
        decoded = decode(some, recogniser.sample_rate, PART_SECONDS)
        # Copied, because the thread overwrites its arrays with the next call.
        wave, scale = torch.from_numpy(decoded.wave.copy()), torch.from_numpy(decoded.scale.copy())
        return to_float(wave, scale), decoded.failures, decoded.oddities

    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(batches), threads):
            for waves, unreadable, odd in pool.map(read, batches[start : start + threads]):
                failures += unreadable
                oddities += odd
                if not failures:
                    found.append(recogniser.probabilities(recogniser.pictures(waves)))
            progress(min(len(paths), (start + threads) * BATCH))
    if failures:
        raise UserError(f"{len(failures)} of {len(paths)} sound files are unreadable:\n{listed(sorted(failures))}")
    for text, count in oddities.items():
        log.warning("%d of %d files %s", count, len(paths), text)
    return np.concatenate(found)
