"""The energy of training the challenge's baseline here, beside that of a system.

Conventions: those of lineage.py.
Source: DCASE 2023 Task 1, "Measuring the energy consumption": participants meter their system and the baseline on the
same hardware, and state kWh of the baseline over kWh of the submission.
"""

from pathlib import Path

from data.errors import UserError
from experiments.runs.formats import Metered
from experiments.runs.identity import flat
from experiments.runs.layout import FIRST_PHASE
from experiments.runs.lineage import entry_of
from experiments.runs.writers import inputs_of, record_of

BASELINE = "baseline"  # the student that is the challenge's baseline


def baseline_training(runs: Path, name: str | None) -> Metered:
    """The training of the challenge's baseline, which learnt from labels alone, as an entry.

    Args:
        runs: the folder of all runs.
        name: of the run of the student stage; None: the only one of the baseline.

    Raises:
        UserError: the named run is none of the baseline.
    """
    stage = runs / "student"
    if name is not None:
        if not _is_of_baseline(stage / name):
            raise UserError(
                f"energy.baseline={name}: {stage / name} is no finished training of student={BASELINE} with "
                "distill=none; name one, or leave energy.baseline out"
            )
        return _entry(stage / name)
    found = [path for path in sorted(stage.glob("*")) if not path.name.endswith(FIRST_PHASE) and _is_of_baseline(path)]
    if len(found) == 1:
        return _entry(found[0])
    several = f"{', '.join(path.name for path in found)} in {stage} are: name one by energy.baseline=NAME"
    one = f"{stage} has none: train it by stage=student student={BASELINE} distill=none name={BASELINE}"
    return entry_of("student", [], [f"no training of the baseline was metered here, {several if found else one}"])


def _entry(folder: Path) -> Metered:
    """A training as an entry; `lost` says that it was shortened."""
    entry, settings = entry_of("student", [folder], []), flat(record_of(folder).settings)
    epochs, whole = settings.get("epochs"), settings.get("student.fit.epochs")
    if epochs in (None, whole):
        return entry
    return {
        **entry,
        "lost": [*entry.get("lost", []), f"{folder}: its recipe is of {whole} epochs, and epochs={epochs}"],
    }


def _is_of_baseline(folder: Path) -> bool:
    settings = flat(record_of(folder).settings)
    return settings.get("student.builder") == BASELINE and not inputs_of(folder, "logits")
