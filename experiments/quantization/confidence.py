"""The confidence of a network of integers, fitted to clips that it was not trained on, and what it is worth on the test
split.

Conventions: those of students/quantize/answer.py and evaluation/confidence.py. Log loss and calibration error are of
the probabilities before they are rounded to steps.
Source: what a parameter has to be worth: H. Akaike, "A new look at the statistical model identification", IEEE
Transactions on Automatic Control, 1974.
"""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from data.front_ends import FrontEnd
from data.front_ends.integer_steps import network_input
from experiments.datasets.datamodule import DataModule
from experiments.evaluation.confidence import PREFIX, curve, curve_scores, point_of, threshold_scores
from experiments.evaluation.metrics import calibration_error, log_loss, softmax
from experiments.inference.network import in_parts
from experiments.quantization.held_out import not_validated_on, require_not_validated_on
from experiments.settings.parts import Quantize
from students.quantize.answer import NAME, ONE, Confidence, exponentials, probabilities
from students.quantize.integer import IntegerNetwork, Quantity
from teachers.ensemble import fit_temperature

CLIPS = 2048  # validation clips that are used at most
DIGITS = 4  # of a temperature, behind the point
LEAST_GAIN = 1.0  # nats of log likelihood that one parameter has to be worth
CHOSEN = "quantize.answered_accuracy, which chooses the threshold,"

log = logging.getLogger(__name__)


class Fitted(NamedTuple):
    """A confidence, and the number of clips that it was fitted to: 0 if it was not."""

    confidence: Confidence
    clips: int

    def described(self) -> dict[str, object]:
        """As metadata of a model."""
        return {NAME: {**self.confidence.described(), "clips": self.clips}}


def check_confidence(own: Quantize, path: Path, data: DataModule) -> None:
    """Check, before anything is trained, that there are answers by which a threshold can be chosen, if it is to be.

    Args:
        own: the settings.
        path: of the student's checkpoint.
        data: as the settings divide it.

    Raises:
        UserError: no clips are held out, or the student was maybe trained on them and so was its first phase.
    """
    if own.answered_accuracy is not None:
        require_not_validated_on(path, data, CHOSEN, "quantize.threshold=NUMBER")


def fit_confidence(
    own: Quantize,
    integers: IntegerNetwork,
    path: Path,
    trained_on: str,
    data: DataModule,
    front_end: FrontEnd,
    seed: int,
) -> Fitted:
    """The temperature that validation clips ask for, and the threshold, given or chosen on them.

    The answers are those of the integers if they were not trained on these clips; else those of the float student of
    the first phase, as the integers would round its logits. Without either, which is said, the temperature is 1.

    Args:
        own: the settings.
        integers: the network.
        path, trained_on: the checkpoint that it was made of, and the fingerprint of the clips of its training.
        data: as the settings divide it.
        front_end: from waves to spectrograms.
        seed: chooses the clips.
    """
    given, is_unheard = Confidence(threshold=own.threshold), trained_on == data.fingerprint["clips"]
    if not data.clips.has_validation:
        log.info("no clips are held out: probabilities are not calibrated")
        return Fitted(given, 0)
    network = None if is_unheard else not_validated_on(path, data)
    if network is None and not is_unheard:
        log.warning(
            "%s was trained on other splits, maybe on the validation clips: probabilities are not calibrated", path
        )
        return Fitted(given, 0)
    rows, output = data.some("validation", CLIPS, seed), integers.output
    heard = front_end.cpu() if network else partial(network_input, front_end.cpu())
    spectrograms, labels = data.spectrograms(heard, "validation", CLIPS, seed), data.clips.labels[rows]
    compute = integers.logits if network is None else network.eval()
    logits = in_parts(compute, spectrograms, "validation clips")
    q = output.quantize(logits)
    temperature = _temperature(output.dequantize(q).numpy(), labels)
    fitted = replace(given, temperature=temperature)
    if own.answered_accuracy is not None:
        threshold = _chosen(own.answered_accuracy, *_answers(q.numpy(), labels, output, temperature))
        fitted = replace(fitted, threshold=threshold)
    return Fitted(fitted, len(rows))


def confidence_scores(fitted: Fitted, output: Quantity, logits: np.ndarray, data: DataModule) -> dict[str, float]:
    """What the confidence is worth on the test split, by names of score.json.

    Args:
        fitted: of the model.
        output: how its logits are read.
        logits: float32 (n, classes) of the test split, as the model computes them.
        data: the data set.
    """
    labels = data.clips.labels[data.clips.indices("test")]
    calibrated = softmax(logits / fitted.confidence.temperature)
    q = output.quantize(torch.from_numpy(logits)).numpy()
    sure, right = _answers(q, labels, output, fitted.confidence.temperature)
    found = {
        f"{PREFIX}/temperature": fitted.confidence.temperature,
        f"{PREFIX}/clips": float(fitted.clips),
        f"{PREFIX}/log_loss": log_loss(calibrated, labels),
        f"{PREFIX}/calibration_error": calibration_error(calibrated, labels),
    }
    if fitted.confidence.threshold is not None:
        found |= threshold_scores(sure, right, fitted.confidence.least, ONE, PREFIX)
    return found | curve_scores(sure, right, ONE)


def _answers(q: np.ndarray, labels: np.ndarray, output: Quantity, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """The probability of the most probable scene in steps of 1 / ONE, and whether it is the right one, of each clip."""
    table = exponentials(output.scale, temperature, output.bits)
    return probabilities(q, table).max(axis=1), q.argmax(axis=1) == labels


def _temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """That with the lowest log loss if it makes the labels likelier by more than LEAST_GAIN; else 1: so much is gained
    by chance."""
    found = round(fit_temperature(logits, labels), DIGITS)
    losses = [log_loss(softmax(logits / each), labels) for each in (1.0, found)]
    return found if len(labels) * (losses[0] - losses[1]) > LEAST_GAIN else 1.0


def _chosen(accuracy: float, sure: np.ndarray, right: np.ndarray) -> float:
    """The lowest threshold with this accuracy."""
    point = point_of(curve(sure, right), accuracy)
    threshold = 0.0 if point.coverage == 1 else point.least / ONE
    if point.accuracy < accuracy:
        log.warning(
            "quantize.answered_accuracy=%g is more than any threshold gives on the validation clips: %.3f is taken, at "
            "which %.1f %% of them are answered, and %.1f %% of these rightly",
            *(accuracy, threshold, 100 * point.coverage, 100 * point.accuracy),
        )
    return threshold
