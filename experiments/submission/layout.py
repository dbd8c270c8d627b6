"""How a challenge package is laid out: a zip of up to four systems' predictions and descriptions, and one report.

Conventions: those of DCASE Challenge 2023, Task 1.
  task1/<label>/<label>.output.csv                              predictions, see prediction_table.py
  task1/<label>/<label>.meta.yaml                               what the system is, see meta.py
  task1/<surname>_<institute>_task1.technical_report.pdf        one for all systems
where <label> is <surname of the corresponding author>_<abbreviation of the institute>_task1_<1 to 4>.
Sources: https://dcase.community/challenge2023/submission, and the organisers' checker,
https://github.com/toni-heittola/dcase2023_task1_submission_validator (main.py: folder, names, fields).
"""

import io
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

from data.errors import counted
from data.files import write_whole

TASK, YEAR = "task1", 2023
SYSTEMS = 4
OFFICIAL_FILES = 118_800  # of the evaluation set
OUTPUT, META, REPORT = ".output.csv", ".meta.yaml", ".technical_report.pdf"
OFFICIAL_NAME = re.compile(r"(0|[1-9][0-9]{0,5})\.wav")
OFFICIAL_WORDS = f"0.wav to {OFFICIAL_FILES - 1}.wav"
LABEL = re.compile(rf"(?P<team>[A-Za-z][A-Za-z0-9-]*_[A-Za-z][A-Za-z0-9-]*)_{TASK}_[1-{SYSTEMS}]")
LABEL_WORDS = f"SURNAME_INSTITUTE_{TASK}_NUMBER (letters, digits and '-'; numbers from 1 to {SYSTEMS})"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold: equal packages have equal bytes
_READABLE = 0o644 << 16


def label_of(surname: str, institute: str, number: int) -> str:
    """Of one system, numbered from 1."""
    return f"{surname}_{institute}_{TASK}_{number}"


def team_of(label: str) -> str | None:
    """<surname>_<institute> of a label; None if it is no label."""
    match = LABEL.fullmatch(label)
    return match["team"] if match else None


def is_official(name: str) -> bool:
    """Whether a clip of the evaluation set is called so."""
    return bool(OFFICIAL_NAME.fullmatch(name)) and int(name.removesuffix(".wav")) < OFFICIAL_FILES


def other_than_official(names: Collection[str]) -> str | None:
    """How a list of clips differs from the evaluation set, in words."""
    odd = sum(not is_official(name) for name in names)
    if not odd and len(names) == OFFICIAL_FILES:
        return None
    others = f", {odd:,} of them with other names" if odd else ""
    return (
        f"{counted(len(names), 'clip')}{others}: the official evaluation set has {OFFICIAL_FILES:,}, {OFFICIAL_WORDS}"
    )


def output_path(label: str) -> str:
    """Of a system's predictions in the package."""
    return f"{TASK}/{label}/{label}{OUTPUT}"


def meta_path(label: str) -> str:
    """Of a system's description in the package."""
    return f"{TASK}/{label}/{label}{META}"


def report_path(team: str) -> str:
    """Of the technical report in the package."""
    return f"{TASK}/{team}_{TASK}{REPORT}"


def write_package(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the zip; equal files make equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr, info.create_system = _READABLE, 3  # as Unix writes it, wherever this runs
            archive.writestr(info, files[name], zipfile.ZIP_DEFLATED)
    write_whole(path, buffer.getvalue())
