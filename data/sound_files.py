"""Which files are sounds, by their names, and every such file of a folder: the one listing that everything uses.

Conventions: the ending of a name decides, in upper or lower case. Files and folders whose names begin with a dot are
left out, which hides the ._* files of macOS. Links to files and folders are followed, and a folder that is reached
twice (two links, or a link to a folder around it) is read once, under its own name if it has one here. What cannot be
listed is named and refused.
"""

import os
import stat
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from data.errors import SHOWN, UserError, listed

FORMATS = {  # soundfile's name -> how names of such files end
    "AIFF": (".aif", ".aifc", ".aiff"),
    "AU": (".au", ".snd"),
    "CAF": (".caf",),
    "FLAC": (".flac",),
    "MP3": (".mp3",),
    "NIST": (".nist", ".sph"),
    "OGG": (".oga", ".ogg", ".opus"),
    "RF64": (".rf64",),
    "VOC": (".voc",),
    "W64": (".w64",),
    "WAV": (".wav",),
    "WAVEX": (".wav",),
}
SUFFIXES = tuple(sorted({suffix for suffixes in FORMATS.values() for suffix in suffixes}))


class Listing(NamedTuple):
    """Files of a folder as paths that begin with it: those named like sounds, and the others, each sorted."""

    sounds: list[Path]
    others: list[Path]


def is_sound(path: Path) -> bool:
    """Whether a file's name ends like a sound's."""
    return path.suffix.lower() in SUFFIXES


def list_sounds(folder: str | Path, *, deep: bool = False) -> Listing:
    """The files of a folder, and, if `deep`, of the folders in it; none if there is no such folder.

    Raises:
        UserError: folders cannot be read, or what is named like a sound is no file; all are named.
    """
    found, problems = Listing([], []), list[str]()
    folders, links, seen = deque([Path(folder)]), deque[Path](), set[tuple[int, int]]()
    while folders or links:  # links last, so that a folder in here is read under its own name
        place = folders.popleft() if folders else links.popleft()
        try:
            status = place.stat()
            if (key := (status.st_dev, status.st_ino)) in seen:
                continue
            seen.add(key)
            inside = [place / name for name in sorted(os.listdir(place)) if not name.startswith(".")]
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(f"{place}: {error.strerror}")
            continue
        for path in inside:
            try:
                mode = path.stat().st_mode
            except OSError as error:
                if is_sound(path) or isinstance(error, PermissionError):  # it might be a folder
                    problems.append(f"{path}: {error.strerror}")
                continue
            if stat.S_ISDIR(mode):
                (links if path.is_symlink() else folders).extend([path] if deep else [])
            elif stat.S_ISREG(mode):
                (found.sounds if is_sound(path) else found.others).append(path)
            elif is_sound(path):
                problems.append(f"{path}: no regular file")
    if problems:
        raise UserError(
            f"{folder}: what is there cannot all be read:\n{listed(sorted(problems))}\n"
            "mend the permissions or links, or take it out"
        )
    return Listing(sorted(found.sounds), sorted(found.others))


def folders_around(root: Path, names: Iterable[str | Path]) -> list[Path]:
    """The folders of files below root, from root on: their times of modification change when a file comes or goes.

    Args:
        root: a folder.
        names: of the files, relative to root.
    """
    return sorted({root, *(root / parent for name in names for parent in Path(name).parents)})


def describe_missing(paths: Sequence[str | Path]) -> list[str]:
    """Paths of files that are not there, the first SHOWN with what is known: what forbids to read it, or that a file is
    there whose name differs in upper and lower case."""
    return [_described(path) if number < SHOWN else str(path) for number, path in enumerate(paths)]


def _described(path: str | Path) -> str:
    folder, name = os.path.split(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return f"{path} (no regular file)"
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name with a zero byte
        try:
            same = sorted(other for other in os.listdir(folder or ".") if other.lower() == name.lower())
        except (OSError, ValueError):
            return str(path)
        return f"{path} ({', '.join(same)} is there)" if same else str(path)
    except OSError as error:
        return f"{path} ({error.strerror})"
    return str(path)
