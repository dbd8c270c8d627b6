"""OpenL3: the audio network of Look, Listen and Learn under a head, from weights that know which sounds belong to which
pictures.

Conventions: mel spectrograms (B, 1, 256, frames) of data/front_ends/l3_mel.py in, 199 frames a second, logits (B,
classes) out, by seconds (see embedding.py). The network is that of l3.py; published embeddings of mel256 have 512 or
6144 values, from the same file. Clips that do not end with a second are completed with zeros, as openl3/core.py does it
(_pad_audio); the half second of zeros that it puts before a clip unless it is told otherwise (center) is left out.
Source: see l3.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import nn

from data import bibliography
from data.ranges import Classes, Dropout, Width
from data.resources import AUDIOSET, Resource
from teachers.entry import Pretraining, Teacher
from teachers.l3 import l3_under_head
from teachers.weights import download_weights

URL = "https://github.com/marl/openl3/raw/models/openl3_audio_mel256_{content}-v0_4_0.h5.gz"


def openl3(
    *,
    classes: Classes = 10,
    pretrained: bool = True,
    weights: str | Path | None = None,
    content: Literal["env", "music"] = "env",
    size: Literal[512, 6144] = 512,
    hidden: Width | None = None,
    dropout: Dropout = 0.0,
) -> nn.Module:
    """Build an OpenL3 under a head.

    Args:
        classes: number of logits.
        pretrained: start from weights: `weights` if given, else those of `content` from their address.
        weights: a file: openl3_audio_mel256_*.h5 of any version, or the same compressed (.h5.gz).
        content: the AudioSet videos that the fetched weights were trained on: of environments, or of music.
        size: of the embedding.
        hidden: units of a hidden layer of the head; None: there is none.
        dropout: before the last layer.

    Raises:
        UserError: weights that do not fit or cannot be downloaded.
    """
    path = weights or (download_weights(URL.format(content=content)) if pretrained else None)
    return l3_under_head(size, Path(path) if path else None, classes=classes, hidden=hidden, dropout=dropout)


def _declare_pretraining(arguments: Mapping[str, object]) -> Pretraining:
    """docs/tutorial.rst of marl/openl3: "trained on AudioSet videos"; it is on the challenge's lists, of 2023 too."""
    model = Resource(
        f"OpenL3 audio mel256 {arguments.get('content', 'env')}",
        "https://github.com/marl/openl3",
        type="model",
        licence="MIT",
    )
    return Pretraining((AUDIOSET,), model)


TEACHER = Teacher(
    build=openl3,
    family="CNN",
    citation=bibliography.OPENL3,
    published=_declare_pretraining,
)
