"""The scenes of DCASE 2013, 30 seconds each, ten of ten classes in either part: as they are published.

Conventions: the public part is `scenes_stereo/`, the private part, published later, `scenes_stereo_testset/`, both with
files such as `busystreet04.wav`. Files are cut as data/cutting.py says, and each is a location of its own.
Source: https://archive.org/details/dcase2013_scene_classification and ..._testset, which the challenge's list has.
"""

import re
from pathlib import Path

from data import bibliography
from data.clip_sets import HeldOut, complete_set
from data.errors import UserError
from data.named_files import read_names
from data.readers import Reader, Settings
from data.resources import Resource
from data.scenes import ClipSet
from data.whereabouts import meant_root

PUBLIC, PRIVATE = "scenes_stereo", "scenes_stereo_testset"
CLASSES = (
    "bus",
    "busystreet",
    "office",
    "openairmarket",
    "park",
    "quietstreet",
    "restaurant",
    "supermarket",
    "tube",
    "tubestation",
)
NAME = re.compile(r"(?P<scene>[a-z]+)\d\d\.wav")


def read_dcase2013(
    root: str | Path,
    *,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.3,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
    clip_seconds: float = 1.0,
) -> ClipSet:
    """Read either part, or both: then the private part is the test split, as it was in that challenge.

    Args:
        root: the folder that holds the parts' folders.
        test_fraction, validation_fraction, folds, fold, seed: what is held out, see HeldOut; of two parts,
            `test_fraction` does not apply.
        clip_seconds: length of a clip.

    Raises:
        UserError: there is neither part, or files are not named as published or cannot be read.
    """
    root = Path(root)
    clips = read_names(root, PUBLIC, NAME, CLASSES, "train")
    clips += read_names(root, PRIVATE, NAME, CLASSES, "test" if clips else "train")
    if not clips:
        found = meant_root(root, PUBLIC) or meant_root(root, PRIVATE)
        raise UserError(f"{root} has neither {PUBLIC} nor {PRIVATE} with sounds{found}")
    held_out = HeldOut(
        test_fraction=test_fraction, validation_fraction=validation_fraction, folds=folds, fold=fold, seed=seed
    )
    sources = [root / part for part in (PUBLIC, PRIVATE) if (root / part).is_dir()]
    return complete_set(
        clips, name="dcase2013", root=root, of=root, sources=sources, held_out=held_out, cut_into=clip_seconds
    )


def _default_root(cache: Path, settings: Settings) -> Path:
    raise UserError(f"data=dcase2013 needs data.root=FOLDER, the folder with {PUBLIC} or {PRIVATE} or both")


LINK = "https://archive.org/details/dcase2013_scene_classification"

DCASE2013 = Reader(
    title="DCASE2013 Challenge, datasets for the scene classification task",
    licence=f"as stated at {LINK}",
    citation=bibliography.DCASE2013,
    read=read_dcase2013,
    default_root=_default_root,
    resources=tuple(
        Resource(
            f"DCASE2013 Challenge - {part} Dataset for Scene Classification Task", link, licence=f"as stated at {link}"
        )
        for part, link in (("Public", LINK), ("Private", f"{LINK}_testset"))
    ),
)
