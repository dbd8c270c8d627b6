"""The audio network of Look, Listen and Learn (L3), which OpenL3 and EdgeL3 publish, and the weights of their files.

Conventions: patches (N, 1, 256, 199) of data/front_ends/l3_mel.py in, a second each; embeddings (N, size) out. The
network is eight convolutions; what its last one gives, (N, 512, 32, 24), is pooled to the maximum over parts of bands
and frames. Published files are HDF5, as Keras' save_weights wrote them, or that compressed by gzip.
Source: Cramer et al., "Look, Listen and Learn More: Design Choices for Deep Audio Embeddings", ICASSP 2019;
marl/openl3, openl3/models.py (_construct_mel256_audio_network, AUDIO_POOLING_SIZES); ksangeeta2429/edgel3,
edgel3/models.py.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from data.damage import WrongValueError, explain_damage
from data.front_ends.l3_mel import FRAMES, MELS, RANGE
from data.hdf5_arrays import is_hdf5
from data.tensors import Tensors
from teachers.embedding import EmbeddingNetwork, Patches
from teachers.keras_files import Layer, convolution, normalisation, read_layers
from teachers.layers import Head
from teachers.weights import load_weights, needed_names, read_weights, weights_files

CHANNELS = (64, 128, 256, 512)  # of two convolutions each; max-pools of 2 x 2 lie between them
POOLS = {512: (32, 24), 6144: (8, 8)}  # size of the embedding: bands and frames over which the maximum is taken
MAPS = (MELS >> 3, FRAMES >> 3)  # bands and frames behind three max-pools
EPSILON, MOMENTUM = 1e-3, 0.01  # of Keras' BatchNorm
LAST = "audio_embedding_layer"  # Keras' name of the last convolution; all others have numbers
PATCHES = Patches("l3_mel", MELS, FRAMES, FRAMES, silence=-RANGE)
REMEDY = "fetch it again"


class L3(nn.Module):
    """The network; `layers` is part of the names in checkpoints.

    Args:
        size: of the embedding, one of POOLS.
        channels: of each pair of convolutions.

    Attributes:
        size: of the embedding; with the published channels as it was asked for.
    """

    def __init__(self, size: int, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__()
        self.pool = POOLS[size]
        self.size = channels[-1] * math.prod(n // over for n, over in zip(MAPS, self.pool, strict=True))
        before, layers = 1, [_norm(1)]
        for width in channels:
            layers += [_convolution(before, width), _norm(width), nn.ReLU()]
            layers += [_convolution(width, width), _norm(width), nn.ReLU(), nn.MaxPool2d(2)]
            before = width
        self.layers = nn.Sequential(*layers[:-3])  # the last convolution is the embedding

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(N, 1, 256, 199) -> (N, size)."""
        maps = self.layers(patches.contiguous(memory_format=torch.channels_last))
        return F.max_pool2d(maps, self.pool).permute(0, 2, 3, 1).flatten(1)  # as Keras flattens them


def l3_under_head(
    size: int, weights: Path | None, *, classes: int, hidden: int | None, dropout: float
) -> EmbeddingNetwork:
    """The network under a head, with the weights of a file.

    Args:
        size: of the embedding.
        weights: the file; None: weights are random.
        classes, hidden, dropout: of the head.

    Raises:
        UserError: the file does not fit.
    """
    body = L3(size)
    if weights is not None:
        load_weights(body, read_l3(weights, body), source=str(weights))
    return EmbeddingNetwork(body, Head(body.size, classes, hidden=hidden, dropout=dropout), PATCHES)


def read_l3(path: Path, network: L3) -> Tensors:
    """The weights of a file, by the names of a network.

    Args:
        path: of the file; what it is shows in its content.
        network: of whatever weights.

    Raises:
        UserError: the file is missing, damaged, or of another network.
    """
    weights_files(path)
    if not is_hdf5(path):
        return read_weights(path, needed_names(network))
    with explain_damage(path, REMEDY):
        return _from_keras(read_layers(path, REMEDY), network)


def _from_keras(layers: Mapping[str, Layer], network: L3) -> Tensors:
    """The state dict of the layers of a Keras file, in the order of their numbers.

    Layers of other kinds are left out: files of earlier versions hold the front end's matrices.

    Raises:
        WrongValueError: it has other layers.
    """
    convolutions = [name for name, layer in layers.items() if "kernel" in layer]
    convolutions.sort(key=lambda name: LAST in name)  # which is stable
    norms = [name for name, layer in layers.items() if "gamma" in layer]
    places = [name for name, each in network.layers.named_children() if isinstance(each, nn.Conv2d)]
    norm_places = [name for name, each in network.layers.named_children() if isinstance(each, nn.BatchNorm2d)]
    if (len(convolutions), len(norms)) != (len(places), len(norm_places)):
        raise WrongValueError(
            f"it has {len(convolutions)} convolutions or dense layers and {len(norms)} BatchNorms, the audio network "
            f"of L3 {len(places)} and {len(norm_places)}: give the file of an audio network"
        )
    found = {place: convolution(layers[name]) for place, name in zip(places, convolutions, strict=True)}
    found |= {place: normalisation(layers[name]) for place, name in zip(norm_places, norms, strict=True)}
    state = {f"layers.{place}.{name}": tensor for place, own in found.items() for name, tensor in own.items()}
    counter = torch.zeros((), dtype=torch.int64)
    return state | {f"layers.{place}.num_batches_tracked": counter for place in norm_places}


def _convolution(channels: int, width: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, width, 3, padding=1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=MOMENTUM)
