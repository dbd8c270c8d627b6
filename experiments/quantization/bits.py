"""How many bits each layer's weights get."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from data.errors import UserError, unknown
from students.quantize.bits import allocate, measure, stored_bytes
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import FoldedNetwork
from students.quantize.sets import set_sizes

HALF = "16f"  # floats of 16 bits, for students that have no integer form
WIDTHS = (4, 8)
MEASURED = "quantize.bits=auto, which measures the layers' sensitivities,"

Bits = int | str | Mapping[str, int]


def require_bits(bits: Bits, budget: int | None) -> None:
    """Check the settings `quantize.bits` and `quantize.budget`, as far as that is possible without a network.

    Raises:
        UserError: `bits` is unknown, or a budget is missing, or given where nothing uses it.
    """
    if isinstance(bits, Mapping):
        if wrong := {name: width for name, width in bits.items() if width not in WIDTHS}:
            raise UserError(f"quantize.bits={wrong}: a layer's weights have 4 or 8 bits")
    elif bits not in (*WIDTHS, HALF, "auto"):
        unknown("quantize.bits", bits, ("8", "4", HALF, "auto", "{NAME: 4}"))
    if (bits == "auto") != (budget is not None):
        raise UserError(
            f"quantize.bits={bits} and quantize.budget={budget}: bits=auto needs a budget of bytes, and nothing "
            "else uses one"
        )


def choose_bits(
    bits: Bits, budget: int | None, folded: FoldedNetwork, spectrograms: Callable[[], torch.Tensor]
) -> tuple[dict[str, int], dict[str, dict[str, float]]]:
    """Bits of each layer's weights, and its sensitivities (nats) where they were measured.

    Args:
        bits: 8, 4 (of layers that have such a form), "auto", or by layer, the others having 8.
        budget: bytes of weights and biases, of "auto".
        folded: the network.
        spectrograms: gives the log-mels that sensitivities are measured on.

    Raises:
        UserError: the budget is too small.
    """
    require_bits(bits, budget)
    if bits == "auto":
        assert budget is not None
        options = measure(folded, spectrograms())
        sensitivities = {n: {f"sensitivity_{o.bits}": o.loss for o in found} for n, found in options.items()}
        return allocate(options, budget), sensitivities
    if isinstance(bits, Mapping):
        return {name: bits.get(name, 8) for name in [*folded.convolutions, *bits]}, {}
    return {name: max(int(bits), min(folded.widths(name))) for name in folded.convolutions}, {}


def layer_rows(network: IntegerNetwork, sensitivities: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Each layer's bits, bytes (with those that recording devices have of their own) and sensitivities: the rows of
    layers.json."""
    own = set_sizes(network)
    sizes = {
        name: stored_bytes(w.weight.size, len(w.bias), w.bits, w.bias.itemsize) + own[name].bytes
        for name, w in network.weights.items()
    }
    return [
        {"layer": name, "bits": w.bits, "bytes": sizes[name]} | dict(sensitivities.get(name, {}))
        for name, w in network.weights.items()
    ]
