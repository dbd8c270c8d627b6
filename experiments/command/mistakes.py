"""What is wrong with the settings of a command: each mistake by itself, with what may have been meant."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data.errors import together
from data.ranges import fits, shortened, wanted
from experiments.command.arguments import Command
from experiments.command.composition import BLOCKS, CONF, ROOT, composing, group_choices
from experiments.command.keys import closest, declared_keys, meant

MORE = "scenelet --help lists the stages, scenelet STAGE --help the settings of one"
# Lines of Hydra's and OmegaConf's messages that say nothing more.
BOOKKEEPING = ("object_type=", "reference_type=", "See https://hydra.cc", "Error parsing override")
SHOWN = 10  # mistakes

LEXER = "LexerNoViableAltException: "  # the parser's own name for a character that it does not expect


def explained(error: Exception, command: Command) -> str:
    """What is wrong with a command that Hydra refused: every unknown key, choice and value; else what Hydra says."""
    found = _mistakes(command) or ["\n".join(_lines(error))]
    return f"{together(found, shown=SHOWN)}\n{MORE}"


def _mistakes(command: Command) -> list[str]:
    parser, found = OverridesParser.create(), []
    groups: list[str] = []
    settings: list[Override] = []
    for text in command.overrides:
        try:
            (override,) = parser.parse_overrides([text])
        except HydraException as error:
            why = _lines(HydraException(str(error)))[0].removeprefix(LEXER)
            found.append(f"{text}: {why}" if why != text else f"{text}: a character that needs quotes: KEY='\"VALUE\"'")
            continue
        values, choices = _values(override), group_choices().get(override.key_or_group)
        if override.is_sweep_override() and not command.is_sweep:
            found.append(f"{text} has several values: give -m to run them one after the other, or quotes")
        elif choices and override.package is None and all(isinstance(value, str) for value in values):
            wrong = [value for value in values if value not in choices]
            found += [_no_choice(override.key_or_group, value, choices) for value in wrong]
            groups += [] if wrong else [f"{override.key_or_group}={values[0]}"]
        elif override.type is OverrideType.CHANGE and override.package is None:
            settings.append(override)
    with composing():
        base = compose(ROOT, groups)
    return [*found, *(text for override in settings for text in _wrong_setting(override, base))]


def _wrong_setting(override: Override, base: DictConfig) -> Iterator[str]:
    """What is wrong with one setting, in a config that it is to change."""
    key, known = override.key_or_group, [*_keys(base), *group_choices()]
    if key.split(".")[0].split("/")[0] == "hydra":
        return  # which is not ours to know
    if key not in known:
        group, inner, _ = key.partition(".")
        if inner and (elsewhere := _choices_with(key)):
            where = " and ".join(f"{group}={choice}" for choice in elsewhere)
            yield f"{key!r} is a setting of {where}, not of what was chosen"
        elif close := closest(key, known):
            yield f"{key!r} is no setting; did you mean {' or '.join(close)}?"
        else:
            yield f"{key!r} is no setting"
        return
    for value in _values(override):
        try:
            OmegaConf.update(base, key, value, merge=True)
        except OmegaConfBaseException as error:
            declared = declared_keys().get(key)
            if declared is not None and not fits(declared.kind, value):
                why = f"must be {wanted(declared.kind, value)}"
            elif OmegaConf.is_list(OmegaConf.select(base, key)):
                why = "must be a list" + (f": [{value}]" if isinstance(value, str) else "")
            elif below := [name for name in declared_keys() if name.startswith(f"{key}.")]:
                why = f"cannot be given so ({_lines(error)[0]}): it is a group of settings, such as {below[0]}=..."
            else:
                why = f"cannot be given so: {_lines(error)[0]}"
            yield f"{key}={shortened(value)} {why}"


def _values(override: Override) -> list[Any]:
    """The value of an override, or all of a sweep."""
    if not override.is_sweep_override():
        return [override.value()]
    parser, key = OverridesParser.create(), override.get_key_element()
    return [parser.parse_override(f"{key}={text}").value() for text in override.sweep_string_iterator()]


def _no_choice(group: str, value: str, choices: Sequence[str]) -> str:
    likely = [f"{group}={choice}" for choice in closest(value, choices)]
    return f"there is no {group}/{value}{meant(likely)}\n  {group}={'|'.join(choices)}"


def _choices_with(key: str) -> list[str]:
    """The choices of a group whose file has a key, such as teacher.arguments.rho."""
    group, *path = key.split(".")
    if group in BLOCKS:
        return []  # files that other files include, which nobody chooses
    found = []
    for file in sorted(CONF.glob(f"{group}/*.yaml")):
        tree: Any = yaml.safe_load(file.read_text())
        for name in path:
            tree = tree.get(name, {}) if isinstance(tree, Mapping) else {}
        if tree != {}:
            found.append(file.stem)
    return found


def _keys(tree: Mapping | DictConfig, prefix: str = "") -> Iterator[str]:
    for key in tree:
        yield f"{prefix}{key}"
        if not OmegaConf.is_missing(tree, key) and isinstance(tree[key], Mapping | DictConfig):
            yield from _keys(tree[key], f"{prefix}{key}.")


def _lines(error: BaseException) -> list[str]:
    """What an exception says, with what it wraps: Hydra wraps the message that says what is wrong."""
    messages = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        messages.append(str(error))
    lines = [line for message in messages for line in message.splitlines()]
    return list(dict.fromkeys(line for line in lines if line.strip() and not line.strip().startswith(BOOKKEEPING)))
