"""Run folders read back and checked: the only way from the files of a run to their values.

Conventions: a file that a stage does not write (a teacher has no layers) is an empty value. One that is there and does
not hold what it should, values of other types among it, is a UserError that names it, unless a function says otherwise.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from data.errors import UserError, listed
from data.readers import is_of_challenge
from data.resources import Use
from experiments.runs.formats import (
    DAMAGE,
    Metered,
    Record,
    Row,
    bins_in,
    config_in,
    confusion_in,
    cost_in,
    damage,
    history_in,
    layers_in,
    mapping_in,
    mistakes_in,
    operators_in,
    phases_in,
    record_in,
    scores_in,
)
from experiments.runs.identity import flat
from experiments.runs.layout import (
    CONFIG,
    CONFUSION,
    COST,
    ENERGY,
    HISTORY,
    LAYERS,
    MISTAKES,
    OPERATORS,
    RECORD,
    RELIABILITY,
    SCORES,
)
from experiments.runs.plain_yaml import part_of
from students.device.cost import Cost

Rows = Sequence[Row]
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class RunFiles:
    """What a finished run's folder holds.

    Attributes:
        folder: runs/<stage>/<name>.
        scores: flat name to number.
        history: a row an epoch.
        settings, inputs: what the result depends on; dotted name to value, and name to fingerprint.
        sources: the files of other runs that it was made from.
        external: what others made that it was trained with; None where the record does not say.
        config: the resolved config, as text.
        energy: by phase; kWh of what is not known are None.
        layers, operators: of an integer network.
        scenes, counts: of the confusion matrix, a row for each true class.
        reliability: the bins of confidence.
        mistakes: the most confident ones.
        cost: on a device; None where it was not measured.
    """

    folder: Path
    scores: Mapping[str, float]
    history: Rows
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    sources: Sequence[Path]
    config: str
    energy: Mapping[str, Metered]
    layers: Rows
    operators: Rows
    scenes: Sequence[str]
    counts: Sequence[Sequence[int]]
    reliability: Rows
    mistakes: Rows = ()
    cost: Cost | None = None
    external: Sequence[Use] | None = None

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
        return part_of(self.config.encode(), "data")

    @property
    def is_stored(self) -> bool:
        """Whether it is of a network as it is handed in, and not of a float network that will be stored smaller."""
        return bool(self.layers) or any(name.startswith("float/") for name in self.scores)

    @property
    def is_of_challenge(self) -> bool:
        """Whether the metrics are of the challenge's data, which published ones are of."""
        return is_of_challenge(str(self.data.get("kind")))

    @property
    def training_kwh(self) -> float | None:
        """Of the training, or of all that led to the model where the energy stage found them; None if not known."""
        whole = self.energy.get("training/all")
        known = [phase["kWh"] for phase in ([whole] if whole else self.energy.values())]
        return sum(known) if known and None not in known else None


def is_run(folder: str | Path) -> bool:
    """Whether a finished run is there."""
    return all(os.path.isfile(os.path.join(folder, name)) for name in (RECORD, SCORES))  # of any text as a path


def read_run(folder: str | Path) -> RunFiles:
    """Read a finished run: runs/<stage>/<name>.

    Raises:
        UserError: there is none, or files of it are damaged; all of them are listed.
    """
    folder = Path(folder)
    if not is_run(folder):
        raise UserError(f"{folder} is no finished run: {RECORD} or {SCORES} is missing there; run its stage first")
    wrong: list[str] = []

    def read(name: str, parse: Callable[[Path], Kind], empty: Kind) -> Kind:
        try:
            return parse(folder / name) if (folder / name).exists() else empty
        except UserError as error:
            wrong.append(str(error))
        except DAMAGE as error:
            wrong.append(f"{folder / name}: {damage(error)}")
        return empty

    record = read(RECORD, record_in, Record({}, {}, []))
    no_counts: tuple[list[str], list[list[int]]] = ([], [])
    scenes, counts = read(CONFUSION, confusion_in, no_counts)
    found = RunFiles(
        folder=folder,
        scores=read(SCORES, scores_in, {}),
        history=read(HISTORY, history_in, []),
        settings=flat(record.settings),
        inputs=record.inputs,
        sources=record.sources,
        config=read(CONFIG, config_in, ""),
        energy=read(ENERGY, phases_in, {}),
        layers=read(LAYERS, layers_in, []),
        operators=read(OPERATORS, operators_in, []),
        scenes=scenes,
        counts=counts,
        reliability=read(RELIABILITY, bins_in, []),
        mistakes=read(MISTAKES, mistakes_in, []),
        cost=read(COST, cost_in, None),
        external=record.external,
    )
    if wrong:
        raise UserError(f"files of {folder} are damaged:\n{listed(wrong)}\nrun the stage again with force=true")
    return found


def read_record(folder: Path) -> Record:
    """The run.json of a folder.

    Raises:
        UserError: it is missing or damaged.
    """
    return _checked(folder / RECORD, record_in)


def find_record(folder: Path) -> Record | None:
    """The run.json of a folder; None if it is missing or damaged."""
    try:
        return record_in(folder / RECORD)
    except DAMAGE:
        return None


def read_scores(path: str | Path) -> dict[str, float]:
    """The metrics of a score.json: finite numbers by flat name.

    Raises:
        UserError: it is missing or damaged.
    """
    return _checked(Path(path), scores_in)


def read_values(path: Path) -> dict[str, Any]:
    """As read_scores, but of values of any type: for those who check them one by one.

    Raises:
        UserError: the file is missing, or no JSON object.
    """
    return _checked(path, mapping_in)


def read_phases(folder: Path) -> dict[str, Metered]:
    """The phases of a folder's energy.json; nothing where nothing was metered, or the file is damaged."""
    try:
        return phases_in(folder / ENERGY)
    except DAMAGE:
        return {}


def read_energy(folder: Path) -> dict[str, float]:
    """kWh and seconds of each phase of which they are known, by flat name, as they stand in score.json."""
    return {
        f"energy/{phase}/{key}": found[key]
        for phase, found in read_phases(folder).items()
        for key in ("kWh", "seconds")
        if found[key] is not None
    }


def _checked(path: Path, parse: Callable[[Path], Kind]) -> Kind:
    try:
        return parse(path)
    except DAMAGE as error:
        raise UserError(
            f"{path} is damaged or missing ({damage(error)}): run its stage again with force=true"
        ) from error
