"""Between Hydra and the typed settings: the schema that it checks the command line against, and what it composed.

The schema is made from the dataclasses of settings/, so that a setting stands in one place. This module and run.py are
the only ones that see Hydra's config.
"""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from omegaconf import MISSING, DictConfig, OmegaConf

from data.errors import UserError
from experiments.command.launcher import RayLauncher
from experiments.settings.shared import Settings
from experiments.settings.stages import ALL, STAGES, require_stages

CONF = Path(__file__).parent.parent / "conf"
SPECIAL = ("steps", "own", "job", "given")  # of Settings: what no key of the command line gives as it is

Kind = TypeVar("Kind")


def mutable(kind: type, **more: Any) -> type:
    """The same dataclass as OmegaConf wants one: not frozen, what has no default is MISSING, dataclasses inside too.

    Args:
        kind: a dataclass.
        more: further fields, name to instance of what they hold by default.
    """
    hints, found = typing.get_type_hints(kind), []
    for each in dataclasses.fields(kind):
        if each.name not in SPECIAL:
            found.append((each.name, *_typed_field(hints[each.name], each)))
    for name, value in more.items():
        found.append((name, type(value), dataclasses.field(default_factory=lambda value=value: value)))
    return dataclasses.make_dataclass(kind.__name__, found)


def _typed_field(hint: Any, each: dataclasses.Field) -> tuple[Any, Any]:
    if dataclasses.is_dataclass(hint):
        inner = mutable(hint)
        if each.default_factory is dataclasses.MISSING:
            return inner, dataclasses.field(default_factory=inner)
        values = dataclasses.asdict(each.default_factory())
        return inner, dataclasses.field(default_factory=lambda: inner(**values))
    if each.default_factory is not dataclasses.MISSING:
        return hint, dataclasses.field(default_factory=each.default_factory)
    missing = each.default is dataclasses.MISSING
    return hint, dataclasses.field(default=MISSING if missing else each.default)


def register() -> None:
    """Make schema and stages known to Hydra."""
    Plugins.instance()  # loads the plugins: what they store under the same name must not come after ours
    store = ConfigStore.instance()
    steps = dataclasses.make_dataclass("Steps", [("steps", list[str], dataclasses.field(default=MISSING))])
    lists = {name: dataclasses.field(default_factory=list) for name in ("swept", "given")}
    base = dataclasses.make_dataclass("Base", [(name, list[str], value) for name, value in lists.items()])
    own = {name: mutable(stage.own)() for name, stage in STAGES.items() if stage.own is not None}
    whole = mutable(Settings, stage=steps(), **own)
    store.store(name="schema", node=dataclasses.make_dataclass("Config", [], bases=(whole, base)))
    for name in STAGES:
        store.store(group="stage", name=name, node={"steps": [name]})
    store.store(group="stage", name="all", node={"steps": list(ALL)})
    store.store(group="hydra/launcher", name="ray", node=RayLauncher)


def settings_of(cfg: DictConfig) -> Settings:
    """The typed settings of a composed config.

    Raises:
        UserError: stages are unknown, or values are out of their range; all of them are listed.
    """
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    steps = tuple(values.pop("stage")["steps"])
    require_stages(steps)
    problems: list[str] = []
    own = {
        stage.own: _instance(stage.own, values.pop(name), problems)
        for name, stage in STAGES.items()
        if stage.own is not None
    }
    given, job = frozenset(values.pop("given")), _job(cfg, values.pop("swept"))
    found = _instance(Settings, values, problems, steps=steps, own=own, given=given, job=job)
    if found is None:
        raise UserError("\n".join(problems))
    return found


def resolve(arguments: Sequence[str]) -> Settings:
    """The settings that overrides such as `student=baseline epochs=3` mean, as the command line would take them.

    Raises:
        UserError, hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException: see run.main.
    """
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return settings_of(compose("config", list(arguments)))


def _instance(kind: type[Kind], values: Mapping[str, Any], problems: list[str], **more: Any) -> Kind | None:
    """A dataclass from plain values; None, and what is wrong among the problems, if a value is out of its range."""
    hints, arguments, before = typing.get_type_hints(kind), dict(more), len(problems)
    for name, value in values.items():
        hint = hints[name]
        arguments[name] = _instance(hint, value, problems) if dataclasses.is_dataclass(hint) else _value(hint, value)
    if len(problems) > before:
        return None
    try:
        return kind(**arguments)
    except UserError as error:
        problems.append(str(error))
        return None


def _value(hint: Any, value: Any) -> Any:
    """Whole numbers where floats are wanted, as YAML writes them, become floats."""
    wanted = get_args(hint) if get_origin(hint) in (UnionType, typing.Union) else (hint,)
    return float(value) if float in wanted and type(value) is int else value


def _job(cfg: DictConfig, swept: Sequence[str]) -> tuple[str, ...]:
    """What distinguishes this job of a sweep, such as "seed_1"; a swept name already does."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    values = {key: choices.get(key, OmegaConf.select(cfg, key)) for key in swept if key != "name"}
    pairs = [f"{key.split('.')[-1]}_{value}" for key, value in values.items()]
    return tuple("".join(c if c.isalnum() or c in "_." else "_" for c in pair) for pair in pairs)
