"""What is kept of a network's answers to the test split: the figures, and the tables that they rest on.

Conventions: predictions.csv is as the challenge wants it (a tab between columns; filename, scene_label, a probability
for each class), so that stage=score reads it; confusion.csv has counts, a row for each true class; reliability.csv
has a row for each bin of confidence that is not empty. Figures are named test/<figure> in every stage;
test/<figure>/low and /high are the edges of 95 % intervals over recordings.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from data.scenes import ClipSet
from experiments.evaluation.bootstrap import figure_intervals
from experiments.evaluation.metrics import confusion, evaluate, reliability, subsets_of
from experiments.evaluation.predictions import table_text
from experiments.runs.layout import CONFUSION, PREDICTIONS, RELIABILITY, write_text


def judge(clips: ClipSet, probabilities: np.ndarray, folder: Path) -> dict[str, float]:
    """The figures of the test split, each test/<figure>; its tables go to the folder.

    Args:
        clips: the data set.
        probabilities: (n, classes) of its test clips, in their order.
        folder: of the run.
    """
    rows = clips.indices("test")
    labels, tested = clips.labels[rows], [clips.clips[row] for row in rows]
    devices, recordings = [clip.device for clip in tested], [clip.recording for clip in tested]
    scores = evaluate(probabilities, labels, devices, scenes=clips.scenes, device_groups=clips.device_groups)
    subsets = subsets_of(labels, devices, scenes=clips.scenes, device_groups=clips.device_groups)
    for figure, (low, high) in figure_intervals(probabilities, labels, recordings, subsets).items():
        scores |= {f"{figure}/low": low, f"{figure}/high": high}

    write_text(folder / PREDICTIONS, table_text([clip.filename for clip in tested], probabilities, clips.scenes))
    counts = confusion(probabilities, labels).tolist()
    confusions = ([scene, *row] for scene, row in zip(clips.scenes, counts, strict=True))
    write_text(folder / CONFUSION, _table([["scene", *clips.scenes], *confusions]))
    bins = reliability(probabilities, labels)
    write_text(folder / RELIABILITY, _table([bins[0]._fields, *bins]))
    return {f"test/{figure}": value for figure, value in scores.items()}


def is_edge(name: str, scores: Mapping[str, float]) -> bool:
    """Whether a figure is an edge of another's interval; a class may be called "low" too."""
    figure, _, edge = name.rpartition("/")
    return edge in ("low", "high") and figure in scores


def figures_under(prefix: str, scores: Mapping[str, float]) -> list[str]:
    """The names that begin like this and are no edges."""
    return [name for name in scores if name.startswith(prefix) and not is_edge(name, scores)]


def _table(rows: Iterable[Iterable[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
