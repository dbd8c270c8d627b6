"""Data sets whose authors say everything in the names of folders and files: those names as clips."""

import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from data.clip_table import ONE_DEVICE
from data.errors import UserError, listed
from data.scenes import Clip
from data.sound_files import list_sounds


def sounds_by_stem(root: Path, folder: str) -> dict[str, list[str]]:
    """The sound files of a folder below root, relative to root, by their names without the ending: 1.wav and 1.flac
    have the same; none if there is no such folder."""
    found = defaultdict[str, list[str]](list)
    for path in list_sounds(root / folder).sounds:
        found[path.stem].append(path.relative_to(root).as_posix())
    return found


def read_names(root: Path, folder: str, pattern: re.Pattern[str], classes: Collection[str], split: str) -> list[Clip]:
    """The files of a folder, each as a clip of a split; none if there is no such folder.

    Args:
        root: folder that filenames are relative to.
        folder: below root.
        pattern: of the files' paths below that folder. Its group `scene` is the class; what `location` matches, or the
            whole path without it, is the location.
        classes: that there are.
        split: of the clips.

    Raises:
        UserError: names are otherwise, or of another class (all of them listed).
    """
    if not (root / folder).is_dir():
        return []
    names = [path.relative_to(root / folder).as_posix() for path in list_sounds(root / folder, deep=True).sounds]
    found = [(name, pattern.fullmatch(name)) for name in names]
    if odd := [name for name, match in found if match is None or match["scene"] not in classes]:
        raise UserError(
            f"{len(odd)} of {len(names)} files in {root / folder} are not named as published:\n{listed(odd)}\n"
            "restore their names, or move them away"
        )
    return [
        Clip(path, match["scene"], "", match.groupdict().get("location", path), path, 0, ONE_DEVICE, split)
        for path, match in ((f"{folder}/{name}", match) for name, match in found)
        if match
    ]
