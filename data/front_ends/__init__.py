"""From waves to log-mel spectrograms, by name: what a network's `mel` settings say.

Conventions: a front end is a module of this package that declares a FrontEndEntry; `kind` in the settings is the
module's name, all other settings are arguments of the entry's builder. What it builds keeps the contract FrontEnd.
"""

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch

from data.registry import build, discover, find

DEFAULT = "log_mel"  # the kind of settings that name none
DECIBEL = math.log(10) / 10  # natural logarithm of a power's ratio


@runtime_checkable
class FrontEnd(Protocol):
    """What a front end must offer: a torch module from waves to spectrograms.

    Every clip is computed by itself. Where a recording was cut into clips, the frames beside a cut are therefore
    computed from padding instead of the neighbour's sound, or, without padding, the frames that would need it are left
    out: `padding` says which, `extent` how many samples a frame needs.

    Attributes:
        sample_rate: of the waves, Hz.
        mels: number of bands.
        low, high: lower edge of the lowest and upper edge of the highest band, Hz; bands between them are equally far
            apart on Kaldi's mel scale, 1127 ln(1 + f / 700), unless the front end has `centres`, Hz, of its own.
        padding: what stands for samples before and behind a clip: "reflect" (the clip itself, mirrored), "zeros", or
            "none": frames do not reach over the ends, and samples behind the last whole frame are not used.
        decibel: by how much a value rises if its band's sound becomes 1 dB louder; None: values are no logarithms.
    """

    sample_rate: int
    mels: int
    low: float
    high: float
    padding: str
    decibel: float | None

    def frames(self, samples: int) -> int:
        """Number of frames of a clip of so many samples."""
        ...

    def extent(self, frame: int) -> tuple[int, int]:
        """The samples that a frame (from 0) depends on: the first one, and the one behind the last.

        With padding they may lie before the clip (below 0) or behind it.
        """
        ...

    def __call__(self, waves: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Spectrograms, float32 (B, 1, mels, frames), low bands first, of waves (B, samples) in [-1, 1].

        Args:
            waves: float, on the front end's device.
            generator: in training, of whatever is random; without it equal waves give equal spectrograms.
        """
        ...

    def to(self, device: torch.device | str) -> Self:
        """Itself, moved to a device."""
        ...

    def cpu(self) -> Self:
        """Itself, moved to the CPU."""
        ...


@dataclass(frozen=True, kw_only=True)
class FrontEndEntry:
    """What a module of this package declares.

    Attributes:
        build: takes `sample_rate` and the other settings as keyword arguments.
        features: what it computes, in the words of a challenge submission.
        citation: where it is described.
    """

    build: Callable[..., FrontEnd]
    features: str
    citation: str


def front_ends() -> Mapping[str, FrontEndEntry]:
    """Every front end: kind -> entry."""
    return discover(__name__, FrontEndEntry)


def build_front_end(sample_rate: int, mel: Mapping[str, object]) -> FrontEnd:
    """Build the front end that `mel` describes: its `kind` (log_mel if it is not there) and its arguments.

    Raises:
        UserError: there is no such kind, or it does not take these arguments, or not with these values.
    """
    arguments: dict[str, Any] = {"sample_rate": sample_rate, **mel}
    kind = arguments.pop("kind", DEFAULT)
    return build(f"front end {kind}", find("front end", front_ends(), kind).build, arguments)


def adapted(mel: Mapping[str, object], given: Collection[str]) -> dict[str, object]:
    """The settings of a front end of another kind than the one that they were written for, log_mel: what the kind does
    not take is left out, and what it has another default of than log_mel has that default.

    Args:
        mel: `kind` and arguments.
        given: names of arguments that stay as they are.
    """
    kinds, kind = front_ends(), str(mel.get("kind", DEFAULT))
    if kind not in kinds:  # which is said when it is built
        return dict(mel)
    ours, theirs = ({p.name: p.default for p in _parameters(kinds[each])} for each in (kind, DEFAULT))
    found = dict(mel)
    for name in theirs.keys() & mel.keys() - set(given):
        if name not in ours:
            del found[name]
        elif ours[name] != theirs[name]:
            found[name] = ours[name]
    return found


def _parameters(entry: FrontEndEntry) -> Collection[inspect.Parameter]:
    return inspect.signature(entry.build).parameters.values()


def band_centres(front_end: FrontEnd) -> np.ndarray:
    """The middle of each band, Hz, float64 (mels,), ascending."""
    if (own := getattr(front_end, "centres", None)) is not None:
        return np.asarray(own)
    from torchaudio.compliance.kaldi import inverse_mel_scale_scalar, mel_scale_scalar

    low, high = (mel_scale_scalar(hz) for hz in (front_end.low, front_end.high))
    return np.array([inverse_mel_scale_scalar(mel) for mel in np.linspace(low, high, front_end.mels + 2)[1:-1]])
