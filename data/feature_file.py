"""Features of clips in a file of a cache: what one training computed, the next one reads.

Conventions: `features_<key>.h5` is a store (data/store.py) with the columns `features`, float32 (N, channels), and
`checksum`, the CRC-32 of a row; rows are keyed by `filename` and filled as they are computed. The key follows from all
that features depend on, so that no file is ever of other features than its name says.
"""

import hashlib
import json
import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.layout import DONE, Kind
from data.locks import locked
from data.store import DamagedStoreError, Store, create

FORMAT = "scenelet features 1"
COLUMN, CHECKSUM, IDENTITY = "features", "checksum", "identity"
FEATURES = Kind(FORMAT, {COLUMN: (np.float32, (None,)), CHECKSUM: (np.uint32, ())}, "delete it")

log = logging.getLogger(__name__)


class FeatureFile:
    """An open file of features.

    Attributes:
        path: where it is.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.path = store.path
        self._number = {name: row for row, name in enumerate(store.filenames)}

    def missing(self, filenames: Sequence[str]) -> np.ndarray:
        """Which of some clips have no features that are what was written, bool."""
        rows = self._rows(filenames)
        return (self._store[DONE][rows] == 0) | (_checksums(self._store[COLUMN][rows]) != self._store[CHECKSUM][rows])

    def read(self, filenames: Sequence[str]) -> np.ndarray:
        """Their features, float32 (n, channels)."""
        return self._store[COLUMN][self._rows(filenames)]

    def fill(self, filenames: Sequence[str], features: np.ndarray) -> None:
        """Write the features of some clips, float32 (n, channels).

        Raises:
            UserError: the disk failed.
        """
        self._store.fill(self._rows(filenames), features=features, checksum=_checksums(features))

    def _rows(self, filenames: Sequence[str]) -> np.ndarray:
        return np.array([self._number[name] for name in filenames], np.int64)


@contextmanager
def feature_file(
    folder: Path, filenames: Sequence[str], channels: int, identity: Mapping[str, object]
) -> Iterator[FeatureFile | None]:
    """The file of some features, for this process alone while the block lasts; laid out if it is not there.

    Args:
        folder: of the cache.
        filenames: of all clips that it has a row for.
        channels: of the features.
        identity: all that the features depend on.

    Returns:
        None where the folder cannot be written to, which is logged.
    """
    text = json.dumps(identity, sort_keys=True, default=str)
    key = hashlib.sha256("\n".join([FORMAT, text, str(channels), *filenames]).encode()).hexdigest()
    path = folder / f"features_{key[:16]}.h5"
    lock = locked(
        Path(f"{path}.lock"),
        f"writing {path}",
        otherwise="stop it",
        elsewhere="choose another folder for the cache",
        waits=True,
    )
    try:
        lock.__enter__()
    except UserError as error:
        log.warning("features are not kept: %s", error)
        yield None
        return
    try:
        yield _opened(path, filenames, channels, key)
    finally:
        lock.__exit__(None, None, None)


def _opened(path: Path, filenames: Sequence[str], channels: int, key: str) -> FeatureFile | None:
    """The file; one that is damaged is made anew. None: there is no room for it."""
    try:
        if path.exists():
            store = Store(path, FEATURES)
            whole = store.filenames == list(filenames) and store[COLUMN].shape[1] == channels
            if whole and store.attributes.get(IDENTITY) == key:
                return FeatureFile(store)
            log.warning("%s is of other features than its name says: it is made anew", path)
    except DamagedStoreError as error:
        log.warning("%s: it is made anew", error)
    columns = {COLUMN: (np.float32, (channels,)), CHECKSUM: (np.uint32, ())}
    try:
        create(path, filenames, columns, {"format": FORMAT, IDENTITY: key})
        return FeatureFile(Store(path, FEATURES))
    except UserError as error:
        log.warning("features are not kept: %s", error)
        return None


def _checksums(features: np.ndarray) -> np.ndarray:
    return np.array([zlib.crc32(row.tobytes()) for row in features], np.uint32)
