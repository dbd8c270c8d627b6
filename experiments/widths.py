"""How many bits each layer's weights get, and the clips on which that is decided."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from data.errors import UserError, unknown
from data.front_ends import FrontEnd
from experiments.prepare import Prepared
from students.quantize.bits import allocate, measure, stored_bytes
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import FoldedNetwork

HALF = "16f"
BATCH = 32


def choose_bits(
    cfg: DictConfig, folded: FoldedNetwork, pictures: Callable[[], torch.Tensor]
) -> tuple[dict[str, int], dict[str, dict[str, float]]]:
    """Bits of each layer's weights by `quantize.bits`, and its sensitivities where they were measured.

    Args:
        cfg: the settings of `quantize`.
        folded: the network.
        pictures: gives the log-mels that sensitivities are measured on.

    Raises:
        UserError: `bits` is nothing known, or `budget` too small, or one is given without the other.
    """
    wanted = OmegaConf.to_container(cfg.bits) if OmegaConf.is_config(cfg.bits) else cfg.bits
    if (wanted == "auto") != (cfg.budget is not None):
        raise UserError(
            f"quantize.bits={wanted} and quantize.budget={cfg.budget}: bits=auto needs a budget of bytes, and nothing "
            "else uses one"
        )
    sensitivities: dict[str, dict[str, float]] = {}
    if wanted == "auto":
        options = measure(folded, pictures())
        bits = allocate(options, cfg.budget)
        sensitivities = {n: {f"sensitivity_{o.bits}": o.loss for o in found} for n, found in options.items()}
    elif isinstance(wanted, dict):
        bits = {name: wanted.get(name, 8) for name in [*folded.convolutions, *wanted]}
    elif wanted in (4, 8):
        bits = dict.fromkeys(folded.convolutions, wanted)
    else:
        unknown("quantize.bits", wanted, ("8", "4", HALF, "auto", "{NAME: 4}"))
    return bits, sensitivities


def table_of(network: IntegerNetwork, sensitivities: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Each layer's bits, bytes and sensitivities."""
    return [
        {"layer": name, "bits": w.bits, "bytes": stored_bytes(w.weight.size, len(w.bias), w.bits, w.bias.itemsize)}
        | dict(sensitivities.get(name, {}))
        for name, w in network.weights.items()
    ]


def some_pictures(prepared: Prepared, front_end: FrontEnd, split: str, count: int, seed: int) -> torch.Tensor:
    """Log-mels (n, 1, mels, frames) of at most `count` random clips of a split."""
    if count < 1:
        raise UserError(f"quantize.clips={count} leaves no clip to calibrate on: give at least 1")
    rows = prepared.clips.indices(split)
    chosen = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count].numpy()]
    parts = [chosen[start : start + BATCH] for start in range(0, len(chosen), BATCH)]
    with torch.no_grad():
        return torch.cat([front_end(prepared.store.read(part)) for part in parts])
