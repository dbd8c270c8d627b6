"""Decode every clip of a data set once, on all cores, into one file that a process may go on with if another is killed.

Conventions: the file is `waves_<rate>.h5` (data/wave_file.py). What is finished is flagged and never done again; one
process packs, another one of the same folder waits for it.
"""

import logging
import os
import shutil
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import numpy as np

from data.audio import Decoded
from data.decoding import alike, by_file, decode_clips, decode_parts
from data.errors import UserError, counted, listed
from data.files import cannot_write
from data.locks import locked
from data.progress import progress
from data.ranges import require_format
from data.scenes import ClipSet
from data.sound_files import describe_missing
from data.store import DamagedStoreError, Store, create
from data.wave_file import COLUMNS, FORMAT, WAVES, damaged_rows, open_waves, source_digest

COMMIT_SECONDS = 2.0  # a killed process has at most this much to do again
ELSEWHERE = "choose another folder for the cache"
SPARE_BYTES = 1 << 20  # for the header of a new file

log = logging.getLogger(__name__)

Result = TypeVar("Result")


def pack(clips: ClipSet, folder: str | Path, *, sample_rate: int = 32_000, clip_seconds: float = 1.0) -> Path:
    """Decode every clip of a set into `folder/waves_<rate>.h5`, or go on with, or just return, the file that is there.

    A file of another list of clips, rate, length or format version is made anew; in a file of the same list, only the
    clips whose own files changed (size or time of modification) are decoded again.

    Raises:
        UserError: sound files are missing or unreadable (all of them listed), or the disk is full. Finished clips are
        kept.
    """
    require_format(sample_rate, clip_seconds)
    path = Path(folder) / f"waves_{sample_rate}.h5"
    stamps = read_stamps(clips.root, clips.files)
    source = source_digest(clips.filenames, sample_rate, clip_seconds)
    if path.exists() and not os.access(path.parent, os.W_OK) and is_current(path, source, clips.root, clips.files):
        return path  # no lock can be made there, and nothing needs one
    with alone(path):
        store = _lay_out(path, clips, sample_rate, clip_seconds)
        if len(damaged := damaged_rows(store)):
            names = listed([store.filenames[row] for row in damaged])
            count = counted(len(damaged), "clip")
            log.warning("%s is damaged, %s of it, to be decoded again:\n%s", path, count, names)
            store.reset(damaged)
        store.reset(_changed(store, stamps))
        if len(store.missing):
            try:
                _fill(store, clips, sample_rate, clip_seconds, stamps)
            except OSError as error:
                raise cannot_write(path, error, f"{ELSEWHERE}; finished clips are kept") from error
    return path


def read_stamps(root: Path, filenames: list[str]) -> np.ndarray:
    """Size and time of modification (ns) of each file, int64 (N, 2).

    Raises:
        UserError: files are missing; all are counted and the first listed.
    """
    stamps, missing = np.zeros((len(filenames), 2), np.int64), []
    folder = str(root)
    for row, name in enumerate(filenames):
        try:
            status = os.stat(os.path.join(folder, name))
            if not stat.S_ISREG(status.st_mode):
                raise OSError
            stamps[row] = status.st_size, status.st_mtime_ns
        except (OSError, ValueError):  # ValueError: a name with a zero byte
            missing.append(os.path.join(folder, name))
    if missing:
        lines = [line.removeprefix(f"{folder}{os.sep}") for line in describe_missing(missing)]
        raise UserError(
            f"{len(missing)} of {len(filenames)} audio files are missing below {root}:\n{listed(lines)}\n"
            "restore them, or take their rows out of the lists"
        )
    return stamps


def is_current(path: Path, source: str, root: Path, files: list[str] | None = None) -> bool:
    """Whether a store of a source (see source_of) is finished and every file it was made of is still the same.

    Cheap enough to ask every time. `files` are those of the rows, if these are not named like them.
    """
    try:
        store = open_waves(path)
        if store.attributes["source"] != source or len(store.missing) or len(damaged_rows(store)):
            return False
        return not len(_changed(store, read_stamps(root, store.filenames if files is None else files)))
    except UserError:
        return False


def source_of(path: Path) -> str:
    """The fingerprint of what a store is for."""
    return str(open_waves(path).attributes["source"])


def _changed(store: Store, stamps: np.ndarray) -> np.ndarray:
    """Rows whose sound file is not the one that was decoded, int64."""
    return np.flatnonzero((store["stamp"] != stamps).any(axis=1))


def alone(path: Path) -> AbstractContextManager[None]:
    """Within it, other processes leave a store's folder alone; they wait, and say so."""
    return locked(
        Path(f"{path}.lock"),
        f"packing {path}",
        otherwise="stop it",
        elsewhere=ELSEWHERE,
        waits=True,
    )


def _lay_out(path: Path, clips: ClipSet, sample_rate: int, clip_seconds: float) -> Store:
    """Open an existing file of the same source; else make a new, empty one if there is room."""
    for orphan in path.parent.glob("*.tmp"):  # of a process that was killed: we hold the lock
        orphan.unlink()
    source = source_digest(clips.filenames, sample_rate, clip_seconds)
    if path.exists():
        try:
            if (store := open_waves(path)).attributes["source"] == source:
                return store
            log.info("%s is of another list of clips, or of another length: it is made anew", path)
        except DamagedStoreError as error:
            log.warning("%s is made anew, it is damaged or of another version: %s", path, error.reason)
    columns = {**COLUMNS, "wave": (np.int16, (round(clip_seconds * sample_rate),))}
    per_clip = sum(np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in columns.values())
    per_clip += 1 + max(len(name.encode()) for name in clips.filenames)
    needed = per_clip * len(clips.filenames) + SPARE_BYTES
    free = shutil.disk_usage(path.parent).free + (path.stat().st_size if path.exists() else 0)
    if needed > free:
        raise UserError(
            f"{path} needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB: free space there, or choose "
            "another folder for the cache"
        )
    log.info("%s takes %.1f of %.1f GB that are free", path, needed / 1e9, free / 1e9)
    path.unlink(missing_ok=True)
    attributes = {"format": FORMAT, "sample_rate": sample_rate, "clip_seconds": clip_seconds, "source": source}
    create(path, clips.filenames, columns, attributes)
    return Store(path, WAVES)


def _fill(store: Store, clips: ClipSet, sample_rate: int, clip_seconds: float, stamps: np.ndarray) -> None:
    root, missing, started = clips.root, store.missing, time.perf_counter()
    oddities: Counter[str] = Counter()
    rates: Counter[int] = Counter()
    failures: list[str] = []
    finished = 0

    files = [root / name for name in clips.files]
    decode_some, tasks = (
        (decode_parts, by_file(clips, missing)) if clips.is_cut else (decode_clips, alike(store, missing))
    )

    def pack_some(rows: np.ndarray) -> tuple[np.ndarray, Decoded]:
        return decode_some(store, rows, [files[row] for row in rows], stamps[rows], sample_rate, clip_seconds)

    with progress("packing", len(store), done=len(store) - len(missing)) as line:
        for results in _in_pool(pack_some, tasks):
            for rows, decoded in results:
                finished += len(rows)
                oddities.update(decoded.oddities)
                rates.update(decoded.rates)
                failures += decoded.failures
            store.commit(np.concatenate([rows for rows, _ in results]))
            line.advance(sum(len(rows) + len(decoded.failures) for rows, decoded in results))
    log.info("packed %d clips in %.1f s", finished, time.perf_counter() - started)
    if len(rates) > 1:
        log.warning("the clips have several rates: %s", ", ".join(f"{n} of {rate} Hz" for rate, n in rates.items()))
    for text, count in oddities.items():
        log.warning("%d of %d clips %s", count, len(missing), text)
    if failures:
        raise UserError(
            f"{len(failures)} audio files are unreadable:\n{listed(sorted(failures))}\n"
            "mend or replace these files, or leave them out; the other clips are packed and kept"
        )


def _in_pool(work: Callable[[np.ndarray], Result], tasks: Sequence[np.ndarray]) -> Iterator[list[Result]]:
    """Results as they come, in lists about COMMIT_SECONDS apart; what waits is given up if one task fails."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        waiting = {pool.submit(work, task) for task in tasks}
        while waiting:
            done, waiting = wait(waiting, timeout=COMMIT_SECONDS, return_when=FIRST_EXCEPTION)
            failed = [future for future in done if future.exception()]
            if results := [future.result() for future in done.difference(failed)]:
                yield results
            for future in failed:
                future.result()  # raises
    finally:
        pool.shutdown(cancel_futures=True)
