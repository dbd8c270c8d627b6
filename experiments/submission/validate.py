"""Check a challenge package, or one of its tables, as the organisers will, and list every defect.

Conventions: nothing in the package is trusted. Every file is checked on its own, and the clips of its tables against a
list of files or, without one, against the official evaluation set; where that is not known (2025), against the official
names and the clips of the first table. A defect is a sentence; so is a warning, of what the organisers' checker passes.
No defect means that the layout, the tables and the descriptions are as layout.py, evaluation/predictions.py and meta.py
say, and that the report is a PDF with a page; not that any of it is true.
"""

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from data.errors import UserError, counted, listed
from data.files import read_bounded, replacing
from data.names import last_part, matched, printable
from data.scenes import SCENES
from data.tables import parse_table
from experiments.evaluation.predictions import check_probabilities, header
from experiments.runs.plain_yaml import read_yaml
from experiments.submission.layout import (
    EDITIONS,
    META,
    MOST_FILES,
    OUTPUT,
    YEAR,
    Edition,
    meta_path,
    output_path,
    write_package,
)
from experiments.submission.meta import meta_defects, results_of
from experiments.submission.package import BYTES, read_package

TABLE = ".csv"  # how the name of a table ends that is no part of a package
SHOWN = 10  # defects of one table's rows, of which there may be a hundred thousand
ROWS = 2 * MOST_FILES  # of a table that is read
PDF_START, PDF_END = b"%PDF-", b"%%EOF"
PDF_TAIL = 1024  # bytes at the end, within which the end must be marked
logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # which quotes what it finds odd in a file


@dataclass(frozen=True)
class Passed:
    """A system without defects: label, name and clips, and the metrics that the package states; the accuracy is the
    mean over train subsets, that of the answers that know the device, or None."""

    label: str
    name: str
    clips: Sequence[str]
    accuracy: float | None
    bytes: float
    macs: int


class Findings(NamedTuple):
    """What was found: defects, warnings, and the systems of a package that have no defects."""

    defects: list[str]
    warnings: list[str]
    systems: list[Passed]

    def require_none(self, what: str | Path) -> None:
        """Check that there is no defect.

        Raises:
            UserError: there are some; every one is listed.
        """
        if self.defects:
            found = f"{counted(len(self.defects), 'defect')}:\n{listed(self.defects, shown=len(self.defects))}"
            raise UserError(f"{what} has {found}")


class _Table(NamedTuple):
    """The clips of a table, its defects and its warnings."""

    clips: list[str]
    defects: list[str]
    warnings: list[str]


def write_valid(path: Path, files: Mapping[str, bytes], names: Sequence[str], year: int = YEAR) -> list[Passed]:
    """Write a package of some clips, under its name only if no defect is found in it; returns its systems.

    Args:
        path: the zip file.
        files: content by path in the package.
        names: of the clips.
        year: whose rules it is made by.

    Raises:
        UserError: it has defects, as a description of a thousand authors has; they are listed.
    """
    with replacing(path) as draft:
        write_package(draft, files)
        found = validate(draft, names, year)
        found.require_none(f"what was made of these runs is no sound package, and {path} is not written: it")
    return found.systems


def validate(path: str | Path, filenames: Sequence[str] | None = None, year: int = YEAR) -> Findings:
    """Look through a package, or a single table of predictions.

    Args:
        path: the zip file; or a table, whose name ends in TABLE.
        filenames: of the clips that every table must have; None: those of the official evaluation set and, where that
            is not known, official ones, in all tables those of the first one that is readable.
        year: whose rules it is made by.

    Raises:
        UserError: there is no such file.
    """
    edition, of, wanted, path = EDITIONS[year], "the list of files", filenames, Path(path)
    if wanted is None:
        of, wanted = f"the official evaluation set of {year}", edition.names
    is_table = path.suffix.lower() == TABLE
    if is_table:
        clips, defects, warnings = _check_output(read_bounded(path, BYTES[OUTPUT]), str(path), wanted, of, edition)
        return _findings(defects, warnings, [], filenames, edition)
    package = read_package(path, edition)
    defects, warnings, systems = package.defects, [], []
    for label, files in package.systems.items():
        found: list[str] = []
        tables = [ending for ending in edition.outputs if ending in files]
        for ending in tables:
            at = output_path(label, ending)
            clips, wrong, doubts = _check_output(files[ending], at, wanted, of, edition)
            if clips and wanted is None:
                wanted, of = clips, f"{label if len(edition.outputs) == 1 else at}, which has others"
            found += wrong
            warnings += doubts
        meta, wrong = (None, []) if META not in files else _check_meta(files[META], label, year)
        defects += found + wrong
        if len(tables) == len(edition.outputs) and meta is not None and not found + wrong:
            systems.append(_passed(label, meta, wanted or [], year))
    if package.report is not None:
        defects += _check_report(package.report)
    return _findings(defects, warnings, systems, filenames, edition)


def _findings(
    defects: list[str], warnings: list[str], systems: list[Passed], filenames: Sequence[str] | None, edition: Edition
) -> Findings:
    """What was found, and what is to be said of the clips that it was compared with."""
    if filenames is not None and (doubt := edition.other_than_official(filenames)):
        warnings = [*warnings, f"the list of files has {doubt}"]
    if filenames is None and edition.files is None:
        unknown = f"how many clips the evaluation set of {edition.year} has was not found: the rows are not counted"
        warnings = [*warnings, unknown]
    return Findings([printable(each) for each in defects], [printable(each) for each in warnings], systems)


def _passed(label: str, meta: Mapping, names: Sequence[str], year: int) -> Passed:
    costs = meta["system"]["complexity"]
    accuracies = [block["overall"]["accuracy"] for block in results_of(meta, year).values()]
    accuracies = accuracies[: len(EDITIONS[year].subsets)]
    accuracy = None if None in accuracies else sum(accuracies) / len(accuracies)
    return Passed(label, meta["submission"]["name"], names, accuracy, costs["total_model_size"], costs["macs"])


def _check_output(data: bytes, path: str, filenames: Sequence[str] | None, of: str, edition: Edition) -> _Table:
    """The clips of a table and what is wrong with it; without a list the clips must be called as those of the edition
    are, each once."""
    if (lines := data.count(b"\n")) > ROWS:
        return _Table([], [f"{path} has {lines:,} lines, more than {ROWS:,}; it is not looked into"], [])
    found = []
    # data/tables.py accepts more than the challenge's format.
    if b"\r" in data.replace(b"\r\n", b""):
        found.append(f"{path}: a line ends in CR alone; lines must end in LF or CRLF")
    if data.endswith((b"\n\n", b"\n\r\n")):
        found.append(f"{path}: there are empty lines at its end")
    try:
        file = io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="")
        table = parse_table(file, path, header(SCENES), separator="\t", exact=True)
    except UserError as error:
        return _Table([], [*found, str(error)], [])
    names = [last_part(name) for name in table["filename"]]
    _, wrong, *doubts = check_probabilities(table, SCENES, exact=True)
    if not names:
        found.append(f"{path}: it has no rows")
    elif filenames is None:
        odd = [name for name in names if not edition.is_official(name)]
        wrong += [*matched(names, names, of=of)[1], *(f"{n}: no name such as {edition.official_words}" for n in odd)]
    else:
        if len(names) != len(filenames):
            counts = counted(len(names), "row"), counted(len(filenames), "clip")
            found.append(f"{path}: it has {counts[0]}, and {of} has {counts[1]}")
        wrong += matched(table["filename"], filenames, of=of)[1]
    found += [f"{path}: {defect}" for defect in wrong[:SHOWN]]
    if len(wrong) > SHOWN:
        found.append(f"{path}: ... and {len(wrong) - SHOWN} more such rows")
    return _Table(names, found, [f"{path}: {doubt}" for doubt in doubts if doubt])


def _check_meta(data: bytes, label: str, year: int) -> tuple[dict | None, list[str]]:
    """A description and its defects."""
    path = meta_path(label)
    try:
        meta = read_yaml(data)
    except UserError as error:
        return None, [f"{path}: {error}"]
    return meta, [f"{path}: {defect.text}" for defect in meta_defects(meta, label, year)]


def _check_report(data: bytes) -> list[str]:
    from pypdf import PdfReader  # of an extra

    try:
        if data.startswith(PDF_START) and PDF_END in data[-PDF_TAIL:] and PdfReader(io.BytesIO(data)).pages[0]:
            return []
    except Exception:  # pypdf raises whatever damaged bytes lead to
        pass
    return ["the technical report is no PDF with a page, or only a part of one"]
