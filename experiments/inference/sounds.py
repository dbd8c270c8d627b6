"""Sound files of any length, named by a path, and their probabilities as a table.

Conventions: the table is that of evaluation/predictions.py with a column `start`, seconds: a row for each clip of
PART_SECONDS, probabilities with every digit. Of files that are one clip each it is a table that can be scored.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from data.errors import UserError
from data.scenes import PART_SECONDS
from data.sound_files import SUFFIXES, list_sounds
from data.tables import untabular
from experiments.evaluation.predictions import predictions_text
from experiments.inference.classifier import Classifier

BATCH = 64  # clips, at least, that are computed together


class Classified(NamedTuple):
    """A file by its name in the table, and the probabilities (clips, classes) of its clips."""

    name: str
    probabilities: np.ndarray


def sound_files(audio: str | Path) -> tuple[dict[str, Path], list[str]]:
    """The sounds that a path names, by the name they have in the table; and, of a folder, what else is in it.

    A file is taken whatever its name; of a folder, and the folders in it, those files whose names end like a sound's.
    Hidden ones are left out.

    Raises:
        UserError: there is no such file or folder, no sound in it, or what may not be read.
    """
    root = Path(audio)
    if root.is_file():
        return {root.name: root}, []
    if not root.is_dir():
        raise UserError(f"predict.audio={audio}: there is no such file or folder")
    found = list_sounds(root, deep=True)
    if not found.sounds:
        raise UserError(
            f"predict.audio={audio} holds no sound: none of its {len(found.others)} files ends in one of "
            f"{', '.join(SUFFIXES)}"
        )
    sounds = {path.relative_to(root).as_posix(): path for path in found.sounds}
    return sounds, [path.relative_to(root).as_posix() for path in found.others]


def classify_files(classifier: Classifier, files: Iterable[tuple[str, Path]]) -> tuple[list[Classified], list[str]]:
    """The probabilities of each file, and what is wrong with those that cannot be read, or not be named in a table.

    Clips of several files are computed together, which takes half the time; what comes out does not depend on it.

    Args:
        classifier: see load_classifier.
        files: name and path of each.
    """
    found: dict[str, list[np.ndarray]] = {}
    failures: list[str] = []
    waiting: list[tuple[str, torch.Tensor]] = []  # clips that are not yet computed, by file

    def compute() -> None:
        if waiting:
            names, waves = zip(*waiting, strict=True)
            probabilities = classifier.probabilities(classifier.spectrograms(torch.cat(waves)))
            ends = np.cumsum([len(some) for some in waves])
            for name, part in zip(names, np.split(probabilities, ends[:-1]), strict=True):
                found[name].append(part)
            waiting.clear()

    for name, path in files:
        if untabular([name]):
            failures.append(f"{name}: its name is no UTF-8, which no table can hold: rename it")
            continue
        found[name] = []
        try:
            for waves in classifier.waves(path):
                waiting.append((name, waves))
                if sum(len(some) for _, some in waiting) >= BATCH:
                    compute()
        except UserError as error:
            failures.append(str(error))
            waiting = [(other, waves) for other, waves in waiting if other != name]
            del found[name]
    compute()
    return [Classified(name, np.concatenate(parts)) for name, parts in found.items()], failures


def classified_text(found: Sequence[Classified], scenes: Sequence[str]) -> str:
    """The table of some files, at least one."""
    names = [name for name, probabilities in found for _ in probabilities]
    starts = [number * PART_SECONDS for _, probabilities in found for number in range(len(probabilities))]
    probabilities = np.concatenate([probabilities for _, probabilities in found])
    return predictions_text(names, probabilities, scenes, starts=starts, digits=None)
