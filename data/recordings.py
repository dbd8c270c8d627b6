"""Recordings put together again from the clips they were cut into, for random crops across the cuts.

Conventions: a recording's clips have consecutive part numbers, and each is `samples` long; clips whose parts follow
one another without a gap form a *run*. A crop is one clip long and begins at any sample of a run, as long as it ends
within it: one that begins at sample k of a part is the part from k on and then the first k samples of the next, with
nothing between. A missing part divides a recording into two runs; a clip without neighbours is its own only crop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from data.scenes import Clip


@dataclass(frozen=True)
class Crops:
    """Where some crops lie: int64 (B,) each.

    Attributes:
        first, second: positions of the clip that a crop begins in, and of the one after it.
        offset: sample of the first clip at which it begins.
    """

    first: torch.Tensor
    second: torch.Tensor
    offset: torch.Tensor


class Recordings:
    """The runs of some clips.

    Args:
        clips: of one split, so that no crop reaches into another.
        samples: length of a clip.
        device: where crops are drawn.

    Attributes:
        runs: number of runs.
    """

    def __init__(self, clips: Sequence[Clip], samples: int, device: torch.device | str = "cpu") -> None:
        order = sorted(range(len(clips)), key=lambda i: (clips[i].recording, clips[i].part))
        follows = [
            (clips[a].recording, clips[a].part + 1) == (clips[b].recording, clips[b].part) for a, b in pairwise(order)
        ]
        run = np.cumsum([0, *(not f for f in follows)])  # of each clip in `order`
        starts, lengths = np.unique(run, return_index=True, return_counts=True)[1:]
        place = np.argsort(order)  # of each clip: its position in `order`
        self.runs, self._samples = len(starts), samples
        self._order = torch.tensor(order, device=device)
        self._start = torch.from_numpy(starts[run][place]).to(device)
        self._length = torch.from_numpy(lengths[run][place]).to(device)

    def draw(self, positions: torch.Tensor, generator: torch.Generator) -> Crops:
        """A random crop of the run of each clip, all its beginnings equally likely; `positions` are int64 (B,)."""
        chance = torch.rand(len(positions), generator=generator, device=generator.device, dtype=torch.float64)
        beginnings = (self._length[positions] - 1) * self._samples + 1
        begin = (chance * beginnings).long()
        part, offset = begin // self._samples, begin % self._samples
        first = self._start[positions] + part
        # A crop that begins with the run's last clip is that clip: it takes nothing from a second one.
        second = torch.minimum(first + 1, self._start[positions] + self._length[positions] - 1)
        return Crops(self._order[first], self._order[second], offset)


def crop(first: torch.Tensor, second: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """(B, samples) from `offset` (B,) on in the waves `first`, continued in the waves `second`."""
    joined = torch.cat([first, second], dim=1)
    window = offset[:, None] + torch.arange(first.shape[1], device=first.device)
    return joined.gather(1, window)
