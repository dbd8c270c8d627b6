"""VGGish: a VGG network of audio under a head, from weights that know video sound.

Conventions: VGGish's log-mels (B, 1, 64, frames) in (data/front_ends/vggish_mel.py), logits (B, classes) out, by
patches of 96 frames (see embedding.py). The embedding has FEATURES values, through ReLU: the publication leaves the
last one off and asks for a non-linearity before further layers; its PyTorch conversion applies ReLU. The principal
components of the AudioSet release, which are another step behind the embedding, are not applied. The publication has
no rule for clips that are shorter than a patch (it gives none); here they are completed with silence, log(0.01).
Source: Hershey et al., "CNN Architectures for Large-Scale Audio Classification", ICASSP 2017; TensorFlow models,
research/audioset/vggish (vggish_slim.py). Names of the layers: harritaylor/torchvggish, torchvggish/vggish.py.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from data import bibliography
from data.front_ends.patch_mel import MELS, PATCH
from data.front_ends.vggish_mel import OFFSET, PATCH_HOP
from data.ranges import Classes, Dropout, Width
from data.resources import Resource
from teachers.embedding import EmbeddingNetwork, Patches
from teachers.entry import Pretraining, Teacher
from teachers.layers import Head
from teachers.vggish_files import read_vggish
from teachers.weights import download_weights, load_weights, needed_names

URL = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth"
CHANNELS = ((64,), (128,), (256, 256), (512, 512))  # of the convolutions; each group ends with a max-pool
DENSE, FEATURES = 4096, 128
PATCHES = Patches("vggish_mel", MELS, PATCH, PATCH_HOP, silence=math.log(OFFSET))
YOUTUBE_8M = Resource(
    "YouTube-8M (a preliminary version)", "https://research.google.com/youtube8m", type="audio, video"
)


def vggish(
    *,
    classes: Classes = 10,
    pretrained: bool = True,
    weights: str | Path | None = None,
    hidden: Width | None = None,
    dropout: Dropout = 0.0,
) -> nn.Module:
    """Build a VGGish under a head.

    Args:
        classes: number of logits.
        pretrained: start from weights: `weights` if given, else torchvggish's from its release.
        weights: a file: torchvggish's vggish-10086976.pth, or a conversion to Keras (.h5).
        hidden: units of a hidden layer of the head; None: there is none.
        dropout: before the last layer.

    Raises:
        UserError: weights that do not fit or cannot be downloaded.
    """
    body = VGGish()
    if weights or pretrained:
        path = Path(weights or download_weights(URL))
        load_weights(body, read_vggish(path, needed_names(body)), source=str(path))
    return EmbeddingNetwork(body, Head(FEATURES, classes, hidden=hidden, dropout=dropout), PATCHES)


def _declare_pretraining(arguments: Mapping[str, object]) -> Pretraining:
    """README of TensorFlow models, research/audioset/vggish: "a large YouTube dataset (a preliminary version of what
    later became YouTube-8M)"; the network itself is on the challenge's lists, of 2023 too."""
    link = "https://github.com/tensorflow/models/tree/master/research/audioset/vggish"
    return Pretraining((YOUTUBE_8M,), Resource("VGGish", link, type="model", licence="Apache-2.0"))


class VGGish(nn.Module):
    """The network up to the embedding; `features` and `embeddings` are part of the names in its files.

    Args:
        dense: units of the two dense layers before the embedding.
    """

    def __init__(self, dense: int = DENSE) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for group in CHANNELS:
            for width in group:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        size = channels * (PATCH >> len(CHANNELS)) * (MELS >> len(CHANNELS))
        self.embeddings = nn.Sequential(
            nn.Linear(size, dense), nn.ReLU(), nn.Linear(dense, dense), nn.ReLU(), nn.Linear(dense, FEATURES), nn.ReLU()
        )

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(N, 1, 64, 96) -> (N, 128), at least 0."""
        maps = self.features(patches.transpose(2, 3))  # (N, 512, time, bands)
        return self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))  # as TensorFlow flattens them


TEACHER = Teacher(
    build=vggish,
    family="CNN",
    citation=bibliography.VGGISH,
    published=_declare_pretraining,
)
