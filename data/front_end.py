"""From sound to picture, by name: what a network's `mel` settings say.

Conventions: a front end takes waves (B, samples) and, in training, a generator; it gives pictures (B, 1, mels,
frames), and says how many frames a clip has.
"""

from collections.abc import Callable, Mapping

import numpy as np
from torchaudio.compliance.kaldi import inverse_mel_scale_scalar, mel_scale_scalar

from data.fbank import KaldiFbank
from data.mel import LogMel
from data.registry import build

FrontEnd = LogMel | KaldiFbank
FRONT_ENDS: dict[str, Callable[..., FrontEnd]] = {"log_mel": LogMel, "kaldi_fbank": KaldiFbank}


def build_front_end(sample_rate: int, mel: Mapping[str, object]) -> FrontEnd:
    """Build the front end that `mel` describes: `kind` (log_mel if it is not there) and its arguments."""
    arguments = {"kind": "log_mel", **mel}
    return build("front end", FRONT_ENDS, arguments.pop("kind"), {"sample_rate": sample_rate, **arguments})


def band_centres(front_end: FrontEnd) -> np.ndarray:
    """The middle of each band, Hz, (mels,), ascending: Kaldi's triangles are equally far apart on its mel scale."""
    low, high = (mel_scale_scalar(hz) for hz in (front_end.low, front_end.high))
    return np.array([inverse_mel_scale_scalar(mel) for mel in np.linspace(low, high, front_end.mels + 2)[1:-1]])
