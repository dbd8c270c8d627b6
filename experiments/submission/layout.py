"""How a challenge package is laid out: a zip of up to four systems' predictions and descriptions, and one report.

Conventions: those of DCASE Challenge 2023 to 2025, Task 1.
  task1/<label>/<label>.output.csv                              predictions, see evaluation/predictions.py
  task1/<label>/<label>.output.split_5.csv, ... split_100.csv   instead, in 2024: of the trainings on 5, ... 100 %
  task1/<label>/<label>.meta.yaml                               what the system is, see meta.py
  task1/<surname>_<institute>_task1.technical_report.pdf        one for all systems
where <label> is <surname of the corresponding author>_<abbreviation of the institute>_task1_<1 to 4>.
Sources: https://dcase.community/challenge2023/submission, the same of 2025, and the organisers' checkers,
https://github.com/toni-heittola/dcase2023_task1_submission_validator (main.py) and dcase2024_task1_submission_validator
(main.py, validators.py; those of 2023 and utils.py were not found, in the checker of 2020 they do the same).
What the checkers want of a table of predictions: tabs; a header with the twelve columns, which they find by name; in
each row twelve values, a file name that ends in .wav and is, without folders, a whole number from 0 to 118799 (2024:
135729), no name twice, one of the ten scenes as label, and values that Python's float() takes; 118,800 names in all
(2024: 135,730). They ask neither for sums of 1 nor for a label that is the most probable scene, nor for the order of
rows. The task's page fixes the order of columns and calls the values probabilities: columns in another order, values
outside of 0 to 1 and NaN, which the checkers pass, are defects here. How many clips the evaluation set of 2025 has was
not found.
"""

import io
import re
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from data.errors import counted
from data.files import write_whole

TASK, YEAR = "task1", 2023
SYSTEMS = 4
INFERENCE = "inference"  # the folder of an inference package, beside the zip file
OUTPUT, META, REPORT = ".output.csv", ".meta.yaml", ".technical_report.pdf"
OFFICIAL_NAME = re.compile(r"(0|[1-9][0-9]{0,5})\.wav")
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


@dataclass(frozen=True)
class Edition:
    """What a year's task asks for.

    Attributes:
        year: of the challenge.
        subsets: of the train split, percent, on each of which a system is trained.
        files: in the evaluation set; None: not known.
        device_is_known: whether it says which device recorded a clip.
        asks_energy: whether energy has to be stated.
    """

    year: int
    subsets: tuple[int, ...]
    files: int | None
    device_is_known: bool = False
    asks_energy: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """The endings of the names of a system's tables."""
        return tuple(f".output.split_{s}.csv" for s in self.subsets) if len(self.subsets) > 1 else (OUTPUT,)

    @property
    def official_words(self) -> str:
        """How the clips of the evaluation set are called."""
        return "0.wav, 1.wav, ..." if self.files is None else f"0.wav to {self.files - 1}.wav"

    @property
    def names(self) -> list[str] | None:
        """Those of the evaluation set; None: not known."""
        return None if self.files is None else [f"{number}.wav" for number in range(self.files)]

    def is_official(self, name: str) -> bool:
        """Whether a clip of the evaluation set is called so."""
        right = OFFICIAL_NAME.fullmatch(name) is not None
        return right and (self.files is None or int(name.removesuffix(".wav")) < self.files)

    def other_than_official(self, names: Collection[str]) -> str | None:
        """How a list of clips differs from the evaluation set, in words."""
        odd = sum(not self.is_official(name) for name in names)
        if not odd and self.files in (None, len(names)):
            return None
        others = f", {odd:,} of them with other names" if odd else ""
        official = "has" if self.files is None else f"has {self.files:,},"
        return f"{counted(len(names), 'clip')}{others}: the official evaluation set {official} {self.official_words}"


EDITIONS = {
    2023: Edition(2023, (100,), 118_800, asks_energy=True),
    2024: Edition(2024, (5, 10, 25, 50, 100), 135_730),
    2025: Edition(2025, (25,), None, device_is_known=True),
}
MOST_FILES = max(edition.files or 0 for edition in EDITIONS.values())


def output_path(label: str, ending: str = OUTPUT) -> str:
    """Of a system's predictions in the package."""
    return f"{TASK}/{label}/{label}{ending}"


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
