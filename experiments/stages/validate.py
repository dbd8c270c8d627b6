"""The validate stage: check a challenge package, one of its tables, or the folder of an inference package."""

import logging
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from data.errors import UserError, require
from experiments.report.terminal import Table
from experiments.settings.shared import Settings
from experiments.settings.stages import Submit, Validate
from experiments.submission.evaluation_set import evaluation_files
from experiments.submission.validate import Passed, validate

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    require("pypdf", "submit")
    _package(settings)


def run(settings: Settings) -> None:
    """Check `validate.package`, against the files of `submit.evaluation` if that is set; print what it holds."""
    package = _package(settings)
    if Path(package).is_dir():
        _inference(package)
        return
    folder, year = settings.of(Submit).evaluation, settings.of(Submit).year
    filenames = None if folder is None else [file.name for file in evaluation_files(folder)]
    found = validate(package, filenames, year)
    for warning in found.warnings:
        log.warning("%s", warning)
    if filenames is None:
        log.info("compared with the official evaluation set of %d; of other clips: submit.evaluation=FOLDER", year)
    found.require_none(package)
    if found.systems:
        Console().print(_table(package, found.systems))
    log.info("%s: no defect found", package)


def _table(package: str, systems: Sequence[Passed]) -> Table:
    """What the systems of a package state."""
    table = Table(package)
    table.add_column("system", no_wrap=True)
    table.add_column("name")
    for column in ("clips", "accuracy", "bytes", "MACs"):
        table.add_column(column, justify="right")
    for s in systems:
        numbers = (
            f"{len(s.clips):,}",
            "" if s.accuracy is None else f"{s.accuracy:.1f} %",
            f"{s.bytes:,.0f}",
            f"{s.macs:,}",
        )
        table.add_row(s.label, s.name, *numbers)
    return table


def _inference(folder: str) -> None:
    """Check the inference package in a folder."""
    from experiments.submission.check_inference import require_valid_inference  # loads torch, which packages need not

    table = Table(folder)
    table.add_column("system", no_wrap=True)
    for column in ("bytes", "MACs"):
        table.add_column(column, justify="right")
    for module in require_valid_inference(folder):
        table.add_row(module.label, f"{module.bytes:,}", f"{module.macs:,}")
    Console().print(table)
    log.info("of the device whose network is the largest; every module was called as the organisers call it")
    log.info("%s: no defect found", folder)


def _package(settings: Settings) -> str:
    package = settings.of(Validate).package
    if package is None:
        raise UserError(
            "the validate stage needs a package: validate.package=FILE.zip, a table of one, FILE.csv, or the FOLDER of "
            "an inference package"
        )
    return package
