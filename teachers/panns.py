"""PANNs: CNNs and MobileNets fine-tuned from their AudioSet weights.

Conventions: PANNs' log-mels (B, 1, 64, frames) in (data/front_ends/panns_mel.py), logits (B, classes) out; see
teachers/panns_network.py. A published file holds the network's state dict under `model`, and in it the tables of its
front end: windowed sines and cosines of the Fourier transform (`spectrogram_extractor`) and the weights of the bands
(`logmel_extractor`). They say at which rate it hears, and are not loaded but compared with ours.
Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition", IEEE/ACM TASLP
2020; files of Zenodo's record 3987831.
"""

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal

import torch

from data import bibliography
from data.errors import UserError, in_short, unknown
from data.front_ends.panns_mel import HIGHEST, band_weights
from data.ranges import Classes, Dropout
from data.resources import AUDIOSET, Resource
from data.state_dicts import read_content, state_dict, tensors_ending
from data.tensors import FLOATS, Tensors, differences, is_plain
from teachers.entry import AUDIOSET_CLASSES, Pretraining, Teacher
from teachers.panns_network import HEAD, PARTS, Panns, build_network
from teachers.weights import download_weights, load_weights, needed_names, weights_files

RECORD = "https://zenodo.org/records/3987831"
DEFAULT: Final = "mobilenetv1"
DEFAULT_RATE: Final = 32_000
# Size: the file of the record by the rate, Hz, that it hears at. Their names say their mean average precision.
SIZES = {
    "cnn6": {32_000: "Cnn6_mAP=0.343.pth"},
    "cnn10": {32_000: "Cnn10_mAP=0.380.pth"},
    "cnn14": {32_000: "Cnn14_mAP=0.431.pth", 16_000: "Cnn14_16k_mAP=0.438.pth", 8_000: "Cnn14_8k_mAP=0.416.pth"},
    "mobilenetv1": {32_000: "MobileNetV1_mAP=0.389.pth"},
    "mobilenetv2": {32_000: "MobileNetV2_mAP=0.383.pth"},
}
COSINES, BANDS = "spectrogram_extractor.stft.conv_real.weight", "logmel_extractor.melW"
TOLERANCE = 1e-4  # of a table's largest value


def panns(
    *,
    classes: Classes | None = 10,
    pretrained: bool = True,
    weights: str | Path | None = None,
    size: str = DEFAULT,
    rate: Literal[32_000, 16_000, 8_000] = DEFAULT_RATE,
    dropout: Dropout = 0.5,
) -> Panns:
    """Build one of PANNs.

    Args:
        classes: number of logits; the last layer is new. None: those of the weights, with their last layer.
        pretrained: start from weights: `weights` if given, else the AudioSet weights of the record for this size.
        weights: a file with a state dict of this size, as published.
        size: one of SIZES.
        rate: that the network hears at, Hz; the front end's must be the same.
        dropout: before the two dense layers.

    Raises:
        UserError: unknown size; no file is published for this rate; weights of another size or rate, or that do not
            fit or cannot be downloaded.
    """
    if size not in SIZES:
        unknown("size of PANNs", size, SIZES)
    replaced = () if classes is None else HEAD
    network = build_network(size, classes or AUDIOSET_CLASSES[0], dropout)
    if weights or pretrained:
        path = Path(weights or download_weights(f"{RECORD}/files/{_published(size, rate)}"))
        load_weights(network, _read(path, network, size, rate), source=str(path), replaced=replaced)
    return network


def _published(size: str, rate: int) -> str:
    """The name of the published file.

    Raises:
        UserError: there is none.
    """
    if size not in SIZES:
        unknown("size of PANNs", size, SIZES)
    if rate not in SIZES[size]:
        raise UserError(
            f"no weights of {size} for {rate} Hz are published, only of {', '.join(map(str, SIZES[size]))} Hz: set "
            "teacher.arguments.rate to that, teacher.arguments.size=cnn14, or teacher.weights=FILE"
        )
    return SIZES[size][rate]


def _read(path: Path, network: Panns, size: str, rate: int) -> Tensors:
    """The state dict of a file.

    Raises:
        UserError: it cannot be read, or is of another size or front end.
    """
    (path,) = weights_files(path)
    content = read_content(path)
    state = state_dict(content, path, needed_names(network), PARTS)
    if (other := _size_of(state)) not in (None, size):
        raise UserError(
            f"{path} is {other}, not {size}: set teacher.arguments.size={other}, or give the weights of {size}"
        )
    cosines, bands = (tensors_ending(content, name) for name in (COSINES, BANDS))
    if cosines or bands:
        heard = next((each for each in HIGHEST if _are_tables_of(each, cosines, bands)), None)
        if heard is None:
            shapes = ", ".join(in_short(tuple(each.shape)) for each in (*cosines, *bands))
            raise UserError(
                f"{path} was trained with another front end: its tables, {shapes}, are none of PANNs' at "
                f"{', '.join(map(str, HIGHEST))} Hz; give weights of {RECORD}"
            )
        if heard != rate:
            raise UserError(
                f"{path} was trained at {heard} Hz, not at {rate}: set teacher.arguments.rate={heard}, or give weights "
                f"that were trained at {rate} Hz"
            )
    return state


def _are_tables_of(rate: int, cosines: list[torch.Tensor], bands: list[torch.Tensor]) -> bool:
    """Whether tables are those of our front end at a rate: (bins, 1, samples) and (bins, bands), each once."""
    own = band_weights(rate)
    samples, bins = torch.arange(2 * (len(own) - 1)), torch.arange(len(own))[:, None]
    window = torch.hann_window(len(samples))
    expected = ((2 * math.pi / len(samples) * (bins * samples % len(samples))).cos() * window)[:, None]
    return all(_is_about(found, table) for found, table in ((cosines, expected), (bands, own)) if found)


def _is_about(found: list[torch.Tensor], table: torch.Tensor) -> bool:
    return all(
        is_plain(each)
        and each.dtype in FLOATS
        and each.shape == table.shape
        and bool(((each.float() - table).abs() <= TOLERANCE * table.abs().max()).all())
        for each in found
    )


def _size_of(state: Tensors) -> str | None:
    """The size that weights are of; None if it is none of SIZES."""
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(HEAD)}
    return next((size for size in SIZES if not differences(_shapes(size), kept)), None)


@cache
def _shapes(size: str) -> Mapping[str, torch.Size]:
    """Of a size's tensors but the head's, by name."""
    with torch.device("meta"):  # takes no memory
        network = build_network(size, 1, 0.0)
    own = network.state_dict()
    return {name: own[name].shape for name in needed_names(network, HEAD)}


def _declare_pretraining(arguments: Mapping[str, object]) -> Pretraining:
    """All were trained on AudioSet, from random weights (section V of the paper)."""
    file = _published(str(arguments.get("size", DEFAULT)), int(str(arguments.get("rate", DEFAULT_RATE))))
    return Pretraining((AUDIOSET,), Resource(f"PANNs {Path(file).stem}", RECORD, type="model", licence="CC BY 4.0"))


TEACHER = Teacher(
    build=panns,
    family="CNN",
    citation=bibliography.PANNS,
    published=_declare_pretraining,
    published_classes=AUDIOSET_CLASSES,
)
