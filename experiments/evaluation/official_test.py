"""The official test split of TAU Urban Acoustic Scenes 2022 Mobile: whether metrics are of all of it, and the metrics
that the challenge's baseline has on it.

Conventions: metrics are flat, as in score.json: test/log_loss/scene/<scene>/device/<device> and so on.
Source: task page of DCASE 2023 Task 1, "Results for the development dataset": means of ten trainings of the baseline of
2022, log losses by scene and device, accuracies by scene; and deviations of the two totals.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from data.scenes import DEVICES, SCENES
from data.tables import read_table

TABLE = Path(__file__).parent / "baseline_published.csv"
CLIPS = 29_680  # of the split, by the page's table of the data set
AVERAGE, DEVIATION = "average", "deviation"  # rows behind those of the scenes


def is_whole(scores: Mapping[str, float]) -> bool:
    """Whether metrics are of all clips of the split: by their number, from each scene and device."""
    counts = _counts(scores)
    return all(counts) and sum(counts) == CLIPS


def extent(scores: Mapping[str, float]) -> str | None:
    """Of how many of the split's clips metrics of this data set are, in words; None: it is not known, as of runs of
    earlier versions."""
    count = sum(_counts(scores))
    return f"{count:,.0f} of {CLIPS:,} clips" if count else None


def _counts(scores: Mapping[str, float]) -> list[float]:
    return [scores.get(f"test/clips/scene/{scene}/device/{device}", 0) for scene in SCENES for device in DEVICES]


@lru_cache
def baseline_scores() -> Mapping[str, float]:
    """The published metrics of the baseline."""
    found: dict[str, float] = {}
    for row in _rows():
        if row["scene"] not in (*SCENES, AVERAGE):
            continue
        subset = "" if row["scene"] == AVERAGE else f"/scene/{row['scene']}"
        found[f"test/accuracy{subset}"] = float(row["accuracy"])
        found[f"test/log_loss{subset}"] = float(row["log_loss"])
        found |= {f"test/log_loss{subset}/device/{device}": float(row[device]) for device in DEVICES}
    return found


@lru_cache
def baseline_deviations() -> Mapping[str, float]:
    """The published standard deviations over the ten trainings: those of accuracy and log loss of all clips."""
    (row,) = [row for row in _rows() if row["scene"] == DEVIATION]
    return {f"test/{name}": float(row[name]) for name in ("accuracy", "log_loss")}


def _rows() -> list[dict[str, str]]:
    """Of the published table: column -> text."""
    columns = read_table(TABLE, ["scene", "log_loss", *DEVICES, "accuracy"])
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
