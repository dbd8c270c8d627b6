"""From the settings of `data` to clips and packed waves: read the lists, fetch what is missing, pack once.

Nothing here needs PyTorch, so that the data stage answers at once when there is nothing to do.
"""

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data import readers
from data.errors import UserError
from data.evaluation_set import require_none_of_evaluation
from data.files import write_whole
from data.impulse import read_impulses, uses_of_impulses
from data.packing import alone, is_current, pack, source_of
from data.resources import Use
from data.scenes import ClipSet
from data.settings import identity_of
from data.sound_files import list_sounds
from experiments.settings.data_set import DataSettings

RECEIPT = "packed.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Packed:
    """A data set whose waves are packed; `responses` are impulse responses, float32 (R, L), or None, and `external`
    what those are that others measured."""

    clips: ClipSet
    waves: Path
    responses: np.ndarray | None
    external: tuple[Use, ...] = ()


def read_and_pack(settings: DataSettings, cache: Path) -> Packed:
    """Read and pack a data set; errors: see read_clips and data/packing.py."""
    clips = read_clips(settings, cache)
    impulses = settings.impulses or readers.impulse_folder(settings.kind, clips.root)
    if impulses:
        require_none_of_evaluation(map(str, list_sounds(impulses).sounds))
    responses = read_impulses(impulses, settings.sample_rate) if impulses else None
    waves = pack(
        clips,
        _cache_of(settings, cache, clips.root),
        sample_rate=settings.sample_rate,
        clip_seconds=settings.clip_seconds,
    )
    external = uses_of_impulses(settings.impulses) if settings.impulses else []
    return Packed(clips, waves, responses, tuple(external))


def read_clips(settings: DataSettings, cache: Path) -> ClipSet:
    """The clips of a data set.

    Raises:
        UserError: see data/readers/; a split is empty.
    """
    return readers.read(settings.kind, settings.root, reader_settings(settings), cache=cache)


def require_known(settings: DataSettings, cache: Path) -> None:
    """Check the kind of data set, that it takes the settings that are given, and that they name a folder for it.

    Raises:
        UserError: the kind is unknown, settings mean nothing to it, or it needs a folder that is not given.
    """
    readers.own_settings(settings.kind, reader_settings(settings))
    readers.root_of(settings.kind, settings.root, reader_settings(settings), cache=cache)


def reader_settings(settings: DataSettings) -> dict[str, Any]:
    """The settings by name, those of the reader's own (`data.arguments`) among them."""
    values = dict(vars(settings))
    return values | values.pop("arguments")


def fetch(settings: DataSettings, cache: Path) -> None:
    """Download what is missing of the data set, where its reader can.

    Raises:
        UserError: it is incomplete and data.download=false, or it cannot be fetched.
    """
    readers.fetch(settings.kind, settings.root, reader_settings(settings), cache=cache, download=settings.download)


def unchanged(settings: DataSettings, cache: Path) -> Path | None:
    """The packed waves, if a data set was packed with the same settings and nothing has changed since; see `note`."""
    try:
        root = readers.root_of(settings.kind, settings.root, reader_settings(settings), cache=cache)
        receipt = json.loads((_cache_of(settings, cache, root) / RECEIPT).read_text())
        seen = receipt["files"]
        same = receipt["settings"] == identity_of(settings) and seen == _stamps([*seen, *_sounds(settings.impulses)])
        waves = Path(receipt["waves"])
        return waves if same and is_current(waves, receipt["source"], root) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, UserError):  # it is damaged, or not there
        return None


def note(settings: DataSettings, packed: Packed) -> None:
    """Write down beside the packed waves what they depend on."""
    receipt = {
        "settings": identity_of(settings),
        "waves": str(packed.waves),
        "source": source_of(packed.waves),
        "files": _stamps([*packed.clips.sources, *_sounds(settings.impulses)]),
    }
    path = packed.waves.parent / RECEIPT
    try:
        with alone(packed.waves):
            write_whole(path, json.dumps(receipt, indent=1))
    except (OSError, UserError) as error:  # the waves are there all the same
        log.warning("%s is not written, so that the lists are read again next time: %s", path, error)


def _cache_of(settings: DataSettings, cache: Path, root: Path) -> Path:
    """A folder of its own for each root, table and length, so that they do not take turns in one store."""
    root = root.resolve()
    table = "" if settings.csv is None else Path(settings.csv).resolve()
    key = f"{root}\n{table}\n{settings.clip_seconds}"
    return cache / f"{root.name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _sounds(folder: str | None) -> list[Path]:
    return [] if folder is None else list_sounds(folder).sounds


def _stamps(paths: Iterable[str | Path]) -> dict[str, list[int]]:
    """Size and time of modification of some files."""
    return {str(path): [Path(path).stat().st_size, Path(path).stat().st_mtime_ns] for path in paths}
