"""What a teacher module declares: how its network is built, and what reports and submissions must say about it.

Conventions: each module of this package that builds a teacher has one `Teacher` at its top level. Importing this file
does not import torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from data.resources import Resource

if TYPE_CHECKING:
    from torch import nn


AUDIOSET_CLASSES = (527, "audioset")


@dataclass(frozen=True)
class Pretraining:
    """What the weights that a training started from are.

    Attributes:
        datasets: what they were trained on, in the order in which a submission names them.
        model: the weights themselves, as they were published; None where they have no name.
        is_complete: False where the weights may be others, or may have seen other data too, which the user must
            declare.
    """

    datasets: tuple[Resource, ...] = ()
    model: Resource | None = None
    is_complete: bool = True

    @property
    def resources(self) -> tuple[Resource, ...]:
        """All that a submission must name."""
        return (*((self.model,) if self.model else ()), *self.datasets)


@dataclass(frozen=True)
class Teacher:
    """A kind of teacher network.

    Attributes:
        build: keyword arguments -> module from log-mels (B, 1, mels, frames) to logits (B, classes); it takes at least
            `classes`, `pretrained` and `weights`.
        family: of networks, in a word or two.
        citation: of the paper or software, for the references of a report.
        published: the builder's keyword arguments -> what the weights are that `pretrained=True` downloads; None where
            nobody publishes weights. Arguments that are left out have the builder's defaults.
        known: fingerprint of tensors (see weights.py, loaded_digest) -> the builder's arguments whose published weights
            have it: so are files recognised, whatever they are called.
        published_classes: how many classes the published weights tell apart, and what the names begin with that these
            are given, each followed by its number (AudioSet's 527: audioset_0, ...); None: none that are of sounds. A
            clip may have several of them: logits are those of sigmoids. The builder of a teacher that has some takes
            `classes=None` for a network with the published last layer.
        weights_by_hand: whether published weights are at no address from which they could be fetched: with
            `pretrained=True` and no file the builder says where a person finds them.
        weights_in_folder: whether `weights` is a folder, as transformers writes it, and not a file.
        head_is_new: whether the last layer is always new, so that weights may be of any number of classes.
    """

    build: Callable[..., "nn.Module"]
    family: str
    citation: str
    published: Callable[[Mapping[str, object]], Pretraining] | None = None
    known: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    published_classes: tuple[int, str] | None = None
    weights_by_hand: bool = False
    weights_in_folder: bool = False
    head_is_new: bool = True

    def pretraining(
        self, arguments: Mapping[str, object], *, pretrained: bool, weights: str | Path | None, digest: str = ""
    ) -> Pretraining:
        """What the weights are that a network begins with.

        Weights from a file are what their tensors are known as, if they are: else only the user can say what they are.

        Args:
            arguments: the builder's keyword arguments beside the following two.
            pretrained, weights: as the builder takes them.
            digest: fingerprint of the tensors that were loaded.
        """
        if not (pretrained or weights):
            return Pretraining()
        found = self.known.get(digest) if weights else arguments
        if self.published is None or found is None:
            return Pretraining(is_complete=False)
        return self.published(found)
