"""Systems to be ranked: those of a table, and finished runs of one's own.

Conventions: the table has the columns name, accuracy (a share from 0 to 1), parameter_bytes and macs, and may have set
(development: its test split; evaluation) and source. The published systems of 2023 come with the code.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.errors import UserError, listed
from data.tables import read_table
from experiments.evaluation.ranking import WEIGHTS, Standing, System
from experiments.runs.layout import RECORD, SCORES
from experiments.runs.reader import read_values

PUBLISHED = Path(__file__).parent.parent / "published_2023.csv"
SETS = {"development": "the development set's test split", "evaluation": "the evaluation set", "": "a set not named"}
METRICS = {"accuracy": "test/accuracy", "parameter_bytes": "parameter_bytes", "macs": "macs"}  # names in score.json


def read_systems(path: str | Path) -> list[System]:
    """The systems of a table.

    Raises:
        UserError: it is no such table, or empty, or has names twice, metrics out of range or unknown sets: all listed.
    """
    columns = read_table(path, ["name", *WEIGHTS])
    systems, wrong = [], []
    for number, values in enumerate(zip(*columns.values(), strict=True), start=1):
        texts = {key: text.strip() for key, text in zip(columns, values, strict=True)}
        name, kind = texts["name"], texts.get("set", "")
        at = f"system {number}, {name!r}"
        metrics = {key: _figure(key, texts[key]) for key in WEIGHTS}
        wrong += [f"{at}: {value}" for value in metrics.values() if isinstance(value, str)]
        if not name or not name.isprintable():
            wrong.append(f"{at}: it needs a name")
        if kind not in SETS:
            wrong.append(f"{at}: set {kind!r} is none of {', '.join(filter(None, SETS))}")
        systems.append(_system(name, metrics, kind, texts.get("source", "")))
    names = [system.name for system in systems]
    wrong += [f"{name!r}: there {names.count(name)} times" for name in dict.fromkeys(names) if names.count(name) > 1]
    if not systems:
        wrong.append("it holds no system")
    if wrong:
        raise UserError(f"{path} has {len(wrong)} defects:\n{listed(wrong)}")
    return systems


def read_runs(folders: Sequence[Path]) -> list[System]:
    """One's own systems, of finished runs; each is named by its folder.

    Raises:
        UserError: folders that are no finished runs of a quantised student; every one is listed.
    """
    systems, wrong = [], []
    for folder in {path.resolve(): path for path in folders}.values():
        if not (folder / SCORES).is_file():
            wrong.append(f"{folder}: it has no {SCORES}")
            continue
        try:
            scores = read_values(folder / SCORES)
            metrics = {key: _figure(key, str(scores[name])) for key, name in METRICS.items()}
        except (UserError, KeyError):
            wrong.append(f"{folder}: its {SCORES} lacks one of {', '.join(METRICS.values())}, or is damaged")
            continue
        wrong += [f"{folder}: {value}" for value in metrics.values() if isinstance(value, str)]
        if not (folder / RECORD).is_file():
            wrong.append(f"{folder}: it is unfinished")
        systems.append(_system(str(folder), metrics, "development", "own run", own=True))
    if wrong:
        raise UserError(
            f"rank.runs must name finished runs of stage=quantize:\n{listed(wrong)}\nrun stage=quantize again"
        )
    return systems


def as_system(name: str, scores: Mapping[str, float]) -> System:
    """A run of one's own among those that are ranked."""
    metrics = {metric: scores[key] for metric, key in METRICS.items()}
    return _system(name, metrics, "development", "own run", own=True)


def _system(name: str, metrics: Mapping[str, float | str], kind: str, source: str, *, own: bool = False) -> System:
    """A system of its metrics; those that are texts say what is wrong with them, and the system is not used."""
    accuracy, size, macs = (0 if isinstance(value := metrics[key], str) else value for key in METRICS)
    return System(name, accuracy, int(size), int(macs), set=kind, source=source, own=own)


def caveats(standings: Sequence[Standing]) -> list[str]:
    """What a reader must know: accuracies of several sets stand in one column, and whose are of which."""
    names = {kind: [s.system.name for s in standings if s.system.set == kind] for kind in SETS}
    names = {kind: found for kind, found in names.items() if found}
    found = []
    if len(names) > 1:
        of = "; ".join(f"{SETS[kind]}: {', '.join(members)}" for kind, members in names.items())
        found.append(f"accuracies of different sets are compared here, which the organisers would not do: {of}")
    if any(s.system.own for s in standings):
        found.append(
            "your accuracies are of the test split that your runs were given, maybe not the whole official one"
        )
    return found


def _figure(key: str, text: str) -> float | int | str:
    """The number that a text gives; or, as a text, what is wrong with it."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if key == "accuracy":
        return value if 0 <= value <= 1 else f"accuracy {text!r} is no share from 0 to 1 (58.7 % is 0.587)"
    if not (math.isfinite(value) and value.is_integer() and value >= 1):
        return f"{key} {text!r} is no whole number of at least 1"
    return int(value)
