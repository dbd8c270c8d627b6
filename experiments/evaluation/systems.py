"""Systems to be ranked: those of a table, and finished runs of one's own.

Conventions: the table has the columns name, accuracy (a share from 0 to 1), parameter_bytes and macs, and may have set
(development: its test split; evaluation) and source. The published systems of 2023 come with the code.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.errors import UserError, listed
from data.tables import decimal, read_table
from experiments.evaluation.ranking import WEIGHTS, Standing, System
from experiments.runs.layout import RECORD, SCORES
from experiments.runs.reader import find_record, read_values

PUBLISHED = Path(__file__).parent.parent / "published_2023.csv"
DEVELOPMENT = "development"
SETS = {DEVELOPMENT: "the development set's test split", "evaluation": "the evaluation set", "": "a set not named"}
METRICS = {"accuracy": "test/accuracy", "parameter_bytes": "parameter_bytes", "macs": "macs"}  # names in score.json


def read_systems(path: str | Path) -> list[System]:
    """The systems of a table.

    Raises:
        UserError: it is no such table, or empty, or has names twice, numbers out of range or unknown sets: all listed.
    """
    columns = read_table(path, ["name", *WEIGHTS])
    systems, wrong = [], []
    for number, values in enumerate(zip(*columns.values(), strict=True), start=1):
        texts = {key: text.strip() for key, text in zip(columns, values, strict=True)}
        name, kind = texts["name"], texts.get("set", "")
        at = f"system {number}, {name!r}"
        accuracy, size, macs = _numbers(texts, at, wrong)
        if not name or not name.isprintable():
            wrong.append(f"{at}: it needs a name")
        if kind not in SETS:
            wrong.append(f"{at}: set {kind!r} is none of {', '.join(filter(None, SETS))}")
        systems.append(System(name, accuracy, size, macs, set=kind, source=texts.get("source", "")))
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
            texts = {key: str(scores[name]) for key, name in METRICS.items()}
        except (UserError, KeyError):
            wrong.append(f"{folder}: its {SCORES} lacks one of {', '.join(METRICS.values())}, or is damaged")
            continue
        accuracy, size, macs = _numbers(texts, str(folder), wrong)
        if find_record(folder) is None:
            wrong.append(f"{folder}: it is unfinished, or its {RECORD} is damaged")
        systems.append(_own_system(str(folder), accuracy, size, macs))
    if wrong:
        raise UserError(
            f"rank.runs must name finished runs of the quantize stage:\n{listed(wrong)}\nquantise the students again"
        )
    return systems


def as_system(name: str, scores: Mapping[str, float]) -> System:
    """A run of one's own as a system.

    Args:
        name: of the run.
        scores: of its score.json; METRICS must be among them.
    """
    accuracy, size, macs = (scores[METRICS[key]] for key in ("accuracy", "parameter_bytes", "macs"))
    return _own_system(name, accuracy, int(size), int(macs))


def caveats(standings: Sequence[Standing]) -> list[str]:
    """Warnings in words: accuracies of several sets stand in one column, and which are of which set."""
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


def _own_system(name: str, accuracy: float, parameter_bytes: int, macs: int) -> System:
    return System(name, accuracy, parameter_bytes, macs, set=DEVELOPMENT, source="own run", own=True)


def _numbers(texts: Mapping[str, str], at: str, wrong: list[str]) -> tuple[float, int, int]:
    """Accuracy and costs from texts; for what is wrong, a message is added to the list, and the value is NaN or 0."""
    accuracy = decimal(texts["accuracy"])
    if not 0 <= accuracy <= 1:
        wrong.append(f"{at}: accuracy {texts['accuracy']!r} is no share from 0 to 1 (58.7 % is 0.587)")
    return accuracy, _cost("parameter_bytes", texts, at, wrong), _cost("macs", texts, at, wrong)


def _cost(key: str, texts: Mapping[str, str], at: str, wrong: list[str]) -> int:
    value = decimal(texts[key])
    if math.isfinite(value) and value.is_integer() and value >= 1:
        return int(value)
    wrong.append(f"{at}: {key} {texts[key]!r} is no whole number of at least 1")
    return 0
