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
    META,
    OFFICIAL_FILES,
    OFFICIAL_WORDS,
    OUTPUT,
    is_official,
    meta_path,
    output_path,
    write_package,
)
from experiments.submission.meta import meta_defects
from experiments.submission.package import read_package

SHOWN = 10  # defects of one table's rows, of which there may be a hundred thousand
ROWS = 2 * OFFICIAL_FILES  # of a table that is read
PDF_START, PDF_END = b"%PDF-", b"%%EOF"
PDF_TAIL = 1024  # bytes at the end, within which the end must be marked
logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # which quotes what it finds odd in a file


@dataclass(frozen=True)
class Passed:
    """A system without defects: label, name and clips, and the metrics that the package states."""

    label: str
    name: str
    clips: Sequence[str]
    accuracy: float
    bytes: float
    macs: int


def write_valid(path: Path, files: Mapping[str, bytes], names: Sequence[str]) -> list[Passed]:
    """Write a package of some clips, under its name only if no defect is found in it; returns its systems.

    Args:
        path: the zip file.
        files: content by path in the package.
        names: of the clips.

    Raises:
        UserError: it has defects, as a description of a thousand authors has; they are listed.
    """
    with replacing(path) as draft:
        write_package(draft, files)
        defects, systems = validate(draft, names)
        if defects:
            found = _listed(defects)
            raise UserError(f"what was made of these runs is no sound package, and {path} is not written: it {found}")
    return systems


def require_valid(path: str | Path, filenames: Sequence[str] | None = None) -> list[Passed]:
    """The systems of a package.

    Raises:
        UserError: it has defects; every one is listed.
    """
    defects, systems = validate(path, filenames)
    if defects:
        raise UserError(f"{path} {_listed(defects)}")
    return systems


def _listed(defects: Sequence[str]) -> str:
    return f"has {counted(len(defects), 'defect')}:\n{listed(defects, shown=len(defects))}"


def validate(path: str | Path, filenames: Sequence[str] | None = None) -> tuple[list[str], list[Passed]]:
    """The defects of a package, and its systems that have none.

    Args:
        path: the zip file.
        filenames: of the evaluation set; without them, names must be official ones, and of all systems those of the
            first one that has a readable table.

    Raises:
        UserError: there is no such file.
    """
    package, of, official = read_package(Path(path)), "the evaluation set", filenames is None
    defects, systems = package.defects, []
    for label, files in package.systems.items():
        output = files.get(OUTPUT)
        names, found = ([], []) if output is None else _check_output(output, label, filenames, of, official=official)
        meta, wrong = (None, []) if META not in files else _check_meta(files[META], label)
        if names and filenames is None:
            filenames, of = names, f"{label}, which has others"
        defects += found + wrong
        if OUTPUT in files and meta is not None and not found + wrong:
            system, overall = meta["system"], meta["results"]["development_dataset"]["overall"]
            costs = system["complexity"]["total_model_size"], system["complexity"]["macs"]
            systems.append(Passed(label, meta["submission"]["name"], names, overall["accuracy"], *costs))
    if package.report is not None:
        defects += _check_report(package.report)
    return [printable(defect) for defect in defects], systems


def _check_output(
    data: bytes, label: str, filenames: Sequence[str] | None, of: str, *, official: bool
) -> tuple[list[str], list[str]]:
    """The clips of a table, which may have to be called as the official ones are, and its defects."""
    path = output_path(label)
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
    if official:
        wrong += [f"{name}: no name such as {OFFICIAL_WORDS}" for name in names if not is_official(name)]
    found += [f"{path}: {defect}" for defect in wrong[:SHOWN]]
    if len(wrong) > SHOWN:
        found.append(f"{path}: ... and {len(wrong) - SHOWN} more such rows")
    if not names:
        found.append(f"{path}: it has no rows")
    return names, found


def _check_meta(data: bytes, label: str) -> tuple[dict | None, list[str]]:
    """A description and its defects."""
    path = meta_path(label)
    try:
        meta = read_yaml(data)
    except UserError as error:
        return None, [f"{path}: {error}"]
    return meta, [f"{path}: {defect.text}" for defect in meta_defects(meta, label)]


def _check_report(data: bytes) -> list[str]:
    from pypdf import PdfReader  # of an extra

    try:
        if data.startswith(PDF_START) and PDF_END in data[-PDF_TAIL:] and PdfReader(io.BytesIO(data)).pages[0]:
            return []
    except Exception:  # pypdf raises whatever damaged bytes lead to
        pass
    return ["the technical report is no PDF with a page, or only a part of one"]
