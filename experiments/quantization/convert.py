"""From a trained student to its smaller forms: integers by calibration, or floats of 16 bits."""

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from data.errors import UserError
from experiments.quantization.bits import HALF
from students.quantize.calibrate import calibrate, correct_biases
from students.quantize.exact import calibrate_exactly
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import FoldedNetwork
from students.quantize.tflite import write_tflite

BATCH = 32  # clips whose activations are observed at once
BIAS_CLIPS = 64  # every layer's output of these is held in memory at once, about 10 MB a clip
MUCH = 0.1  # nats a clip; 8 bits change the answers of CP-Mobile by some thousandths

log = logging.getLogger(__name__)


def calibrated(
    folded: FoldedNetwork,
    spectrograms: torch.Tensor,
    *,
    bits: Mapping[str, int],
    activations: int = 8,
    percentile: Any = 99.99,
    exact: bool = False,
) -> tuple[FoldedNetwork, IntegerNetwork]:
    """The network of integers of a folded network, and the folded network that it is of.

    Args:
        folded: see students/quantize/fold.py.
        spectrograms: log-mels (n, 1, mels, frames) of train clips, from which the scales of activations are taken.
        bits: of each layer's weights.
        activations: bits of activations.
        percentile: share of an activation's values that its range holds, in percent; or "mse".
        exact: a form on which all runtimes agree (weights of 6 bits in 8); `bits` and `activations` are 8 then, and
            the folded network is another one, whose scales are powers of two.
    """
    if exact:
        return calibrate_exactly(folded, spectrograms.split(BATCH), percentile=percentile)
    integers = calibrate(folded, spectrograms.split(BATCH), percentile=percentile, bits=bits, activations=activations)
    return folded, correct_biases(folded, integers, spectrograms[:BIAS_CLIPS])


@torch.no_grad()
def say_what_changed(network: nn.Module, integers: IntegerNetwork, spectrograms: torch.Tensor) -> None:
    """Warn where a network of integers, not trained since, answers otherwise than its float network, as where few bits
    or constants instead of norms of each clip change it: by the mean divergence of its probabilities, nats a clip.

    Args:
        network: the float network, log-mels to logits.
        integers: made from it.
        spectrograms: as in `calibrated`; some of them are answered.
    """
    some = spectrograms[:BIAS_CLIPS]
    floats, own = (torch.log_softmax(logits, 1) for logits in (network(some), integers.logits(some)))
    divergence = F.kl_div(own, floats, reduction="batchmean", log_target=True).item()
    if divergence > MUCH:
        log.warning(
            "the integers answer otherwise than the floats, by %.2f nats a clip over %d train clips: "
            "quantize.method=qat trains what is stored",
            divergence,
            len(some),
        )


def write_integers(
    network: nn.Module,
    spectrograms: torch.Tensor,
    path: str | Path,
    *,
    metadata: Mapping[str, object] | None = None,
    bits: int = 8,
) -> IntegerNetwork:
    """Convert a float student to integers after training, and write the file; for notebooks.

    Args:
        network: log-mels to logits.
        spectrograms: log-mels (n, 1, mels, frames) of train clips, some hundred, to calibrate on.
        path: of the TFLite file.
        metadata: JSON that travels in the file; with sample_rate, mel and scenes the file can be used by
            inference/classifier.py.
        bits: of all weights, 8 or 4; those of a GRU have 8.

    Raises:
        UserError: a part of the network has no integer form.
    """
    folded = fold(network, (1, *spectrograms.shape[1:]), spectrograms)
    widths = {name: max(bits, min(folded.widths(name))) for name in folded.convolutions}
    _, integers = calibrated(folded, spectrograms, bits=widths)
    write_tflite(integers, path, metadata or {})
    return integers


def halved(network: nn.Module) -> nn.Module:
    """A copy whose parameters are floats of 16 bits; BatchNorm's statistics stay, which may be larger than halves go.

    Raises:
        UserError: a weight has no finite value of 16 bits.
    """
    halves = copy.deepcopy(network)
    for name, parameter in halves.named_parameters():
        parameter.data = parameter.data.half()
        if not parameter.isfinite().all():
            raise UserError(f"quantize.bits={HALF}: {name} has weights above 65,504, or none that are numbers")
    return halves
