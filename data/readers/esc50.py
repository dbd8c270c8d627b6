"""ESC-50, 2,000 clips of five seconds of 50 everyday sounds, in the five folds of its authors.

Conventions: a source recording that has clips in two folds is a location in each, so that the folds stay as they are.
Source: https://github.com/karolpiczak/ESC-50
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
    name="esc50",
    table="meta/esc50.csv",
    columns=Columns(
        filename="audio/{filename}",
        label="category",
        device=None,
        location="{fold}-{src_file}",
        split="fold",
    ),
)


def read_esc50(
    root: str | Path,
    *,
    test_fold: Fold | None = None,
    validation_fold: Fold | None = None,
    validation_fraction: float = 0.3,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
) -> ClipSet:
    """Read ESC-50; arguments and errors as of Published.read and HeldOut."""
    held_out = HeldOut(validation_fraction=validation_fraction, folds=folds, fold=fold, seed=seed)
    return LAYOUT.read(root, test_fold=test_fold, validation_fold=validation_fold, held_out=held_out)


MINUTES = 2000 * 5 / 60
LICENCE = "Creative Commons Attribution-NonCommercial 3.0"

ESC50 = Reader(
    title="ESC-50: Dataset for Environmental Sound Classification",
    licence=LICENCE,
    citation=bibliography.ESC50,
    read=read_esc50,
    default_root=lambda cache, settings: LAYOUT.require_root(),
    resources=(Resource("ESC-50", "https://github.com/karolpiczak/ESC-50", MINUTES, licence=LICENCE),),
)
