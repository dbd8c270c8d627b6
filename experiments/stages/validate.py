"""stage=validate."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.errors import UserError
from experiments.submission.evaluation_set import evaluation_files
from experiments.submission.layout import other_than_official
from experiments.submission.validate import log, require_valid


def run(cfg: DictConfig) -> None:
    """Check `cfg.package`, against the files of `cfg.submit.evaluation` if that is set; print what it holds."""
    if cfg.package is None:
        raise UserError("stage=validate needs a package: package=FILE.zip")
    folder = cfg.submit.evaluation
    filenames = None if folder is None else [file.name for file in evaluation_files(folder)]
    systems = require_valid(Path(cfg.package), filenames)
    table = Table(title=escape(str(cfg.package)))
    table.add_column("system", no_wrap=True)
    table.add_column("name")
    for column in ("clips", "accuracy", "bytes", "MACs"):
        table.add_column(column, justify="right")
    for s in systems:
        figures = (f"{len(s.clips):,}", f"{s.accuracy:.1f} %", f"{s.bytes:,.0f}", f"{s.macs:,}")
        table.add_row(s.label, escape(s.name), *figures)
    Console().print(table)
    if filenames is None:
        log.info("no list of files to compare with: give submit.evaluation=FOLDER")
    if doubt := other_than_official(systems[0].clips):
        log.warning("%s", doubt)
    log.info("%s: no defect found", cfg.package)
