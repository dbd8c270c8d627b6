"""Clips as the features that a network without its last layer computes of them: computed once, trained on often.

Conventions: features are float32 (views, n, F) of the n clips of a split, in its order; a view is a clip as it is
(the first one) or an augmented copy. A batch's `waves` are features (B, F, 1, 1), of four axes like spectrograms.
"""

from collections.abc import Iterator, Sequence

import torch

from data.batches import Batch, Batches
from data.recordings import Crops


class FeatureBatches(Batches):
    """The clips of a split in the batches, and the order, that their waves would have had.

    Args:
        clips: the split as waves.
        features: (views, n, F), on the device of the batches.
    """

    def __init__(self, clips: Batches, features: torch.Tensor) -> None:
        vars(self).update(vars(clips))  # the same clips, labels and batch size
        self._inputs, self._views = features, torch.zeros_like(self._rows)

    def in_order(self, numbers: Sequence[int] | None = None) -> Iterator[Batch]:
        """See Batches; the clips as they are."""
        self._views = torch.zeros_like(self._rows)
        return super().in_order(numbers)

    def shuffled(self, generator: torch.Generator, *, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        """See Batches; of each clip a random view."""
        batches = super().shuffled(generator, rank=rank, world_size=world_size)
        if (views := len(self._inputs)) > 1:
            self._views = torch.randint(views, self._rows.shape, generator=generator, device=generator.device)
        return batches

    def _read(self, order: torch.Tensor, size: int, crops: Crops | None = None) -> Iterator[Batch]:
        for part in order.split(size):
            rows, features = self._rows[part], self._inputs[self._views[part], part]
            yield Batch(rows, features[:, :, None, None], self._labels[rows], self._reference[rows], None)
