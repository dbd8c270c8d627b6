"""What distillation is worth: python -m experiments.study tau22|esc50|synthetic|families [options]

Conventions: a finished cell is a row of docs/studies/<study>.csv, which is committed; it is not computed again, so that
a study can be stopped at any time and gone on with. To compute a cell again, remove its row and its run folders.
"""

import argparse
import importlib.metadata
import logging
import os
import re
import shlex
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data.errors import UserError, listed
from data.files import cannot_write
from data.locks import locked
from experiments.study.cells import Cell, Command, read_answers, read_rows, write_rows
from experiments.study.commands import Options, Study
from experiments.study.digest import digest_of
from experiments.study.esc50 import ESC50
from experiments.study.families import FAMILIES
from experiments.study.synthetic import SYNTHETIC
from experiments.study.table import devices_table, differences_table, in_words, methods_table
from experiments.study.tau22 import TAU22

STUDIES = {"tau22": TAU22, "esc50": ESC50, "synthetic": SYNTHETIC, "families": FAMILIES}
TABLES = Path("docs/studies")
ELSEWHERE = "give another table with --rows"

log = logging.getLogger(__name__)


def main() -> None:
    """Compute the cells of a study that have no row yet, then print its tables."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    arguments = _parser().parse_args()
    study, path = STUDIES[arguments.study], arguments.rows or TABLES / f"{arguments.study}.csv"
    options = Options(
        runs=arguments.runs or Path("runs/study") / arguments.study,
        root=arguments.root,
        impulses=arguments.impulses,
        sounds=arguments.sounds,
        efficientat=arguments.efficientat,
        yamnet=arguments.yamnet,
    )
    try:
        if arguments.jobs < 1:
            raise UserError(f"--jobs={arguments.jobs} must be at least 1")
        cells = [] if arguments.table else _wanted(study.cells(options), arguments.only)
        if cells:
            with locked(Path(f"{path}.lock"), f"computing {path}", otherwise=ELSEWHERE, elsewhere=ELSEWHERE):
                Studying(study, options, path, arguments.jobs).compute(cells)
        rows = read_rows(path)
        if not rows:
            raise UserError(f"{path} has no finished cell yet: run the study without --table")
        tables = (
            methods_table(rows),
            differences_table(rows, study.comparisons),
            devices_table(rows, study.by_device),
        )
        print("\n\n".join(filter(None, tables)))
        if left := [cell.key for cell in cells if cell.key not in rows]:
            logs = options.runs / "logs"
            raise UserError(
                f"{len(left)} of {len(cells)} cells could not be computed, see {logs}:\n{listed(in_words(left))}"
            )
    except KeyboardInterrupt:
        sys.exit(130)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


class Studying:
    """The computation of a study's cells, several side by side; a command that cells share runs once.

    Args:
        study: whose cells they are.
        options: with which they were made.
        path: of the table of finished cells.
        jobs: how many cells are computed side by side, each on its share of the processor's cores.
    """

    def __init__(self, study: Study, options: Options, path: Path, jobs: int) -> None:
        self._study, self._options, self._path, self._jobs = study, options, path, jobs
        self._writing = threading.Lock()
        self._locks: defaultdict[Command, threading.Lock] = defaultdict(threading.Lock)
        self._done: dict[Command, bool] = {}

    def compute(self, cells: Sequence[Cell]) -> None:
        """Compute those cells that have no row; each gets its row when it is finished.

        Raises:
            UserError: the table cannot be written, or has rows of other commands; found before anything is computed.
        """
        rows, digests = read_rows(self._path), {cell.key: digest_of(cell.commands) for cell in cells}
        if other := [key for key, digest in digests.items() if key in rows and rows[key].commands != digest]:
            raise UserError(
                f"{self._path} has rows that were made by other commands or settings:\n{listed(in_words(other))}\n"
                "give the options that they were made with, or remove these rows to compute them by today's defaults"
            )
        write_rows(self._path, rows)
        left = [cell for cell in cells if cell.key not in rows]
        clips = {fold: self._study.clips(self._options, fold) for fold in dict.fromkeys(cell.fold for cell in left)}

        def one(cell: Cell) -> None:
            if not all(self._run(command) for command in cell.commands):
                return
            version = importlib.metadata.version("scenelet")
            answers = read_answers(cell, clips[cell.fold], version, digests[cell.key])
            with self._writing:
                write_rows(self._path, {**read_rows(self._path), answers.key: answers})
            log.info("finished: %s, fold %d, seed %d", *cell.key)

        with ThreadPoolExecutor(self._jobs) as pool:
            list(pool.map(one, left))

    def _run(self, command: Command) -> bool:
        """Run a command unless it has been run; returns whether it went well."""
        with self._locks[command]:
            if command not in self._done:
                log.info("scenelet %s", shlex.join(command))
                threads = str(max(1, (os.cpu_count() or 1) // self._jobs))
                words = [sys.executable, "-m", "experiments.run", *command]
                stage, name, *_ = command
                with open(self._log_of(f"{stage}-{name.removeprefix('name=')}.txt"), "w") as file:
                    found = subprocess.run(words, env={"OMP_NUM_THREADS": threads, **os.environ}, stdout=file)
                self._done[command] = found.returncode == 0
            return self._done[command]

    def _log_of(self, name: str) -> Path:
        """Where a command's lines go, which say what is doubtful: leaks, trainings that were too short."""
        folder = self._options.runs / "logs"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        return folder / name


def _wanted(cells: Sequence[Cell], only: str | None) -> list[Cell]:
    """The cells whose `METHOD FOLD SEED` a regular expression is found in.

    Raises:
        UserError: it is none, or none is found.
    """
    try:
        found = [cell for cell in cells if only is None or re.search(only, " ".join(map(str, cell.key)))]
    except re.error as error:
        raise UserError(f"--only={only} is no regular expression: {error}") from error
    if not found:
        names = ", ".join(dict.fromkeys(cell.method for cell in cells))
        raise UserError(f"--only={only} is in no cell's METHOD FOLD SEED; the methods are {names}")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.study", description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=STUDIES, help="; ".join(f"{name}: {s.about}" for name, s in STUDIES.items()))
    parser.add_argument("--root", type=Path, help="folder of the data set (TAU22, ESC-50 with its tables of folds)")
    parser.add_argument("--impulses", type=Path, help="folder of impulse responses; default: none")
    parser.add_argument("--sounds", type=Path, help="of tau22: folder of other sounds, without labels; default: none")
    parser.add_argument("--efficientat", type=Path, help="file of mn04's weights; default: they are fetched")
    parser.add_argument("--yamnet", type=Path, help="file of YAMNet's weights; default: they are fetched")
    parser.add_argument("--only", help="compute only cells whose METHOD FOLD SEED this regular expression is found in")
    parser.add_argument("--jobs", type=int, default=1, help="cells side by side (default: 1)")
    parser.add_argument("--rows", type=Path, help="table of finished cells; default: docs/studies/STUDY.csv")
    parser.add_argument("--runs", type=Path, help="folder of run folders; default: runs/study/STUDY")
    parser.add_argument("--table", action="store_true", help="only print the tables of what is finished")
    return parser


if __name__ == "__main__":
    main()
