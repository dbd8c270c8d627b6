"""Files of BEATs in their published form, with weights that follow from a formula, whatever a library draws."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import panns
import torch

from teachers.beats_network import Beats

TABLE = "encoder.layers.{}.self_attn.relative_attention_bias.weight"
SMALL = {"width": 32, "depth": 3, "heads": 4}


def configuration(*, width: int, depth: int, heads: int) -> dict[str, Any]:
    """`cfg` of a published file: of BEATs_iter3_plus_AS2M.pt, as users of it print it, but for these three."""
    return {
        **{"encoder_layers": depth, "encoder_embed_dim": width, "encoder_ffn_embed_dim": 4 * width},
        **{"encoder_attention_heads": heads, "activation_fn": "gelu", "dropout": 0.0, "attention_dropout": 0.0},
        **{"activation_dropout": 0.0, "encoder_layerdrop": 0.05, "dropout_input": 0.0, "layer_norm_first": False},
        **{"conv_bias": False, "conv_pos": 128, "conv_pos_groups": 16, "relative_position_embedding": True},
        **{"num_buckets": 320, "max_distance": 800, "gru_rel_pos": True, "deep_norm": True, "input_patch_size": 16},
        **{"layer_wise_gradient_decay_ratio": 0.6, "embed_dim": 512, "finetuned_model": True},
        **{"predictor_dropout": 0.0, "predictor_class": 527},
    }


def formula(shapes: Mapping[str, torch.Size]) -> dict[str, torch.Tensor]:
    """Weights: numbers times what keeps activations in range, or near 1 and 0 in normalisations; the table of distances
    alike in all blocks."""
    state = {}
    own = sorted(name for name in shapes if not name.endswith(TABLE[-20:]) or name == TABLE.format(0))
    for number, name in enumerate(own):
        shape = shapes[name]
        value = panns.numbers(math.prod(shape), number).reshape(shape)
        if name.endswith(("norm.weight", "grep_a", "weight_g")):
            value = 1 + value / 4
        elif len(shape) > 1 and name != TABLE.format(0):
            value *= math.sqrt(6 / math.prod(shape[1:]))
        elif name != TABLE.format(0):
            value /= 10
        if name == "patch_embedding.weight":  # what a patch looks like counts, and not how loud it is
            value -= value.mean(dim=(1, 2, 3), keepdim=True)
        state[name] = value
    return {name: state.get(name, state[TABLE.format(0)]) for name in shapes}


def published_names(*, width: int, depth: int, heads: int) -> dict[str, torch.Size]:
    """Shapes by the names in a file."""
    with torch.device("meta"):
        network = Beats(527, width=width, depth=depth, heads=heads, dropout=0.0)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    return shapes | {TABLE.format(number): shapes[TABLE.format(0)] for number in range(1, depth)}


def write(path: Path, *, width: int, depth: int, heads: int) -> dict[str, torch.Tensor]:
    """Write a file as published; returns its weights."""
    state = formula(published_names(width=width, depth=depth, heads=heads))
    labels = {number: f"/m/{number}" for number in range(527)}
    cfg = configuration(width=width, depth=depth, heads=heads)
    torch.save({"cfg": cfg, "model": state, "label_dict": labels}, path)
    return state


def sounds() -> torch.Tensor:
    """Two clips of two seconds at 16 kHz, which have more tokens than there are distances with a row of their own."""
    first = panns.sounds(16_000)
    return torch.cat([first, first.flip(1)], dim=1)
