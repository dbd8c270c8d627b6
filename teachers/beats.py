"""BEATs: a transformer that taught itself on AudioSet, fine-tuned from its published weights.

Conventions: Kaldi's filter banks (B, 1, 128, frames) with the window, scale and statistics of its authors in
(data/front_ends/kaldi_fbank.py), logits (B, classes) out; see teachers/beats_network.py. A published file holds the
network's state dict under `model` and its geometry under `cfg`. Those that are fine-tuned on AudioSet (`..._finetuned_
on_AS2M_cpt1.pt`) have a last layer of 527 classes, in the order of their own `label_dict`, which is not AudioSet's; the
others have none. Of the table of distances, which all blocks share, a file has a copy for each block.
Source: Chen et al., "BEATs: Audio Pre-Training with Acoustic Tokenizers", ICML 2023; microsoft/unilm, beats/README.md
and beats/BEATs.py at commit c68101b (BEATsConfig).
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from data import bibliography
from data.errors import UserError, in_short, listed
from data.ranges import Classes, Depth, Dropout, Heads, Width
from data.resources import AUDIOSET, Resource
from data.state_dicts import read_content, state_dict
from data.tensors import Tensors, is_plain
from teachers.beats_network import BUCKETS, EMBEDDING, FARTHEST, GROUPS, HEAD, KERNEL, PATCH, Beats
from teachers.entry import Pretraining, Teacher
from teachers.weights import cannot_fetch, load_weights, needed_names, weights_files

LINK = "https://github.com/microsoft/unilm/tree/master/beats"
PUBLISHED = "BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2.pt"
CLASSES = (527, "beats")
TABLE = "self_attn.relative_attention_bias.weight"
# What a file's `cfg` must say, where it says something, beside what the builder's arguments are.
FIXED = {
    "input_patch_size": PATCH,
    "embed_dim": EMBEDDING,
    "conv_bias": False,
    "activation_fn": "gelu",
    "layer_norm_first": False,
    "deep_norm": True,
    "conv_pos": KERNEL,
    "conv_pos_groups": GROUPS,
    "relative_position_embedding": True,
    "num_buckets": BUCKETS,
    "max_distance": FARTHEST,
    "gru_rel_pos": True,
}


def beats(
    *,
    classes: Classes | None = 10,
    pretrained: bool = True,
    weights: str | Path | None = None,
    width: Width = 768,
    depth: Depth = 12,
    heads: Heads = 12,
    dropout: Dropout = 0.0,
) -> nn.Module:
    """Build a BEATs.

    Args:
        classes: number of logits; the last layer is new. None: those of the weights, with their last layer.
        pretrained: start from weights; they cannot be fetched, and must be given.
        weights: a file as published, or a state dict of this network.
        width, depth, heads: of the transformer; those of all published weights are the defaults.
        dropout: before the last layer.

    Raises:
        UserError: weights that do not fit, or none; a geometry that cannot be.
    """
    path = Path(weights or cannot_fetch("BEATs", PUBLISHED, LINK)) if weights or pretrained else None
    replaced = () if classes is None else HEAD
    network = Beats(classes or CLASSES[0], width=width, depth=depth, heads=heads, dropout=dropout)
    if path:
        geometry = {
            "encoder_embed_dim": width,
            "encoder_ffn_embed_dim": 4 * width,
            "encoder_layers": depth,
            "encoder_attention_heads": heads,
        }
        load_weights(network, _read(path, network, geometry | FIXED), source=str(path), replaced=replaced)
    return network


def _read(path: Path, network: Beats, expected: Mapping[str, object]) -> Tensors:
    """The state dict of a file.

    Args:
        path: of the file.
        network: whose it shall be.
        expected: what its configuration says, if it has one.

    Raises:
        UserError: it cannot be read, or is of another network.
    """
    (path,) = weights_files(path)
    content = read_content(path)
    found = content.get("cfg") if isinstance(content, Mapping) else None
    if isinstance(found, Mapping):
        wrong = [
            f"{name}={in_short(found[name])} in the file, {value} in the network"
            for name, value in expected.items()
            if name in found and (type(found[name]) is not type(value) or found[name] != value)
        ]
        if wrong:
            raise UserError(f"{path} is another BEATs:\n{listed(wrong)}\ngive a published one of {LINK}")
    state = state_dict(content, path, needed_names(network))
    for number in range(1, len(network.encoder.layers)):
        copy = state.pop(f"encoder.layers.{number}.{TABLE}", None)
        if copy is not None and not _are_equal(copy, state.get(f"encoder.layers.0.{TABLE}")):
            raise UserError(
                f"{path}: encoder.layers.{number}.{TABLE} is not that of encoder.layers.0, which all blocks of BEATs "
                f"share: give a published file of {LINK}"
            )
    return state


def _are_equal(copy: torch.Tensor, first: torch.Tensor | None) -> bool:
    return first is not None and is_plain(copy) and is_plain(first) and torch.equal(copy, first)


def _declare_pretraining(arguments: Mapping[str, object]) -> Pretraining:
    """Section 4.1 of the paper: pre-trained on AudioSet, without its labels, and fine-tuned with them."""
    return Pretraining((AUDIOSET,), Resource(f"BEATs {Path(PUBLISHED).stem}", LINK, type="model", licence="MIT"))


TEACHER = Teacher(
    build=beats,
    family="transformer",
    citation=bibliography.BEATS,
    published=_declare_pretraining,
    weights_by_hand=True,
    published_classes=CLASSES,
)
