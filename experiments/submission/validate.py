"""Check a challenge package as the organisers will, and list every defect.

Conventions: nothing in the package is trusted. Every file is checked on its own, and the clips of the systems against
those of the evaluation folder or, without one, against the official names and those of the first system. A defect is a
sentence. No defect means that the layout, the tables and the descriptions are as layout.py, evaluation/predictions.py
and meta.py say, and that the report is a PDF with a page; not that any of it is true.
"""

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError, counted, listed
from data.files import replacing
from data.names import last_part, matched, printable
from data.scenes import SCENES
from data.tables import parse_table
from experiments.evaluation.predictions import check_probabilities, header
from experiments.runs.plain_yaml import read_yaml
from experiments.submission.layout import (
    EDITIONS,
    META,
    MOST_FILES,
    YEAR,
    Edition,
    meta_path,
    output_path,
    write_package,
)
from experiments.submission.meta import meta_defects, results_of
from experiments.submission.package import read_package

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
        defects, systems = validate(draft, names, year)
        if defects:
            found = _listed(defects)
            raise UserError(f"what was made of these runs is no sound package, and {path} is not written: it {found}")
    return systems


def require_valid(path: str | Path, filenames: Sequence[str] | None = None, year: int = YEAR) -> list[Passed]:
    """The systems of a package, see validate.

    Raises:
        UserError: it has defects; every one is listed.
    """
    defects, systems = validate(path, filenames, year)
    if defects:
        raise UserError(f"{path} {_listed(defects)}")
    return systems


def _listed(defects: Sequence[str]) -> str:
    return f"has {counted(len(defects), 'defect')}:\n{listed(defects, shown=len(defects))}"


def validate(
    path: str | Path, filenames: Sequence[str] | None = None, year: int = YEAR
) -> tuple[list[str], list[Passed]]:
    """The defects of a package, and its systems that have none.

    Args:
        path: the zip file.
        filenames: of the evaluation set; without them, names must be official ones, and of all tables those of the
            first one that is readable.
        year: whose rules it is made by.

    Raises:
        UserError: there is no such file.
    """
    edition, of, official = EDITIONS[year], "the evaluation set", filenames is None
    package = read_package(Path(path), edition)
    defects, systems = package.defects, []
    for label, files in package.systems.items():
        found: list[str] = []
        tables = [ending for ending in edition.outputs if ending in files]
        for ending in tables:
            at = output_path(label, ending)
            names, wrong = _check_output(files[ending], at, filenames, of, edition if official else None)
            if names and filenames is None:
                filenames, of = names, f"{label if len(edition.outputs) == 1 else at}, which has others"
            found += wrong
        meta, wrong = (None, []) if META not in files else _check_meta(files[META], label, year)
        defects += found + wrong
        if len(tables) == len(edition.outputs) and meta is not None and not found + wrong:
            systems.append(_passed(label, meta, filenames or [], year))
    if package.report is not None:
        defects += _check_report(package.report)
    return [printable(defect) for defect in defects], systems


def _passed(label: str, meta: Mapping, names: Sequence[str], year: int) -> Passed:
    costs = meta["system"]["complexity"]
    accuracies = [block["overall"]["accuracy"] for block in results_of(meta, year).values()]
    accuracies = accuracies[: len(EDITIONS[year].subsets)]
    accuracy = None if None in accuracies else sum(accuracies) / len(accuracies)
    return Passed(label, meta["submission"]["name"], names, accuracy, costs["total_model_size"], costs["macs"])


def _check_output(
    data: bytes, path: str, filenames: Sequence[str] | None, of: str, edition: Edition | None
) -> tuple[list[str], list[str]]:
    """The clips of a table, which may have to be called as those of an edition are, and its defects."""
    if (lines := data.count(b"\n")) > ROWS:
        return [], [f"{path} has {lines:,} lines, more than {ROWS:,}; it is not looked into"]
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
        return [], [*found, str(error)]
    names = [last_part(name) for name in table["filename"]]
    _, wrong = check_probabilities(table, SCENES)
    # Without a list there may be any names, each once.
    wrong += matched(*((names, names) if filenames is None else (table["filename"], filenames)), of=of)[1]
    if edition is not None:
        wrong += [
            f"{name}: no name such as {edition.official_words}" for name in names if not edition.is_official(name)
        ]
    found += [f"{path}: {defect}" for defect in wrong[:SHOWN]]
    if len(wrong) > SHOWN:
        found.append(f"{path}: ... and {len(wrong) - SHOWN} more such rows")
    if not names:
        found.append(f"{path}: it has no rows")
    return names, found


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
