"""Sound files of any length as clips of equal length, as prediction cuts them (data/pieces.py).

Conventions: clip n of the file `a/b.ogg`, from 0 on, is called `a/b.ogg#n`; its recording is the file.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data.errors import UserError, listed
from data.pieces import count_pieces
from data.scenes import Clip


def cut_files(files: Sequence[Clip], root: Path, seconds: float) -> list[Clip]:
    """The clips of sound files, of which only the headers are read; each has what is known of its file.

    Args:
        files: a clip that stands for a whole file each.
        root: folder that filenames are relative to.
        seconds: length of a clip.

    Raises:
        UserError: some cannot be read (all of them listed).
    """
    with ThreadPoolExecutor() as pool:
        counts = list(pool.map(lambda file: _count(root / file.filename, seconds), files))
    if problems := [each for each in counts if isinstance(each, str)]:
        raise UserError(
            f"{len(problems)} of {len(files)} sound files below {root} cannot be read:\n{listed(problems)}\n"
            "mend or replace these files, or take them out"
        )
    return [
        file._replace(filename=f"{file.filename}#{part}", recording=file.filename, part=part)
        for file, count in zip(files, counts, strict=True)
        for part in range(int(count))
    ]


def _count(path: Path, seconds: float) -> int | str:
    """The number of a file's clips, or what is wrong with it."""
    try:
        str(path).encode()
        return count_pieces(path, seconds)
    except UnicodeEncodeError:
        return f"{path}: its name is no UTF-8: rename it"
    except UserError as error:
        return str(error)
