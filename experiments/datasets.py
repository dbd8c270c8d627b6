"""From the settings of `data` to clips and packed waves: read the lists, fetch what is missing, pack once.

Nothing here needs PyTorch, so that stage=data answers at once when there is nothing to do.
"""

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from data import readers
from data.audio import sounds_in
from data.errors import UserError
from data.impulse import read_impulses
from data.packing import is_current, pack, source_of
from data.scenes import ClipSet
from experiments.paths import write_text

RECEIPT = "packed.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Packed:
    """A data set whose waves are packed; `responses` are impulse responses, float32 (R, L), or None."""

    clips: ClipSet
    waves: Path
    responses: np.ndarray | None


def run(cfg: DictConfig) -> None:
    """stage=data: fetch what is missing, check it, pack it, and nothing else."""
    if (waves := _unchanged(cfg)) is not None:
        log.info("%s: the lists and every sound file are unchanged, nothing to do", waves)
        return
    readers.fetch(cfg.data.kind, cfg.data.root, _settings(cfg), cache=cfg.cache, download=cfg.data.download)
    packed = read_and_pack(cfg)
    receipt = {
        "settings": _settings(cfg),
        "waves": str(packed.waves),
        "source": source_of(packed.waves),
        "files": _stamps([*packed.clips.sources, *_wavs(cfg.data.impulses)]),
    }
    write_text(packed.waves.parent / RECEIPT, json.dumps(receipt, indent=1))


def read_and_pack(cfg: DictConfig) -> Packed:
    """Read and pack the data set that `cfg.data` names; errors: see read_clips and data/packing.py."""
    clips, impulses = read_clips(cfg)
    settings = {"sample_rate": cfg.data.sample_rate, "clip_seconds": cfg.data.clip_seconds}
    responses = read_impulses(impulses, cfg.data.sample_rate) if impulses else None
    return Packed(clips, pack(clips, _cache_of(cfg, clips.root), **settings), responses)


def read_clips(cfg: DictConfig) -> tuple[ClipSet, str | None]:
    """The clips of the data set that `cfg.data` names, and the folder of its impulse responses.

    Raises:
        UserError: see the readers; a split is empty; a seed is out of range.
    """
    for key, seed in (("seed", cfg.seed), ("data.seed", cfg.data.seed)):
        if not 0 <= seed < 2**63:
            raise UserError(f"{key}={seed} must be from 0 to 2^63 - 1")
    clips = readers.read(cfg.data.kind, cfg.data.root, _settings(cfg), cache=cfg.cache)
    own = readers.impulse_folder(cfg.data.kind, clips.root)
    return clips, cfg.data.impulses or (None if own is None else str(own))


def root_of(cfg: DictConfig) -> Path:
    """The folder of the data set: data.root, or where it goes if that is not set."""
    return readers.root_of(cfg.data.kind, cfg.data.root, _settings(cfg), cache=cfg.cache)


def _cache_of(cfg: DictConfig, root: Path) -> Path:
    """A folder of its own for each root, table and length, so that they do not take turns in one store."""
    root = root.resolve()
    table = "" if cfg.data.csv is None else Path(cfg.data.csv).resolve()
    key = f"{root}\n{table}\n{cfg.data.clip_seconds}"
    return Path(cfg.cache) / f"{root.name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _unchanged(cfg: DictConfig) -> Path | None:
    """The packed waves, if stage=data was here with the same settings and nothing has changed since."""
    try:
        root = root_of(cfg)
        receipt = json.loads((_cache_of(cfg, root) / RECEIPT).read_text())
        seen = receipt["files"]
        same = receipt["settings"] == _settings(cfg) and seen == _stamps([*seen, *_wavs(cfg.data.impulses)])
        waves = Path(receipt["waves"])
        return waves if same and is_current(waves, receipt["source"], root) else None
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None


def _wavs(folder: str | None) -> list[Path]:
    return [] if folder is None else sounds_in(folder)


def _settings(cfg: DictConfig) -> dict[str, object]:
    return OmegaConf.to_container(cfg.data, resolve=True)


def _stamps(paths: Iterable[str | Path]) -> dict[str, list[int]]:
    """Size and time of modification of some files."""
    return {str(path): [Path(path).stat().st_size, Path(path).stat().st_mtime_ns] for path in paths}
