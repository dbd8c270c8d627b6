"""The tables of a submission's technical report that hold metrics: a system, or a training of one, is two columns.

Conventions: those of report_tables.py.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data.scenes import DEVICE_GROUPS, DEVICES, SCENES
from experiments.evaluation.official_test import extent, is_whole
from experiments.report.numbers import nats
from experiments.report.scene_devices import SCENE_DEVICES, scene_device_rows
from experiments.report.tables import WHOLE, beside, metric_rows

Rows = list[list[str]]
DASH = "-"
CAPTION = "Accuracy (%) and log loss on the development test split"


class Measured(NamedTuple):
    """What is shown side by side.

    Attributes:
        name: at the head of its columns.
        scores: of its score.json.
        is_official: whether they are of the challenge's data.
    """

    name: str
    scores: Mapping[str, float]
    is_official: bool


def results(systems: Sequence[Measured], trainings: Mapping[str, Sequence[Measured]]) -> list[tuple[str, Rows]]:
    """Metrics of the systems, or of the trainings of each, with their captions; and log losses by scene and device.

    Args:
        systems: all.
        trainings: of each system that has several, by its label.
    """
    found = [
        (f"{CAPTION}{_extent(some)}, {label}, by train subset.", metrics_by_subset(some))
        for label, some in trainings.items()
    ]
    found = found or [(f"{CAPTION}{_extent(systems)}.", metrics_by_subset(systems))]
    for system in systems:
        if rows := scene_device_rows(system.scores):
            found.append((f"{SCENE_DEVICES}, {system.name}.", rows))
    return found


def metrics_by_subset(columns: Sequence[Measured]) -> Rows:
    """Accuracy and log loss over all and by scene, device and group; beside the published baseline's, if they are of
    the whole official test split."""
    subsets = {"all (macro)": WHOLE}
    subsets |= {scene: f"scene/{scene}" for scene in SCENES}
    subsets |= {f"device {device}": f"device/{device}" for device in DEVICES}
    subsets |= {f"{group} devices": f"group/{group}" for group in DEVICE_GROUPS}
    metrics = [metric_rows(each.scores) for each in columns]
    official = next((each.scores for each in columns if is_whole(each.scores)), {})
    published = ["baseline, published: %", "log loss"] if official else []
    rows = [["", *(cell for each in columns for cell in (f"{each.name}: %", "log loss")), *published]]
    for name, subset in subsets.items():
        found = [row.get(subset) for row in metrics]
        cells = [[f"{100 * row.accuracy:.1f}", nats(row.log_loss) or DASH] if row else [DASH, DASH] for row in found]
        known = [cell.removesuffix(" %") or DASH for cell in beside(official, subset)]
        rows.append([name, *(cell for pair in cells for cell in pair), *known])
    return rows


def _extent(columns: Sequence[Measured]) -> str:
    """Of how many of its clips the metrics are, where it is the challenge's split, and as far as it is known."""
    found = dict.fromkeys(extent(each.scores) for each in columns if each.is_official)
    return "".join(f" ({each})" for each in found if each)
