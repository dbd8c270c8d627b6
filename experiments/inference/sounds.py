"""Sound files of any length, named by a path, and their probabilities as a table.

Conventions: the table is that of evaluation/predictions.py with a column `start`, seconds: a row for each clip,
probabilities with every digit. At its end it has `answer`, a scene or the word for none, and `confidence`, the
calibrated probability of the most probable scene, in steps of 1 / ONE (students/quantize/answer.py), and `sure`: no,
if that is below the threshold, or, of a model without one, near chance (Confidence.least_sure); all three may be of a
moving average over the clips of a file. Of files that are one clip each it is a table that can be scored.
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from data.errors import UserError
from data.packing import read_stamps
from data.progress import progress
from data.sound_files import SUFFIXES, list_sounds
from data.tables import untabular
from experiments.evaluation.predictions import predictions_text
from experiments.inference.clip_classifier import Answers, Classifier
from students.quantize.answer import ONE, UNKNOWN, known, smoothed

BATCH = 64  # clips, at least, that are computed together: a few hundred MB in the network
# Files whose first seconds are read together: the computing threads hold their processors for some milliseconds after
# they are done, which would be half of the time that 64 files take.
TOGETHER, TOGETHER_BYTES = 256, 1 << 26
YES_OR_NO = ("no", "yes")
WORDS = ("unknown", "not sure", "no scene")  # of an answer that is not known: the first that is no class


class Classified(NamedTuple):
    """A file by its name in the table, and the probabilities (clips, classes) of its clips: as they are scored, and
    calibrated, see Answers."""

    name: str
    probabilities: np.ndarray
    calibrated: np.ndarray

    def answers(self, least: int, shift: int) -> tuple[np.ndarray, np.ndarray]:
        """The answer to each clip, and its confidence; see students/quantize/answer.py.

        Args:
            least: the threshold, in steps.
            shift: of the moving average; 0: none.
        """
        found = smoothed(self.calibrated, shift) if shift else self.calibrated
        scenes = (found if shift else self.probabilities).argmax(axis=1)  # the latter are equal for equal logits alone
        return known(scenes, found, least), found.max(axis=1) / ONE


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


def fingerprint(files: Mapping[str, Path]) -> str:
    """Of the names, sizes and times of change of some files, by name."""
    stamps = read_stamps(Path(), [str(file.resolve()) for file in files.values()])
    return hashlib.sha256("\n".join(files).encode(errors="surrogateescape") + stamps.tobytes()).hexdigest()


def classify_files(classifier: Classifier, files: Collection[tuple[str, Path]]) -> tuple[list[Classified], list[str]]:
    """The probabilities of each file, and what is wrong with those that cannot be read, or not be named in a table.

    Clips of several files are computed together, and as many files are read at a time as there are processors. What
    comes out does not depend on it.

    Args:
        classifier: see load_classifier.
        files: name and path of each.
    """
    failures: dict[str, str] = {}
    parts: dict[str, list[Answers]] = {}
    with progress("classifying", len(files), "files", rate="clips") as line:
        for names, counts, spectrograms in _batches(classifier, files, failures):
            each = [np.split(values, np.cumsum(counts)[:-1]) for values in classifier.answers(spectrograms)]
            for name, *part in zip(names, *each, strict=True):
                parts.setdefault(name, []).append(Answers(*part))
            begun = len(parts.keys() | failures.keys())  # of which the last may go on
            line.advance(max(0, begun - 1 - line.done), sum(counts))
    wholes = {name: map(np.concatenate, zip(*some, strict=True)) for name, some in parts.items()}
    return [Classified(name, *whole) for name, whole in wholes.items() if name not in failures], [*failures.values()]


def _batches(
    classifier: Classifier, files: Iterable[tuple[str, Path]], failures: dict[str, str]
) -> Iterator[tuple[list[str], list[int], torch.Tensor]]:
    """Spectrograms of some files together: whose they are, how many of each, and themselves. Files that cannot be read
    are added to the failures; of those, batches of before may hold a part."""
    waiting: list[tuple[str, torch.Tensor]] = []

    def joined() -> tuple[list[str], list[int], torch.Tensor]:
        waves = [some for _, some in waiting]
        return [name for name, _ in waiting], [*map(len, waves)], classifier.spectrograms(torch.cat(waves))

    def begin(name: str, path: Path) -> Iterator[torch.Tensor]:
        if untabular([name]):
            raise UserError(f"{name}: its name is no UTF-8, which no table can hold: rename it")
        waves = classifier.waves(path)
        return chain([*islice(waves, 1)], waves)

    # The first seconds of some files are read before the network computes, and not meanwhile: its threads wait for each
    # other actively, and a thread that takes one of their processors costs more than half of the speed.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for some in _together(files):
            begun = [(name, pool.submit(begin, name, path)) for name, path in some]
            wait(reading for _, reading in begun)
            for name, reading in begun:
                try:
                    for waves in reading.result():
                        waiting.append((name, waves))
                        if sum(len(some) for _, some in waiting) >= BATCH:
                            yield joined()
                            waiting = []
                except UserError as error:
                    failures[name] = str(error)
                    waiting = [(other, waves) for other, waves in waiting if other != name]
    if waiting:
        yield joined()


def _together(files: Iterable[tuple[str, Path]]) -> Iterator[list[tuple[str, Path]]]:
    """The files in lists, each as long as TOGETHER and TOGETHER_BYTES allow, and of one file at least."""
    some: list[tuple[str, Path]] = []
    size = 0
    for name, path in files:
        try:
            more = os.path.getsize(path)
        except OSError:  # which reading says
            more = 0
        if some and (len(some) == TOGETHER or size + more > TOGETHER_BYTES):
            yield some
            some, size = [], 0
        some.append((name, path))
        size += more
    if some:
        yield some


def word_for_unknown(scenes: Sequence[str]) -> str:
    """How an answer that is not known is written."""
    return next(word for word in (*WORDS, "") if word not in scenes)


def classified_text(found: Sequence[Classified], classifier: Classifier, shift: int = 0) -> str:
    """The table of some files, at least one, by the classifier that classified them; `shift` is as of
    Classified.answers."""
    scenes, least = classifier.scenes, classifier.confidence.least
    names = [each.name for each in found for _ in each.probabilities]
    starts = [number * classifier.clip_seconds for each in found for number in range(len(each.probabilities))]
    probabilities = np.concatenate([each.probabilities for each in found])
    answers, confidences = map(np.concatenate, zip(*(each.answers(least, shift) for each in found), strict=True))
    more = {
        "answer": [word_for_unknown(scenes) if n == UNKNOWN else scenes[n] for n in answers.tolist()],
        "confidence": confidences.tolist(),
        "sure": [YES_OR_NO[confidence * ONE >= classifier.least_sure] for confidence in confidences.tolist()],
    }
    return predictions_text(names, probabilities, scenes, starts=starts, digits=None, more=more)
