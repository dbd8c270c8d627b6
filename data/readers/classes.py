"""Any folder of sounds with a folder for each class, whose name is the class; maybe in folders of splits.

Conventions: sounds are those of data/sound_files.py, at any depth below a class's folder: `owl/1.wav`, `owl/may/2.wav`.
Where all folders with sounds are named like splits (train, val or validation, test, unused), the classes are in these:
`train/owl/1.wav`. Every file is a location of its own.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from data.clip_sets import HeldOut, complete_set
from data.clip_table import ONE_DEVICE
from data.errors import UserError, listed
from data.named_splits import split_named
from data.readers import Reader, Settings
from data.scenes import SPLITS, Clip, ClipSet
from data.sound_files import SUFFIXES, folders_around, list_sounds
from data.tables import untabular

log = logging.getLogger(__name__)


def read_classes(
    root: str | Path,
    *,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.3,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
    cut: bool = False,
    clip_seconds: float = 1.0,
) -> ClipSet:
    """The sounds of a folder of classes.

    Args:
        root: the folder.
        test_fraction, validation_fraction, folds, fold, seed: what is held out where no folder is named like a split;
            see HeldOut.
        cut: whether each file is cut into clips of `clip_seconds`, and not one clip.
        clip_seconds: length of a clip.

    Raises:
        UserError: there are no sounds, or some in no folder of a class; there are fewer than two classes, or some
            without train clips; names are no UTF-8.
    """
    root = Path(root)
    paths = [path.relative_to(root) for path in list_sounds(root, deep=True).sounds]
    if not paths:
        raise UserError(
            f"data.root={root} holds no sound files, also not in folders below it; such names end in "
            f"{', '.join(SUFFIXES)}"
        )
    if strange := untabular([path.as_posix() for path in paths]):
        raise UserError(f"{len(strange)} names below {root} are no UTF-8:\n{listed(strange)}\nrename them")
    folders = sorted({path.parts[0] for path in paths if len(path.parts) > 1})
    splits = {name: split_named(name) for name in folders}
    depth = 1 if folders and set(splits.values()) <= {*SPLITS} else 0  # of the classes' folders
    if loose := [path.as_posix() for path in paths if len(path.parts) < depth + 2]:
        raise UserError(
            f"{root} has {len(loose)} sounds in no folder of a class:\n{listed(loose)}\n"
            "move each into a folder that is named like its class, or make a table for data=folder"
        )
    _require_classes(root, paths, depth)
    _warn_of_empty(root, folders)
    clips = [
        Clip(name, path.parts[depth], "", name, name, 0, ONE_DEVICE, splits[path.parts[0]] if depth else "train")
        for path, name in ((path, path.as_posix()) for path in paths)
    ]
    log.warning("%s: files of one recording may come to train and validation: a table for data=folder can say so", root)
    held_out = HeldOut(
        test_fraction=test_fraction, validation_fraction=validation_fraction, folds=folds, fold=fold, seed=seed
    )
    return complete_set(
        clips,
        name="classes",
        root=root,
        of=root,
        sources=folders_around(root, paths),
        held_out=held_out,
        cut_into=clip_seconds if cut else None,
    )


def _require_classes(root: Path, paths: Sequence[Path], depth: int) -> None:
    """Check that there are two classes at least."""
    if len(classes := {path.parts[depth] for path in paths}) > 1:
        return
    (only,) = classes
    inside = Path(*paths[0].parts[: depth + 1])
    below = {path.parts[depth + 1] for path in paths if len(path.parts) > depth + 2}
    nested = f"if its folders are the classes, say data.root={root / inside}" if len(below) > 1 and not depth else ""
    raise UserError(
        f"{root} has one class, {only}: there must be two, each a folder of sounds{nested and f'; {nested}'}"
    )


def _warn_of_empty(root: Path, folders: Sequence[str]) -> None:
    """Name the folders of the root that hold no sounds: they are no classes."""
    with os.scandir(root) as entries:
        empty = sorted(
            {each.name for each in entries if each.is_dir() and not each.name.startswith(".")} - set(folders)
        )
    if empty:
        log.warning("%s: %d folders hold no sounds and are no classes:\n%s", root, len(empty), listed(empty))


def _default_root(cache: Path, settings: Settings) -> Path:
    raise UserError("data=classes needs data.root=FOLDER, a folder with a folder of sounds for each class")


CLASSES = Reader(
    title="Folders of sound files, one for each class",
    licence="that of the files",
    citation="",
    read=read_classes,
    default_root=_default_root,
)
