"""What is wrong with the settings of quantisation, found before anything is trained or quantised."""

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from data.errors import UserError, require
from data.front_ends.integer_steps import UNSCALED, in_integers, integer_front_end
from experiments.quantization.bits import HALF, require_bits
from experiments.settings.parts import Distillation, Hardware, Quantize
from students.quantize.bits import least_bytes, require_budget
from students.quantize.calibrate import calibrate, require_percentile
from students.quantize.fold import fold

log = logging.getLogger(__name__)


def require_valid(settings: Quantize) -> None:
    """Check what can be checked without a network.

    Raises:
        UserError: a setting is out of its range, settings contradict each other, or a package is missing.
    """
    if settings.exact == "all" and (settings.bits, settings.activations) != (8, 8):
        raise UserError("quantize.exact=all stores weights of 6 bits in 8: leave quantize.bits and activations at 8")
    require_bits(settings.bits, settings.budget)
    require_percentile(settings.percentile)
    if settings.activations == 16 and (settings.bits != 8 or "onnx" in settings.export):
        raise UserError("quantize.activations=16 needs quantize.bits=8, and has no ONNX file")
    if settings.bits == HALF and (settings.method != "ptq" or "onnx" in settings.export):
        raise UserError(f"quantize.bits={HALF} stores floats: it has no quantize.method=qat or ONNX file")
    given = [key for key in ("threshold", "answered_accuracy") if getattr(settings, key) is not None]
    if len(given) > 1:
        raise UserError(
            f"quantize.threshold={settings.threshold:g} is a threshold, and quantize.answered_accuracy="
            f"{settings.answered_accuracy:g} chooses one: give one of them"
        )
    if given and settings.bits == HALF:
        raise UserError(f"quantize.bits={HALF} stores floats, which have no quantize.{given[0]}: leave it out")
    if settings.bits == HALF and settings.front_end == "integer":
        raise UserError(f"quantize.bits={HALF} stores floats: leave quantize.front_end out")
    if "onnx" in settings.export:
        require("onnx", "onnx")


def deployed_mel(settings: Quantize, sample_rate: int, mel: Mapping[str, object]) -> Mapping[str, object]:
    """The settings of the front end of the smaller form of a student that was trained with the front end `mel`.

    Raises:
        UserError: it is to be one in integers, and there is none with these settings.
    """
    if settings.front_end == "float":
        return mel
    try:
        if mel.get("kind") == UNSCALED:
            raise UserError(f"a network is not scored through the integers of {UNSCALED} yet: leave it out")
        integer_front_end(sample_rate, mel)
    except UserError as error:
        raise UserError(f"quantize.front_end={settings.front_end}: {error}") from error
    return in_integers(mel)


def require_training(distill: Distillation, hardware: Hardware) -> None:
    """Check that a student can be trained while it is rounded with this loss, on these devices.

    Raises:
        UserError: it cannot.
    """
    if distill.similarity:
        raise UserError("quantize.method=qat has no similarity term: set student.distill.similarity=0")
    if distill.features:
        log.info("quantize.method=qat: while it is rounded the student learns labels and logits, and no features")
    if hardware.processes > 1:
        raise UserError("quantize.method=qat trains on one device: leave fabric.devices and fabric.num_nodes at 1")


def require_form(settings: Quantize, network: nn.Module, shape: Sequence[int]) -> None:
    """Check that a network, whose weights do not matter, has the form that the settings ask for.

    Args:
        settings: of quantisation.
        network: log-mels (B, 1, mels, frames) to logits (B, classes).
        shape: of a log-mel, (1, 1, mels, frames).

    Raises:
        UserError: it has no integer form, or has no such layers, or the budget is too small for it.
    """
    if settings.bits == HALF:
        return
    folded = fold(network, shape, torch.zeros(tuple(shape)))
    if settings.budget is not None:
        require_budget(settings.budget, sum(least_bytes(folded, name) for name in folded.convolutions))
    if isinstance(settings.bits, Mapping):
        calibrate(folded, [torch.zeros(tuple(shape))], bits=settings.bits)
