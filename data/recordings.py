"""Recordings put together again from the clips they were cut into, for random crops across the cuts.

Conventions: a recording's clips have consecutive part numbers, and each is `samples` long; clips whose parts follow
one another without a gap form a *run*. A crop of `length` samples begins at any sample of a run, as long as it ends
within it: one clip's length from sample k of a part is the part from k on and then the first k samples of the next,
with nothing between. A missing part divides a recording into two runs; a run that is shorter than a crop is repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from data.scenes import Clip


@dataclass(frozen=True)
class Crops:
    """Where some crops begin, and which clips they need.

    Attributes:
        parts: positions of the clips that each crop may touch, in order, int64 (P, B).
        offset: sample of the first of them at which it begins, int64 (B,).
    """

    parts: torch.Tensor
    offset: torch.Tensor


class Recordings:
    """The runs of some clips.

    Args:
        clips: of one split, so that no crop reaches into another.
        samples: length of a clip.
        length: of a crop, samples; None: of a clip.
        device: where crops are drawn.

    Attributes:
        runs: number of runs.
        length: of a crop, samples.
    """

    def __init__(
        self, clips: Sequence[Clip], samples: int, length: int | None = None, device: torch.device | str = "cpu"
    ) -> None:
        order = sorted(range(len(clips)), key=lambda i: (clips[i].recording, clips[i].part))
        follows = [
            (clips[a].recording, clips[a].part + 1) == (clips[b].recording, clips[b].part) for a, b in pairwise(order)
        ]
        run = np.cumsum([0, *(not f for f in follows)])  # of each clip in `order`
        starts, lengths = np.unique(run, return_index=True, return_counts=True)[1:]
        place = np.argsort(order)  # of each clip: its position in `order`
        self.runs, self.length, self._samples = len(starts), samples if length is None else max(1, length), samples
        self._order = torch.tensor(order, device=device)
        self._start = torch.from_numpy(starts[run][place]).to(device)
        self._length = torch.from_numpy(lengths[run][place]).to(device)

    def draw(self, positions: torch.Tensor, generator: torch.Generator) -> Crops:
        """A random crop of the run of each clip, all its beginnings equally likely; `positions` are int64 (B,)."""
        uniform = torch.rand(len(positions), generator=generator, device=generator.device, dtype=torch.float64)
        run, start = self._length[positions], self._start[positions]
        begin = (uniform * (run * self._samples - self.length + 1).clamp(min=1)).long()
        ahead = torch.arange(-(-self.length // self._samples) + 1, device=positions.device)
        # Behind the run's last part comes its first again: a crop takes samples of it only if the run is too short.
        parts = start + (begin // self._samples + ahead[:, None]) % run
        return Crops(self._order[parts], begin % self._samples)


def crop(waves: Sequence[torch.Tensor], offset: torch.Tensor, length: int) -> torch.Tensor:
    """(B, length) from `offset` (B,) on in the first of the waves (B, samples), continued in the others."""
    joined = torch.cat(list(waves), dim=1)
    window = offset[:, None] + torch.arange(length, device=joined.device)
    return joined.gather(1, window)
