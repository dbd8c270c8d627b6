"""SoundNet: a convolutional network of waves under a head, from weights that know what pictures go with which sounds.

Conventions: waves at 22,050 Hz (B, 1, 1, samples) in (data/front_ends/waveform.py), logits (B, classes) out, by whole
clips (see embedding.py). The network has eight layers; what is embedded is the mean over time of `conv7` (1024 numbers)
or of `pool5` (256), which are what the authors' extract_feat.lua and eval_dcase.lua take; the last layer, which names
objects and places and needs 9.5 seconds, is not used. Its samples are in [-256, 256]. Clips that are too short
are completed with zeros, as data/donkey_audio.lua does it.
Source: Aytar, Vondrick and Torralba, "SoundNet", NIPS 2016; cvondrick/soundnet, main_train.lua at commit 3676ea1 and
extract_feat.lua at commit 0ad4eb6. Names of the layers: smallflyingpig/SoundNet_Pytorch, pytorch_model.py at commit
35c673d.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from data import bibliography
from data.ranges import Classes, Dropout, Width
from data.resources import IMAGENET, Resource
from teachers.embedding import EmbeddingNetwork, Patches
from teachers.entry import Pretraining, Teacher
from teachers.layers import Head
from teachers.soundnet_files import read_soundnet
from teachers.weights import cannot_fetch, load_weights, needed_names

LINK, CONVERSION = "http://soundnet.csail.mit.edu/", "https://github.com/eborboihuc/SoundNet-tensorflow"
SCALE = 256.0  # of samples in [-1, 1]
# Of conv1 to conv7: channels, length of the kernel (each of the stride 2, zeros of half of it at both ends), max-pool.
CONVOLUTIONS = ((16, 64, 8), (32, 32, 8), (64, 16, 1), (128, 8, 1), (256, 4, 4), (512, 4, 1), (1024, 4, 1))
LAYERS = {"pool5": 5, "conv7": 7}  # so many convolutions
SHORTEST = 4574  # samples, which leave 286, 18, 10, 6 for conv2 to conv5 and one for conv6
VIDEOS = Resource("Two million videos of Flickr", LINK, type="audio, video")
PLACES = Resource("Places2", "http://places2.csail.mit.edu", type="image")


def soundnet(
    *,
    classes: Classes = 10,
    pretrained: bool = True,
    weights: str | Path | None = None,
    layer: Literal["conv7", "pool5"] = "conv7",
    hidden: Width | None = None,
    dropout: Dropout = 0.0,
) -> nn.Module:
    """Build a SoundNet under a head.

    Args:
        classes: number of logits.
        pretrained: start from weights; they cannot be fetched, and must be given.
        weights: a file: sound8.npy, or sound8.pth, its conversion to PyTorch.
        layer: whose output is embedded.
        hidden: units of a hidden layer of the head; None: there is none.
        dropout: before the last layer.

    Raises:
        UserError: weights that do not fit, or none.
    """
    path = Path(weights or cannot_fetch("SoundNet", "sound8.npy", CONVERSION)) if weights or pretrained else None
    body = SoundNet(LAYERS[layer])
    if path:
        load_weights(body, read_soundnet(path, needed_names(body)), source=str(path))
    head = Head(CONVOLUTIONS[LAYERS[layer] - 1][0], classes, hidden=hidden, dropout=dropout)
    return EmbeddingNetwork(body, head, Patches("waveform", 1, SHORTEST, None, silence=0.0))


class SoundNet(nn.Module):
    """The network up to an embedding; its layers are called as in its files.

    Args:
        depth: convolutions, 1 to 7.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        before = 1
        for number, (channels, kernel, pool) in enumerate(CONVOLUTIONS[:depth], 1):
            convolution = nn.Conv2d(before, channels, (kernel, 1), (2, 1), (kernel // 2, 0))
            pooled = [nn.MaxPool2d((pool, 1))] if pool > 1 else []
            self.add_module(f"conv{number}", nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU(), *pooled))
            before = channels

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        """(N, 1, 1, samples) -> (N, channels of the last layer), at least 0."""
        maps = SCALE * waves.transpose(2, 3)
        for layer in self.children():
            maps = layer(maps)
        return maps.mean(dim=(2, 3))


def _declare_pretraining(arguments: Mapping[str, object]) -> Pretraining:
    """Section 3 of the paper: videos of Flickr, named by networks that were trained on ImageNet and on Places2; the
    licence is that of cvondrick/soundnet. It is on the challenge's lists, of 2023 too."""
    return Pretraining((VIDEOS, IMAGENET, PLACES), Resource("SoundNet", LINK, type="model", licence="MIT"))


TEACHER = Teacher(
    build=soundnet,
    family="CNN",
    citation=bibliography.SOUNDNET,
    published=_declare_pretraining,
    weights_by_hand=True,
)
