"""Wave store and logits in, batches on the device out.

Conventions: a batch's tensors share their first axis B; everything but the reading itself happens on the device.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from data.errors import UserError
from data.waves import WaveStore


@dataclass(frozen=True)
class Batch:
    """Some clips.

    Attributes:
        rows: positions in the data set, int64 (B,), on the CPU.
        waves: (B, samples) in [-1, 1].
        labels: class numbers, int64 (B,).
        from_reference_device: bool (B,).
        targets: the teachers' logits (B, classes), or None.
    """

    rows: np.ndarray
    waves: torch.Tensor
    labels: torch.Tensor
    from_reference_device: torch.Tensor
    targets: torch.Tensor | None


class Batches:
    """The clips of one split, in batches.

    Args:
        store: all waves.
        rows: which of them, (n,).
        labels, from_reference_device: of all clips of the set, (N,).
        targets: the teachers' logits of all clips of the set, (N, classes), or None.
        batch_size: clips a batch.
        device: where batches live.
    """

    def __init__(
        self,
        store: WaveStore,
        rows: np.ndarray,
        labels: np.ndarray,
        from_reference_device: np.ndarray,
        *,
        batch_size: int,
        targets: np.ndarray | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size} must be at least 1")
        self.store, self.rows, self.batch_size, self.device = store, rows, batch_size, device
        self._labels = torch.from_numpy(labels).to(device)
        self._reference = torch.from_numpy(from_reference_device).to(device)
        self._targets = None if targets is None else torch.from_numpy(targets).to(device)

    def __len__(self) -> int:
        return len(self.rows)

    def in_order(self) -> Iterator[Batch]:
        """Every clip once, in the order of the split; the last batch may be smaller."""
        for start in range(0, len(self.rows), self.batch_size):
            yield self._batch(self.rows[start : start + self.batch_size])

    def shuffled(self, generator: torch.Generator) -> Iterator[Batch]:
        """Whole batches in random order; the remainder is left out, another one each time."""
        order = torch.randperm(len(self.rows), generator=generator, device=generator.device).cpu().numpy()
        for start in range(0, len(order) - self.batch_size + 1, self.batch_size):
            yield self._batch(self.rows[order[start : start + self.batch_size]])

    def _batch(self, rows: np.ndarray) -> Batch:
        here = torch.from_numpy(rows).to(self.device)
        targets = None if self._targets is None else self._targets[here]
        return Batch(rows, self.store.read(rows, self.device), self._labels[here], self._reference[here], targets)
