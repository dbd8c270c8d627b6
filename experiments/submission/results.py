"""The block of results in the description of a system: accuracies in percent and log losses, over all and by class and
device."""

from collections.abc import Mapping
from typing import Any

from data.scenes import DEVICES, SCENES
from experiments.report.tables import WHOLE, MetricRow

PERCENT_DIGITS, LOSS_DIGITS = 2, 4


def results_block(metrics: Mapping[str, MetricRow]) -> dict[str, Any]:
    """Metrics of the test split as the organisers want them."""
    return {
        "overall": _metrics(metrics.get(WHOLE)),
        "class_wise": {scene: _metrics(metrics.get(f"scene/{scene}")) for scene in SCENES},
        "device_wise": {device: _metrics(metrics.get(f"device/{device}")) for device in DEVICES},
    }


def _metrics(row: MetricRow | None) -> dict[str, float | None]:
    """As the organisers want them; None is what the run does not have."""
    accuracy, loss = (None, None) if row is None else (row.accuracy, row.log_loss)
    return {
        "accuracy": None if accuracy is None else round(100 * accuracy, PERCENT_DIGITS),
        "logloss": None if loss is None else round(loss, LOSS_DIGITS),
    }
