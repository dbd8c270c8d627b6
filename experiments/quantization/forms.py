"""One student in several numeric forms, each applied to the test split: its metrics, and how far it is from the float
form.

Conventions: those of evaluation/forms.py, which says what the forms are and how their metrics are named.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from data.front_ends import FrontEnd
from data.front_ends.integer_steps import network_input
from experiments.datasets.datamodule import DataModule
from experiments.evaluation.bootstrap import difference_intervals
from experiments.evaluation.devices import compared
from experiments.evaluation.evaluate import evaluate_and_save, split_metrics
from experiments.evaluation.forms import (
    FLOAT,
    FLOAT_FRONT_END,
    GENERAL,
    HOST,
    PTQ,
    STORED,
    agreement_name,
    cost_prefix,
    difference_name,
    metric_prefix,
)
from experiments.inference.network import in_parts, predict
from experiments.training.devices import Weights, predict_by_device
from students.limits import Complexity
from students.quantize.integer import IntegerNetwork
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel, has_micro

BATCH = 32
PROOFS = 16  # clips
NO_SETS: Mapping[str, Weights] = MappingProxyType({})


def compare(data: DataModule, probabilities: Mapping[str, np.ndarray], folder: Path) -> dict[str, float]:
    """Metrics of each form; and of all but the float one the agreement with it, and the differences to it with their
    intervals over recordings, and likewise of the stored one with "float_front_end", if it is there; and what knowing
    the device gains, if "general" is there.

    Args:
        data: the data set.
        probabilities: (n, classes) of the test split, by form; "stored" and "float" must be there.
        folder: of the run, for the tables of the stored form.
    """
    clips, rows = data.clips, data.clips.indices("test")
    scores = evaluate_and_save(clips, probabilities[STORED], folder)
    if GENERAL in probabilities:
        scores |= compared(clips, "test", probabilities[STORED], probabilities[GENERAL])
        probabilities = {form: found for form, found in probabilities.items() if form != GENERAL}
    for form in probabilities.keys() - {STORED}:
        metrics = split_metrics(clips, "test", probabilities[form])
        scores |= {name.replace("test", form, 1): value for name, value in metrics.items()}
    recordings = [clips.clips[row].recording for row in rows]
    pairs = [(form, FLOAT) for form in probabilities.keys() - {FLOAT}]
    pairs += [(STORED, FLOAT_FRONT_END)] * (FLOAT_FRONT_END in probabilities)
    for form, other in pairs:
        found, whole = probabilities[form], probabilities[other]
        scores[agreement_name(form, other)] = float((found.argmax(1) == whole.argmax(1)).mean())
        for metric, (low, high) in difference_intervals(found, whole, clips.labels[rows], recordings).items():
            about = difference_name(form, other, metric)
            scores[about] = scores[f"{metric_prefix(form)}/{metric}"] - scores[f"{metric_prefix(other)}/{metric}"]
            scores |= {f"{about}/low": low, f"{about}/high": high}
    return scores


def costs(stored: Complexity, whole: Complexity) -> dict[str, float]:
    """The costs of the stored and of the float form, by name."""
    found = {STORED: stored, FLOAT: whole}
    return {
        f"{cost_prefix(form)}{name}": value
        for form in found
        for name, value in found[form].metrics(stored=form != FLOAT).items()
    }


def float_probabilities(
    data: DataModule, network: nn.Module, front_end: FrontEnd, sets: Mapping[str, Weights] = NO_SETS
) -> np.ndarray:
    """Probabilities (n, classes) of the test split by a float network on the CPU, with `sets` of devices if it has."""
    if sets:
        fabric = Fabric(accelerator="cpu", devices=1)
        return predict_by_device(network, sets, front_end.cpu(), data, "test", fabric)
    batches = data.batches("test", batch_size=BATCH, device=torch.device("cpu"))
    return predict(network, front_end.cpu(), batches)[0]


@torch.no_grad()
def integer_logits(
    data: DataModule, front_end: FrontEnd, model: Path, before: IntegerNetwork | None, trained: FrontEnd
) -> dict[str, np.ndarray]:
    """Logits float32 (n, classes) of the test split, by form: "stored" and "host" of a file, of the integers before
    they were trained, "ptq", of a file with tensors of devices, "general", and with the front end that the student was
    trained with, if it is another one, "float_front_end"."""
    test = _inputs(data, front_end)
    stored, _ = read_tflite(model)
    prove(stored, model, _some(test, PROOFS))
    logits = {} if before is None else {PTQ: in_parts(before.logits, test, PTQ)}
    logits[STORED] = in_parts(stored.logits, test, STORED)
    logits[HOST] = in_parts(TFLiteModel(model, kernels="host").logits, test, HOST)
    others = {} if type(trained) is type(front_end) else {FLOAT_FRONT_END: _inputs(data, trained)}
    logits |= {form: in_parts(stored.logits, inputs, form) for form, inputs in others.items()}
    if stored.sets:
        logits[GENERAL] = logits[STORED].clone()
        devices = np.array([data.clips.clips[row].device for row in data.clips.indices("test")])
        for device in stored.sets:
            own = torch.from_numpy(np.flatnonzero(devices == device))
            if len(own):
                prove(stored, model, _some(test[own], -(-PROOFS // len(stored.sets))), device)
                for form, inputs in {STORED: test, **others}.items():
                    logits[form][own] = in_parts(stored.of_device(device).logits, inputs[own], form)
                host = TFLiteModel(model, kernels="host", device=device)
                logits[HOST][own] = in_parts(host.logits, test[own], HOST)
    return {form: values.numpy() for form, values in logits.items()}


def _inputs(data: DataModule, front_end: FrontEnd) -> torch.Tensor:
    """What a network is given of the test split, (n, 1, mels, frames)."""
    batches = data.batches("test", batch_size=BATCH, device=torch.device("cpu"))
    return torch.cat([network_input(front_end.cpu(), batch.waves) for batch in batches.in_order()])


def _some(spectrograms: torch.Tensor, count: int) -> torch.Tensor:
    """About so many of them, evenly spread."""
    return spectrograms[:: max(1, len(spectrograms) // count)]


def prove(network: IntegerNetwork, model: Path, spectrograms: torch.Tensor, device: str | None = None) -> None:
    """Check on some clips, all of one recording device if it is named, that what is scored is what a microcontroller
    computes, to the last bit.

    Raises:
        AssertionError: it is not, which would be a defect of ours.
    """
    expected = (network if device is None else network.of_device(device)).logits(spectrograms)
    others = ["micro"] if has_micro() else []
    others += ["host", "plain"] if network.exact else []
    for kernels in ("device", *others):
        found = TFLiteModel(model, kernels=kernels, device=device).logits(spectrograms)
        if not torch.equal(found, expected):
            raise AssertionError(f"{model}: the integer network and the kernels of {kernels} differ; please report it")
