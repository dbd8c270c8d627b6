"""The clips that a challenge is decided on: sound files without labels, as they lie in a folder.

Conventions: either the official layout, `audio/` and a list `evaluation_setup/fold1_test.csv` with a column `filename`,
or a plain folder (or its `audio/`) of sound files. A clip's name is the last part of its path, as in `0.wav`.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError, counted, listed
from data.names import last_part, with_slashes
from data.sound_files import describe_missing, list_sounds
from data.tables import read_table

LIST, AUDIO = Path("evaluation_setup") / "fold1_test.csv", "audio"
DEVICE, UNKNOWN = (
    "device_id",
    "unknown",
)  # the column of 2025, and what stands there of a device that is in no train set


def evaluation_files(folder: str | Path) -> list[Path]:
    """The sound files: in the order of the list if there is one, else 0.wav, 1.wav, 2.wav, ..., 10.wav.

    Raises:
        UserError: there are none, names are there twice or hold what is no character, or listed files are missing; all
            are listed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"submit.evaluation={folder} is no folder")
    try:
        has_list = (folder / LIST).is_file()
    except PermissionError as error:
        raise UserError(f"submit.evaluation: {error.filename}: {error.strerror}: mend the permissions") from None
    if has_list:
        files = [folder / with_slashes(name) for name in read_table(folder / LIST, ["filename"])["filename"]]
        if missing := [path for path in files if not os.path.isfile(path)]:
            lines = listed(describe_missing(missing))
            raise UserError(f"{folder / LIST} lists {counted(len(missing), 'missing file')}:\n{lines}")
    else:
        place = folder / AUDIO if (folder / AUDIO).is_dir() else folder
        files = sorted(list_sounds(place).sounds, key=_natural)
    if not files:
        raise UserError(
            f"submit.evaluation={folder} has no sound files: it must hold them, or a folder {AUDIO} of them"
        )
    names = [path.name for path in files]
    if odd := [repr(name) for name in names if not name.isprintable()]:
        raise UserError(f"submit.evaluation={folder} has file names that no table can hold:\n{listed(odd)}")
    if len(set(names)) < len(names):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        raise UserError(f"submit.evaluation={folder} has files of the same name:\n{listed(twice)}")
    return files


def devices_of(folder: str | Path, files: Sequence[Path]) -> list[str]:
    """The device that recorded each file, as the list of the folder says; UNKNOWN where it does not say it."""
    path = Path(folder) / LIST
    table = read_table(path, ["filename"]) if path.is_file() else {}
    if DEVICE not in table:
        return [UNKNOWN] * len(files)
    named = {last_part(name): device.strip() for name, device in zip(table["filename"], table[DEVICE], strict=True)}
    return [named.get(file.name) or UNKNOWN for file in files]


def _natural(path: Path) -> list[int | str]:
    """2.wav before 10.wav: every second part is a number."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"([0-9]+)", path.name))]
