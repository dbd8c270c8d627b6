"""How many bits each layer's weights get, and the clips on which that is decided."""

from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from data.errors import UserError, unknown
from data.front_end import FrontEnd
from experiments.prepare import Prepared
from students.quantize.bits import allocate, layer_bytes, measure
from students.quantize.layers import FoldedNetwork

HALF = "16f"
BATCH = 32


def choose_bits(
    cfg: DictConfig, folded: FoldedNetwork, prepared: Prepared, front_end: FrontEnd, seed: int
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Bits of each layer's weights by `quantize.bits`, and the table of the layers: bits, bytes, sensitivities.

    Raises:
        UserError: `bits` is nothing known, or `budget` too small, or one is given without the other.
    """
    wanted = OmegaConf.to_container(cfg.bits) if OmegaConf.is_config(cfg.bits) else cfg.bits
    if (wanted == "auto") != (cfg.budget is not None):
        raise UserError(
            f"quantize.bits={wanted} and quantize.budget={cfg.budget}: bits=auto needs a budget of bytes, and nothing "
            "else uses one"
        )
    sensitivities: Mapping[str, Any] = {}
    if wanted == "auto":
        options = measure(folded, some_pictures(prepared, front_end, "validation", cfg.clips, seed))
        bits = allocate(options, cfg.budget)
        sensitivities = {n: {f"sensitivity_{o.bits}": o.loss for o in found} for n, found in options.items()}
    elif isinstance(wanted, dict):
        bits = {name: wanted.get(name, 8) for name in [*folded.convolutions, *wanted]}
    elif wanted in (4, 8):
        bits = dict.fromkeys(folded.convolutions, wanted)
    else:
        unknown("quantize.bits", wanted, ("8", "4", HALF, "auto", "{NAME: 4}"))
    return bits, [
        {"layer": name, "bits": bits[name], "bytes": layer_bytes(layer, bits[name]), **sensitivities.get(name, {})}
        for name, layer in folded.convolutions.items()
    ]


def some_pictures(prepared: Prepared, front_end: FrontEnd, split: str, count: int, seed: int) -> torch.Tensor:
    """Log-mels (n, 1, mels, frames) of at most `count` random clips of a split."""
    if count < 1:
        raise UserError(f"quantize.clips={count} leaves no clip to calibrate on: give at least 1")
    rows = prepared.clips.indices(split)
    chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count].numpy()
    with torch.no_grad():
        return torch.cat([front_end(prepared.store.read(rows[part])) for part in torch.from_numpy(chosen).split(BATCH)])
