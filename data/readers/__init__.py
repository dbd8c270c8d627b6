"""From the name of a data set and its settings to its clips.

Conventions: a data set is a module of this package that declares a Reader; `data.kind` in the settings is the module's
name. The keyword arguments of its `read` are the `data.*` settings that it knows, with their default values; giving
another one is an error. The settings COMMON to all data sets are not a reader's business.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.evaluation_set import require_none_of_evaluation
from data.ranges import in_words
from data.registry import discover, find
from data.resources import Resource
from data.scenes import ClipSet, check_class_names

COMMON = ("kind", "root", "impulses", "download", "sample_rate", "clip_seconds", "residency")
RESERVED = ("root", "cache", "clip_seconds")  # arguments of `read` that are no settings of its own

Settings = Mapping[str, Any]  # `data.*` settings, without `data.`


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What a module of this package declares.

    Attributes:
        title: of the data set, for reports.
        licence: under which terms the sounds may be used.
        citation: the publications that its authors ask to be cited; empty if there are none.
        read: `read(root, **settings)` gives the clips. It may take `cache` too, a folder for what is fetched or made,
            and `clip_seconds`, the length of a clip.
        default_root: from the cache folder and the settings to the data set's folder where `data.root` is not set.
        fetch: `fetch(root, cache, settings, download)` completes the data set; None: there is nothing to fetch.
        is_challenge: whether this is the data of DCASE Task 1, on which submissions are trained and tested.
        impulses: the folder below root with the data set's own impulse responses; None: it has none.
        is_labelled: whether its clips have classes; without them there is no test split either.
        is_split_by_settings: whether only the settings hold validation clips out, and no table may name some.
        resources: as what a submission must declare it; none: whoever trains on it must say what it is, unless it is
            the challenge's or computed.
        is_computed: whether its sounds are computed here, and nobody's.
        is_multi_label: from the settings to whether a clip may have several classes, or none.
    """

    title: str
    licence: str
    citation: str
    read: Callable[..., ClipSet]
    default_root: Callable[[Path, Settings], Path]
    fetch: Callable[[Path, Path, Settings, bool], None] | None = None
    is_challenge: bool = False
    impulses: str | None = None
    is_labelled: bool = True
    is_split_by_settings: bool = False
    resources: tuple[Resource, ...] = ()
    is_computed: bool = False
    is_multi_label: Callable[[Settings], bool] = lambda _: False

    @property
    def settings(self) -> dict[str, Any]:
        """The `data.*` settings that `read` takes, with their default values."""
        parameters = inspect.signature(self.read).parameters.values()
        return {p.name: p.default for p in parameters if p.name not in RESERVED}


def readers() -> Mapping[str, Reader]:
    """Every reader: kind -> entry."""
    return discover(__name__, Reader)


def reader_of(kind: str) -> Reader:
    """The reader of a kind.

    Raises:
        UserError: there is none, with the choices.
    """
    return find("data.kind", readers(), kind)


def is_of_challenge(kind: str) -> bool:
    """Whether a kind of data set is the challenge's own; an unknown one is not."""
    return kind in readers() and readers()[kind].is_challenge


def own_settings(kind: str, settings: Settings) -> dict[str, Any]:
    """Those of the `data.*` settings that the reader of a kind takes.

    Args:
        kind: of the data set.
        settings: names to values; another reader's settings may be there with their default values.

    Raises:
        UserError: a setting is given that this reader, or any, does not know; all are listed.
    """
    reader = reader_of(kind)
    known = [other.settings for other in readers().values()]
    strange = [
        f"data.{name}={_shown(value)} means nothing to data={kind}: leave it out"
        for name, value in settings.items()
        if name not in reader.settings
        and name not in COMMON
        and not any(name in theirs and theirs[name] == value for theirs in known)
    ]
    if strange:
        raise UserError("\n".join(strange))
    return {name: value for name, value in settings.items() if name in reader.settings}


def _shown(value: Any) -> Any:
    """A value for a message: of a group of settings those that are not the default."""
    if not is_dataclass(value):
        return value
    return in_words(
        {each.name: given for each in fields(value) if (given := getattr(value, each.name)) != each.default}
    )


def root_of(kind: str, root: str | Path | None, settings: Settings, *, cache: str | Path) -> Path:
    """The folder of a data set: `root`, or, if that is None, where the reader puts or expects it.

    Raises:
        UserError: neither is known.
    """
    return reader_of(kind).default_root(Path(cache), settings) if root is None else Path(root)


def read(kind: str, root: str | Path | None, settings: Settings, *, cache: str | Path) -> ClipSet:
    """The clips of a data set.

    Args:
        kind: name of the reader.
        root: folder of the data set; None: the reader's own choice.
        settings: see own_settings.
        cache: folder for what is fetched or made, such as the synthetic data set.

    Raises:
        UserError: see own_settings and the readers; a split has no clips, or none of its clips has a class; a class is
            named like a column of tables of predictions; or clips are those of an evaluation set.
    """
    reader, own = reader_of(kind), own_settings(kind, settings)
    takes = inspect.signature(reader.read).parameters
    own |= {"cache": Path(cache)} if "cache" in takes else {}
    own |= {"clip_seconds": settings["clip_seconds"]} if "clip_seconds" in takes and "clip_seconds" in settings else {}
    clips = reader.read(root_of(kind, root, settings, cache=cache), **own)
    require_none_of_evaluation(os.path.join(clips.root, file) for file in clips.files)
    # What would end a run after its training is found now.
    on_all = settings.get("validation_fraction") == 0 and not settings.get("folds")
    for split, needed in {"train": True, "validation": not on_all, "test": reader.is_labelled}.items():
        if needed and not clips.is_labelled:
            clips.indices(split)
        elif needed and not any(clips.clips[row].scenes for row in clips.indices(split)):
            raise UserError(f"none of the {split} clips of {clips.name} in {clips.root} has a class: check its lists")
    check_class_names(clips.scenes)
    return clips


def fetch(kind: str, root: str | Path | None, settings: Settings, *, cache: str | Path, download: bool) -> None:
    """Fetch what is missing of a data set, if its reader can and `download` allows it.

    Raises:
        UserError: it is incomplete and may not be fetched, or cannot be.
    """
    if (complete := reader_of(kind).fetch) is not None:
        complete(root_of(kind, root, settings, cache=cache), Path(cache), own_settings(kind, settings), download)


def impulse_folder(kind: str, root: str | Path) -> Path | None:
    """The folder of the data set's own impulse responses, if it has some."""
    name = reader_of(kind).impulses
    return None if name is None else Path(root) / name
