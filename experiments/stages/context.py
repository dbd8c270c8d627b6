"""What stages have in common: from the settings to folders and runs."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.errors import UserError, listed
from data.settings import identity_of
from experiments.runs.layout import FIRST_PHASE
from experiments.runs.record import Run
from experiments.settings.parts import Quantize
from experiments.settings.shared import SPECIAL, Settings, StudentSettings, TeacherSettings
from experiments.settings.stages import STAGES, Specialize
from experiments.stages.whereabouts import layout_of
from students.limits import Complexity, over_limits

log = logging.getLogger(__name__)


def require_names(settings: Settings, stage: str) -> None:
    """Check the names of the runs that a training stage writes.

    Raises:
        UserError: a name is no folder's, or too long.
    """
    for each in (settings, *([renamed(settings, FIRST_PHASE)] if settings.is_refitted else [])):
        layout_of(each).folder(stage)


def renamed(settings: Settings, ending: str) -> Settings:
    """The same command for a run whose folder's name has an ending more."""
    if settings.job:
        return dataclasses.replace(settings, job=(*settings.job[:-1], settings.job[-1] + ending))
    return dataclasses.replace(settings, name=settings.name + ending)


def trained_identity(group: StudentSettings | TeacherSettings | Quantize | Specialize) -> dict[str, Any]:
    """The settings of a group that has a recipe, `fit`, without those that fit it to the clips: what these have made of
    it stands in the identity beside them (stages/training.py, fitted_identity)."""
    found = identity_of(group)
    found.pop("budget", None)  # refuses students, and changes none
    del found["fit"]["least_steps"], found["fit"]["rate_steps"]
    return found


def new_run(
    settings: Settings,
    stage: str,
    *,
    depends_on: Mapping[str, Any],
    inputs: Mapping[str, str],
    sources: Sequence[Path] = (),
) -> Run:
    """The run of a stage; nothing is written yet.

    Args:
        settings: of the command.
        stage: name of the stage.
        depends_on: what of the settings the results depend on.
        inputs: name to fingerprint of each file they depend on.
        sources: those of the files that other stages made.
    """
    config = as_mapping(settings)
    return Run(
        layout_of(settings).folder(stage),
        settings=depends_on,
        inputs=inputs,
        sources=sources,
        force=settings.force,
        tracking=settings.tracking,
        group=settings.name,
        tags=_tags(stage, config, settings.job),
        config=config,
    )


def _tags(stage: str, config: Mapping[str, Any], job: Sequence[str]) -> list[str]:
    """Data set and seed, as far as the stage reads them, and what tells a job of a sweep from the others."""
    known = {"data": config["data"]["kind"], "seed": f"seed={config['seed']}"}
    return [*(tag for key, tag in known.items() if key in STAGES[stage].reads), *job]


def as_mapping(settings: Settings) -> dict[str, Any]:
    """All settings as plain values under the names that the command line has for them."""
    found: dict[str, Any] = {"stage": {"steps": list(settings.steps)}}
    found |= {
        each.name: _plain(getattr(settings, each.name))
        for each in dataclasses.fields(settings)
        if each.name not in SPECIAL
    }
    found |= {
        name: _plain(settings.own[stage.own])
        for name, stage in STAGES.items()
        if stage.own is not None and stage.own in settings.own
    }
    return found


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def require_within_limits(cost: Complexity, what: str, remedy: str, limits: str, *, said: bool = True) -> None:
    """Refuse a float network over the limits of the task, or, with limits=warn, only say so.

    Args:
        cost: of the network.
        what, remedy: for the message: what is over the limits, and how it becomes smaller.
        limits: the setting.
        said: whether a network that is only warned of is: once is enough.
    """
    if not (excess := over_limits(cost)):
        return
    found = f"{what} is over the task's limits for one clip:\n{listed(excess)}"
    if limits == "error":
        raise UserError(f"{found}\n{remedy}; or train it all the same with limits=warn")
    if said:
        log.warning(found)
