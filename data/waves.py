"""Waves as tensors: those of a packed data set, read in any order through a memory map, and those of any sound file.

Conventions: wave * scale is the signal in [-1, 1], float32 (B, samples); rows are positions in the data set. The file
is made by data/packing.py.
"""

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from data.errors import UserError, counted, listed
from data.pieces import cut
from data.wave_file import damaged_rows, open_waves


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

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Waves of the given rows as they are stored: int16 (len(rows), samples)."""
        ...

    def read(self, rows: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
        """Waves of the given rows: float32 (len(rows), samples) in [-1, 1], on `device`."""
        ...


class WaveStore:
    """All clips of a set.

    Attributes:
        folder: where the file lies.
        sample_rate: Hz.
        samples: length of a clip.
        digest: fingerprint of the content, as it was packed.
        filenames: key of each row.
        wave, scale: the columns, memory maps of int16 (N, samples) and float32 (N,).
    """

    def __init__(self, path: str | Path) -> None:
        """Open a finished store.

        Raises:
            UserError: it is missing, unfinished, damaged or of another format.
        """
        store = open_waves(Path(path))
        store.require_done()
        if len(bad := damaged_rows(store)):
            raise store.damaged(f"scale, stamp or checksum of {counted(len(bad), 'clip')} cannot be what was written")
        self.folder, self.sample_rate = store.path.parent, int(store.attributes["sample_rate"])
        self.wave, self.scale, self.filenames = store["wave"], store["scale"], store.filenames
        self.samples = self.wave.shape[1]
        self._store, self._checksum, self._seen = store, store["checksum"], np.zeros(len(store), bool)
        # Of what is stored, not of when: a copied data set has the same digest.
        content = [str(store.attributes["source"]).encode(), self.scale.tobytes(), store["checksum"].tobytes()]
        self.digest = hashlib.sha256(b"".join(content)).hexdigest()

    def __len__(self) -> int:
        return len(self.filenames)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Waves of the given rows as they are stored: int16 (len(rows), samples).

        Raises:
            UserError: a wave is not what was packed, by its checksum, which is compared when it is first read; the clip
                counts as not packed from then on.
        """
        wave = self.wave[rows]
        new = np.flatnonzero(~self._seen[rows])
        if bad := sorted({int(rows[i]) for i in new if zlib.crc32(wave[i]) != self._checksum[rows[i]]}):
            names, remedy = (
                listed([self.filenames[row] for row in bad]),
                "run the command again, which decodes them anew",
            )
            try:
                self._store.reset(bad)
            except OSError:
                remedy = self._store.kind.remedy
            raise UserError(f"{self._store.path} is damaged, {counted(len(bad), 'wave')} of it:\n{names}\n{remedy}")
        self._seen[rows] = True
        return wave

    def read(self, rows: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
        """Waves of the given rows: float32 of shape (len(rows), samples), in [-1, 1], on `device`."""
        return to_float(torch.from_numpy(self.take(rows)).to(device), torch.from_numpy(self.scale[rows]).to(device))


def to_float(wave: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """int16 (B, samples) and float32 (B,) to the signal, float32 (B, samples)."""
    # In two steps: PyTorch multiplies integers by floats three times slower than it converts and multiplies.
    return wave.float().mul_(scale[:, None])


def read_pieces(
    sound: str | Path | bytes, sample_rate: int, seconds: float, *, longest: float | None = None
) -> Iterator[torch.Tensor]:
    """The clips of a sound file, or of its content: float32 (B, samples) in [-1, 1], in order.

    Arguments, raises: see data/pieces.py, cut.
    """
    for piece in cut(sound, sample_rate, seconds, longest=longest):
        yield to_float(torch.from_numpy(piece.wave), torch.from_numpy(piece.scale))
