"""Where the waves of a split are kept while batches are drawn from them: on the device, in memory, or on the disk.

Conventions: what is kept are int16 waves (n, samples) and a scale each; batches are gathered where the waves are, moved
to the device as integers, and become floats there. `disk` reads the memory map of the wave store, which the operating
system keeps in memory as far as there is room: it needs no loading, and all processes of a machine share it.
"""

import logging
from typing import NamedTuple

import numpy as np
import psutil
import torch

from data.errors import UserError, unknown
from data.waves import WaveSource, to_float

RESIDENCIES = ("device", "memory", "disk", "auto")
SHARE = 0.6  # of the free memory that waves may take; the rest is for networks and batches
CHUNK = 1024  # clips that are loaded in one go

log = logging.getLogger(__name__)


class Raw(NamedTuple):
    """Waves as stored: int16 (B, samples) and float32 (B,)."""

    wave: torch.Tensor
    scale: torch.Tensor

    def signal(self, device: torch.device | str) -> torch.Tensor:
        """float32 (B, samples) in [-1, 1], on `device`."""
        return to_float(self.wave.to(device, non_blocking=True), self.scale.to(device, non_blocking=True))


class Waves:
    """The waves of some rows of a store.

    Attributes:
        place: the device that they are on, and on which positions are expected.
        slow: whether gathering them is worth a thread of its own.
    """

    def __init__(self, store: WaveSource, rows: np.ndarray, residency: str, device: torch.device | str) -> None:
        self.place = torch.device(device if residency == "device" else "cpu")
        self.slow = residency == "disk" or self.place != torch.device(device)
        self._pin = torch.device(device).type == "cuda" and self.place.type == "cpu"
        self._scale = torch.from_numpy(store.scale[rows]).to(self.place)
        self._rows = rows
        self._disk = store if residency == "disk" else None
        if residency != "disk":
            self._wave = torch.empty((len(rows), store.samples), dtype=torch.int16, device=self.place)
            for start in range(0, len(rows), CHUNK):
                self._wave[start : start + CHUNK] = torch.from_numpy(store.take(rows[start : start + CHUNK]))

    def gather(self, positions: torch.Tensor) -> Raw:
        """The waves at some positions, int64 (B,) on `place`, of the rows."""
        scale = self._scale[positions]
        if self._disk is None:
            wave = self._wave[positions]
        else:
            wave = torch.from_numpy(self._disk.take(self._rows[positions.numpy()]))
        return Raw(wave.pin_memory(), scale.pin_memory()) if self._pin else Raw(wave, scale)


def resident(store: WaveSource, rows: np.ndarray, residency: str, device: torch.device | str) -> Waves:
    """The waves of some rows of a store, where `residency` says.

    `auto` is `device` on a GPU that has room for them, else `disk`.

    Raises:
        UserError: unknown residency, or there is no room.
    """
    if residency not in RESIDENCIES:
        unknown("data.residency", residency, RESIDENCIES)
    device, needed = torch.device(device), len(rows) * store.samples * 2
    on_gpu = device.type == "cuda"
    if residency == "auto":
        residency = "device" if on_gpu and needed <= SHARE * _free(device) else "disk"
    elif residency != "disk":
        place = device if residency == "device" else torch.device("cpu")
        if needed > SHARE * (free := _free(place)):
            raise UserError(
                f"data.residency={residency} needs {needed / 1e9:.1f} GB of {free / 1e9:.1f} GB free on {place} "
                f"(at most {SHARE:.0%} of it): use data.residency=disk"
            )
    if residency != "disk":
        log.info("loading %d clips (%.1f GB): data.residency=%s", len(rows), needed / 1e9, residency)
    return Waves(store, rows, residency, device)


def _free(device: torch.device) -> int:
    """Bytes."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
