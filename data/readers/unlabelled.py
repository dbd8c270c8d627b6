"""Any folder of sound files of any length, without labels: for teachers, and for students that learn from them alone.

Conventions: files are cut as data/cutting.py says. A file is one location: its clips are all trained on, or all held
out.
"""

import logging
from collections import Counter
from pathlib import Path

from data.cutting import cut_files
from data.errors import UserError
from data.readers import Reader, Settings
from data.scenes import Clip, ClipSet
from data.sound_files import SUFFIXES, list_sounds
from data.splits import hold_out

DEVICE = "device"  # of all files

log = logging.getLogger(__name__)


def read_unlabelled(
    root: str | Path,
    *,
    clip_seconds: float = 1.0,
    validation_fraction: float = 0.3,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
) -> ClipSet:
    """The clips of all sound files in a folder and in the folders below it; only their headers are read.

    Args:
        root: the folder.
        clip_seconds: length of a clip.
        validation_fraction, folds, fold, seed: share of the clips, by file, that becomes the validation split; see
            data/splits.py.

    Raises:
        UserError: there are no sound files, or one alone and clips are to be held out; or some cannot be read (all of
            them listed).
    """
    root = Path(root)
    files = list_sounds(root, deep=True).sounds
    if not files:
        raise UserError(
            f"data.root={root} holds no sound files, also not in folders below it; such names end in "
            f"{', '.join(SUFFIXES)}"
        )
    names = [path.relative_to(root).as_posix() for path in files]
    clips = cut_files([Clip(name, "", "", name, name, 0, DEVICE, "train") for name in names], root, clip_seconds)
    if len(files) == 1 and (validation_fraction or folds is not None):
        without = "" if folds is None else "leave data.folds and data.fold out and "
        raise UserError(
            f"{root} has one sound file, which cannot be divided: {without}set data.validation_fraction=0, or add files"
        )
    clips = hold_out(clips, fraction=validation_fraction, folds=folds, fold=fold, seed=seed)
    counts = Counter(clip.split for clip in clips)
    log.info("%d files: %s", len(files), ", ".join(f"{n} {split} clips" for split, n in counts.items()))
    return ClipSet(
        name="unlabelled",
        root=root,
        clips=clips,
        scenes=(),
        device_groups={},
        reference_device=DEVICE,
        is_labelled=False,
        is_cut=True,
    )


def _default_root(cache: Path, settings: Settings) -> Path:
    raise UserError("data=unlabelled needs data.root=FOLDER, a folder of sound files")


UNLABELLED = Reader(
    title="Sounds without labels",
    licence="that of their authors",
    citation="",
    read=read_unlabelled,
    default_root=_default_root,
    is_labelled=False,
    is_split_by_settings=True,
)
