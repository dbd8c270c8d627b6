"""Metrics of a split, and what is kept of a network's predictions for the test split.

Conventions: predictions.csv is as the challenge wants it (a tab between columns; filename, scene_label, a probability
for each class), so that the score stage reads it; confusion.csv has counts, a row for each true class; reliability.csv
has a row for each bin of confidence that is not empty. Metrics are named <split>/<metric> in every stage;
test/<metric>/low and /high are the edges of 95 % intervals over recordings.
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data.scenes import ClipSet
from experiments.evaluation.bootstrap import metric_intervals
from experiments.evaluation.metrics import confusion, evaluate, reliability, softmax, subsets_of
from experiments.evaluation.predictions import table_text
from experiments.runs.layout import CONFUSION, PREDICTIONS, RELIABILITY, write_text


def split_metrics(clips: ClipSet, split: str, probabilities: np.ndarray) -> dict[str, float]:
    """Metrics of a split from its probabilities (n, classes), in its order, each "<split>/<metric>"."""
    rows = clips.indices(split)
    devices = [clips.clips[row].device for row in rows]
    scores = evaluate(
        probabilities, clips.labels[rows], devices, scenes=clips.scenes, device_groups=clips.device_groups
    )
    return {f"{split}/{metric}": value for metric, value in scores.items()}


def logits_metrics(clips: ClipSet, logits: np.ndarray) -> dict[str, float]:
    """Metrics of validation and test from the logits (N, classes) of all clips, without intervals."""
    return {
        metric: value
        for split in ("validation", "test")
        for metric, value in split_metrics(clips, split, softmax(logits[clips.indices(split)])).items()
    }


def evaluate_and_save(clips: ClipSet, probabilities: np.ndarray, folder: Path) -> dict[str, float]:
    """Metrics of the test split with their intervals, each test/<metric>; its tables go to the folder.

    Args:
        clips: the data set.
        probabilities: (n, classes) of its test clips, in their order.
        folder: of the run.
    """
    rows = clips.indices("test")
    labels, tested = clips.labels[rows], [clips.clips[row] for row in rows]
    devices, recordings = [clip.device for clip in tested], [clip.recording for clip in tested]
    scores = split_metrics(clips, "test", probabilities)
    subsets = subsets_of(labels, devices, scenes=clips.scenes, device_groups=clips.device_groups)
    for metric, (low, high) in metric_intervals(probabilities, labels, recordings, subsets).items():
        scores |= {f"test/{metric}/low": low, f"test/{metric}/high": high}

    write_text(folder / PREDICTIONS, table_text([clip.filename for clip in tested], probabilities, clips.scenes))
    counts = confusion(probabilities, labels).tolist()
    confusions = ([scene, *row] for scene, row in zip(clips.scenes, counts, strict=True))
    write_text(folder / CONFUSION, _table([["scene", *clips.scenes], *confusions]))
    bins = reliability(probabilities, labels)
    write_text(folder / RELIABILITY, _table([bins[0]._fields, *bins]))
    return scores


def _table(rows: Iterable[Iterable[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
