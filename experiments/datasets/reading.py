"""From the settings of `data` to clips and packed waves: read the lists, fetch what is missing, pack once.

Nothing here needs PyTorch, so that the data stage answers at once when there is nothing to do.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from data.audio import sounds_in
from data.errors import UserError, unknown
from data.files import write_whole
from data.folder import read_folder
from data.impulse import read_impulses
from data.packing import is_current, pack, source_of
from data.scenes import ClipSet
from data.synthetic import IMPULSE_FOLDER, VERSION, write_synthetic
from data.tau22 import EVALUATION, HELP, META, OFFICIAL_ROWS, SUBSETS, TOP, UNFINISHED, list_of, read_tau22
from experiments.settings.shared import DataSettings

RECEIPT = "packed.json"
SUBSET_FOLDER = "dcase2024-subsets"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Packed:
    """A data set whose waves are packed; `responses` are impulse responses, float32 (R, L), or None."""

    clips: ClipSet
    waves: Path
    responses: np.ndarray | None


def read_and_pack(settings: DataSettings, cache: Path) -> Packed:
    """Read and pack a data set; errors: see read_clips and data/packing.py."""
    clips, impulses = read_clips(settings, cache)
    responses = read_impulses(impulses, settings.sample_rate) if impulses else None
    waves = pack(
        clips,
        _cache_of(settings, cache, clips.root),
        sample_rate=settings.sample_rate,
        clip_seconds=settings.clip_seconds,
    )
    return Packed(clips, waves, responses)


def read_clips(settings: DataSettings, cache: Path) -> tuple[ClipSet, str | None]:
    """The clips of a data set, and the folder of its impulse responses.

    Raises:
        UserError: see the readers; a split is empty.
    """
    require_known(settings)
    clips, impulses = DATASETS[settings.kind](settings, cache)
    for split in ("train", "validation", "test"):
        clips.indices(split)  # an empty one is found now, not after a training
    return clips, impulses


def require_known(settings: DataSettings) -> None:
    """Check the kind of data set, and that it takes the settings that are given.

    Raises:
        UserError: the kind is unknown, or a setting means nothing to it.
    """
    if settings.kind not in DATASETS:
        unknown("data.kind", settings.kind, DATASETS)
    defaults = {each.name: each.default for each in fields(settings)}
    for key in UNUSED[settings.kind]:
        if (value := getattr(settings, key)) != defaults[key]:
            raise UserError(f"data.{key}={value} means nothing to data={settings.kind}: leave it out")


def root_of(settings: DataSettings, cache: Path) -> Path:
    """The folder of the data set: data.root, or where it goes if that is not set."""
    if settings.root is not None:
        return Path(settings.root)
    if settings.kind == "folder":
        if settings.csv is None:
            raise UserError("data=folder needs data.root=FOLDER (with clips.csv), or data.csv=FILE, or both")
        return Path(settings.csv).parent
    own = {"synthetic": f"synthetic-v{VERSION}-{settings.seed}", "tau22": TOP}
    return cache / own[settings.kind]


def fetch(settings: DataSettings, cache: Path) -> None:
    """Download the data set and the lists of a subset where they are not there."""
    if settings.kind != "tau22":
        return
    from data.download import download_tau22, fetch_subset_lists  # takes a while to import, and is rarely needed

    root = root_of(settings, cache)
    if not (root / META).exists() or (root / UNFINISHED).is_dir():
        if not settings.download:
            raise UserError(f"{root} holds no complete data set and data.download=false forbids to fetch it: {HELP}")
        download_tau22(root)
    if settings.subset in SUBSETS and settings.download and _subset_lists(settings, cache, root) is None:
        fetch_subset_lists(cache / SUBSET_FOLDER)


def unchanged(settings: DataSettings, cache: Path) -> Path | None:
    """The packed waves, if a data set was packed with the same settings and nothing has changed since; see `note`."""
    try:
        root = root_of(settings, cache)
        receipt = json.loads((_cache_of(settings, cache, root) / RECEIPT).read_text())
        seen = receipt["files"]
        same = receipt["settings"] == asdict(settings) and seen == _stamps([*seen, *_wavs(settings.impulses)])
        waves = Path(receipt["waves"])
        return waves if same and is_current(waves, receipt["source"], root) else None
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None


def note(settings: DataSettings, packed: Packed) -> None:
    """Write down beside the packed waves what they depend on."""
    receipt = {
        "settings": asdict(settings),
        "waves": str(packed.waves),
        "source": source_of(packed.waves),
        "files": _stamps([*packed.clips.sources, *_wavs(settings.impulses)]),
    }
    write_whole(packed.waves.parent / RECEIPT, json.dumps(receipt, indent=1).encode())


def _tau22(settings: DataSettings, cache: Path) -> tuple[ClipSet, str | None]:
    clips = _read_tau22(settings, cache, root_of(settings, cache))
    if len(clips.clips) < (complete := OFFICIAL_ROWS[META]):
        log.info("%s has %d of the %d clips of the development set", clips.root, len(clips.clips), complete)
    return clips, settings.impulses


def _synthetic(settings: DataSettings, cache: Path) -> tuple[ClipSet, str | None]:
    root = write_synthetic(root_of(settings, cache), seed=settings.seed)
    return _read_tau22(settings, cache, root), settings.impulses or str(root / IMPULSE_FOLDER)


def _read_tau22(settings: DataSettings, cache: Path, root: Path) -> ClipSet:
    return read_tau22(
        root,
        subset=settings.subset,
        subset_lists=_subset_lists(settings, cache, root),
        name=settings.kind,
        validation_fraction=settings.validation_fraction,
        folds=settings.folds,
        fold=settings.fold,
        seed=settings.seed,
    )


def _folder_set(settings: DataSettings, cache: Path) -> tuple[ClipSet, str | None]:
    clips = read_folder(
        root_of(settings, cache),
        csv=settings.csv,
        test_fraction=settings.test_fraction,
        validation_fraction=settings.validation_fraction,
        folds=settings.folds,
        fold=settings.fold,
        seed=settings.seed,
        reference_device=settings.reference_device,
        name=settings.kind,
    )
    return clips, settings.impulses


def _subset_lists(settings: DataSettings, cache: Path, root: Path) -> str | Path | None:
    """Where the subsets' lists are: as told, else with the data set, else where they are fetched to, else nowhere."""
    if settings.subset_lists is not None:
        return settings.subset_lists
    for folder in (root / EVALUATION, cache / SUBSET_FOLDER):
        if list_of(folder, settings.subset) is not None:
            return folder
    return None


def _cache_of(settings: DataSettings, cache: Path, root: Path) -> Path:
    """A folder of its own for each root, table and length, so that they do not take turns in one store."""
    root = root.resolve()
    table = "" if settings.csv is None else Path(settings.csv).resolve()
    key = f"{root}\n{table}\n{settings.clip_seconds}"
    return cache / f"{root.name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _wavs(folder: str | None) -> list[Path]:
    return [] if folder is None else sounds_in(folder)


def _stamps(paths: Iterable[str | Path]) -> dict[str, list[int]]:
    """Size and time of modification of some files."""
    return {str(path): [Path(path).stat().st_size, Path(path).stat().st_mtime_ns] for path in paths}


DATASETS: dict[str, Callable[[DataSettings, Path], tuple[ClipSet, str | None]]] = {
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
