"""A run's folder read back: everything that is there of a finished run, checked, for whoever shows or compares it.

Conventions: a file that a stage does not write (a teacher has no layers) is an empty value here; one that is there
and is not what it should be is an error that names it.
"""

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from data.errors import UserError, listed
from experiments.runs.layout import CONFIG, CONFUSION, ENERGY, HISTORY, LAYERS, OPERATORS, RECORD, RELIABILITY, SCORES

CHALLENGE = "tau22"  # the kind of data set that is the challenge's

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RunFiles:
    """What a finished run's folder holds.

    Attributes:
        folder: runs/<stage>/<name>.
        scores: flat name to number.
        history: a row an epoch.
        settings, inputs: what the result depends on; flat name to value, and to fingerprint.
        sources: the files of other runs that it was made from.
        config: the resolved config, as text.
        energy: by phase; kWh of what is not known are None.
        layers, operators: of an integer network.
        scenes, counts: of the confusion matrix, a row for each true class.
        reliability: the bins of confidence.
    """

    folder: Path
    scores: Mapping[str, float]
    history: Rows
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    sources: Sequence[Path]
    config: str
    energy: Mapping[str, Mapping[str, Any]]
    layers: Rows
    operators: Rows
    scenes: Sequence[str]
    counts: Sequence[Sequence[int]]
    reliability: Rows

    @property
    def stage(self) -> str:
        """teacher, student, ..."""
        return self.folder.resolve().parent.name

    @property
    def name(self) -> str:
        """Of the run among those of its stage."""
        return self.folder.resolve().name

    @cached_property
    def macs(self) -> dict[str, int]:
        """Multiply-accumulates by layer, of an integer network."""
        return {str(operator["output"]): int(operator["macs"]) for operator in self.operators}

    @cached_property
    def data(self) -> Mapping[str, Any]:
        """The settings of `data` that the run was asked for; nothing if the config does not say."""
        try:
            found = yaml.safe_load(self.config)["data"]
        except (yaml.YAMLError, LookupError, TypeError):
            return {}
        return found if isinstance(found, Mapping) else {}

    @property
    def is_of_challenge(self) -> bool:
        """Whether the figures are of the challenge's data, which published ones are of."""
        return self.data.get("kind") == CHALLENGE

    @property
    def training_kwh(self) -> float | None:
        """Of the training, or of all that led to the model where stage=energy found them; None if not known."""
        whole = self.energy.get("training/all")
        known = [phase["kWh"] for phase in ([whole] if whole else self.energy.values())]
        return sum(known) if known and None not in known else None


def is_run(folder: Path) -> bool:
    """Whether a finished run is there."""
    return (folder / RECORD).is_file() and (folder / SCORES).is_file()


def read_run(folder: Path) -> RunFiles:
    """Read a finished run.

    Raises:
        UserError: there is none, or files of it are damaged; all of them are listed.
    """
    if not is_run(folder):
        raise UserError(f"{folder} is no finished run: {RECORD} or {SCORES} is missing there; run its stage first")
    wrong: list[str] = []

    def read(name: str, parse: Callable[[str], Any], empty: Any) -> Any:
        try:
            return parse((folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return empty
        except (OSError, ArithmeticError, ValueError, TypeError, LookupError, AttributeError, csv.Error) as error:
            wrong.append(f"{folder / name}: {type(error).__name__}: {error}")
            return empty

    record = read(RECORD, _record, ({}, {}, []))
    scenes, counts = read(CONFUSION, _confusion, ([], []))
    found = RunFiles(
        folder,
        read(SCORES, _scores, {}),
        read(HISTORY, lambda text: [_numbers(json.loads(line)) for line in text.splitlines()], []),
        *record,
        read(CONFIG, str, ""),
        read(ENERGY, _energy, {}),
        read(
            LAYERS, lambda text: [{**r, "bits": int(r["bits"]), "bytes": int(r["bytes"])} for r in json.loads(text)], []
        ),
        read(OPERATORS, lambda text: [{**r, "macs": int(r["macs"])} for r in json.loads(text)], []),
        scenes,
        counts,
        read(RELIABILITY, lambda text: [_numbers(row) for row in csv.DictReader(text.splitlines())], []),
    )
    if wrong:
        raise UserError(f"files of {folder} are damaged:\n{listed(wrong)}\nrun the stage again with force=true")
    return found


def read_scores(path: Path) -> dict[str, float]:
    """A score.json.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return _scores(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is missing or damaged ({error}): run the stage again with force=true") from error


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, of dicts in dicts."""
    if isinstance(tree, Mapping):
        return {k: v for key, value in tree.items() for k, v in flat(value, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): tree}


def ancestors(folder: Path) -> list[Path]:
    """The folders of the finished runs that a run was made from, the eldest first; what cannot be read ends a line."""
    found: dict[Path, None] = {}

    def climb(here: Path, below: frozenset[Path]) -> None:
        try:
            sources = _record((here / RECORD).read_text(encoding="utf-8"))[2]
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return
        for parent in dict.fromkeys(source.parent for source in sources):
            if is_run(parent) and parent.resolve() not in below:
                climb(parent, below | {parent.resolve()})
                found.setdefault(parent)

    climb(folder, frozenset({folder.resolve()}))
    return list(found)


def _record(text: str) -> tuple[dict[str, Any], dict[str, str], list[Path]]:
    record = json.loads(text)
    return flat(record["settings"]), dict(record["inputs"]), [Path(path) for path in record.get("sources", [])]


def _scores(text: str) -> dict[str, float]:
    scores = json.loads(text)
    if odd := [
        name for name, value in scores.items() if not isinstance(value, int | float) or not math.isfinite(value)
    ]:
        raise ValueError(f"no numbers: {', '.join(odd)}")
    return scores


def _energy(text: str) -> dict[str, dict[str, Any]]:
    return {
        phase: {**used, "kWh": None if used["kWh"] is None else float(used["kWh"])}
        for phase, used in json.loads(text).items()
    }


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in row.items()}


def _confusion(text: str) -> tuple[list[str], list[list[int]]]:
    (_, *scenes), *rows = csv.reader(text.splitlines())
    counts = [[int(value) for value in row[1:]] for row in rows]
    if len(counts) != len(scenes) or any(len(row) != len(scenes) for row in counts):
        raise ValueError("the table is not square")
    return scenes, counts
