"""Logits that others computed, for the clips of a data set.

Conventions: see foreign_arrays.py. Which clips and classes the numbers are of is what the file says, or what is given,
or else those of the data set in their order.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.errors import UserError, in_short, listed
from data.foreign_arrays import FILENAME, Found, read_array
from data.logits_file import LARGEST, usable
from data.names import matched
from data.scenes import ClipSet
from data.tables import read_table

TOLERANCE, LEAST = 1e-3, 1e-8  # of a sum of probabilities; which of them is taken for 0
SHOWN = 5

log = logging.getLogger(__name__)


def read_foreign_logits(
    path: str | Path, clips: ClipSet, *, filenames: str | Path | None = None, scenes: Sequence[str] | None = None
) -> np.ndarray:
    """The logits of a data set's clips, float32 (clips, classes), in the order of the set and of its classes.

    Args:
        path: of the file.
        clips: the data set.
        filenames: of a file that names the rows: a table with the column `filename`, or a name a line.
        scenes: the classes in the order of the columns.

    Raises:
        UserError: the file is missing, damaged or none of logits, or would need code to be read; it is of other clips,
            other classes, or another number of them; or values are no logits.
    """
    path = Path(path)
    found = read_array(path)
    order = class_order(path, found.values.shape[1], clips.scenes, scenes=scenes, columns=found.columns)
    rows = _rows(path, found, clips, filenames)
    unusable = {*np.flatnonzero(~usable(found.values).all(axis=1)).tolist()}
    if wrong := [name for name, row in rows.items() if row in unusable]:
        shown = [f"{name}: {in_short(found.values[rows[name]].tolist())}" for name in wrong[:SHOWN]]
        raise UserError(
            f"{path} has {len(wrong)} rows with values that are not numbers, or beyond {LARGEST:g}:\n"
            f"{listed(shown, total=len(wrong))}\ngive logits of a network whose training did not diverge"
        )
    return _as_logits(path, found.values[[rows[name] for name in clips.filenames]])[:, order]


def class_order(
    path: Path, count: int, known: Sequence[str], *, scenes: Sequence[str] | None, columns: Sequence[str] | None = None
) -> list[int]:
    """Where the outputs of a network stand for the classes of a data set, one a class.

    Args:
        path: of the file that has the outputs.
        count: of its outputs.
        known: the classes of the data set.
        scenes: the classes in the order of the outputs, as they are given; None: they are not.
        columns: what the file itself calls the outputs; None: nothing.

    Raises:
        UserError: there are more or fewer, or these are not the classes of the data set.
    """
    if count != len(known):
        raise UserError(
            f"{path} is of {count} classes, and the data set has {len(known)}, {in_short(list(known))}: give the data "
            "set that it is of"
        )
    own = list(columns) if columns is not None and sorted(columns) == sorted(known) else None
    if scenes is None and own is None:
        if columns is not None:
            raise UserError(
                f"{path} has the columns {in_short(list(columns))}, and the classes of the data set are "
                f"{in_short(list(known))}: name the class of each column in their order, source.scenes=[CLASS,...]"
            )
        log.info("%s: its classes are taken in the order of the data set's: %s", path, in_short(list(known)))
        return list(range(count))
    if scenes is not None and sorted(scenes) != sorted(known):
        strange = [name for name in scenes if name not in known]
        missing = [name for name in known if name not in scenes]
        twice = sorted({name for name in scenes if list(scenes).count(name) > 1})
        said = {"not in the data set": strange, "missing": missing, "there twice": twice}
        wrong = "; ".join(f"{what}: {', '.join(names)}" for what, names in said.items() if names)
        raise UserError(
            f"source.scenes={in_short(list(scenes))} must be the classes of the data set, each once: {wrong}"
        )
    if scenes is not None and own is not None and list(scenes) != own:
        raise UserError(
            f"source.scenes={in_short(list(scenes))}, and {path} has the columns {in_short(own)}: leave it out"
        )
    names = own or list(scenes or ())
    return [names.index(scene) for scene in known]


def _rows(path: Path, found: Found, clips: ClipSet, filenames: str | Path | None) -> dict[str, int]:
    """Which row is of which clip of a data set: name of the clip -> row.

    Raises:
        UserError: there are more or fewer rows than names, or names are not those of the data set's clips, each once.
    """
    names, of = found.filenames, str(path)
    if names is not None and filenames is not None:
        raise UserError(f"source.filenames={filenames}, and {path} names its rows itself: leave source.filenames out")
    if filenames is not None:
        names, of = _read_names(Path(filenames)), f"source.filenames={filenames}"
    lists = ", ".join(source.name for source in clips.sources[:1]) or clips.name
    if len(found.values) != (count := len(clips.clips if names is None else names)):
        what, remedy = f"{of} has {count:,} names", "give the names of just these rows, in their order"
        if names is None:
            what = f"{lists} of the data set has {count:,} clips"
            remedy = "name the rows by source.filenames=FILE, or give the data set that they are of"
        raise UserError(f"{path} has {len(found.values):,} rows, and {what}: {remedy}")
    if names is None:
        first = in_short(clips.clips[0].filename)
        log.info("%s: its rows are taken for the %d clips of %s, in their order from %s on", path, count, lists, first)
        return {name: row for row, name in enumerate(clips.filenames)}
    rows, wrong = matched(names, clips.filenames, of=f"{clips.name} in {clips.root}")
    if wrong:
        raise UserError(
            f"{of}: {len(wrong)} names do not fit the data set:\n{listed(wrong)}\ngive one row for each clip"
        )
    return rows


def _as_logits(path: Path, values: np.ndarray) -> np.ndarray:
    """Values as float32 logits: of probabilities their logarithms, which have the same softmax."""
    if (values >= 0).all() and (np.abs(values.sum(axis=1) - 1) < TOLERANCE).all():
        log.warning("%s holds probabilities: their logarithms are taken for logits", path)
        values = np.log(np.maximum(values, LEAST))
    return values.astype(np.float32)


def _read_names(path: Path) -> list[str]:
    """Names of clips from a table with a column of them, or from a file with a name a line.

    Raises:
        UserError: it is neither.
    """
    table = read_table(path, ())
    if FILENAME in table:
        return table[FILENAME]
    if len(table) == 1:
        ((first, rest),) = table.items()
        return [first, *rest]
    raise UserError(f"source.filenames={path} has no column {FILENAME}: give a table that has one, or a name a line")
