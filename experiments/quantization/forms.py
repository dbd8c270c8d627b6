"""One student in several numeric forms, each applied to the test split: its metrics, and how far it is from the float
form.

Conventions: those of evaluation/forms.py, which says what the forms are and how their metrics are named.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from data.front_ends import FrontEnd
from experiments.datasets.datamodule import DataModule
from experiments.evaluation.bootstrap import difference_intervals
from experiments.evaluation.evaluate import evaluate_and_save, split_metrics
from experiments.evaluation.forms import FLOAT, HOST, PTQ, STORED, metric_prefix
from experiments.evaluation.metrics import softmax
from experiments.inference.network import predict
from students.quantize.integer import IntegerNetwork
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel, has_micro

BATCH = 32
PROOFS = 16  # clips


def compare(data: DataModule, probabilities: Mapping[str, np.ndarray], folder: Path) -> dict[str, float]:
    """Metrics of each form; and of all but the float one the agreement with it, and the differences to it with their
    intervals over recordings.

    Args:
        data: the data set.
        probabilities: (n, classes) of the test split, by form; "stored" and "float" must be there.
        folder: of the run, for the tables of the stored form.
    """
    clips, rows = data.clips, data.clips.indices("test")
    scores = evaluate_and_save(clips, probabilities[STORED], folder)
    for form in probabilities.keys() - {STORED}:
        metrics = split_metrics(clips, "test", probabilities[form])
        scores |= {name.replace("test", form, 1): value for name, value in metrics.items()}
    recordings, whole = [clips.clips[row].recording for row in rows], probabilities[FLOAT]
    for form in probabilities.keys() - {FLOAT}:
        found, prefix = probabilities[form], metric_prefix(form)
        scores[f"{prefix}/agreement_with_float"] = float((found.argmax(1) == whole.argmax(1)).mean())
        for metric, (low, high) in difference_intervals(found, whole, clips.labels[rows], recordings).items():
            about = f"{prefix}/minus_float/{metric}"
            scores[about] = scores[f"{prefix}/{metric}"] - scores[f"{FLOAT}/{metric}"]
            scores |= {f"{about}/low": low, f"{about}/high": high}
    return scores


def float_probabilities(data: DataModule, network: nn.Module, front_end: FrontEnd) -> np.ndarray:
    """Probabilities (n, classes) of the test split by a float network on the CPU."""
    batches = data.batches("test", batch_size=BATCH, device=torch.device("cpu"))
    return predict(network, front_end.cpu(), batches)[0]


@torch.no_grad()
def integer_probabilities(
    data: DataModule, front_end: FrontEnd, model: Path, before: IntegerNetwork | None
) -> dict[str, np.ndarray]:
    """Probabilities (n, classes) of the test split, by form: "stored" and "host" of a file, and, of the integers before
    they were trained, "ptq"."""
    batches = data.batches("test", batch_size=BATCH, device=torch.device("cpu"))
    test = torch.cat([front_end.cpu()(batch.waves) for batch in batches.in_order()])
    stored, _ = read_tflite(model)
    prove(stored, model, test[:: max(1, len(test) // PROOFS)])
    logits = {} if before is None else {PTQ: before.logits(test)}
    logits |= {STORED: stored.logits(test), HOST: TFLiteModel(model, kernels="host").logits(test)}
    return {form: softmax(values.numpy()) for form, values in logits.items()}


def prove(network: IntegerNetwork, model: Path, spectrograms: torch.Tensor) -> None:
    """Check on some clips that what is scored is what a device computes, to the last bit.

    Raises:
        AssertionError: it is not, which would be a defect of ours.
    """
    expected = network.logits(spectrograms)
    others = ["micro"] if has_micro() else []
    others += ["host", "plain"] if network.exact else []
    for kernels in ("device", *others):
        found = TFLiteModel(model, kernels=kernels).logits(spectrograms)
        if not torch.equal(found, expected):
            raise AssertionError(f"{model}: the integer network and the kernels of {kernels} differ; please report it")
