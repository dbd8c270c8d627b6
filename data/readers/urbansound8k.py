"""UrbanSound8K, 8,732 clips of up to four seconds of ten sounds of cities, in the ten folds of its authors.

Conventions: clips that were cut from one recording are of one location; one in two folds is a location in each.
Source: https://urbansounddataset.weebly.com/urbansound8k.html
"""

from pathlib import Path

from data import bibliography
from data.clip_sets import HeldOut
from data.columns import Columns
from data.published_tables import Published
from data.ranges import Fold
from data.readers import Reader
from data.resources import Resource
from data.scenes import ClipSet

LAYOUT = Published(
    name="urbansound8k",
    table="metadata/UrbanSound8K.csv",
    columns=Columns(
        filename="audio/fold{fold}/{slice_file_name}",
        label="class",
        device=None,
        location="{fold}-{fsID}",
        split="fold",
    ),
)


def read_urbansound8k(
    root: str | Path,
    *,
    test_fold: Fold | None = None,
    validation_fold: Fold | None = None,
    validation_fraction: float = 0.3,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
) -> ClipSet:
    """Read UrbanSound8K; arguments and errors as of Published.read and HeldOut."""
    held_out = HeldOut(validation_fraction=validation_fraction, folds=folds, fold=fold, seed=seed)
    return LAYOUT.read(root, test_fold=test_fold, validation_fold=validation_fold, held_out=held_out)


LICENCE = "Creative Commons Attribution-NonCommercial 3.0"

URBANSOUND8K = Reader(
    title="UrbanSound8K",
    licence=LICENCE,
    citation=bibliography.URBANSOUND8K,
    read=read_urbansound8k,
    default_root=lambda cache, settings: LAYOUT.require_root(),
    resources=(Resource("UrbanSound8K", "https://urbansounddataset.weebly.com/urbansound8k.html", licence=LICENCE),),
)
