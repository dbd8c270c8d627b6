"""EdgeL3: the audio network of Look, Listen and Learn with few weights that are not 0, under a head.

Conventions: as in openl3.py; the network is the same, its embedding has 512 values. Published are the shares of zeros
SPARSITIES, in per cent, each trained again after the pruning in one of two ways. The zeros are ordinary weights here:
they stay 0 where the head alone is trained, and do not where the whole network is fine-tuned. The specialised networks
of the same package (edgel3_sea_ust_audio_emb_*.h5) have other layers, and are refused.
Source: Kumari et al., "EdgeL3: Compressing L3-Net for Mote-Scale Urban Noise Monitoring", PAISE 2019;
ksangeeta2429/edgel3, edgel3/models.py and setup.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from torch import nn

from data import bibliography
from data.errors import unknown
from data.ranges import Classes, Dropout, Range, Width
from data.resources import AUDIOSET, Resource
from teachers.entry import Pretraining, Teacher
from teachers.l3 import l3_under_head
from teachers.weights import download_weights

URL = "https://github.com/ksangeeta2429/edgel3/raw/models/edgel3_{retraining}_audio_sparsity_{sparsity}.h5.gz"
SPARSITIES = (53.5, 63.5, 72.3, 73.5, 81.0, 87.0, 90.5, 95.45)
SIZE = 512  # of the embedding


def edgel3(
    *,
    classes: Classes = 10,
    pretrained: bool = True,
    weights: str | Path | None = None,
    sparsity: Annotated[float, Range(0, 100)] = 95.45,
    retraining: Literal["ft", "kd"] = "ft",
    hidden: Width | None = None,
    dropout: Dropout = 0.0,
) -> nn.Module:
    """Build an EdgeL3 under a head.

    Args:
        classes: number of logits.
        pretrained: start from weights: `weights` if given, else those of `sparsity` and `retraining` from their
            address.
        weights: a file: edgel3_*_audio_sparsity_*.h5, or the same compressed (.h5.gz).
        sparsity: share of zeros in the fetched weights, per cent: one of SPARSITIES.
        retraining: of the fetched weights after the pruning: fine-tuned (ft), or by knowledge distillation (kd).
        hidden: units of a hidden layer of the head; None: there is none.
        dropout: before the last layer.

    Raises:
        UserError: weights that are not published, do not fit or cannot be downloaded.
    """
    if sparsity not in SPARSITIES:
        unknown("EdgeL3 sparsity", str(sparsity), map(str, SPARSITIES))
    fetched = URL.format(retraining=retraining, sparsity=float(sparsity))
    path = weights or (download_weights(fetched) if pretrained else None)
    return l3_under_head(SIZE, Path(path) if path else None, classes=classes, hidden=hidden, dropout=dropout)


def _declare_pretraining(arguments: Mapping[str, object]) -> Pretraining:
    """It is a pruned L3 audio network, as OpenL3 is one, which learned from AudioSet's videos; it is on the challenge's
    lists, of 2023 too."""
    model = Resource("EdgeL3", "https://github.com/ksangeeta2429/edgel3", type="model", licence="MIT")
    return Pretraining((AUDIOSET,), model)


TEACHER = Teacher(
    build=edgel3,
    family="CNN",
    citation=bibliography.EDGEL3,
    published=_declare_pretraining,
)
