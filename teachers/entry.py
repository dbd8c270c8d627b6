"""What a teacher module declares: how its network is built, and what reports and submissions must say about it.

Conventions: each module of this package that builds a teacher has one `Teacher` at its top level. Importing this file
does not import torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Dataset:
    """A data set beside the challenge's own; the attributes are the fields of the organisers' meta.yaml.

    Attributes:
        name: as its publishers write it.
        url: where it is published or described.
        total_audio_length: minutes; None where it is not known or the data are not audio.
    """

    name: str
    url: str
    total_audio_length: float | None = None


AUDIOSET_CLASSES = (527, "audioset")
AUDIOSET = Dataset("AudioSet", "https://research.google.com/audioset/")
IMAGENET = Dataset("ImageNet", "https://www.image-net.org")


@dataclass(frozen=True)
class Pretraining:
    """What the weights that a training started from were trained on before.

    Attributes:
        datasets: in the order in which a submission names them.
        source: URL of the weights; None where they have none.
        licence: of the weights, as their publisher states it; None where nothing is stated.
        is_complete: False where the weights may have seen other data too, which the user must declare.
        listed_since: the first year in which the challenge's list of allowed external resources names these weights;
            None where they are listed in all years that have such a list, or nothing is known.
    """

    datasets: tuple[Dataset, ...] = ()
    source: str | None = None
    licence: str | None = None
    is_complete: bool = True
    listed_since: int | None = None


@dataclass(frozen=True)
class Teacher:
    """A kind of teacher network.

    Attributes:
        build: keyword arguments -> module from log-mels (B, 1, mels, frames) to logits (B, classes); it takes at least
            `classes`, `pretrained` and `weights`.
        family: of networks, in a word or two.
        citation: of the paper or software, for the references of a report.
        published: the builder's keyword arguments -> what the weights were trained on that `pretrained=True` downloads;
            None where nobody publishes weights. Arguments that are left out have the builder's defaults.
        published_classes: how many classes the published weights tell apart, and what the names begin with that these
            are given, each followed by its number (AudioSet's 527: audioset_0, ...); None: none that are of sounds. The
            builder of a teacher that has some takes `classes=None` for a network with the published last layer.
        weights_in_folder: whether `weights` is a folder, as transformers writes it, and not a file.
        head_is_new: whether the last layer is always new, so that weights may be of any number of classes.
    """

    build: Callable[..., "nn.Module"]
    family: str
    citation: str
    published: Callable[[Mapping[str, object]], Pretraining] | None = None
    published_classes: tuple[int, str] | None = None
    weights_in_folder: bool = False
    head_is_new: bool = True

    def pretraining(
        self, arguments: Mapping[str, object], *, pretrained: bool, weights: str | Path | None
    ) -> Pretraining:
        """What a network's weights were trained on before its own training started.

        Only the user knows what weights from a file were trained on. Most likely the file is a copy of the published
        weights, so their data sets are named, and the result is marked as incomplete.

        Args:
            arguments: the builder's keyword arguments beside the following two.
            pretrained, weights: as the builder takes them.
        """
        if not (pretrained or weights):
            return Pretraining()
        if self.published is None:
            return Pretraining(is_complete=False)
        found = self.published(arguments)
        return replace(found, is_complete=found.is_complete and not weights)
