"""From the dataclasses of settings/ to the schema that Hydra checks the command line against, and what it composes.

The schema is made from the dataclasses, so that a setting stands in one place.
"""

import copy
import dataclasses
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import MISSING

from data.errors import UserError, unknown
from experiments.command.launcher import RayLauncher
from experiments.settings.shared import SPECIAL, Settings
from experiments.settings.stages import ALL, STAGES

CONF = Path(__file__).parent.parent / "conf"
ROOT = "config"  # the file of CONF that names the others
SIMPLE = (bool, int, float, str)  # types of OmegaConf's
# Folders of CONF whose files other files include.
BLOCKS = ("mel", "augment", "fit", "data_teacher", "data_student", "published", "space")


def register() -> None:
    """Make schema and stages known to Hydra, in place of those that were."""
    Plugins.instance()  # loads the plugins: what they store under the same name must not come after ours
    store = ConfigStore.instance()
    store.repo.pop("stage", None)
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


@contextmanager
def composing() -> Iterator[GlobalHydra]:
    """Within it, hydra.compose works, also while a job of Hydra's is running, whose state is put back."""
    register()
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            yield GlobalHydra.instance()
    finally:
        GlobalHydra.instance().hydra = outer


def group_choices() -> dict[str, list[str]]:
    """The choices of each group of the command line: the stages, and the names of the yaml files."""
    folders = [folder for folder in sorted(CONF.iterdir()) if folder.is_dir() and folder.name not in BLOCKS]
    found = {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}
    return {"stage": [*STAGES, "all"], **found}


def require_stages(steps: tuple[str, ...]) -> None:
    """Check the names of the stages of a command.

    Raises:
        UserError: there are none, or one is unknown.
    """
    if not steps:
        raise UserError(f"stage.steps=[] names no stage: give some of {', '.join(STAGES)}")
    for step in steps:
        if step not in STAGES:
            unknown("stage", step, STAGES)
        if steps.count(step) > 1:
            raise UserError(f"stage.steps=[{','.join(steps)}] names {step} twice: name each stage once")


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
        found.append((name, type(value), dataclasses.field(default_factory=partial(copy.copy, value))))
    return dataclasses.make_dataclass(kind.__name__, found)


def _typed_field(hint: Any, each: dataclasses.Field) -> tuple[Any, Any]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        inner = mutable(hint)
        if each.default_factory is dataclasses.MISSING:
            return inner, dataclasses.field(default_factory=inner)
        values = dataclasses.asdict(each.default_factory())
        return inner, dataclasses.field(default_factory=partial(inner, **values))
    hint = hint if _is_simple(hint) else Any
    if each.default_factory is not dataclasses.MISSING:
        return hint, dataclasses.field(default_factory=each.default_factory)
    missing = each.default is dataclasses.MISSING
    return hint, dataclasses.field(default=MISSING if missing else each.default)


def _is_simple(hint: Any) -> bool:
    """Whether OmegaConf knows a type; values of the others are checked when it has composed them."""
    if typing.get_origin(hint) in (UnionType, typing.Union):
        return all(each in (*SIMPLE, NoneType) for each in typing.get_args(hint)) and len(typing.get_args(hint)) == 2
    return hint in SIMPLE or typing.get_origin(hint) in (list, dict)
