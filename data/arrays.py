"""Clips in memory, for whoever has arrays and no data set on disk.

Conventions: stored as in the wave store (data/waves.py), int16 with one scale a clip, so that a network is trained on
the same values whichever way they come.
"""

import hashlib

import numpy as np
import torch

from data.audio import to_integers
from data.errors import UserError
from data.waves import to_float


class WaveArrays:
    """Clips of one length in memory, as a WaveSource.

    Attributes:
        sample_rate: Hz.
        samples: length of a clip.
        wave, scale: int16 (N, samples) and float32 (N,); wave * scale is the signal in [-1, 1].
        digest: fingerprint of the content.
    """

    def __init__(self, waves: np.ndarray, sample_rate: int) -> None:
        """Store clips.

        Args:
            waves: float (N, samples) in [-1, 1].
            sample_rate: Hz.

        Raises:
            UserError: they are no such clips.
        """
        waves = np.asarray(waves, np.float32)
        if waves.ndim != 2 or not waves.size:
            raise UserError(f"waves of the shape {waves.shape} must be (clips, samples), not empty")
        peak = np.abs(waves).max()
        if not peak <= 1:  # not a number fails too
            raise UserError(f"waves must lie in [-1, 1], and their largest magnitude is {peak}")
        self.sample_rate, self.samples = sample_rate, waves.shape[1]
        wave, scale, _ = to_integers(waves.copy())
        self.wave, self.scale = wave.copy(), scale
        self.digest = hashlib.sha256(self.scale.tobytes() + self.wave.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.wave)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Waves of the given rows as they are stored: int16 (len(rows), samples)."""
        return self.wave[rows]

    def read(self, rows: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
        """Waves of the given rows: float32 (len(rows), samples) in [-1, 1], on `device`."""
        return to_float(torch.from_numpy(self.wave[rows]).to(device), torch.from_numpy(self.scale[rows]).to(device))
