"""A model file as a device computes it, and what one clip is estimated to cost there: a Cortex-M4, by a model.

Conventions: those of students/device/estimate.py; a float student's costs are those that it has with 8 bits. Joules are
not modelled: they depend on the board, and are cycles times what it takes for one.
"""

from pathlib import Path

from data.damage import explain_damage
from data.errors import UserError
from data.front_ends.integer_steps import integer_front_end
from experiments.inference.classifier import load_classifier
from experiments.models.classifiers import load_floats
from experiments.runs.layout import is_float
from experiments.training.checkpoint import load_student
from students.device.cost import Estimate
from students.device.estimate import estimated, model_estimate
from students.device.library import Model
from students.quantize.answer import confidence_of
from students.quantize.read import read_tflite


def device_estimate(path: Path) -> Estimate | str:
    """The costs of a model file on a device, of one with tensors of devices those of the general network; or why it has
    no form there."""
    try:
        if not is_float(path):
            return model_estimate(model_in(path)[0])
        found = load_floats(path)
        front_end = integer_front_end(found.sample_rate, load_student(path)[1].mel)
        samples = round(found.clip_seconds * found.sample_rate)
        return estimated(found.network, front_end, samples, len(found.scenes))
    except UserError as error:
        return str(error)


def model_in(path: Path, device: str | None = None) -> tuple[Model, str]:
    """The network of a file, or that of a recording device, with its front end in integers; and its licence.

    Raises:
        UserError: the file is damaged, has no tensors of the device, or no form in C.
    """
    network, metadata = read_tflite(path)
    classifier = load_classifier(path)  # with all that it checks
    general = network.of_device("" if device is None else device)
    if device is not None and device not in network.sets:
        known = ", ".join(network.sets) or "none"
        raise UserError(f"deploy.device={device}: {path} has tensors of these devices of its own: {known}")
    with explain_damage(path):
        confidence = confidence_of(metadata)
    rate, seconds = classifier.sample_rate, classifier.clip_seconds
    front_end = integer_front_end(rate, metadata["mel"])
    model = Model(general, front_end, round(seconds * rate), classifier.scenes, confidence)
    return model, str(metadata.get("licence", "of what, its file does not say"))
