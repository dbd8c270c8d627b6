"""PASE and PASE+: encoders of waves under a head, which taught themselves on read speech.

Conventions: waves at 16 kHz (B, 1, 1, samples) in (data/front_ends/waveform.py), logits (B, classes) out, by whole
clips (see embedding.py); the network is that of pase_network.py. Published files are state dicts of the encoder alone
(`FE_e199.ckpt`), or lie under `state_dict` as the authors' trainer saves them. Clips that are too short to be mirrored
are completed with zeros; the authors' code refuses them.
Source: see pase_network.py; santi-pdp/pase, README.md.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import nn

from data import bibliography
from data.errors import UserError
from data.ranges import Classes, Dropout, Width
from data.resources import Resource
from data.tensors import Tensors
from teachers.embedding import EmbeddingNetwork, Patches
from teachers.entry import Pretraining, Teacher
from teachers.layers import Head
from teachers.pase_network import FEATURES, SHORTEST, Pase
from teachers.weights import cannot_fetch, load_weights, needed_names, read_weights

LINK = "https://github.com/santi-pdp/pase"
PLUS = "denseskips."  # that only PASE+ has
LIBRISPEECH = Resource("LibriSpeech", "https://www.openslr.org/12", licence="CC BY 4.0")


def pase(
    *,
    classes: Classes = 10,
    pretrained: bool = True,
    weights: str | Path | None = None,
    size: Literal["pase+", "pase"] = "pase+",
    hidden: Width | None = None,
    dropout: Dropout = 0.0,
) -> nn.Module:
    """Build a PASE or PASE+ under a head.

    Args:
        classes: number of logits.
        pretrained: start from weights; they cannot be fetched, and must be given.
        weights: a file of this size, as published.
        size: the encoder.
        hidden: units of a hidden layer of the head; None: there is none.
        dropout: before the last layer.

    Raises:
        UserError: weights that do not fit, or none.
    """
    path = Path(weights or cannot_fetch("PASE", "FE_e199.ckpt", LINK)) if weights or pretrained else None
    body = Pase(size)
    if path:
        load_weights(body, _read(path, body, size), source=str(path))
    head = Head(FEATURES[size], classes, hidden=hidden, dropout=dropout)
    return EmbeddingNetwork(body, head, Patches("waveform", 1, SHORTEST, None, silence=0.0))


def _read(path: Path, body: Pase, size: str) -> Tensors:
    """The state dict of a file.

    Raises:
        UserError: it cannot be read, or is of the other size.
    """
    state = read_weights(path, needed_names(body), (PLUS, "rnn."))
    found = "pase+" if any(name.startswith(PLUS) for name in state) else "pase"
    if found != size and "W.weight" in state:
        raise UserError(
            f"{path} is {found}, not {size}: set teacher.arguments.size={found}, or give the weights of {size}"
        )
    return state


def _declare_pretraining(arguments: Mapping[str, object]) -> Pretraining:
    """README and papers: LibriSpeech. PASE+ has also heard noise and reverberation, of which not all is public. The
    network is on the challenge's lists, of 2023 too."""
    size = str(arguments.get("size", "pase+"))
    model = Resource(size.upper(), LINK, type="model", licence="MIT")
    return Pretraining((LIBRISPEECH,), model, is_complete=size == "pase")


TEACHER = Teacher(
    build=pase,
    family="CNN",
    citation=bibliography.PASE,
    published=_declare_pretraining,
    weights_by_hand=True,
)
