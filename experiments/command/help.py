"""What --help, --version and --completion print; none of it imports a stage."""

import importlib.metadata
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data.errors import UserError
from data.ranges import in_words
from experiments.command.arguments import Command, read_arguments
from experiments.command.comments import about, comments_of
from experiments.command.completion import replies, script
from experiments.command.composition import CONF, ROOT, composing, group_choices, require_stages
from experiments.command.keys import declared_keys
from experiments.command.mistakes import explained
from experiments.runs.tracking import commit
from experiments.settings.stages import ALL, STAGES

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
NARROWEST, WIDEST = 60, 100  # columns
COLUMN = 36  # where it begins what is said about a setting

EXAMPLES = """\
  scenelet all name=demo                    the whole path on synthetic clips
  scenelet student -m seed=1,2 data=tau22 data.root=FOLDER name=mine
eval "$(scenelet --completion bash)"    the tab key completes (also: zsh, fish)
"""


def answered(arguments: Sequence[str]) -> bool:
    """Answer --help, --version and --completion; returns whether one of them was there.

    Raises:
        UserError: --help of settings that are wrong, --completion of an unknown shell.
    """
    if arguments[:1] == ["--complete"]:  # which only our own scripts give: see completion.py
        print("\n".join(replies(*arguments[1:3])))
    elif arguments[:1] == ["--completion"]:
        print(script(" ".join(arguments[1:2]), sys.argv[0]), end="")
    elif "--version" in arguments:
        print(version())
    elif "--help" in arguments or "-h" in arguments:
        command = read_arguments([each for each in arguments if each not in ("--help", "-h")])
        try:
            print(stage_page(command, _width()) if command.stage else overview(), end="")
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explained(error, command)) from error
    else:
        return False
    return True


def version() -> str:
    """The version of the package, and the commit where this is a checkout."""
    try:
        number = importlib.metadata.version("scenelet")
    except importlib.metadata.PackageNotFoundError:
        number = tomllib.loads(PROJECT.read_text())["project"]["version"]
    found = commit()
    return f"scenelet {number}" + (f" (commit {found})" if found else "")


def overview() -> str:
    """All stages on a screen."""
    return "\n".join(
        [
            "usage: scenelet STAGE [INPUT] [SETTING=VALUE ...], or STAGE --help for settings",
            *(f"  {name:<10} {stage.about}" for name, stage in STAGES.items()),
            f"  {'all':<10} {', '.join(ALL)}; also if no stage is named",
            "",
            "  data=, student= and teacher= take names, which data --help and so on list",
            "",
            EXAMPLES,
        ]
    )


def stage_page(command: Command, width: int) -> str:
    """The settings of the stages of a command: their values in this command, and what each of them is for."""
    plain = [str(each.input_line) for each in command.parsed if not each.is_sweep_override()]
    with composing() as hydra:
        cfg, comments = compose(ROOT, plain, return_hydra_config=True), comments_of(hydra, plain)
    require_stages(tuple(cfg.stage.steps))
    inputs = list(dict.fromkeys(name for step in command.steps if (name := STAGES[step].input)))
    asked = "all" if command.steps == ALL else " and ".join(command.steps)
    lines = [f"usage: scenelet {asked}{' INPUT' * bool(inputs)} [SETTING=VALUE ...]", ""]
    lines += [f"{step}: {STAGES[step].about}" for step in command.steps]
    lines += [f"INPUT is {name}" for name in inputs]
    own = [key for step in command.steps if STAGES[step].own for key in _keys(cfg, step)]
    reads = list(dict.fromkeys(key for step in command.steps for key in STAGES[step].reads))
    single = [key for key in reads if not isinstance(OmegaConf.select(cfg, key), DictConfig)]
    lines += ["", "settings, with their values here:", *_table(cfg, [*own, *single], comments, width)]
    for group in (key for key in reads if key not in single):
        lines += ["", *_choices(group, cfg.hydra.runtime.choices.get(group), width)]
        lines += _table(cfg, list(_keys(cfg, group)), comments, width)
    return "\n".join(lines) + "\n"


def _keys(cfg: DictConfig, key: str) -> Iterator[str]:
    """The settings of a group."""
    value = OmegaConf.select(cfg, key)
    if isinstance(value, DictConfig) and len(value):
        for name in value:
            yield from _keys(cfg, f"{key}.{name}")
    else:
        yield key


def _choices(group: str, chosen: str | None, width: int) -> Iterator[str]:
    """The choices of a group, with what their files say of themselves."""
    if chosen is None:
        yield f"{group}:"
        return
    yield f"{group}={chosen}, one of"
    names = group_choices()[group]
    column = max(map(len, names)) + len(group) + 5
    for name in names:
        text = textwrap.wrap(about(CONF / group / f"{name}.yaml"), width - column) or [""]
        yield f"  {f'{group}={name}':<{column - 2}}{text[0]}".rstrip()
        yield from (f"{'':<{column}}{line}" for line in text[1:])
    yield "with these values:"


def _table(cfg: DictConfig, keys: Sequence[str], comments: Mapping[str, str], width: int) -> Iterator[str]:
    declared = declared_keys()
    for key in keys:
        value = OmegaConf.select(cfg, key)
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        left = f"  {key}={in_words(value)}"
        said = (declared[key].meaning if key in declared else "", comments.get(key, ""))
        text = textwrap.wrap("; ".join(part for part in said if part), width - COLUMN)
        if len(left) > COLUMN - 2 or not text:
            yield left
            left = ""
        for line in text:
            yield f"{left:<{COLUMN}}{line}"
            left = ""


def _width() -> int:
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))
