"""One student in several forms on the test split: its figures, and how far each form is from the float one."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from data.front_ends import FrontEnd
from experiments.intervals import difference_intervals
from experiments.judge import judge
from experiments.predict import predict
from experiments.prepare import Prepared
from experiments.score import softmax
from students.quantize.integer import IntegerNetwork
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel, has_micro

BATCH = 32
PROOFS = 16  # clips


def compare(prepared: Prepared, probabilities: Mapping[str, np.ndarray], folder: Path) -> dict[str, float]:
    """Figures of each form by "<form>/<figure>"; and of all but "float" the agreement with it, and the differences to
    it with their intervals over recordings.

    Args:
        prepared: the data set.
        probabilities: of the test split, by form: "test" is the one that is judged, beside it there are "float", ...
        folder: of the run.
    """
    scores = judge(prepared.clips, probabilities["test"], folder)
    for form in probabilities.keys() - {"test"}:
        figures = prepared.score("test", probabilities[form])
        scores |= {name.replace("test", form, 1): value for name, value in figures.items()}
    rows, clips = prepared.clips.indices("test"), prepared.clips
    recordings, whole = [clips.clips[row].recording for row in rows], probabilities["float"]
    for form in probabilities.keys() - {"float"}:
        found = probabilities[form]
        scores[f"{form}/agreement_with_float"] = float((found.argmax(1) == whole.argmax(1)).mean())
        for figure, (low, high) in difference_intervals(found, whole, clips.labels[rows], recordings).items():
            about = f"{form}/minus_float/{figure}"
            scores[about] = scores[f"{form}/{figure}"] - scores[f"float/{figure}"]
            scores |= {f"{about}/low": low, f"{about}/high": high}
    return scores


def of_floats(prepared: Prepared, network: nn.Module, front_end: FrontEnd) -> np.ndarray:
    """Probabilities of the test split."""
    batches = prepared.batches("test", batch_size=BATCH, device=torch.device("cpu"))
    return predict(network, front_end.cpu(), batches)[0]


@torch.no_grad()
def of_integers(
    prepared: Prepared, front_end: FrontEnd, model: Path, before: IntegerNetwork | None
) -> dict[str, np.ndarray]:
    """Probabilities of the test split: of a file as a device computes it ("test") and as XNNPACK does
    ("host"), and of the integers before they were trained ("ptq")."""
    batches = prepared.batches("test", batch_size=BATCH, device=torch.device("cpu"))
    test = torch.cat([front_end.cpu()(batch.waves) for batch in batches.in_order()])
    shipped, _ = read_tflite(model)
    prove(shipped, model, test[:: max(1, len(test) // PROOFS)])
    logits = {} if before is None else {"ptq": before.logits(test)}
    logits |= {"test": shipped.logits(test), "host": TFLiteModel(model, kernels="host").logits(test)}
    return {form: softmax(values.numpy()) for form, values in logits.items()}


def prove(network: IntegerNetwork, model: Path, pictures: torch.Tensor) -> None:
    """Check on some clips that what is scored is what a device computes, to the last bit.

    Raises:
        AssertionError: it is not, which would be a defect of ours.
    """
    expected = network.logits(pictures)
    others = ["micro"] if has_micro() else []
    others += ["host", "plain"] if network.exact else []
    for kernels in ("device", *others):
        found = TFLiteModel(model, kernels=kernels).logits(pictures)
        if not torch.equal(found, expected):
            raise AssertionError(f"{model}: the integer network and the kernels of {kernels} differ; please report it")
