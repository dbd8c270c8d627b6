"""The files of a run, one function each: from a path to values whose types were checked; reader.py is who calls them.

Conventions: a function raises one of DAMAGE if the file is missing, too large or does not hold what it should, and says
where. Numbers are finite, texts are no numbers and truth values neither, and no name is there twice.
"""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from data.errors import UserError
from data.files import read_bounded
from data.resources import Use, uses_in
from data.tables import decimal, read_table
from students.device.cost import Cost, Part

# Among others of whole numbers too large for floats, and of brackets in brackets in brackets ...
DAMAGE = (UserError, OSError, ArithmeticError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
BIN = ("low", "high", "items", "confidence", "accuracy")  # columns of reliability.csv
BYTES, HISTORY_BYTES = 4 << 20, 64 << 20  # of a file; those of a long training have a hundredth of it
DEPTH = 50  # of mappings and lists in each other
LONGEST_PATH, LONGEST_PART = 2048, 255  # characters, and bytes of a name in it; systems take no longer ones
COUNT = re.compile(r"[0-9]{1,15}")

Row = Mapping[str, Any]
Metered = dict[str, Any]  # a phase of energy.json: see energy.py
Kind = TypeVar("Kind")


def not_metered(*reasons: str) -> Metered:
    """The phase of energy.json of what is not known."""
    return {"kWh": None, "seconds": None, "estimated": False, "missing": [*reasons]}


@dataclass(frozen=True)
class Record:
    """What run.json says.

    Attributes:
        settings: those that the result depends on, mappings in mappings.
        inputs: the files that it depends on: name to fingerprint.
        sources: those of them that other runs wrote.
        external: what others made; None where it is not said, as by version 0.1.0.
        models: fingerprints of the networks that the run wrote, by file name; earlier versions noted none.
    """

    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    sources: Sequence[Path]
    external: Sequence[Use] | None = None
    models: Mapping[str, str] = field(default_factory=dict)


def record_in(path: Path) -> Record:
    """Of run.json."""
    content = {"sources": [], "models": {}, **mapping_in(path)}
    inputs, models = (
        {k: _text(v, f"{at}: {k}") for k, v in _field(content, at, _mapping).items()} for at in ("inputs", "models")
    )
    sources = [_path(source, "sources") for source in _list(content["sources"], "sources")]
    external = uses_in(content["external"]) if "external" in content else None
    return Record(_field(content, "settings", _mapping), inputs, sources, external, models)


def scores_in(path: Path) -> dict[str, float]:
    """Of score.json: flat name to number."""
    return {name: _number(value, name) for name, value in mapping_in(path).items()}


def history_in(path: Path) -> list[dict[str, float]]:
    """Of history.jsonl: a row an epoch."""
    found = []
    for number, line in enumerate(read_bounded(path, HISTORY_BYTES).decode().splitlines(), start=1):
        row = _mapping(_parsed(line), f"line {number}")
        _field(row, "epoch", _number)
        found.append({name: float(_number(value, f"line {number}: {name}")) for name, value in row.items()})
    return found


def phases_in(path: Path) -> dict[str, Metered]:
    """Of energy.json: what was metered, by phase; kWh and seconds are numbers, or None where they are not known."""
    return {phase: _phase(_mapping(found, phase)) for phase, found in mapping_in(path).items()}


def layers_in(path: Path) -> list[Row]:
    """Of layers.json: each layer's name, the bits and bytes of its weights, and its sensitivities if they are there."""
    kinds = {"layer": _text, "bits": _whole, "bytes": _whole}
    return [{**row, **{key: _field(row, key, kind) for key, kind in kinds.items()}} for row in _rows_in(path)]


def operators_in(path: Path) -> list[Row]:
    """Of operators.json: the multiply-accumulates of each operator, by its output's name."""
    kinds = {"output": _text, "macs": _whole}
    return [{**row, **{key: _field(row, key, kind) for key, kind in kinds.items()}} for row in _rows_in(path)]


def cost_in(path: Path) -> Cost:
    """Of cost.json: instructions and cycles of the layers and of the front end, and bytes of memory."""
    content, front_end = mapping_in(path), {"name": "front end", "macs": 0}
    front_end |= (measured := _field(content, "front_end", _mapping))
    layers = [_part(_mapping(row, "layers")) for row in _field(content, "layers", _list)]
    memory = {key: _field(content, key, _mapping) for key in ("ram", "flash")}
    sizes = {key: {name: _whole(size, key) for name, size in found.items()} for key, found in memory.items()}
    return Cost(layers, _part(front_end) if measured else None, sizes["ram"], sizes["flash"])


def confusion_in(path: Path) -> tuple[list[str], list[list[int]]]:
    """Of confusion.csv: the classes, and the counts, a row for each true class."""
    names, *columns = read_table(path, [], separator=",").items()
    scenes, counts = [scene for scene, _ in columns], [column for _, column in columns]
    if not scenes or names[1] != scenes:
        raise ValueError("rows and columns are of different classes")
    if odd := [text for column in counts for text in column if not COUNT.fullmatch(text)]:
        raise ValueError(f"{odd[0]!r} is no count")
    return scenes, [list(map(int, row)) for row in zip(*counts, strict=True)]


def mistakes_in(path: Path) -> list[Row]:
    """Of mistakes.json: the most confident wrong answers; see evaluation/mistakes.py."""
    kinds = {"filename": _text, "scene": _text, "answer": _text, "probability": _number, "sound": _path}
    return [{key: _field(row, key, kind) for key, kind in kinds.items()} for row in _rows_in(path)]


def bins_in(path: Path) -> list[dict[str, float]]:
    """Of reliability.csv: the bins of confidence that are not empty."""
    table = read_table(path, BIN, separator=",")
    rows = zip(*table.values(), strict=True)
    return [{name: _number(decimal(text), name) for name, text in zip(table, row, strict=True)} for row in rows]


def mapping_in(path: Path) -> dict[str, Any]:
    """Of a file that holds one JSON object."""
    return dict(_mapping(_parsed(read_bounded(path, BYTES).decode()), "the file"))


def config_in(path: Path) -> str:
    """Of config.yaml: its text."""
    return read_bounded(path, BYTES).decode()


def damage(error: BaseException) -> str:
    """What is wrong with a file, in words."""
    return "too many brackets in each other" if isinstance(error, RecursionError) else str(error)


def _rows_in(path: Path) -> list[Row]:
    rows = _list(_parsed(read_bounded(path, BYTES).decode()), "the file")
    return [_mapping(row, f"row {number}") for number, row in enumerate(rows, start=1)]


def _part(row: Mapping[str, Any]) -> Part:
    return Part(_field(row, "name", _text), *(_field(row, key, _whole) for key in ("instructions", "cycles", "macs")))


def _phase(found: Mapping[str, Any]) -> Metered:
    known: dict[str, Any] = {key: _field(found, key, _number_or_none) for key in ("kWh", "seconds")}
    if any(value is not None and value < 0 for value in known.values()):
        raise ValueError("kWh and seconds must be at least 0")
    if not isinstance(found.get("estimated"), bool):
        raise TypeError("estimated must be true or false")
    for key in ("clips", "passes"):
        if found.get(key) is not None and _field(found, key, _number) <= 0:
            raise ValueError(f"{key} must be above 0")
    if "runs" in found:
        known["runs"] = {name: _number_or_none(kwh, name) for name, kwh in _field(found, "runs", _mapping).items()}
    for key in {"missing", "lost", "on"} & found.keys():
        known[key] = [_text(words, key) for words in _field(found, key, _list)]
    if not isinstance(found.get("running", False), bool):
        raise TypeError("running must be true or false")
    return {**found, **known}


def _parsed(text: str) -> Any:
    """The JSON document.

    Raises:
        ValueError: it is none, nests too deep, or has a name twice; NaN and Infinity are for _number to refuse.
    """
    found = json.loads(text, object_pairs_hook=_each_once)
    level = [found]
    for _ in range(DEPTH):
        level = [
            value
            for each in level
            if isinstance(each, list | dict)
            for value in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return found
    raise ValueError(f"it nests deeper than {DEPTH} levels")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"{Counter(name for name, _ in pairs).most_common(1)[0][0]!r} is there twice")
    return found


def _field(row: Mapping[str, Any], key: str, kind: Callable[[Any, str], Kind]) -> Kind:
    if key not in row:
        raise ValueError(f"{key} is missing")
    return kind(row[key], key)


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{what}: {value!r} is no finite number")
    return value


def _number_or_none(value: Any, what: str) -> float | None:
    return None if value is None else _number(value, what)


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{what}: {value!r} is no whole number of at least 0")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what}: {value!r} stands where a text belongs")
    return value


def _path(value: Any, what: str) -> Path:
    path = Path(text := _text(value, what))
    if "\0" in text or len(text) > LONGEST_PATH or any(len(os.fsencode(part)) > LONGEST_PART for part in path.parts):
        raise ValueError(f"{what}: {text!r} is no path")
    return path


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{what}: a {type(value).__name__} stands where a list belongs")
    return value


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{what}: a {type(value).__name__} stands where a mapping belongs")
    return value
