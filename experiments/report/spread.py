"""Means and deviations over seeds beside the published baseline, also in the layout of the task's page.

Conventions: ± is the standard deviation of the sample of seeds, divided by their number less 1, in nats or percentage
points. What is published stands beside metrics of the whole official test split alone.
"""

from collections.abc import Mapping

from experiments.evaluation.official_test import baseline_deviations, baseline_scores
from experiments.evaluation.seeds import Estimate
from experiments.report.numbers import nats, percent
from experiments.report.scene_devices import DEVICE, scenes_and_devices

PUBLISHED = "baseline, published"
TRAININGS = 10  # of the published baseline


def published(metric: str) -> Estimate | None:
    """The published baseline's mean, and its deviation where one is published."""
    known = baseline_scores()
    return Estimate(TRAININGS, known[metric], baseline_deviations().get(metric)) if metric in known else None


def spread(metric: str, found: Estimate | None) -> str:
    """1.575 ± 0.018, or 42.9 % ± 0.77; of one seed, which has no deviation, the mean alone."""
    if found is None or found.mean is None:
        return ""
    is_share = metric.split("/")[1] == "accuracy"
    mean = percent(found.mean) if is_share else nats(found.mean)
    if found.deviation is None:
        return mean
    return f"{mean} ± {100 * found.deviation:.2f}" if is_share else f"{mean} ± {found.deviation:.3f}"


def spread_rows(figures: Mapping[str, Estimate], *, is_whole: bool) -> list[list[str]]:
    """Log losses by scene and device and accuracies by scene: the table's rows, the head first; none where there is one
    device.

    Args:
        figures: metric -> mean and deviation.
        is_whole: whether they are of the whole official test split: the published baseline's stand below each row.
    """
    scenes, devices = scenes_and_devices(figures)
    if len(devices) < 2:
        return []
    rows = [["", "log loss", *devices, "accuracy"]]
    for name, subset in (*((scene.replace("_", " "), f"/scene/{scene}") for scene in scenes), ("all", "")):
        losses = [f"test/log_loss{subset}", *(f"test/log_loss{subset}{DEVICE}{device}" for device in devices)]
        metrics = [*losses, f"test/accuracy{subset}"]
        rows.append([name, *(spread(metric, figures.get(metric)) for metric in metrics)])
        if is_whole:
            rows.append([PUBLISHED, *(spread(metric, published(metric)) for metric in metrics)])
    return rows
