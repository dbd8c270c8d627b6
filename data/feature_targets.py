"""Teachers' features as targets of a student: of each clip what a layer of the teacher gave, averaged over positions.

Conventions: features stand in the column `features` of a logits file, float16 (N, channels), beside the logits of the
same clips. As targets each channel is standardised: mean 0 and deviation 1 over the clips that are trained on, so that
a loss has the same scale for every teacher and layer; a student that knows nothing but the mean has a mean squared
error of 1.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.logits_file import FEATURES, FeatureColumn, open_logits, values_of
from data.settings import POOLED

SOME = 64  # channels that are standardised at once

log = logging.getLogger(__name__)


def kept_features(path: str | Path) -> FeatureColumn | None:
    """What the features in a logits file are of; None: it has none.

    Raises:
        UserError: the file is missing, damaged or unfinished; see open_logits.
    """
    return open_logits(path).features


def require_features(paths: Sequence[str | Path]) -> list[Path]:
    """Those of some logits files that hold features.

    Raises:
        UserError: none does; or a file is missing, damaged or unfinished.
    """
    found = [Path(path) for path in paths if kept_features(path) is not None]
    if not found:
        names = ", ".join(map(str, paths))
        raise UserError(
            f"{names}: no features of a teacher are kept there, which student.distill.features learns: write them with "
            f"teacher.features={POOLED}, by a teacher that is trained already with only=logits too (an ensemble's file "
            "has none: name a member's beside it), or set student.distill.features=0"
        )
    return found


def read_features(path: str | Path, filenames: Sequence[str]) -> np.ndarray:
    """The features of the given clips as they were written, float16 (len(filenames), channels), in the order asked for.

    Raises:
        UserError: the file is missing, damaged or unfinished, has no features, lacks clips (listed), or holds values
            that are not numbers.
    """
    require_features([path])
    return values_of(open_logits(path).store, filenames, FEATURES)


def feature_targets(paths: Sequence[str | Path], filenames: Sequence[str], trained_on: np.ndarray) -> np.ndarray:
    """Standardised features of the given clips by all of the files that hold some, side by side, float16
    (len(filenames), channels of all together).

    Args:
        paths: logits files.
        filenames: of the clips.
        trained_on: rows of the clips that means and deviations are taken over.

    Raises:
        UserError: no file holds features, or those of the clips that are trained on are all the same; see
            read_features.
    """
    found = []
    for path in require_features(paths):
        column = standardised(read_features(path, filenames), trained_on)
        if not column.any():
            raise UserError(
                f"{path}: the features are the same for all clips that are trained on: choose another layer"
            )
        log.info("features of %s: %s, %d channels", path, *(kept_features(path) or ()))
        found.append(column)
    return found[0] if len(found) == 1 else np.concatenate(found, axis=1)


def standardised(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Features (N, channels) less their mean over some rows, divided by their deviation, float16; a channel that does
    not vary over these rows is 0 everywhere."""
    result, largest = np.zeros(features.shape, np.float16), np.finfo(np.float16).max
    for start in range(0, features.shape[1], SOME):
        some = features[:, start : start + SOME].astype(np.float32)
        mean, deviation = (of(some[rows], axis=0, dtype=np.float64) for of in (np.mean, np.std))
        varies = deviation > 0
        some = (some - mean) / np.where(varies, deviation, 1) * varies
        result[:, start : start + SOME] = some.clip(-largest, largest)
    return result
