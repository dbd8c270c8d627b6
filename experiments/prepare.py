"""Bring a data set into memory's reach: read its lists, pack its waves once, read the impulse responses."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig

from data.batches import Batches
from data.errors import UserError, unknown
from data.impulse import read_impulses
from data.mel import LogMel
from data.scenes import ClipSet
from data.synthetic import IMPULSE_FOLDER, VERSION, write_synthetic
from data.tau22 import HELP, read_tau22
from data.waves import WaveStore, pack
from experiments.score import evaluate


@dataclass(frozen=True)
class Prepared:
    """A data set that is ready to be learnt from; `responses` is (R, L) or None."""

    clips: ClipSet
    store: WaveStore
    responses: torch.Tensor | None

    @property
    def fingerprint(self) -> dict[str, str]:
        """What results depend on: the waves, which clip is in which split, and the responses."""
        splits = "\n".join(f"{clip.filename}\t{clip.split}" for clip in self.clips.clips)
        responses = b"" if self.responses is None else self.responses.numpy().tobytes()
        return {
            "waves": self.store.digest,
            "splits": hashlib.sha256(splits.encode()).hexdigest(),
            "impulses": hashlib.sha256(responses).hexdigest(),
        }

    def batches(
        self, split: str | None, *, batch_size: int, device: torch.device, targets: np.ndarray | None = None
    ) -> Batches:
        """The clips of a split, or all of them; `targets` are logits (N, classes) of all clips."""
        rows = np.arange(len(self.clips.clips)) if split is None else self.clips.indices(split)
        return Batches(
            self.store,
            rows,
            self.clips.labels,
            self.clips.from_reference_device,
            batch_size=batch_size,
            targets=targets,
            device=device,
        )

    def score(self, split: str, probabilities: np.ndarray) -> dict[str, float]:
        """Figures of a split from its probabilities (n, classes), in its order."""
        rows, clips = self.clips.indices(split), self.clips
        devices = [clips.clips[row].device for row in rows]
        groups = clips.device_groups
        return evaluate(probabilities, clips.labels[rows], devices, scenes=clips.scenes, device_groups=groups)

    def picture_shape(self, front_end: LogMel) -> tuple[int, int, int, int]:
        """(1, 1, mels, frames) of one clip's log-mel."""
        return 1, 1, front_end.mels, front_end.frames(self.store.samples)


def prepare(cfg: DictConfig) -> Prepared:
    """Read, pack and check the data set that `cfg.data` names.

    Raises:
        UserError: see the readers.
    """
    if cfg.data.kind not in DATASETS:
        unknown("data.kind", cfg.data.kind, DATASETS)
    for key, seed in (("seed", cfg.seed), ("data.seed", cfg.data.seed)):
        if not 0 <= seed < 2**63:
            raise UserError(f"{key}={seed} must be from 0 to 2^63 - 1")
    clips, impulses = DATASETS[cfg.data.kind](cfg)
    for split in ("train", "validation", "test"):
        clips.indices(split)  # an empty one is found now, not after a training
    # The folder name holds the root's whole path, so two sets with equal names do not take turns in one store.
    place = hashlib.sha256(str(clips.root.resolve()).encode()).hexdigest()[:8]
    folder = Path(cfg.cache) / f"{clips.root.resolve().name}-{place}"
    responses = read_impulses(impulses, cfg.data.sample_rate) if impulses else None
    return Prepared(clips, pack(clips, folder, sample_rate=cfg.data.sample_rate), responses)


def run(cfg: DictConfig) -> None:
    """stage=data: pack, and nothing else."""
    prepare(cfg)


def _tau22(cfg: DictConfig) -> tuple[ClipSet, str | None]:
    if cfg.data.root is None:
        raise UserError(f"data.root is not set: {HELP}")
    return _read(cfg, Path(cfg.data.root)), cfg.data.impulses


def _synthetic(cfg: DictConfig) -> tuple[ClipSet, str | None]:
    root = Path(cfg.data.root or Path(cfg.cache) / f"synthetic-v{VERSION}-{cfg.data.seed}")
    write_synthetic(root, seed=cfg.data.seed)
    return _read(cfg, root), cfg.data.impulses or str(root / IMPULSE_FOLDER)


def _read(cfg: DictConfig, root: Path) -> ClipSet:
    return read_tau22(root, validation_fraction=cfg.data.validation_fraction, seed=cfg.data.seed, name=cfg.data.kind)


DATASETS: dict[str, Callable[[DictConfig], tuple[ClipSet, str | None]]] = {"synthetic": _synthetic, "tau22": _tau22}
