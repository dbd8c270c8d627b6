"""Metrics of a split, and the tables that are kept of a network's predictions for the test split.

Conventions: predictions.csv has the challenge's format (predictions.py), so that the score stage reads it; of a
multi-label set it has no column scene_label, each class's probability is one by itself, and there is no other table.
confusion.csv has counts, a row for each true class; reliability.csv has a row for each bin of confidence that is not
empty. Metrics are named <split>/<metric> in every stage; <split>/<metric>/low and /high are the edges of 95 % intervals
over recordings.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.scenes import ClipSet
from data.tables import table_text
from experiments.evaluation.bootstrap import metric_intervals, multi_label_intervals
from experiments.evaluation.doubts import REMEDY, doubts
from experiments.evaluation.metrics import (
    Bin,
    by_scene_and_device,
    confusion,
    evaluate,
    probabilities_of,
    reliability,
    subsets_of,
)
from experiments.evaluation.mistakes import mistakes, mistakes_text
from experiments.evaluation.multi_label import TITLES, evaluate_multi_label, metric_title
from experiments.evaluation.predictions import predictions_text, read_predictions
from experiments.runs.layout import CONFUSION, DOUBTS, MISTAKES, PREDICTIONS, RELIABILITY, write_text

HEADLINE = ("accuracy", "log_loss", *TITLES)

log = logging.getLogger(__name__)


def split_metrics(clips: ClipSet, split: str, probabilities: np.ndarray, *, detailed: bool = False) -> dict[str, float]:
    """Metrics of a split, each named "<split>/<metric>".

    Args:
        clips: the data set.
        split: its name.
        probabilities: (n, classes) of its clips, in their order.
        detailed: also the edges of their intervals, "<split>/<metric>/low" and ".../high", and log losses and numbers
            of clips by scene and device. Of a multi-label set: see multi_label.py.

    Raises:
        UserError: probabilities are not finite, or no clip of a multi-label set has a class.
    """
    rows = clips.indices(split)
    if wrong := int((~np.isfinite(probabilities)).any(axis=1).sum()):
        raise UserError(
            f"the answers to {wrong} of {len(rows)} {split} clips are no numbers: lower the learning rate, or compute "
            "with fabric.precision=32-true, and train anew with force=true"
        )
    if clips.is_multi_label:
        several = clips.label_matrix[rows]
        found = evaluate_multi_label(probabilities, several, clips.scenes, detailed=detailed)
        if detailed:
            recordings = [clips.clips[row].recording for row in rows]
            found |= _by_edge(multi_label_intervals(probabilities, several, recordings))
        return {f"{split}/{metric}": value for metric, value in found.items()}
    labels, members = clips.labels[rows], [clips.clips[row] for row in rows]
    devices = [clip.device for clip in members]
    metrics = evaluate(probabilities, labels, devices, scenes=clips.scenes, device_groups=clips.device_groups)
    if detailed:
        metrics |= by_scene_and_device(probabilities, labels, devices, clips.scenes)
        recordings = [clip.recording for clip in members]
        subsets = subsets_of(labels, devices, scenes=clips.scenes, device_groups=clips.device_groups)
        metrics |= _by_edge(metric_intervals(probabilities, labels, recordings, subsets))
    return {f"{split}/{metric}": value for metric, value in metrics.items()}


def _by_edge(intervals: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """The edges of intervals by their names."""
    found: dict[str, float] = {}
    for metric, (low, high) in intervals.items():
        found |= {f"{metric}/low": low, f"{metric}/high": high}
    return found


def logits_metrics(clips: ClipSet, logits: np.ndarray) -> dict[str, float]:
    """Metrics of the splits that are scored, without intervals, from the logits (N, classes) of all clips."""
    return {
        metric: value
        for split in clips.scored
        for metric, value in split_metrics(clips, split, split_probabilities(clips, split, logits)).items()
    }


def split_probabilities(clips: ClipSet, split: str, logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes) of the clips of a split, from the logits (N, classes) of all clips."""
    return probabilities_of(logits[clips.indices(split)], is_multi_label=clips.is_multi_label)


def headline(scores: Mapping[str, float], split: str = "test") -> dict[str, float]:
    """The metrics of a split that a result is known by, by name: accuracy and log loss, or, of a multi-label set, mean
    average precision and binary cross-entropy."""
    return {name: scores[f"{split}/{name}"] for name in HEADLINE if f"{split}/{name}" in scores}


def in_words(scores: Mapping[str, float], split: str = "test") -> str:
    """Those of a split for the console: "test accuracy 0.512, log loss 1.304"."""
    found = headline(scores, split)
    return f"{split} {', '.join(f'{metric_title(name)} {value:.3f}' for name, value in found.items())}"


def evaluate_and_save(clips: ClipSet, probabilities: np.ndarray, folder: Path) -> dict[str, float]:
    """Metrics of the test split with their intervals, and by scene and device; its predictions, confusion matrix,
    reliability and most confident mistakes are written. What speaks against them (doubts.py) is said, and written to
    doubts.txt. Of a multi-label set predictions alone are written.

    Args:
        clips: the data set.
        probabilities: (n, classes) of its test clips, in their order.
        folder: of the run.
    """
    rows = clips.indices("test")
    metrics = split_metrics(clips, "test", probabilities, detailed=True)
    names = [clips.clips[row].filename for row in rows]
    text = predictions_text(names, probabilities, clips.scenes, is_multi_label=clips.is_multi_label)
    write_text(folder / PREDICTIONS, text)
    if clips.is_multi_label:
        return metrics
    write_text(folder / CONFUSION, _confusion_text(confusion(probabilities, clips.labels[rows]), clips.scenes))
    write_text(folder / RELIABILITY, _reliability_text(reliability(probabilities, clips.labels[rows])))
    write_text(folder / MISTAKES, mistakes_text(mistakes(clips, probabilities, folder)))
    recordings = [clips.clips[row].recording for row in rows]
    if found := doubts(probabilities, clips.labels[rows], recordings, clips.scenes):
        write_text(folder / DOUBTS, "".join(f"{each}\n" for each in found))
        log.warning("%s: this result is doubtful: %s; %s", folder, "; ".join(found), REMEDY)
    return metrics


def score_table(path: str | Path, clips: ClipSet) -> dict[str, float]:
    """Metrics of the test split, with their intervals, of a table of predictions.

    Args:
        path: of the table; its format: see predictions.py.
        clips: the data set.

    Raises:
        UserError: see read_predictions.
    """
    names = [clips.clips[row].filename for row in clips.indices("test")]
    return split_metrics(clips, "test", read_predictions(path, names, clips.scenes), detailed=True)


def _confusion_text(counts: np.ndarray, scenes: Sequence[str]) -> str:
    first = "scene" if "scene" not in scenes else "true scene"  # a class may be called so
    columns = dict(zip(scenes, counts.T.tolist(), strict=True))
    return table_text({first: scenes, **columns}, separator=",")


def _reliability_text(bins: Sequence[Bin]) -> str:
    return table_text({name: [getattr(each, name) for each in bins] for name in Bin._fields}, separator=",")
