"""Answers that know the recording device beside those that do not: what is gained, of all clips and device by device.

Conventions: metrics of the general answers are named <split>/general/<metric>, differences, special minus general,
<split>/minus_general/<metric>; those of all clips have 95 % intervals over recordings, /low and /high.
"""

import numpy as np

from data.scenes import ClipSet
from experiments.evaluation.bootstrap import difference_intervals
from experiments.evaluation.evaluate import split_metrics

METRICS = ("accuracy", "log_loss")


def compared(clips: ClipSet, split: str, special: np.ndarray, general: np.ndarray) -> dict[str, float]:
    """Metrics of the general answers, and the differences to them.

    Args:
        clips: the data set.
        split: its name.
        special, general: probabilities (n, classes) of the split's clips, in their order, with and without the device.
    """
    ours, theirs = (split_metrics(clips, split, probabilities) for probabilities in (special, general))
    found = {name.replace(split, f"{split}/general", 1): value for name, value in theirs.items()}
    found |= {
        name.replace(split, f"{split}/minus_general", 1): ours[name] - theirs[name]
        for name in ours
        if name.removeprefix(f"{split}/") in METRICS or "/device/" in name
    }
    rows = clips.indices(split)
    recordings = [clips.clips[row].recording for row in rows]
    for metric, (low, high) in difference_intervals(special, general, clips.labels[rows], recordings).items():
        found |= {f"{split}/minus_general/{metric}/low": low, f"{split}/minus_general/{metric}/high": high}
    return found
