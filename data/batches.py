"""Wave store and logits in, batches on the device out.

Conventions: a batch's tensors share their first axis B and are on the device. The order of the clips and the crops
are drawn on the device, an epoch at a time, before any wave is read: where the waves are kept (`residency`) changes
nothing but the speed.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch.nn import functional as F

from data.augment import Mixing
from data.errors import UserError
from data.recordings import Crops, Recordings, crop
from data.residency import Raw, resident
from data.waves import WaveSource

AHEAD = 3  # batches that the prefetching thread may be ahead


@dataclass(frozen=True)
class Batch:
    """Some clips.

    Attributes:
        rows: positions in the data set, int64 (B,).
        waves: (B, samples) in [-1, 1].
        labels: class numbers, int64 (B,), or after mixup probabilities, float32 (B, classes); of a multi-label set
            which classes a clip has, bool (B, classes), or after mixup shares, float32.
        from_reference_device: bool (B,).
        targets: the teachers' logits (B, classes), or (B, shifts, classes) of several shifts of each clip, or None.
        features: the teachers' features, standardised, float32 (B, channels), or None; see feature_targets.py.
    """

    rows: torch.Tensor
    waves: torch.Tensor
    labels: torch.Tensor
    from_reference_device: torch.Tensor
    targets: torch.Tensor | None
    features: torch.Tensor | None = None

    def rolled(self, shifts: torch.Tensor | None, known: torch.Tensor) -> "Batch":
        """The batch after its clips were rolled by `shifts` (B,), or not: of targets of several shifts, each clip gets
        those of the nearest to its own.

        Args:
            known: the shifts that the targets are of, samples, (shifts,).
        """
        if self.targets is None:
            raise ValueError("the batch has no targets")
        if shifts is None:
            shifts = torch.zeros_like(self.rows)
        nearest = (known - shifts[:, None]).abs().argmin(1)
        return replace(self, targets=self.targets[torch.arange(len(nearest), device=nearest.device), nearest])

    def mixed(self, mixing: Mixing, classes: int) -> "Batch":
        """The batch with labels, targets and features mixed as its spectrograms were."""
        labels = self.labels if self.labels.ndim > 1 else F.one_hot(self.labels, classes)
        targets, features = (None if each is None else mixing(each) for each in (self.targets, self.features))
        return replace(self, labels=mixing(labels.float()), targets=targets, features=features)

    def split(self, parts: int) -> Iterator["Batch"]:
        """The batch in so many parts, of equal size up to one clip."""
        for rows in torch.arange(len(self.rows), device=self.rows.device).tensor_split(parts):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            targets, features = (None if each is None else each[part] for each in (self.targets, self.features))
            reference = self.from_reference_device[part]
            yield Batch(self.rows[part], self.waves[part], self.labels[part], reference, targets, features)


class Batches:
    """The clips of one split, in batches.

    Args:
        store: all waves.
        rows: which of them, (n,).
        labels, from_reference_device: of all clips of the set, (N,); labels of a multi-label set are bool (N, classes).
        targets: the teachers' logits of all clips of the set, (N, classes), or (N, shifts, classes), or None.
        target_shifts: samples; those of the targets, if there are several.
        features: the teachers' features of all clips of the set, float16 (N, channels), or None.
        batch_size: clips a batch.
        device: that batches are on.
        residency: where the split's waves are kept meanwhile; see data/residency.py.
        recordings: gives `shuffled` random crops of the split's recordings instead of the clips.
        classes: how many there are; None: as many as the labels name.
    """

    def __init__(
        self,
        store: WaveSource,
        rows: np.ndarray,
        labels: np.ndarray,
        from_reference_device: np.ndarray,
        *,
        batch_size: int,
        targets: np.ndarray | None = None,
        target_shifts: Sequence[int] | None = None,
        features: np.ndarray | None = None,
        device: torch.device | str = "cpu",
        residency: str = "disk",
        recordings: Recordings | None = None,
        classes: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size} must be at least 1")
        self.rows, self.batch_size, self._recordings, self._device = rows, batch_size, recordings, device
        self.classes = classes or (labels.shape[1] if labels.ndim > 1 else int(labels.max()) + 1)
        self._waves = resident(store, rows, residency, device)
        self._rows = torch.from_numpy(rows).to(device)
        self._labels = torch.from_numpy(labels).to(device)
        self._reference = torch.from_numpy(from_reference_device).to(device)
        self._targets = None if targets is None else torch.from_numpy(targets).to(device)
        self._features = None if features is None else torch.from_numpy(features).to(device)
        self.target_shifts = None if target_shifts is None else torch.tensor(target_shifts, device=device)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def count(self) -> int:
        """Number of batches of `in_order`."""
        return math.ceil(len(self) / self.batch_size)

    def in_order(self, numbers: Sequence[int] | None = None) -> Iterator[Batch]:
        """Every clip once, in the order of the split; the last batch may be smaller.

        Args:
            numbers: ascending; only these of the `count` batches.
        """
        order = torch.arange(len(self), device=self._device)
        if numbers is not None:
            parts = order.split(self.batch_size)
            order = torch.cat([parts[n] for n in numbers]) if len(numbers) else order[:0]
        return self._read(order, self.batch_size)

    def shuffled(self, generator: torch.Generator, *, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        """Whole batches in random order; the remainder is left out, another one each time.

        Of several processes with equal generators, each gets its share of every batch.
        """
        order = torch.randperm(len(self), generator=generator, device=generator.device)
        order = order[: len(self) // self.batch_size * self.batch_size]
        crops = None if self._recordings is None else self._recordings.draw(order, generator)
        share = self.batch_size // world_size
        mine = torch.arange(len(order), device=order.device).view(-1, self.batch_size)
        mine = mine[:, rank * share : (rank + 1) * share].flatten()
        if crops is not None:
            crops = Crops(crops.parts[:, mine], crops.offset[mine])
        return self._read(order[mine], share, crops)

    def _read(self, order: torch.Tensor, size: int, crops: Crops | None = None) -> Iterator[Batch]:
        if not len(order):  # of a split with fewer batches than processes
            return
        # Positions go to where the waves are once an epoch, not once a batch: that would stop the GPU each time.
        wanted = order[None] if crops is None else crops.parts
        places = [positions.to(self._waves.place).split(size) for positions in wanted]
        raws = self._ahead(list(zip(*places, strict=True)))
        for start, raw in zip(range(0, len(order), size), raws, strict=True):
            part = slice(start, start + size)
            rows = self._rows[order[part]]
            parts = [each.signal(self._device) for each in raw]
            if crops is None or self._recordings is None:
                waves = parts[0]
            else:
                waves = crop(parts, crops.offset[part], self._recordings.length)
            targets = None if self._targets is None else self._targets[rows]
            features = None if self._features is None else self._features[rows].float()
            yield Batch(rows, waves, self._labels[rows], self._reference[rows], targets, features)

    def _ahead(self, places: Sequence[Sequence[torch.Tensor]]) -> Iterator[list[Raw]]:
        """The waves at each of the places, read by a thread that runs ahead where reading takes time of its own."""

        def gather(place: Sequence[torch.Tensor]) -> list[Raw]:
            return [self._waves.gather(positions) for positions in place]

        if not self._waves.slow:
            yield from map(gather, places)
            return
        reader, rest = ThreadPoolExecutor(1), iter(places)
        waiting: deque[Future[list[Raw]]] = deque()
        try:
            waiting.extend(reader.submit(gather, place) for place in islice(rest, AHEAD))
            while waiting:
                raw = waiting.popleft().result()
                waiting.extend(reader.submit(gather, place) for place in islice(rest, 1))
                yield raw
        finally:  # the consumer may stop early
            reader.shutdown(cancel_futures=True)
