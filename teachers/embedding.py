"""Embedding networks under a head: what VGGish, OpenL3, EdgeL3, SoundNet and PASE have in common as teachers.

Conventions: an embedding network turns a patch of a spectrogram, (N, 1, mels, frames of a patch), into a vector, (N,
features). It has no classes: a head of its own turns the vector into logits. Patches are taken every `hop` frames; of
longer spectrograms the mean of the patches' embeddings counts, frames behind the last whole patch are not heard, and
shorter spectrograms are completed with silence. A network that takes any number of frames hears all in one patch. The
network lies below `body.` and its head below `head.` in checkpoints.
"""

from dataclasses import dataclass

import torch
from torch import nn

from teachers.layers import Head
from teachers.spectrograms import completed


@dataclass(frozen=True)
class Patches:
    """What an embedding network hears.

    Attributes:
        kind: of the front end, `teacher.mel.kind`.
        mels: bands of its spectrograms.
        length, hop: of a patch, and from one to the next, frames. With no hop the whole spectrogram is the one patch,
            and `length` the least that it must have.
        silence: the value that silence has.
    """

    kind: str
    mels: int
    length: int
    hop: int | None
    silence: float

    def of(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """(B, 1, mels, frames) -> (B, patches, 1, mels, length).

        Raises:
            UserError: spectrograms have another number of bands.
        """
        whole = completed(spectrograms, self.mels, self.length, self.silence, self.kind, "this network hears")
        if self.hop is None:
            return whole[:, None]
        return whole.unfold(3, self.length, self.hop).permute(0, 3, 1, 2, 4)


class EmbeddingNetwork(nn.Module):
    """An embedding network under a head.

    Args:
        body: from patches (N, 1, mels, length) to embeddings (N, features).
        head: from embeddings (B, features) to logits (B, classes).
        patches: what the body hears.
    """

    def __init__(self, body: nn.Module, head: Head, patches: Patches) -> None:
        super().__init__()
        self.body, self.head, self._patches = body, head, patches

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """(B, 1, mels, frames) -> (B, classes).

        Raises:
            UserError: spectrograms have another number of bands.
        """
        patches = self._patches.of(spectrograms)
        embeddings = self.body(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        return self.head(embeddings.mean(dim=1))

    def layers(self) -> list[list[nn.Parameter]]:
        """See teachers/layers.py: each layer of the body that has parameters, and the head."""
        of_body = [list(each.parameters(recurse=False)) for each in self.body.modules()]
        return [*(layer for layer in of_body if layer), list(self.head.parameters())]
