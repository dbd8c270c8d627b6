"""From the settings of `data` to clips and packed waves: read the lists, fetch what is missing, pack once.

Nothing here needs PyTorch, so that stage=data answers at once when there is nothing to do.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from data.audio import sounds_in
from data.errors import UserError, unknown
from data.folder import read_folder
from data.impulse import read_impulses
from data.packing import is_current, pack, source_of
from data.scenes import ClipSet
from data.synthetic import IMPULSE_FOLDER, VERSION, write_synthetic
from data.tau22 import EVALUATION, HELP, META, OFFICIAL_ROWS, SUBSETS, TOP, UNFINISHED, list_of, read_tau22
from experiments.config import Data
from experiments.paths import write_text

RECEIPT = "packed.json"
SUBSET_FOLDER = "dcase2024-subsets"

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
    if cfg.data.kind == "tau22":
        _fetch(cfg)
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
    if cfg.data.kind not in DATASETS:
        unknown("data.kind", cfg.data.kind, DATASETS)
    for key, seed in (("seed", cfg.seed), ("data.seed", cfg.data.seed)):
        if not 0 <= seed < 2**63:
            raise UserError(f"{key}={seed} must be from 0 to 2^63 - 1")
    defaults = Data()
    for key in UNUSED[cfg.data.kind]:
        if cfg.data[key] != getattr(defaults, key):
            raise UserError(f"data.{key}={cfg.data[key]} means nothing to data={cfg.data.kind}: leave it out")
    clips, impulses = DATASETS[cfg.data.kind](cfg)
    for split in ("train", "validation", "test"):
        clips.indices(split)  # an empty one is found now, not after a training
    return clips, impulses


def root_of(cfg: DictConfig) -> Path:
    """The folder of the data set: data.root, or where it goes if that is not set."""
    if cfg.data.root is not None:
        return Path(cfg.data.root)
    if cfg.data.kind == "folder":
        if cfg.data.csv is None:
            raise UserError("data=folder needs data.root=FOLDER (with clips.csv), or data.csv=FILE, or both")
        return Path(cfg.data.csv).parent
    own = {"synthetic": f"synthetic-v{VERSION}-{cfg.data.seed}", "tau22": TOP}
    return Path(cfg.cache) / own[cfg.data.kind]


def _tau22(cfg: DictConfig) -> tuple[ClipSet, str | None]:
    clips = _read_tau22(cfg, root_of(cfg))
    if len(clips.clips) < (complete := OFFICIAL_ROWS[META]):
        log.info("%s has %d of the %d clips of the development set", clips.root, len(clips.clips), complete)
    return clips, cfg.data.impulses


def _synthetic(cfg: DictConfig) -> tuple[ClipSet, str | None]:
    root = write_synthetic(root_of(cfg), seed=cfg.data.seed)
    return _read_tau22(cfg, root), cfg.data.impulses or str(root / IMPULSE_FOLDER)


def _read_tau22(cfg: DictConfig, root: Path) -> ClipSet:
    lists = _subset_lists(cfg, root)
    return read_tau22(root, subset=cfg.data.subset, subset_lists=lists, name=cfg.data.kind, **_held_out(cfg))


def _folder_set(cfg: DictConfig) -> tuple[ClipSet, str | None]:
    settings = {"csv": cfg.data.csv, "test_fraction": cfg.data.test_fraction, **_held_out(cfg)}
    settings["reference_device"] = cfg.data.reference_device
    return read_folder(root_of(cfg), **settings, name=cfg.data.kind), cfg.data.impulses


def _held_out(cfg: DictConfig) -> dict[str, object]:
    return {key: cfg.data[key] for key in ("validation_fraction", "folds", "fold", "seed")}


def _fetch(cfg: DictConfig) -> None:
    """Download the data set and the lists of a subset where they are not there."""
    from data.download import download_tau22, fetch_subset_lists  # takes a while to import, and is rarely needed

    root = root_of(cfg)
    if not (root / META).exists() or (root / UNFINISHED).is_dir():
        if not cfg.data.download:
            raise UserError(f"{root} holds no complete data set and data.download=false forbids to fetch it: {HELP}")
        download_tau22(root)
    if cfg.data.subset in SUBSETS and cfg.data.download and _subset_lists(cfg, root) is None:
        fetch_subset_lists(Path(cfg.cache) / SUBSET_FOLDER)


def _subset_lists(cfg: DictConfig, root: Path) -> str | Path | None:
    """Where the subsets' lists are: as told, else with the data set, else where stage=data put them, else nowhere."""
    if cfg.data.subset_lists is not None:
        return cfg.data.subset_lists
    for folder in (root / EVALUATION, Path(cfg.cache) / SUBSET_FOLDER):
        if list_of(folder, cfg.data.subset) is not None:
            return folder
    return None


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


DATASETS: dict[str, Callable[[DictConfig], tuple[ClipSet, str | None]]] = {
    "synthetic": _synthetic,
    "tau22": _tau22,
    "folder": _folder_set,
}
# Settings of `data` that a kind does not know: to give one is a mistake, not to be passed over.
UNUSED = {
    "synthetic": ("csv", "test_fraction", "reference_device", "subset_lists"),
    "tau22": ("csv", "test_fraction", "reference_device"),
    "folder": ("subset", "subset_lists"),
}
