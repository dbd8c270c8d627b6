"""CochlScene, 76 thousand sounds of ten seconds of 13 scenes, recorded by 831 people, in its authors' splits.

Conventions: files are `Train/Bus/Bus_user0138_14982403_007.wav` (split, class, user, recording, part of it). All
recordings of a user are one location. Files are cut as data/cutting.py says.
Source: https://zenodo.org/records/7080122
"""

import re
from pathlib import Path

from data import bibliography
from data.clip_sets import HeldOut, complete_set
from data.errors import UserError
from data.named_files import read_names
from data.named_splits import split_named
from data.readers import Reader, Settings
from data.resources import Resource
from data.scenes import ClipSet
from data.whereabouts import meant_root

FOLDERS = ("Train", "Val", "Test")
CLASSES = (
    "Bus",
    "Cafe",
    "Car",
    "CrowdedIndoor",
    "Elevator",
    "Kitchen",
    "Park",
    "ResidentialArea",
    "Restaurant",
    "Restroom",
    "Street",
    "Subway",
    "SubwayStation",
)
NAME = re.compile(r"(?P<scene>\w+)/(?P=scene)_(?P<location>user\d+)_\d+_\d+\.wav")


def read_cochlscene(root: str | Path, *, clip_seconds: float = 1.0) -> ClipSet:
    """Read the three splits.

    Args:
        root: the folder that holds FOLDERS.
        clip_seconds: length of a clip.

    Raises:
        UserError: a split is missing or empty, or files are not named as published or cannot be read.
    """
    root = Path(root)
    of_folders = {each: read_names(root, each, NAME, CLASSES, split_named(each)) for each in FOLDERS}
    if empty := [each for each, clips in of_folders.items() if not clips]:
        raise UserError(f"{root} has no sounds in {', '.join(empty)}{meant_root(root, empty[0])}")
    return complete_set(
        [clip for clips in of_folders.values() for clip in clips],
        name="cochlscene",
        root=root,
        of=root,
        sources=[root / split / scene for split in FOLDERS for scene in CLASSES if (root / split / scene).is_dir()],
        held_out=HeldOut(),
        cut_into=clip_seconds,
    )


def _default_root(cache: Path, settings: Settings) -> Path:
    raise UserError(f"data=cochlscene needs data.root=FOLDER, the folder with {', '.join(FOLDERS)}")


LINK = "https://zenodo.org/records/7080122"
LICENCE = f"as stated at {LINK}"

COCHLSCENE = Reader(
    title="CochlScene",
    licence=LICENCE,
    citation=bibliography.COCHLSCENE,
    read=read_cochlscene,
    default_root=_default_root,
    resources=(Resource("CochlScene", LINK, licence=LICENCE),),
)
