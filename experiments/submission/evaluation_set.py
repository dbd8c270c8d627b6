"""The clips that a challenge is decided on: sound files without labels, as they lie in a folder.

Conventions: either the official layout, `audio/` and a list `evaluation_setup/fold1_test.csv` with a column `filename`,
or a plain folder (or its `audio/`) of sound files. A clip's name is the last part of its path, as in `0.wav`. Of the
task's page of 2023: "Reference labels for evaluation dataset will not be released", "Evaluation data contains 22 hours
of audio"; these would be 79,200 clips of one second, where the organisers' checker (layout.py) wants 118,800, which are
33 hours. The checker decides here. In which order the published list has the clips was not read: its order is kept.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError, counted, listed
from data.names import last_part, with_slashes
from data.records import META, SETUP, TEST_LIST, UNFINISHED
from data.sound_files import describe_missing, list_sounds
from data.tables import read_table
from experiments.submission.layout import Edition

LIST, AUDIO, LABEL = Path(TEST_LIST), "audio", "scene_label"
DEVICE, UNKNOWN = (
    "device_id",
    "unknown",
)  # the column of 2025, and what stands there of a device that is in no train set


def evaluation_files(folder: str | Path, *, named: str = "submit.evaluation") -> list[Path]:
    """The sound files: in the order of the list if there is one, else 0.wav, 1.wav, 2.wav, ..., 10.wav.

    Args:
        folder: that has them.
        named: the setting that names it.

    Raises:
        UserError: there are none, names are there twice or hold what is no character, listed files are missing (all are
            listed), or the folder is still being fetched.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{named}={folder} is no folder")
    try:
        has_list = (folder / LIST).is_file()
    except PermissionError as error:
        raise UserError(f"{named}: {error.filename}: {error.strerror}: mend the permissions") from None
    if (folder / UNFINISHED).is_dir():
        raise UserError(f"the download into {folder} is not finished: fetch it with the same settings, it goes on")
    if has_list:
        files = [folder / with_slashes(name) for name in read_table(folder / LIST, ["filename"])["filename"]]
        if missing := [path for path in files if not os.path.isfile(path)]:
            lines = listed(describe_missing(missing))
            raise UserError(f"{folder / LIST} lists {counted(len(missing), 'missing file')}:\n{lines}")
    else:
        place = folder / AUDIO if (folder / AUDIO).is_dir() else folder
        files = sorted(list_sounds(place).sounds, key=_natural)
    if not files:
        raise UserError(f"{named}={folder} has no sound files: it must hold them, or a folder {AUDIO} of them")
    names = [path.name for path in files]
    if odd := [repr(name) for name in names if not name.isprintable()]:
        raise UserError(f"{named}={folder} has file names that no table can hold:\n{listed(odd)}")
    if len(set(names)) < len(names):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        raise UserError(f"{named}={folder} has files of the same name:\n{listed(twice)}")
    return files


def require_published(
    folder: str | Path, files: Sequence[Path], edition: Edition, *, remedy: str = "restore the set"
) -> None:
    """Check that the clips of a folder are the official ones, all of them, and that it says nothing of their scenes.

    Args:
        folder: that has them.
        files: see evaluation_files.
        edition: whose evaluation set it is.
        remedy: what to do where it is not so.

    Raises:
        UserError: they are not, or it does.
    """
    tables = [Path(folder) / META, *sorted((Path(folder) / SETUP).glob("*.csv"))]
    labelled = [path for path in tables if path.is_file() and any(read_table(path, []).get(LABEL, ()))]
    if labelled:
        raise UserError(
            f"{folder} is no evaluation set, whose labels are not released: there is a column {LABEL} in\n"
            f"{listed(list(map(str, labelled)))}\n{remedy}"
        )
    if doubt := edition.other_than_official([path.name for path in files]):
        raise UserError(f"{folder} has {doubt}, and the organisers' checker refuses tables of others: {remedy}")


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
