"""A teacher's logits of every clip, in one file: the only thing that teachers and students share.

Conventions: `logits` is float32 (N, classes), columns in the order of the attribute `scenes`, rows keyed by
`filename`. A teacher that was given several shifts of each clip adds `by_shift`, float32 (N, shifts, classes), and
the attribute `shifts`, in samples; its `logits` are the mean over them. A teacher whose features are kept adds
`features`, float16 (N, channels): see feature_targets.py. Logits of clips that may have several classes have the
attribute `multi_label`, 1. Readers join by filename and compare the scenes, and this, on every read; nothing is ever
joined by row. While it is being filled the file is called `*.partial.h5`; the finished name holds finished logits only.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.errors import UserError, in_short
from data.files import replacing
from data.locks import locked
from data.logits_file import (
    BY_SHIFT,
    FEATURES,
    LOGITS,
    FeatureColumn,
    in_half,
    open_logits,
    planned,
    shapes,
    signed,
    unusable,
    values_of,
)
from data.store import DamagedStoreError, Store, create

log = logging.getLogger(__name__)


class LogitsWriter:
    """Fill a logits file row by row; a killed writer's file is taken up again where it stopped."""

    def __init__(
        self,
        path: str | Path,
        filenames: Sequence[str],
        scenes: Sequence[str],
        identity: Mapping[str, object],
        shifts: Sequence[int] = (),
        features: FeatureColumn | None = None,
    ) -> None:
        """Open or lay out the partial file.

        Args:
            path: the finished file.
            filenames: keys, one a row.
            scenes: the classes, in the order of the columns.
            identity: what the logits depend on (teacher, its config, sha256 of its weights, digest of the waves); a
                partial file of another identity is thrown away.
            shifts: samples; of the copies of each clip that the teacher is given, where there are several.
            features: what the features are of that are kept beside the logits; None: there are none.
        """
        self.path = Path(path)
        self.partial = self.path.with_suffix(".partial.h5")
        self._filenames = list(filenames)
        self._attributes, self._columns = planned(scenes, identity, shifts, features)
        self._features = features
        lock = locked(
            Path(f"{self.partial}.lock"),
            f"writing {self.path}",
            otherwise="choose another name",
            elsewhere="choose another folder",
        )
        with ExitStack() as stack:
            stack.enter_context(lock)
            self._store = self._taken_up() or self._laid_out()
            self._lock = stack.pop_all()

    def _laid_out(self) -> Store:
        create(self.partial, self._filenames, self._columns, self._attributes)
        return Store(self.partial, LOGITS)

    def _taken_up(self) -> Store | None:
        """The partial file of a writer before, if it is of the same logits and not damaged."""
        if not self.partial.exists():
            return None
        try:
            store = Store(self.partial, LOGITS)
        except DamagedStoreError as error:
            log.warning("%s is started again, it is damaged: %s", self.partial, error.reason)
            return None
        wanted = {name: (len(self._filenames), *row) for name, (_, row) in self._columns.items()}
        if (store.attributes, store.filenames, shapes(store)) != (self._attributes, self._filenames, wanted):
            log.info("%s is started again: it is of other clips, weights or settings", self.partial)
            return None
        if len(bad := unusable(store)):
            log.warning("%s: %d clips are computed again, their logits are not numbers", self.partial, len(bad))
            store.reset(bad)
        return store

    @property
    def missing(self) -> np.ndarray:
        """Rows without logits, int64."""
        return self._store.missing

    def fill(self, rows: Sequence[int], logits: np.ndarray, features: np.ndarray | None = None) -> None:
        """Write the logits of some rows, (len(rows), classes), or of several shifts (len(rows), shifts, classes), and
        their features (len(rows), channels), if the file has them.

        Raises:
            UserError: features are not numbers, or larger than float16 can hold.
        """
        if logits.ndim == 2:
            logits = logits[:, None]
        more = {BY_SHIFT: logits} if BY_SHIFT in self._columns else {}
        if self._features is not None:
            assert features is not None
            more[FEATURES] = in_half(features, self.path, self._features.layer)
        self._store.fill(rows, logits=logits.mean(axis=1), **more)

    def values(self) -> np.ndarray:
        """All logits so far, (N, classes)."""
        return np.array(self._store["logits"])

    def seal(self, **accuracies: float) -> None:
        """Give the file its final name, with the accuracies the logits have; every row must be done."""
        with self._lock:
            self._store.require_done()
            rows, values = range(len(self._filenames)), {name: np.array(self._store[name]) for name in self._columns}
            attributes = signed({**self._attributes, **accuracies}, self._filenames, values)
            with replacing(self.path) as finished:
                create(finished, self._filenames, self._columns, attributes)
                Store(finished, LOGITS).fill(rows, **values)
            self.partial.unlink()


def read_logits(
    path: str | Path,
    filenames: Sequence[str],
    scenes: Sequence[str],
    column: str = "logits",
    is_multi_label: bool = False,
) -> np.ndarray:
    """The logits of the given clips, float32 (len(filenames), classes), in the order asked for.

    Args:
        path, filenames, scenes: the file, which clips of it, and the classes that it must be of.
        column: "logits", or BY_SHIFT: (len(filenames), shifts, classes).
        is_multi_label: whether they must be of clips that may have several classes.

    Raises:
        UserError: the file is missing, damaged, unfinished, of other scenes or another order of them, of the other kind
            of labels, lacks clips (listed), or holds values that are not numbers.
    """
    opened = open_logits(path)
    opened.require_kind(is_multi_label=is_multi_label)
    if opened.scenes != list(scenes):
        raise UserError(
            f"{path} has the scenes {in_short(opened.scenes)}, the data set has {in_short(list(scenes))}: logits are "
            "comparable only if both have the same scenes in the same order; write logits of this data set"
        )
    if column == BY_SHIFT and not opened.shifts:
        raise UserError(f"{path} has no logits of single shifts: write the logits again")
    return values_of(opened.store, filenames, column)


class Logits(NamedTuple):
    """The content of a logits file: the clips' names, the classes, and logits float32 (clips, classes)."""

    filenames: list[str]
    scenes: tuple[str, ...]
    logits: np.ndarray


def load_logits(path: str | Path) -> Logits:
    """Everything in a finished logits file.

    Raises:
        UserError: the file is missing, damaged or unfinished; see read_logits.
    """
    store, scenes, *_ = open_logits(path)
    return Logits(store.filenames, tuple(scenes), values_of(store, store.filenames, "logits"))


def common_shifts(paths: Sequence[str | Path]) -> tuple[int, ...]:
    """The shifts in samples that all of the files have logits of.

    Raises:
        UserError: a file has none, or others.
    """
    found = [open_logits(path).shifts for path in paths]
    for path, shifts in zip(paths, found, strict=True):
        if not shifts:
            raise UserError(
                f"{path} has no logits of single shifts: write it with teacher.shifts=3 (or more), or leave "
                "student.distill.shifts=mean"
            )
        if shifts != found[0]:
            raise UserError(f"{path} has the shifts {shifts}, {paths[0]} has {found[0]}: write them with equal ones")
    return tuple(found[0])


def read_several(
    paths: Sequence[str | Path],
    filenames: Sequence[str],
    scenes: Sequence[str],
    column: str = "logits",
    is_multi_label: bool = False,
) -> np.ndarray:
    """Several teachers' logits of the given clips, float32 (len(paths), len(filenames), classes).

    Raises:
        UserError: there is no path, or one twice; and see read_logits.
    """
    if not paths:
        raise UserError(
            "logits=[] names no file: name at least one, or leave it null to take the teacher of the same name"
        )
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise UserError(f"logits={[str(path) for path in paths]} names a file twice: it would count double")
    return np.stack([read_logits(path, filenames, scenes, column, is_multi_label) for path in paths])


def weighted_mean(several: np.ndarray, weights: Sequence[float] | None = None) -> np.ndarray:
    """Mean over several teachers' logits (files, clips, ...), float32 (clips, ...).

    Raises:
        UserError: weights that are not one a file, negative or all zero.
    """
    if weights is None:
        return several.mean(axis=0)
    shares = convex("student.distill.weights", weights, len(several), of="file")
    return np.tensordot(shares, several, axes=1).astype(np.float32)


def convex(key: str, weights: Sequence[float] | np.ndarray, count: int, *, of: str) -> np.ndarray:
    """Weights brought to the sum 1, float64 (count,).

    Args:
        key: the setting that they come from.
        of: what there is one weight for.

    Raises:
        UserError: they are not `count` numbers, or one is negative, or all are zero.
    """
    shares = np.asarray(weights, np.float64)
    if shares.shape != (count,) or not (np.isfinite(shares).all() and (shares >= 0).all() and shares.any()):
        given = weights.tolist() if isinstance(weights, np.ndarray) else list(weights)
        raise UserError(f"{key}={given} must be {count} numbers, one a {of}, none negative and not all zero")
    return shares / shares.sum()
