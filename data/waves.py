"""The packed waves of a data set, read in any order through a memory map.

Conventions: wave * scale is the signal in [-1, 1], float32 (B, samples); rows are positions in the data set. The file
is made by data/packing.py.
"""

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from data.errors import UserError
from data.packing import COLUMNS, FORMAT
from data.store import Store


class WaveSource(Protocol):
    """What batches are drawn from: clips of one length, in a store or in memory (data/arrays.py).

    Attributes:
        sample_rate: Hz.
        samples: length of a clip.
        wave, scale: int16 (N, samples) and float32 (N,); wave * scale is the signal in [-1, 1].
    """

    sample_rate: int
    samples: int
    wave: np.ndarray
    scale: np.ndarray

    def read(self, rows: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
        """Waves of the given rows: float32 (len(rows), samples) in [-1, 1], on `device`."""
        ...


class WaveStore:
    """All clips of a set.

    Attributes:
        sample_rate: Hz.
        samples: length of a clip.
        digest: fingerprint of the content, as it was packed.
        filenames: key of each row.
        wave, scale: the columns, memory maps of int16 (N, samples) and float32 (N,).
    """

    def __init__(self, path: str | Path) -> None:
        """Open a finished store.

        Raises:
            UserError: it is missing, unfinished or of another format.
        """
        store = Store(Path(path))
        if (found := store.attributes.get("format")) != FORMAT:
            raise UserError(f"{path} has format {found!r}, not {FORMAT!r}: delete it and pack the data set again")
        store.require("wave", *COLUMNS)
        self.sample_rate = int(store.attributes["sample_rate"])
        self.wave, self.scale, self.filenames = store["wave"], store["scale"], store.filenames
        self.samples = self.wave.shape[1]
        # Of what is stored, not of when: a copied data set has the same digest.
        content = [store.attributes["source"].encode(), self.scale.tobytes(), store["checksum"].tobytes()]
        self.digest = hashlib.sha256(b"".join(content)).hexdigest()

    def __len__(self) -> int:
        return len(self.filenames)

    def read(self, rows: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
        """Waves of the given rows: float32 of shape (len(rows), samples), in [-1, 1], on `device`."""
        return to_float(torch.from_numpy(self.wave[rows]).to(device), torch.from_numpy(self.scale[rows]).to(device))


def to_float(wave: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """int16 (B, samples) and float32 (B,) to the signal, float32 (B, samples)."""
    # In two steps: PyTorch multiplies integers by floats three times slower than it converts and multiplies.
    return wave.float().mul_(scale[:, None])
