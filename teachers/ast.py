"""AST: the Audio Spectrogram Transformer, fine-tuned from AudioSet weights on one-second clips.

The network is that of the package transformers; this module adapts the published weights, which were trained on ten
seconds, to shorter clips.
Conventions: normalised Kaldi filter banks (B, 1, 128, frames) in (data/front_ends/kaldi_fbank.py), logits (B, classes)
out; one second at 16 kHz has 98 frames.
Source: Gong et al., "AST: Audio Spectrogram Transformer", Interspeech 2021.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from data import bibliography
from data.errors import UserError, in_short, require, unknown
from data.front_ends.kaldi_fbank import normalised
from data.ranges import Bands, Classes, Depth, Frames, Heads, Stride, Width
from data.resources import AUDIOSET, IMAGENET, Resource
from data.tensors import refuse_unfit, unfit
from teachers.entry import AUDIOSET_CLASSES, Pretraining, Teacher
from teachers.layers import transformer_layers
from teachers.weights import read_weights, weights_files

if TYPE_CHECKING:
    from transformers import ASTConfig, ASTForAudioClassification

PUBLISHED = "MIT/ast-finetuned-audioset-10-10-0.4593"
URL = f"https://huggingface.co/{PUBLISHED}"
SPECIAL = 2  # tokens without a position: class and distillation
POSITIONS = ("cut", "interpolate")
CLASSIFIER = "classifier.dense."  # which is always new


def ast(
    *,
    classes: Classes | None = 10,
    pretrained: bool = True,
    weights: str | Path | None = None,
    positions: str = "cut",
    mels: Bands = 128,
    frames: Frames = 98,
    stride: Stride = 10,
    width: Width = 768,
    depth: Depth = 12,
    heads: Heads = 12,
    checkpointing: bool = False,
) -> nn.Module:
    """Build an AST.

    Args:
        classes: number of logits; the last layer is new. None: those of the weights, with their last layer.
        pretrained: start from weights: `weights` if given, else PUBLISHED from the Hugging Face hub.
        weights: a folder as `save_pretrained` writes it (config.json and model.safetensors); it decides the geometry.
        positions: positional embeddings in time are "cut" to the frames, or "interpolate"d over them.
        mels, frames: size of the spectrograms.
        stride, width, depth, heads: geometry of a network without weights: step of the 16 x 16 patches and so on.
        checkpointing: compute activations a second time for the backward pass instead of keeping them.

    Raises:
        UserError: weights that cannot be downloaded or read, or spectrograms smaller than a patch.
    """
    require("transformers", "ast")
    from transformers import ASTConfig, ASTForAudioClassification
    from transformers.utils import logging

    if positions not in POSITIONS:
        unknown("ast positions", positions, POSITIONS)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if pretrained or weights:
        network = _load_published(ASTForAudioClassification, weights, with_head=classes is None)
        _shorten_positions(network, mels, frames, interpolate=positions == "interpolate")
        if classes is not None:
            network.classifier.dense = nn.Linear(network.config.hidden_size, classes)
    else:
        config = ASTConfig(
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            frequency_stride=stride,
            time_stride=stride,
            num_mel_bins=mels,
            max_length=frames,
            num_labels=classes or AUDIOSET_CLASSES[0],
        )
        _count_patches(config, mels, frames)  # refuses what is too small
        network = ASTForAudioClassification(config)
    if checkpointing:
        network.activation_checkpointing_enable()
    return _LogitsOnly(network)


def _declare_pretraining(arguments: Mapping[str, object]) -> Pretraining:
    """AST starts from DeiT's ImageNet weights and is then trained on AudioSet (section 2.2 of the paper)."""
    model = Resource(f"Audio Spectrogram Transformer {PUBLISHED}", URL, type="model", licence="BSD-3-Clause")
    return Pretraining((AUDIOSET, IMAGENET), model)


TEACHER = Teacher(
    build=ast,
    family="transformer",
    citation=bibliography.AST,
    published=_declare_pretraining,
    published_classes=AUDIOSET_CLASSES,
    weights_in_folder=True,
)


def _load_published(
    kind: "type[ASTForAudioClassification]", weights: str | Path | None, *, with_head: bool
) -> "ASTForAudioClassification":
    """The network as it was saved; transformers reads safetensors, or torch files that hold tensors only.

    Raises:
        UserError: it cannot be downloaded, or is not in the folder, or not whole; its classifier counts `with_head`
            only, which then must be of AudioSet's classes.
    """
    if weights is not None:
        _require_whole(weights)
    try:
        network, said = kind.from_pretrained(PUBLISHED if weights is None else str(weights), output_loading_info=True)
    except Exception as error:  # what is raised depends on what is wrong with which file
        said = in_short(str(error))
        if weights is None:
            raise UserError(
                f"cannot fetch {URL} ({said}): fetch config.json "
                "and model.safetensors into a folder and name it with teacher.weights=FOLDER, or start from random "
                "weights with teacher.pretrained=false"
            ) from error
        raise UserError(f"teacher.weights={weights} is no AST that can be read: {said}") from error
    # transformers gives random values to what it does not find.
    absent = [name for key in ("missing_keys", "mismatched_keys") for name in said[key]]
    absent = sorted(name if isinstance(name, str) else name[0] for name in absent)
    own = network.state_dict()
    remedy = "fetch the folder again, or give one whose config.json belongs to its weights"
    lacking = [name for name in absent if with_head or not name.startswith(CLASSIFIER)]
    refuse_unfit(
        weights or URL,
        [f"{name}: not in the file, or of another shape" for name in lacking] or unfit(own, own),
        remedy,
    )
    if with_head and (found := network.config.num_labels) != (wanted := AUDIOSET_CLASSES[0]):
        raise UserError(f"{weights or URL} has {found} classes and not AudioSet's {wanted}: give the published weights")
    return network


def _require_whole(weights: str | Path) -> None:
    """Check a folder before a network is built by it.

    Raises:
        UserError: its configuration is no AST's, or of a larger network than its weights.
    """
    from transformers import ASTConfig

    described, stored = weights_files(weights, in_folder=True)
    numbers = sum(tensor.numel() for tensor in read_weights(stored).values())
    try:
        if json.loads(described.read_bytes()).get("model_type") != ASTConfig.model_type:
            raise ValueError(f"its model_type is not {ASTConfig.model_type}")
        config = ASTConfig.from_pretrained(str(weights))
        width, inner, depth = config.hidden_size, config.intermediate_size, config.num_hidden_layers
        if min(width, inner, depth) < 1 or depth * (4 * width**2 + 2 * width * inner) > numbers:
            raise ValueError(
                f"hidden_size={width}, intermediate_size={inner} and num_hidden_layers={depth} do not belong to "
                f"the {numbers} numbers of {stored.name}"
            )
        if math.prod(_count_patches(config, config.num_mel_bins, config.max_length)) * width > numbers:
            raise ValueError(f"max_length={config.max_length} does not belong to {stored.name}")
    except Exception as error:  # what is raised depends on what is wrong
        raise UserError(
            f"teacher.weights={weights}: {described.name} describes no AST: {in_short(str(error))}"
        ) from error


def _count_patches(config: "ASTConfig", mels: int, frames: int) -> tuple[int, int]:
    """Rows and columns of patches of a spectrogram.

    Raises:
        UserError: it is smaller than a patch.
    """
    rows = (mels - config.patch_size) // config.frequency_stride + 1
    columns = (frames - config.patch_size) // config.time_stride + 1
    if min(rows, columns) < 1:
        raise UserError(
            f"ast: a spectrogram of {mels} x {frames} holds no patch of {config.patch_size} x {config.patch_size}: "
            "use longer clips"
        )
    return rows, columns


def _shorten_positions(network: "ASTForAudioClassification", mels: int, frames: int, *, interpolate: bool) -> None:
    """Adapt the positional embeddings (1, SPECIAL + rows * columns, width) to the patches of shorter spectrograms.

    Raises:
        UserError: the spectrograms have other rows of patches, or more columns, than the weights.
    """
    config, embeddings = network.config, network.audio_spectrogram_transformer.embeddings
    old = _count_patches(config, config.num_mel_bins, config.max_length)
    new = _count_patches(config, mels, frames)
    if new[0] != old[0] or new[1] > old[1]:
        raise UserError(
            f"ast: spectrograms of {mels} x {frames} have {new[0]} x {new[1]} patches, the weights {old[0]} x "
            f"{old[1]}: give spectrograms of {config.num_mel_bins} mels and at most {config.max_length} frames"
        )
    positions = embeddings.position_embeddings.detach()
    grid = positions[:, SPECIAL:].unflatten(1, old).permute(0, 3, 1, 2)  # (1, width, rows, columns)
    grid = F.interpolate(grid, new, mode="bilinear") if interpolate else grid[..., : new[1]]
    grid = grid.flatten(2).transpose(1, 2)
    embeddings.position_embeddings = nn.Parameter(torch.cat([positions[:, :SPECIAL], grid], dim=1))
    config.max_length, config.num_mel_bins = frames, mels


class _LogitsOnly(nn.Module):
    """The network with the shapes of this package: it takes (B, frames, mels) itself and returns an object.

    `network` is part of the names in checkpoints.
    """

    def __init__(self, network: "ASTForAudioClassification") -> None:
        super().__init__()
        self.network = network

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """(B, 1, mels, frames) -> (B, classes)."""
        # Shorter spectrograms are padded with zeros before normalisation, as AST's own feature extractor does.
        lacking = self.network.config.max_length - spectrograms.shape[-1]
        spectrograms = F.pad(spectrograms, (0, max(0, lacking)), value=normalised(0.0))
        return self.network(spectrograms[:, 0].transpose(1, 2)).logits

    def layers(self) -> list[list[nn.Parameter]]:
        """See teachers/layers.py."""
        transformer = self.network.audio_spectrogram_transformer
        head = ("audio_spectrogram_transformer.layernorm.", "classifier.")
        return transformer_layers(self.network, transformer.layers, head=head)
