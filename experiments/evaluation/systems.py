"""Systems to be ranked: those of a table, and finished runs of one's own.

Conventions: the table has the columns name, accuracy (a share from 0 to 1), parameter_bytes and macs (empty: not
known), and may have year (of the challenge), subset (percent of the train split that the system was trained on), set
(development: its test split; evaluation), selected_on (test: chosen by the clips of the test split) and source. A
system has a row for each set and subset. The published systems of 2022 to 2025 come with the code; what is in their
table was read in the source that stands beside it.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.errors import UserError, listed
from data.tables import decimal, read_table
from experiments.evaluation.entrants import ALL, DEVELOPMENT, SETS, Year, entrants
from experiments.evaluation.official_test import extent, is_whole
from experiments.evaluation.ranking import RULES, WEIGHTS, System
from experiments.runs.layout import RECORD, SCORES
from experiments.runs.reader import find_record, read_run, read_values

PUBLISHED = Path(__file__).parent.parent / "published_systems.csv"
SELECTIONS = ("test", "")
METRICS = {"accuracy": "test/accuracy", "parameter_bytes": "parameter_bytes", "macs": "macs"}  # names in score.json


def read_systems(path: str | Path) -> list[System]:
    """The systems of a table.

    Raises:
        UserError: it is no such table, or empty, or has rows twice, numbers out of range or unknown sets: all listed.
    """
    columns = read_table(path, ["name", *WEIGHTS])
    systems, wrong = [], []
    for number, values in enumerate(zip(*columns.values(), strict=True), start=1):
        texts = {key: text.strip() for key, text in zip(columns, values, strict=True)}
        name, kind, selected = texts["name"], texts.get("set", ""), texts.get("selected_on", "")
        at = f"system {number}, {name!r}"
        accuracy, size, macs = _numbers(texts, at, wrong)
        year = _whole("year", texts, at, wrong, range(min(RULES), max(RULES) + 1))
        subset = _whole("subset", texts, at, wrong, range(1, 101))
        if not name or not name.isprintable():
            wrong.append(f"{at}: it needs a name")
        if kind not in SETS:
            wrong.append(f"{at}: set {kind!r} is none of {', '.join(filter(None, SETS))}")
        if selected not in SELECTIONS:
            wrong.append(f"{at}: selected_on {selected!r} is none of {', '.join(filter(None, SELECTIONS))}")
        source = texts.get("source", "")
        systems.append(
            System(name, accuracy, size, macs, set=kind, source=source, year=year, subset=subset, selected_on=selected)
        )
    rows = Counter((system.name, system.year, system.set, system.subset) for system in systems)
    wrong += [f"{name!r}: there {count} times" for (name, *_), count in rows.items() if count > 1]
    if not systems:
        wrong.append("it holds no system")
    if wrong:
        raise UserError(f"{path} has {len(wrong)} defects:\n{listed(wrong)}")
    return systems


def published_systems(year: Year = ALL) -> list[System]:
    """The published systems of a year that can be ranked."""
    return entrants(read_systems(PUBLISHED), year)[0]


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
        subset, part = None, ""
        if find_record(folder) is None:
            wrong.append(f"{folder}: it is unfinished, or its {RECORD} is damaged")
        else:
            try:
                run = read_run(folder)
                subset = run.data.get("subset")
                kind = run.data.get("kind")
                part = _part(scores) if run.is_of_challenge else f"data={kind}" if kind else "data that are not known"
            except UserError as error:
                wrong.append(str(error))
        systems.append(_own_system(str(folder), accuracy, size, macs, part, subset))
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
    return _own_system(name, accuracy, int(size), int(macs), _part(scores))


def _part(scores: Mapping[str, float]) -> str:
    return "" if is_whole(scores) else extent(scores) or "an unknown part"


def _own_system(
    name: str, accuracy: float, parameter_bytes: int | None, macs: int | None, part: str, subset: int | None = None
) -> System:
    own = {"set": DEVELOPMENT, "source": "own run", "own": True, "subset": subset, "part": part}
    return System(name, accuracy, parameter_bytes, macs, **own)  # type: ignore[arg-type]


def _numbers(texts: Mapping[str, str], at: str, wrong: list[str]) -> tuple[float, int | None, int | None]:
    """Accuracy and costs from texts; what is wrong is added to the list in words, and its value is NaN or None."""
    accuracy = decimal(texts["accuracy"])
    if not 0 <= accuracy <= 1:
        wrong.append(f"{at}: accuracy {texts['accuracy']!r} is no share from 0 to 1 (58.7 % is 0.587)")
    return accuracy, _whole("parameter_bytes", texts, at, wrong), _whole("macs", texts, at, wrong)


def _whole(key: str, texts: Mapping[str, str], at: str, wrong: list[str], among: range | None = None) -> int | None:
    """A whole number of at least 1, or among some; None where nothing stands."""
    if not (text := texts.get(key, "")):
        return None
    value = decimal(text)
    if math.isfinite(value) and value.is_integer() and (value >= 1 if among is None else int(value) in among):
        return int(value)
    wanted = "of at least 1" if among is None else f"from {among[0]} to {among[-1]}"
    wrong.append(f"{at}: {key} {text!r} is no whole number {wanted}")
    return None
