"""Where a data set lies whose folder is named a little wrong: below or above the folder that was given.

Conventions: looks at the names of files only, three folders deep and two up, at most so many, and quietly: it is for
messages. Names that begin with a dot are left out.
"""

import os
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from data.errors import counted

DEEP, UP = 3, 2
MOST = 50_000  # names that are looked at
SHOWN = 3  # folders, or tables
TABLES = (".csv", ".tsv")


def meant_root(root: str | Path, name: str) -> str:
    """For the end of a message that `root` has no `name`: the folders near it that have it, as a remedy; empty if
    there are none.

    Args:
        root: a folder, which need not exist.
        name: of a file or folder, relative to the folder of the data set.
    """
    root = Path(root)
    found = [folder for folder, _ in _walk(root) if folder != root and (folder / name).exists()]
    found += [folder for folder in root.absolute().parents[:UP] if not found and (folder / name).exists()]
    if not found:
        return ""
    left = len(found) - 1
    more = f"; so {'has' if left == 1 else 'have'} {counted(left, 'other folder')}" if left else ""
    return f"; {found[0]} has {name}{more}: say data.root={found[0]}"


def tables_below(root: str | Path) -> str:
    """For the end of a message that `root` has not the table that was looked for: others that it has; empty if there
    are none."""
    found = [place / name for place, names in _walk(Path(root)) for name in names if name.lower().endswith(TABLES)]
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"; there are {', '.join(map(str, found[:SHOWN]))}{more}" if found else ""


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders from root on, the nearest first, each with the names of the files in it."""
    folders, left = deque([(root, 0)]), MOST
    while folders and left > 0:
        place, depth = folders.popleft()
        try:
            with os.scandir(place) as entries:
                inside = sorted((each.name, each.is_dir()) for each in islice(entries, left))
        except OSError:
            continue
        left -= len(inside)
        inside = [(name, is_folder) for name, is_folder in inside if not name.startswith(".")]
        folders.extend((place / name, depth + 1) for name, is_folder in inside if is_folder and depth < DEEP)
        yield place, [name for name, is_folder in inside if not is_folder]
