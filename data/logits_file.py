"""What a file of logits must be like, checked whenever one is opened.

Conventions: see data/logits.py. The attribute `digest` is the SHA-256 of all that was written; files of earlier
versions have none. `multi_label` is 1 where each class has a probability of its own, and absent elsewhere. A file
with features says in `features_layer` and `features_channels` what they are.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.errors import UserError, in_short, listed
from data.layout import DONE, Kind
from data.settings import POOLED
from data.store import DamagedStoreError, Store

log = logging.getLogger(__name__)

FORMAT = "scenelet logits 1"
BY_SHIFT, FEATURES = "by_shift", "features"  # columns
LAYER, CHANNELS = "features_layer", "features_channels"  # attributes
DIGEST, MULTI_LABEL = "digest", "multi_label"  # attributes
MOST_CHANNELS = 65_536
LARGEST = 1e9  # magnitude of a logit; a loss of larger ones is no number
LOGITS = Kind(
    FORMAT,
    {"logits": (np.float32, (None,)), BY_SHIFT: (np.float32, (None, None)), FEATURES: (np.float16, (None,))},
    "write the logits again, or name another file",
    optional=frozenset({BY_SHIFT, FEATURES}),
)


class FeatureColumn(NamedTuple):
    """What features are of: the teacher's layer, by its name, and how many channels it has."""

    layer: str
    channels: int


class LogitsFile(NamedTuple):
    """An open file of logits: the store, the classes, the shifts in samples, none where there is only one, what the
    features are of, None where there are none, and whether a clip may have several classes."""

    store: Store
    scenes: list[str]
    shifts: list[int]
    features: FeatureColumn | None
    is_multi_label: bool = False

    def require_kind(self, *, is_multi_label: bool) -> None:
        """Check that clips have one class each, or may have several, as those of a data set.

        Raises:
            UserError: it is the other way round.
        """
        if self.is_multi_label != is_multi_label:
            theirs, ours = ("several classes" if each else "one class" for each in (not is_multi_label, is_multi_label))
            raise UserError(
                f"{self.store.path} has logits of clips with {theirs} each, those of the data set have {ours} each: "
                "write logits of this data set, or begin with the weights of the network that wrote these"
            )


def planned(
    scenes: Sequence[str], identity: Mapping[str, object], shifts: Sequence[int], features: FeatureColumn | None
) -> tuple[dict[str, object], dict[str, tuple[type, tuple[int, ...]]]]:
    """The attributes and the columns of a file that is to be written; see LogitsWriter."""
    attributes: dict[str, object] = {"format": FORMAT, "scenes": json.dumps(list(scenes)), **identity}
    columns: dict[str, tuple[type, tuple[int, ...]]] = {"logits": (np.float32, (len(scenes),))}
    if len(shifts) > 1:
        attributes["shifts"] = json.dumps(list(shifts))
        columns[BY_SHIFT] = (np.float32, (len(shifts), len(scenes)))
    if features is not None:
        attributes |= {LAYER: features.layer, CHANNELS: features.channels}
        columns[FEATURES] = (np.float16, (features.channels,))
    return attributes, columns


def open_logits(path: str | Path) -> LogitsFile:
    """Open a finished file of logits; its values are not read yet.

    Raises:
        UserError: the file is missing, unfinished, or no such file, and what is wrong with it.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist: train a teacher of this name first, or name files of logits")
    store = Store(Path(path), LOGITS)
    scenes, shifts = _listed(store, "scenes"), _listed(store, "shifts")
    if not all(isinstance(scene, str) and scene for scene in scenes) or len(set(scenes)) < len(scenes):
        raise store.damaged(f"its scenes are not different names: {in_short(scenes)}")
    if any(type(shift) is not int for shift in shifts) or len(set(shifts)) < len(shifts):
        raise store.damaged(f"its shifts are not different whole numbers: {in_short(shifts)}")
    expected: dict[str, tuple[int, ...]] = {"logits": (len(store), len(scenes))}
    if shifts:
        expected[BY_SHIFT] = (len(store), len(shifts), len(scenes))
    if (features := _features(store)) is not None:
        expected[FEATURES] = (len(store), features.channels)
    if (found := shapes(store)) != expected:
        kept = "no features" if features is None else f"features of {features.channels} channels"
        raise store.damaged(
            f"of {len(scenes)} scenes, {len(shifts)} shifts and {kept} it must have the columns {expected}, and has "
            f"{found}"
        )
    store.require_done()
    if (kind := store.attributes.get(MULTI_LABEL, 0)) not in (0, 1):
        raise store.damaged(f"its attribute {MULTI_LABEL} is {in_short(kind)}, not 0 or 1")
    return LogitsFile(store, scenes, shifts, features, bool(kind))


def _features(store: Store) -> FeatureColumn | None:
    """What a file says of its features; None: it has none.

    Raises:
        UserError: that is not the name of a layer and its number of channels.
    """
    layer, channels = (store.attributes.get(name) for name in (LAYER, CHANNELS))
    if layer is None and channels is None:
        return None
    if not (isinstance(layer, str) and layer and type(channels) is int and 1 <= channels <= MOST_CHANNELS):
        raise store.damaged(
            f"its attributes {LAYER} and {CHANNELS} are {in_short(layer)} and {in_short(channels)}, not the name of a "
            f"layer and a number of channels from 1 to {MOST_CHANNELS:,}"
        )
    return FeatureColumn(layer, channels)


def read_identity(path: str | Path) -> dict[str, str | int | float]:
    """What a logits file says it depends on: teacher, config, weights, waves, clips; and the accuracies it has.

    Raises:
        UserError: the file is missing, damaged or unfinished; see open_logits.
    """
    return open_logits(path).store.attributes


def is_current(path: str | Path, identity: Mapping[str, str]) -> bool:
    """Whether a file of logits is there that has this identity and holds what was written; a damaged one is named."""
    try:
        store = open_logits(path).store
    except DamagedStoreError as error:
        log.warning("%s is made anew, it is damaged: %s", path, error.reason)
        return False
    except UserError:
        return False
    if not (identity.items() <= store.attributes.items()):
        return False
    if not (intact := is_as_written(store)):
        log.warning("%s is made anew: it is not what was written", path)
    return intact


def values_of(store: Store, filenames: Sequence[str], column: str) -> np.ndarray:
    """Rows of a column of an open file, by name.

    Raises:
        UserError: clips are not in the file (listed), or values are no logits.
    """
    path, row = store.path, {name: i for i, name in enumerate(store.filenames)}
    if missing := [name for name in filenames if name not in row]:
        raise UserError(
            f"{path} lacks {len(missing)} of {len(filenames)} clips:\n{listed(missing)}\nwrite logits of this data set"
        )
    if not is_as_written(store):
        log.warning("%s: it is not what was written: it was changed by hand since, or damaged", path)
    logits = store[column][[row[name] for name in filenames]]
    if not usable(logits).all():
        raise UserError(
            f"{path} holds values that are not numbers, or beyond {LARGEST:g}: the teacher's training failed; train it "
            "again"
        )
    return logits


def usable(logits: np.ndarray) -> np.ndarray:
    """Which values are numbers that a loss can be computed of, bool of the same shape."""
    if logits.dtype == np.float16:  # of which all numbers are below LARGEST
        return np.isfinite(logits)
    return np.abs(logits) <= LARGEST  # which what is no number is not either


def unusable(store: Store) -> np.ndarray:
    """Rows that are done and hold logits or features that are not numbers, int64."""
    sound = [usable(store[name]).all(axis=1) for name in ("logits", FEATURES) if name in store.columns]
    return np.flatnonzero((store[DONE] == 1) & ~np.all(sound, axis=0))


def in_half(features: np.ndarray, path: Path, layer: str) -> np.ndarray:
    """Features as float16.

    Raises:
        UserError: they are not numbers, or larger than float16 can hold.
    """
    with np.errstate(over="ignore"):
        halves = features.astype(np.float16)
    if not usable(halves).all():
        raise UserError(
            f"{path}: features of the layer {layer} are not numbers, or beyond {np.finfo(np.float16).max:,.0f}, the "
            f"largest that float16 holds (largest magnitude: {np.abs(features).max():g}): keep those of another layer, "
            f"such as teacher.features={POOLED}"
        )
    return halves


def shapes(store: Store) -> dict[str, tuple[int, ...]]:
    """Of the columns of logits."""
    return {name: store[name].shape for name in LOGITS.columns if name in store.columns}


def content_digest(
    attributes: Mapping[str, object], filenames: Sequence[str], columns: Mapping[str, np.ndarray]
) -> str:
    """SHA-256 of what a file says of itself (but for its digest), the names, and the columns of logits."""
    said = {name: value for name, value in attributes.items() if name != DIGEST}
    digest = hashlib.sha256(json.dumps([said, list(filenames)], sort_keys=True).encode())
    for name in sorted(columns):
        digest.update(np.ascontiguousarray(columns[name], LOGITS.columns[name][0]).data)
    return digest.hexdigest()


def signed(
    attributes: Mapping[str, object], filenames: Sequence[str], columns: Mapping[str, np.ndarray]
) -> dict[str, object]:
    """The attributes, and the digest of all that is written."""
    return {**attributes, DIGEST: content_digest(attributes, filenames, columns)}


def is_as_written(store: Store) -> bool:
    """Whether a file's content is still what was written; True too where the file does not say."""
    if DIGEST not in store.attributes:
        return True
    columns = {name: store[name] for name in shapes(store)}
    return store.attributes[DIGEST] == content_digest(store.attributes, store.filenames, columns)


def _listed(store: Store, attribute: str) -> list[Any]:
    """An attribute that holds a JSON list; an absent one is an empty list."""
    text = store.attributes.get(attribute, "[]")
    try:
        found = json.loads(str(text))
    except (ValueError, RecursionError):  # of brackets within brackets
        found = None
    if not isinstance(found, list):
        raise store.damaged(f"its attribute {attribute} is no list: {in_short(text)}")
    return found
