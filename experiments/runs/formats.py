"""The files of a run, one function each: from a path to values whose types were checked; reader.py is who calls them.

Conventions: a function raises one of DAMAGE if the file is missing or does not hold what it should, or a UserError if
it is no table. Numbers are finite.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.tables import read_table

# Among others of whole numbers too large for floats, and of brackets in brackets in brackets ...
DAMAGE = (OSError, ArithmeticError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
BIN = ("low", "high", "items", "confidence", "accuracy")  # columns of reliability.csv

Row = Mapping[str, Any]
Metered = dict[str, Any]  # a phase of energy.json: see energy.py


def not_metered(*reasons: str) -> Metered:
    """The phase of energy.json of what is not known."""
    return {"kWh": None, "seconds": None, "estimated": False, "missing": [*reasons]}


def joined(before: Metered | None, found: Metered) -> Metered:
    """Two parts of one computation as one; not known if one is not."""
    if before is None:
        return found
    sums = {key: None if None in (before[key], found[key]) else before[key] + found[key] for key in ("kWh", "seconds")}
    missing = list(dict.fromkeys([*before.get("missing", []), *found.get("missing", [])]))
    about = {"estimated": before["estimated"] or found["estimated"], **({"missing": missing} if missing else {})}
    return {**before, **found, **sums, **about}


@dataclass(frozen=True)
class Record:
    """What run.json says.

    Attributes:
        settings: those that the result depends on, mappings in mappings.
        inputs: the files that it depends on: name to fingerprint.
        sources: those of them that other runs wrote.
    """

    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    sources: Sequence[Path]


def record_in(path: Path) -> Record:
    """Of run.json."""
    content = mapping_in(path)
    settings, inputs = _mapping(content["settings"]), _mapping(content["inputs"])
    sources = content.get("sources", [])
    if not isinstance(sources, list):
        raise TypeError("sources must be a list")
    return Record(
        settings,
        {name: _text(value) for name, value in inputs.items()},
        [Path(_text(source)) for source in sources],
    )


def scores_in(path: Path) -> dict[str, float]:
    """Of score.json: flat name to number."""
    scores = mapping_in(path)
    if odd := [name for name, value in scores.items() if not _is_number(value)]:
        raise ValueError(f"no numbers: {', '.join(odd)}")
    return scores


def history_in(path: Path) -> list[dict[str, float]]:
    """Of history.jsonl: a row an epoch."""
    rows = [_mapping(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    found = [{name: float(value) for name, value in row.items()} for row in rows]
    if any("epoch" not in row for row in found):
        raise ValueError("a row has no epoch")
    return found


def phases_in(path: Path) -> dict[str, Metered]:
    """Of energy.json: what was metered, by phase; kWh and seconds are numbers, or None where they are not known."""
    return {phase: _phase(_mapping(found)) for phase, found in mapping_in(path).items()}


def layers_in(path: Path) -> list[Row]:
    """Of layers.json: each layer's name, the bits and bytes of its weights, and its sensitivities if they are there."""
    rows = [_mapping(row) for row in _list(path)]
    return [{**row, "layer": _text(row["layer"]), "bits": int(row["bits"]), "bytes": int(row["bytes"])} for row in rows]


def operators_in(path: Path) -> list[Row]:
    """Of operators.json: the multiply-accumulates of each operator, by its output's name."""
    rows = [_mapping(row) for row in _list(path)]
    return [{**row, "output": _text(row["output"]), "macs": int(row["macs"])} for row in rows]


def confusion_in(path: Path) -> tuple[list[str], list[list[int]]]:
    """Of confusion.csv: the classes, and the counts, a row for each true class."""
    names, *columns = read_table(path, [], separator=",").items()
    scenes, counts = [scene for scene, _ in columns], [[int(text) for text in column] for _, column in columns]
    if not scenes or names[1] != scenes:
        raise ValueError("rows and columns are of different classes")
    if any(count < 0 for column in counts for count in column):
        raise ValueError("counts must be at least 0")
    return scenes, [list(row) for row in zip(*counts, strict=True)]


def bins_in(path: Path) -> list[dict[str, float]]:
    """Of reliability.csv: the bins of confidence that are not empty."""
    table = read_table(path, BIN, separator=",")
    return [dict(zip(table, map(float, row), strict=True)) for row in zip(*table.values(), strict=True)]


def mapping_in(path: Path) -> dict[str, Any]:
    """Of a file that holds one JSON object."""
    return dict(_mapping(json.loads(path.read_text(encoding="utf-8"))))


def _list(path: Path) -> list[Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, list):
        raise TypeError(f"a {type(found).__name__} stands where a list belongs")
    return found


def _phase(found: Mapping[str, Any]) -> Metered:
    kwh, seconds = (None if found[key] is None else _number(found[key]) for key in ("kWh", "seconds"))
    if not isinstance(found["estimated"], bool):
        raise TypeError("estimated must be true or false")
    runs = {name: None if value is None else _number(value) for name, value in _mapping(found.get("runs", {})).items()}
    missing = found.get("missing", [])
    if not isinstance(missing, list):
        raise TypeError("missing must be a list")
    counts = {key: _number(found[key]) for key in ("clips", "passes") if found.get(key) is not None}
    if any(count <= 0 for count in counts.values()):
        raise ValueError("clips and passes must be above 0")
    known: dict[str, Any] = {"kWh": kwh, "seconds": seconds}
    known |= {"runs": runs} if "runs" in found else {}
    known |= {"missing": [_text(why) for why in missing]} if "missing" in found else {}
    return {**found, **known}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _number(value: Any) -> float:
    if not _is_number(value):
        raise ValueError(f"{value!r} is no finite number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} stands where a text belongs")
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"a {type(value).__name__} stands where a mapping belongs")
    return value
