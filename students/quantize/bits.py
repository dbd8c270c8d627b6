"""Which layer gets how many bits: measured sensitivities, and the best choice under a budget of bytes.

Conventions: a layer's sensitivity to a width is the mean divergence (nats a clip) of the network's probabilities from
the float network's when that layer's weights alone are rounded to it. Sensitivities are taken to add up. Bytes are
those of the file's constants: weights packed, and biases of 4 bytes (8 in a GRU).
Source of the approach: Dong et al., "HAWQ-V2", NeurIPS 2020, section 3 (a Pareto frontier over the layers), with
measured divergences instead of Hessian traces.
"""

import copy
import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch.nn import functional as F

from data.errors import UserError
from students.quantize.calibrate import round_weights
from students.quantize.layers import BITS, FoldedNetwork

BIAS_BYTES, BIAS_BYTES_OF_GRU = 4, 8


class Option(NamedTuple):
    """What a layer costs and loses with weights of some bits."""

    bits: int
    bytes: int
    loss: float


Options = Mapping[str, tuple[Option, ...]]


def stored_bytes(weights: int, biases: int, bits: int, bias_bytes: int = BIAS_BYTES) -> int:
    """Bytes of a layer's weights, packed, and biases.

    >>> stored_bytes(15, 5, 4)
    28
    """
    return -(-weights * bits // 8) + bias_bytes * biases


def least_bytes(network: FoldedNetwork, name: str, bits: int | None = None) -> int:
    """Bytes of a layer's weights and biases, with the fewest bits that they may have, or with some bits."""
    widths, (outputs, *inputs) = network.widths(name), network.convolutions[name].weight.shape
    bias_bytes = BIAS_BYTES if widths == BITS else BIAS_BYTES_OF_GRU
    return stored_bytes(outputs * math.prod(inputs), outputs, bits or min(widths), bias_bytes)


@torch.no_grad()
def measure(network: FoldedNetwork, spectrograms: torch.Tensor, batch: int = 32) -> dict[str, tuple[Option, ...]]:
    """What each layer costs and loses with each width, on log-mels (n, 1, mels, frames).

    Raises:
        UserError: the outputs are no numbers.
    """
    expected = _log_probabilities(network, spectrograms, batch)
    options = {}
    for name, convolution in network.convolutions.items():
        found = []
        for bits in network.widths(name):
            changed = copy.deepcopy(network)
            rounded = round_weights(convolution, 1.0, name, bits)
            values = torch.from_numpy(rounded.weight * rounded.scale[:, None, None, None])
            changed.convolutions[name].weight.copy_(values)
            outputs = _log_probabilities(changed, spectrograms, batch)
            loss = F.kl_div(outputs, expected, reduction="batchmean", log_target=True)
            if not loss.isfinite():
                raise UserError(
                    f"with {name} rounded to {bits} bits the outputs are no numbers: its weights or a clip are broken"
                )
            size = least_bytes(network, name, bits)
            found.append(Option(bits, size, max(0.0, float(loss))))
        options[name] = tuple(found)
    return options


def require_budget(budget: int, least: int) -> None:
    """Check a budget of bytes against the least that a network takes.

    Raises:
        UserError: it is too small.
    """
    if least > budget:
        raise UserError(
            f"quantize.budget={budget} bytes is below the smallest possible, {least} (every weight with {min(BITS)} "
            f"bits, every bias with {8 * BIAS_BYTES}): give at least that, or a smaller student"
        )


def allocate(options: Options, budget: int) -> dict[str, int]:
    """Bits of each layer: the smallest sum of losses whose bytes are within the budget; of equal ones the fewest bytes.

    Exact: layer by layer, only those partial choices are kept that no other beats in both bytes and loss.

    Raises:
        UserError: even the smallest choice is over the budget.
    """
    require_budget(budget, least=sum(min(option.bytes for option in found) for found in options.values()))
    frontier: list[tuple[int, float, tuple[int, ...]]] = [(0, 0.0, ())]
    for found in options.values():
        grown = [
            (size + option.bytes, loss + option.loss, (*chosen, option.bits))
            for size, loss, chosen in frontier
            for option in found
            if size + option.bytes <= budget
        ]
        frontier, best = [], float("inf")
        for candidate in sorted(grown):
            if candidate[1] < best:
                frontier.append(candidate)
                best = candidate[1]
    return dict(zip(options, frontier[-1][2], strict=True))


def _log_probabilities(network: FoldedNetwork, spectrograms: torch.Tensor, batch: int) -> torch.Tensor:
    return torch.cat([F.log_softmax(network(part).double(), dim=1) for part in spectrograms.split(batch)])
