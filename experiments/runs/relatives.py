"""The runs that a run was made from, and those that were made from it, by the files that run.json names.

Conventions: folders of finished runs; a record that cannot be read ends a line.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.files import file_sha256
from experiments.runs.formats import Metered
from experiments.runs.identity import flat
from experiments.runs.phases import METERED
from experiments.runs.reader import find_record, is_run, read_run


def ancestors(folder: Path) -> list[Path]:
    """The folders of the finished runs that a run was made from, the eldest first."""
    found: dict[Path, None] = {}

    def climb(here: Path, below: frozenset[Path]) -> None:
        record = find_record(here)
        for parent in dict.fromkeys(source.parent for source in (record.sources if record else [])):
            if is_run(parent) and parent.resolve() not in below:
                climb(parent, below | {parent.resolve()})
                found.setdefault(parent)

    climb(folder, frozenset({folder.resolve()}))
    return list(found)


def made_from(folder: Path, stage: str) -> list[Path]:
    """The folders of the finished runs of a stage, beside those of a run's own, that were made from its files."""
    here, found = folder.resolve(), []
    for path in sorted((here.parent.parent / stage).glob("*")):
        record = find_record(path)
        if record and is_run(path) and any(source.parent.resolve() == here for source in record.sources):
            found.append(path)
    return found


def measured_energy(model: Path) -> dict[str, Metered]:
    """The energy of inference by a run's file and by the baseline, as stage=energy metered it; of several measurements
    of the same bytes that of this very path, or else that of the run's name; without one nothing."""
    model = model.resolve()
    if len(model.parents) < 3:  # in no folder of runs
        return {}
    measured, digest, name = model.parents[2] / "energy", file_sha256(model), model.parent.name

    def unlikely(path: Path) -> tuple[bool, bool, str]:
        record = find_record(path)
        named = record is not None and model in [source.resolve() for source in record.sources]
        return not named, path.name != name, path.name

    for path in sorted(measured.glob("*"), key=unlikely):
        if is_run(path) and (run := read_run(path)).inputs.get("model") == digest:
            return {phase: run.energy[phase] for phase in METERED if phase in run.energy}
    return {}


def settings_of(folder: Path) -> Mapping[str, Any]:
    """What the result of a run depends on, dotted name to value; nothing if its record cannot be read."""
    record = find_record(folder)
    return flat(record.settings) if record else {}
