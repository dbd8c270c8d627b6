"""How many clips are answered above a threshold of confidence, and how many of the answers are right.

Conventions: confidences are uint16 (n,) in steps of 1 / ONE (students/quantize/answer.py), `right` bool (n,). Clips
whose confidence is not below a threshold are answered: their share is the coverage, the share of right ones among them
the accuracy. Figures in score.json are named confidence/...
Source: Y. Geifman and R. El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

COVERAGES = range(10, 101, 10)  # percent
LEAST_COVERAGE = 0.1  # of a threshold that is chosen: of fewer clips an accuracy says little
PREFIX = "confidence"


class Point(NamedTuple):
    """A threshold in steps of 1 / ONE, the share of clips that it answers, and that of right answers among them."""

    least: int
    coverage: float
    accuracy: float


def curve(confidences: np.ndarray, right: np.ndarray) -> list[Point]:
    """The point of each confidence that occurs, as the threshold, the highest first."""
    order = np.argsort(-confidences.astype(np.int64), kind="stable")
    sure, rights = confidences[order], right[order].cumsum()
    last = np.flatnonzero(np.append(sure[1:] != sure[:-1], True))  # of the clips with each confidence
    return [Point(int(sure[n]), float(n + 1) / len(right), float(rights[n]) / float(n + 1)) for n in last.tolist()]


def point_at(points: list[Point], coverage: float) -> Point:
    """That of the highest threshold which answers at least this share of the clips."""
    return next(point for point in points if point.coverage >= coverage - 1e-9)


def point_of(points: list[Point], accuracy: float) -> Point:
    """That of the lowest threshold with at least this accuracy, or where none has it, of that with the highest; all
    that answer less than LEAST_COVERAGE of the clips are left out."""
    allowed = [point for point in points if point.coverage >= LEAST_COVERAGE]
    enough = [point for point in allowed if point.accuracy >= accuracy]
    return enough[-1] if enough else max(allowed, key=lambda point: (point.accuracy, point.coverage))


def threshold_scores(confidences: np.ndarray, right: np.ndarray, least: int, one: int, name: str) -> dict[str, float]:
    """Threshold, coverage and, where a clip is answered, accuracy, by their names in score.json.

    Args:
        confidences, right: of the clips.
        least: the threshold, in steps.
        one: the probability 1, in steps.
        name: what their names begin with.
    """
    answered = confidences >= least
    found = {f"{name}/threshold": least / one, f"{name}/coverage": float(answered.mean())}
    return found | ({f"{name}/accuracy": float(right[answered].mean())} if answered.any() else {})


def curve_scores(confidences: np.ndarray, right: np.ndarray, one: int) -> dict[str, float]:
    """Those of the highest thresholds that answer the shares COVERAGES of the clips."""
    points, found = curve(confidences, right), dict[str, float]()
    for percent in COVERAGES:
        least = point_at(points, percent / 100).least
        found |= threshold_scores(confidences, right, least, one, f"{PREFIX}/at_{percent}")
    return found


class Row(NamedTuple):
    """A row of a table of the curve, all from 0 to 1; without an answered clip there is no accuracy."""

    threshold: float
    coverage: float
    accuracy: float | None


def curve_rows(scores: Mapping[str, float]) -> list[Row]:
    """The curve as it stands in score.json, the highest threshold first; of runs without it nothing."""
    rows = (_row(scores, f"{PREFIX}/at_{percent}") for percent in COVERAGES)
    return [row for row in rows if row is not None]


def chosen_row(scores: Mapping[str, float]) -> Row | None:
    """The row of the model's own threshold; None: it has none."""
    return _row(scores, PREFIX)


def _row(scores: Mapping[str, float], prefix: str) -> Row | None:
    if f"{prefix}/threshold" not in scores:
        return None
    return Row(scores[f"{prefix}/threshold"], scores[f"{prefix}/coverage"], scores.get(f"{prefix}/accuracy"))
