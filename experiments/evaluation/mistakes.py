"""The most confident of a network's wrong answers, which tell more than any number about what it has not learnt.

Conventions: mistakes.json is a list, the most confident first; of a recording, whose clips sound alike and are often
taken for the same, it has one mistake. `sound` is the path of the sound file from the run's folder, so that the two can
be moved together.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.scenes import ClipSet

MOST = 10


class Mistake(NamedTuple):
    """A clip that was answered wrongly.

    Attributes:
        filename: of the clip, as in its data set.
        scene: what it is.
        answer: what the network said.
        probability: of that answer.
        sound: its file, from the run's folder.
    """

    filename: str
    scene: str
    answer: str
    probability: float
    sound: str


def mistakes(clips: ClipSet, probabilities: np.ndarray, folder: Path) -> list[Mistake]:
    """The most confident ones of the test split, MOST of them, the most confident first.

    Args:
        clips: the data set.
        probabilities: (n, classes) of its test clips, in their order.
        folder: of the run.
    """
    rows, files = clips.indices("test"), clips.files
    answers, labels = probabilities.argmax(axis=1), clips.labels[rows]
    found: dict[str, Mistake] = {}
    for place in np.argsort(-probabilities.max(axis=1), kind="stable").tolist():
        clip = clips.clips[rows[place]]
        if answers[place] == labels[place] or clip.recording in found:
            continue
        sound = os.path.relpath((clips.root / files[rows[place]]).resolve(), folder.resolve())
        answer, probability = clips.scenes[answers[place]], float(probabilities[place].max())
        found[clip.recording] = Mistake(clip.filename, clip.scene, answer, probability, sound)
        if len(found) == MOST:
            break
    return list(found.values())


def mistakes_text(found: Sequence[Mistake]) -> str:
    """What mistakes.json holds."""
    return json.dumps([mistake._asdict() for mistake in found], indent=1)
