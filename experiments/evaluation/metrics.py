"""Metrics of predictions: macro accuracy, log loss and calibration, over all, by scene, device and group of devices.

Conventions: probabilities are float (n, classes) with rows that sum to 1, labels class numbers (n,). Accuracies are
in [0, 1], log losses in nats. Macro accuracy is the mean of the class-wise accuracies of the classes that occur;
metrics of a scene or device are over its items.
Source: DCASE 2023 Task 1, "Evaluation"; log loss clipped at 1e-15.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

CLIP = 1e-15
BINS = 15  # of confidence


def validate(probabilities: np.ndarray, labels: np.ndarray) -> None:
    """Check that the arrays belong together.

    Raises:
        ValueError: their shapes do not fit, rows are no probabilities, or labels are no class numbers.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            f"probabilities {probabilities.shape} and labels {labels.shape} must be (n, classes) and (n,), n > 0"
        )
    if not np.isfinite(probabilities).all() or (probabilities < 0).any():
        raise ValueError("probabilities must be numbers from 0 to 1")
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-4):
        raise ValueError("each row of probabilities must sum to 1")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(f"labels must be class numbers from 0 to {probabilities.shape[1] - 1}")


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Share of items whose most probable class is the right one."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def macro_accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that occur of the share of their items that are right."""
    return mean_by_class((probabilities.argmax(axis=1) == labels).astype(float), labels)


def mean_by_class(values: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that occur of the mean of their items' values, (n,)."""
    return float(np.mean([values[labels == c].mean() for c in np.unique(labels)]))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log(probability of the right class)."""
    return float(clip_losses(probabilities, labels).mean())


def clip_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log(probability of the right class) of each item, float64 (n,)."""
    right = probabilities.astype(np.float64)[np.arange(len(labels)), labels]
    return -np.log(np.clip(right, CLIP, 1))


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many items of each true class (rows) are predicted as each class (columns), int64 (classes, classes)."""
    classes = probabilities.shape[1]
    cells = labels * classes + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


class Bin(NamedTuple):
    """Items whose most probable class has a probability in (low, high]: how many, its mean, how many are right."""

    low: float
    high: float
    items: int
    confidence: float
    accuracy: float


def reliability(probabilities: np.ndarray, labels: np.ndarray, *, bins: int = BINS) -> list[Bin]:
    """The equal bins of confidence that are not empty, the lowest first.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    members = [(n, number == n) for n in np.unique(number).tolist()]
    return [
        Bin(n / bins, (n + 1) / bins, int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean()))
        for n, inside in members
    ]


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, *, bins: int = BINS) -> float:
    """Expected calibration error: over equal bins of confidence, the mean distance of accuracy and confidence.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    found = reliability(probabilities, labels, bins=bins)
    return sum(b.items * abs(b.accuracy - b.confidence) for b in found) / len(labels)


def subsets_of(
    labels: np.ndarray, devices: Sequence[str], *, scenes: Sequence[str], device_groups: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """Which items are of each scene/<scene>, device/<device> and group/<group>, bool (n,); empty ones are left out."""
    names = np.asarray(devices)
    subsets = {f"scene/{scene}": labels == number for number, scene in enumerate(scenes)}
    subsets |= {f"device/{device}": names == device for group in device_groups.values() for device in group}
    subsets |= {f"group/{group}": np.isin(names, list(members)) for group, members in device_groups.items()}
    return {name: subset for name, subset in subsets.items() if subset.any()}


def evaluate(
    probabilities: np.ndarray,
    labels: np.ndarray,
    devices: Sequence[str],
    *,
    scenes: Sequence[str],
    device_groups: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    """All metrics by flat name: accuracy, log_loss, calibration_error, and by subset accuracy/scene/<scene>,
    accuracy/device/<device>, accuracy/group/<group>, log_loss/scene/<scene> and so on; subsets without items are left
    out.

    Args:
        probabilities: (n, classes).
        labels: class numbers (n,).
        devices: of each item.
        scenes: names of the classes.
        device_groups: group to devices.

    Raises:
        ValueError: see validate.
    """
    validate(probabilities, labels)
    scores = {
        "accuracy": macro_accuracy(probabilities, labels),
        "log_loss": log_loss(probabilities, labels),
        "calibration_error": calibration_error(probabilities, labels),
    }
    for name, subset in subsets_of(labels, devices, scenes=scenes, device_groups=device_groups).items():
        scores[f"accuracy/{name}"] = accuracy(probabilities[subset], labels[subset])
        scores[f"log_loss/{name}"] = log_loss(probabilities[subset], labels[subset])
    return scores


def by_scene_and_device(
    probabilities: np.ndarray, labels: np.ndarray, devices: Sequence[str], scenes: Sequence[str]
) -> dict[str, float]:
    """Of each scene's items from each device the log loss and their number, by flat name:
    log_loss/scene/<scene>/device/<device> and clips/scene/<scene>/device/<device>; arguments as of evaluate."""
    losses, names, found = clip_losses(probabilities, labels), np.asarray(devices), {}
    for number, scene in enumerate(scenes):
        for device in np.unique(names[labels == number]).tolist():
            cell = losses[(labels == number) & (names == device)]
            found[f"log_loss/scene/{scene}/device/{device}"] = float(cell.mean())
            found[f"clips/scene/{scene}/device/{device}"] = float(len(cell))
    return found


def is_edge(name: str, scores: Mapping[str, float]) -> bool:
    """Whether a name of score.json is an edge of the interval of another one; a class may be called "low" too."""
    metric, _, edge = name.rpartition("/")
    return edge in ("low", "high") and metric in scores


def metrics_under(prefix: str, scores: Mapping[str, float]) -> list[str]:
    """The names of score.json that begin with the prefix and are no edges of intervals."""
    return [name for name in scores if name.startswith(prefix) and not is_edge(name, scores)]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes) of logits, in float64."""
    from scipy.special import softmax as of_floats  # a third of a second, which those who only read results need not

    return of_floats(logits.astype(np.float64), axis=1)


def probabilities_of(logits: np.ndarray, *, is_multi_label: bool) -> np.ndarray:
    """Probabilities (n, classes) of logits, float64: of clips with one class each their softmax, of others that of each
    class by itself (sigmoid)."""
    if not is_multi_label:
        return softmax(logits)
    from scipy.special import expit  # as in softmax

    return expit(logits.astype(np.float64))
