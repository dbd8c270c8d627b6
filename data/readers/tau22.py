"""TAU Urban Acoustic Scenes 2022 Mobile, the data of DCASE Task 1: fetched if need be, and read as it is published."""

import logging
from pathlib import Path

from data import bibliography
from data.errors import UserError
from data.official_layout import OFFICIAL_ROWS, SUBSETS, WHOLE, list_of, read_official
from data.readers import Reader, Settings
from data.records import DEVELOPMENT, META, RECORDS, RULE, SETUP, UNFINISHED
from data.scenes import ClipSet
from data.whereabouts import meant_root

SUBSET_FOLDER = "dcase2024-subsets"  # below the cache: where the subsets' lists are fetched to

log = logging.getLogger(__name__)


def read_tau22(
    root: str | Path,
    *,
    part: str = DEVELOPMENT,
    subset: int = WHOLE,
    subset_lists: str | Path | None = None,
    validation_fraction: float = 0.3,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
    cache: Path | None = None,
) -> ClipSet:
    """Read the development set; arguments and errors as of read_official.

    Args:
        part: of the data set; the other one has no labels, and is not for a network to learn from.
        subset_lists: folder of the subsets' lists; None: evaluation_setup/, or where they were fetched to.
        cache: below which that is.
    """
    if part != DEVELOPMENT:
        raise UserError(f"data.part={part} can be fetched and checked, and is read by nothing that learns: {RULE}")
    clips = read_official(
        root,
        name="tau22",
        subset=subset,
        subset_lists=_lists_of(Path(root), cache, subset) if subset_lists is None else subset_lists,
        validation_fraction=validation_fraction,
        folds=folds,
        fold=fold,
        seed=seed,
    )
    if len(clips.clips) < (complete := OFFICIAL_ROWS[META]):
        log.info("%s has %d of the %d clips of the development set", clips.root, len(clips.clips), complete)
    return clips


def fetch_tau22(root: Path, cache: Path, settings: Settings, download: bool) -> None:
    """Download the part of the data set that the settings name, and the lists of a subset, where they are not there.

    Raises:
        UserError: the data set is incomplete and must not be downloaded; or see data/download.py.
    """
    from data.download import download_tau22, fetch_subset_lists  # takes a while to import, and is rarely needed

    record = RECORDS[settings.get("part", DEVELOPMENT)]
    if not (root / record.marker).exists() or (root / UNFINISHED).is_dir():
        if not download:
            raise UserError(
                f"{root} holds no complete data set and data.download=false forbids to fetch it: {record.help}"
                f"{meant_root(root, record.marker)}"
            )
        download_tau22(root, record)
    if record is not RECORDS[DEVELOPMENT]:
        return
    subset = settings.get("subset", WHOLE)
    lists = settings.get("subset_lists") or _lists_of(root, cache, subset)
    if subset in SUBSETS and download and lists is None:
        fetch_subset_lists(cache / SUBSET_FOLDER)


def _lists_of(root: Path, cache: Path | None, subset: int) -> Path | None:
    """The folder that holds a subset's list: the data set's own, or that of the fetched ones; None if neither does."""
    folders = [root / SETUP, *([] if cache is None else [cache / SUBSET_FOLDER])]
    return next((folder for folder in folders if list_of(folder, subset) is not None), None)


TAU22 = Reader(
    title="TAU Urban Acoustic Scenes 2022 Mobile, development set",
    licence=RECORDS[DEVELOPMENT].terms,
    citation=" ".join(bibliography.ASKED_FOR),
    read=read_tau22,
    default_root=lambda cache, settings: cache / RECORDS[settings.get("part", DEVELOPMENT)].top,
    fetch=fetch_tau22,
    is_challenge=True,
    is_split_by_settings=True,
)
