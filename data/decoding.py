"""From sound files to the rows of a wave store: what a thread decodes in one go, and how it is written.

Conventions: rows are positions in the store; what is written counts only once it is committed (data/store.py).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.audio import Decoded, decode
from data.errors import UserError
from data.pieces import cut
from data.scenes import ClipSet
from data.store import Store
from data.wave_file import checks

TASK, TASK_BYTES = 32, 4 << 20  # clips that a thread decodes in one go, at most, and what they may take


def alike(store: Store, missing: np.ndarray) -> list[np.ndarray]:
    """The missing rows in parts of about equal size."""
    task = max(1, min(TASK, TASK_BYTES // store["wave"][0].nbytes))
    return np.array_split(missing, math.ceil(len(missing) / task))


def by_file(clips: ClipSet, missing: np.ndarray) -> list[np.ndarray]:
    """Of each file of which parts are missing, the rows of all its parts, in their order."""
    files, rows = clips.files, defaultdict[str, list[int]](list)
    wanted = {files[row] for row in missing.tolist()}
    for row in sorted(range(len(files)), key=lambda row: clips.clips[row].part):
        if files[row] in wanted:
            rows[files[row]].append(row)
    return [np.array(each) for each in rows.values()]


def decode_clips(
    store: Store, rows: np.ndarray, paths: Sequence[Path], stamps: np.ndarray, sample_rate: int, seconds: float
) -> tuple[np.ndarray, Decoded]:
    """Write the clips of some files, one each; returns the rows that were written, and what was found.

    Args:
        store: of waves.
        rows, paths, stamps: the rows, and the file, size and time of modification of each.
        sample_rate, seconds: of a clip.
    """
    decoded = decode(paths, sample_rate, seconds)
    _put(store, rows[decoded.read], decoded.wave, decoded.scale, stamps[decoded.read])
    return rows[decoded.read], replace(decoded, wave=decoded.wave[:0])  # the rest is this thread's to overwrite


def decode_parts(
    store: Store, rows: np.ndarray, paths: Sequence[Path], stamps: np.ndarray, sample_rate: int, seconds: float
) -> tuple[np.ndarray, Decoded]:
    """Write all clips of one file, a block at a time. Arguments, returns: see decode_clips."""
    path, found, silent, failures = paths[0], 0, 0, list[str]()
    try:
        for piece in cut(path, sample_rate, seconds, count=len(rows)):
            some = slice(found, found + len(piece.scale))
            count = len(rows[some])  # the file may have a sample more than it says, which would begin another clip
            _put(store, rows[some], piece.wave[:count], piece.scale[:count], stamps[some])
            found, silent = found + count, silent + piece.silent
        if found < len(rows):
            raise UserError(f"{path} has {found} clips, and {len(rows)} by its header: save it again")
    except UserError as error:
        rows, failures = rows[:0], [str(error)]
    nothing = np.zeros((0, 0), np.int16), np.zeros(0, np.float32)
    return rows, Decoded(*nothing, [], failures, +Counter({"are silent": silent}), Counter())


def _put(store: Store, rows: np.ndarray, wave: np.ndarray, scale: np.ndarray, stamps: np.ndarray) -> None:
    values = {"wave": wave, "scale": scale, "stamp": stamps}
    values |= checks(**values)
    store.put(rows, **{name: value for name, value in values.items() if name in store.columns})
