"""From the words of a command, or from what Hydra composed of them, to the typed settings.

The modules of this folder and run.py are the only ones that see Hydra's config.
"""

import dataclasses
import errno
import logging
import os
import re
import typing
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from data.errors import UserError, together
from data.ranges import in_words, shortened
from data.settings import problems_of
from experiments.command.composition import ROOT, composing, require_stages
from experiments.settings.shared import Settings, StudentSettings, TeacherSettings
from experiments.settings.stages import STAGES

Kind = TypeVar("Kind")

log = logging.getLogger(__name__)


def composed(*overrides: str) -> Settings:
    """The settings that some overrides of Hydra's, such as `student=baseline`, give all stages.

    Raises:
        HydraException, OmegaConfBaseException: there is no such setting or choice.
        UserError: a value is out of its range.
    """
    with composing():
        return settings_of(compose(ROOT, list(overrides)))


def settings_of(cfg: DictConfig) -> Settings:
    """The typed settings of a composed config.

    Raises:
        UserError: stages are unknown, or values are out of their range; all of them are listed.
    """
    values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    steps = tuple(values.pop("stage")["steps"])
    require_stages(steps)
    problems: list[str] = []
    own = {
        stage.own: _instance(stage.own, values.pop(name), f"{name}.", problems)
        for name, stage in STAGES.items()
        if stage.own is not None
    }
    given, job = frozenset(values.pop("given")), _job(cfg, values.pop("swept"))
    found = _instance(Settings, values, "", problems, steps=steps, own=own, given=given, job=job)
    if found is None or problems:
        raise UserError(together(problems))
    return _with_front_end(_with_front_end(found, "teacher"), "student")


def _with_front_end(settings: Settings, network: Literal["teacher", "student"]) -> Settings:
    """The settings, in which the front end of a network is of the kind that the command line names: what a recipe says
    of another kind is left out; see data.front_ends.adapted."""
    group: TeacherSettings | StudentSettings = getattr(settings, network)
    prefix = f"{network}.mel."
    if f"{prefix}kind" not in settings.given:
        return settings
    from data.front_ends import adapted  # it needs PyTorch: not for what has no such setting

    given = {key.removeprefix(prefix) for key in settings.given if key.startswith(prefix)}
    mel = adapted(group.mel, given)
    if changed := [f"{key}={in_words(mel[key])}" for key in mel if mel[key] != group.mel[key]]:
        log.info("%skind=%s: %s", prefix, mel["kind"], ", ".join(changed))
    changes: dict[str, Any] = {network: dataclasses.replace(group, mel=mel)}
    return dataclasses.replace(settings, **changes)


def _instance(
    kind: type[Kind], values: Mapping[str, Any], prefix: str, problems: list[str], **more: Any
) -> Kind | None:
    """A dataclass from plain values; None, and what is wrong among the problems, if a value is out of its range."""
    hints, arguments, before = typing.get_type_hints(kind), dict(more), len(problems)
    declared = {each.name: each for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            arguments[name] = _instance(hint, value, f"{prefix}{name}.", problems)
        else:
            arguments[name] = _value(hint, value, is_path=declared[name].metadata.get("is_path", False))
            problems += problems_of(kind, {name: arguments[name]}, prefix)
    if len(problems) > before:
        return None
    try:
        return kind(**arguments)
    except UserError as error:
        # A group names its settings from itself on, as augment.roll; the command line has teacher.augment.roll.
        own = prefix.rstrip(".").rpartition(".")[2]
        problems.append(re.sub(rf"(?<![\w.]){own}\.", prefix, str(error)) if own else str(error))
        return None


def _value(hint: Any, value: Any, *, is_path: bool) -> Any:
    """Whole numbers where floats are wanted, as YAML writes them, become floats; ~ becomes the home folder, which
    shells leave alone behind key=."""
    if is_path and isinstance(value, list):
        return [_value(hint, each, is_path=True) for each in value]
    if is_path and isinstance(value, str):
        return _path(os.path.expanduser(value))
    wanted = get_args(hint) if get_origin(hint) in (UnionType, typing.Union) else (hint,)
    return float(value) if float in wanted and type(value) is int else value


def _path(path: str) -> str:
    """A path, if the system can follow it, whether anything is there or not.

    Raises:
        UserError: its links lead in a circle, or it has too long a name.
    """
    try:
        os.stat(path)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise UserError(f"{shortened(path)}: {error.strerror}: name another path") from error
    except ValueError:  # a name with a zero byte, which is not there
        pass
    return path


def _job(cfg: DictConfig, swept: Sequence[str]) -> tuple[str, ...]:
    """What distinguishes this job of a sweep, such as "seed_1"; a swept name already does."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    values = {key: choices.get(key, OmegaConf.select(cfg, key)) for key in swept if key != "name"}
    pairs = [f"{key.split('.')[-1]}_{value}" for key, value in values.items()]
    return tuple("".join(c if c.isalnum() or c in "_." else "_" for c in pair) for pair in pairs)
