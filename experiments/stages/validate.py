"""The validate stage: check a challenge package, or the folder of an inference package, and print what it holds."""

import logging
from pathlib import Path

from rich.console import Console

from data.errors import UserError, require
from experiments.report.terminal import Table
from experiments.settings.shared import Settings
from experiments.settings.stages import Submit, Validate
from experiments.submission.evaluation_set import evaluation_files
from experiments.submission.layout import EDITIONS
from experiments.submission.validate import require_valid

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
    systems = require_valid(Path(package), filenames, year)
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
    Console().print(table)
    if filenames is None:
        log.info("no list of files to compare with: give submit.evaluation=FOLDER")
    if doubt := EDITIONS[year].other_than_official(systems[0].clips):
        log.warning("%s", doubt)
    log.info("%s: no defect found", package)


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
            "the validate stage needs a package: validate.package=FILE.zip, or the FOLDER of an inference one"
        )
    return package
