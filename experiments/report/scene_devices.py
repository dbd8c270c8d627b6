"""Log losses by scene and device, in the layout of the task's page.

Conventions: as tables.py has them. A cell is a log loss and, in brackets, how many clips it is of.
"""

from collections.abc import Iterable, Mapping, Sequence

from experiments.report.numbers import nats, percent
from experiments.report.tables import empty_table
from experiments.report.terminal import Table

CELLS = "test/clips/scene/"
DEVICE = "/device/"
SCENE_DEVICES = "Log loss by scene and device (clips)"


def scene_device_rows(scores: Mapping[str, float]) -> list[list[str]]:
    """The table's rows, the head first: a row for each scene, then one for all; none where there is one device."""
    scenes, devices = scenes_and_devices(scores)
    if len(devices) < 2:
        return []
    head = ["", "log loss", *devices, "accuracy"]
    rows = [[scene.replace("_", " "), *_cells(scores, f"/scene/{scene}", devices, [scene])] for scene in scenes]
    return [head, *rows, ["all", *_cells(scores, "", devices, scenes)]]


def _cells(scores: Mapping[str, float], subset: str, devices: Sequence[str], scenes: Sequence[str]) -> list[str]:
    def cell(device: str) -> str:
        clips = sum(scores.get(f"{CELLS}{scene}{DEVICE}{device}", 0) for scene in scenes)
        return f"{nats(scores.get(f'test/log_loss{subset}{DEVICE}{device}'))} ({clips:.0f})" if clips else ""

    return [nats(scores[f"test/log_loss{subset}"]), *map(cell, devices), percent(scores[f"test/accuracy{subset}"])]


def scenes_and_devices(metrics: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those that have clips, by the names of metrics; devices in the order of their names."""
    pairs = [name.removeprefix(CELLS).rpartition(DEVICE)[::2] for name in metrics if name.startswith(CELLS)]
    scenes, devices = (list(dict.fromkeys(names)) for names in zip(*pairs, strict=True)) if pairs else ([], [])
    return scenes, sorted(devices)


def scene_devices_table(scores: Mapping[str, float]) -> Table | None:
    """The rows for a terminal, if there are some."""
    if not (rows := scene_device_rows(scores)):
        return None
    out = empty_table(SCENE_DEVICES, rows[0])
    for row in rows[1:]:
        out.add_row(*row)
    return out
