"""The words of a command, taken apart: Hydra's flags, the stages, their input files, old spellings, and settings."""

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from data.errors import UserError, together
from data.ranges import in_words
from experiments.command.composition import group_choices
from experiments.command.keys import closest, declared_keys, is_read, meant, with_readers
from experiments.command.quoting import in_quotes, quoted
from experiments.settings.keys import RENAMED
from experiments.settings.stages import ALL, STAGES

SWEEP = ("-m", "--multirun")
FLAGS = (*SWEEP, "-r", "--run", "--resolve", "--hydra-help", "-sc", "--shell-completion")
OF_CONFIGS = ("-c", "--cfg", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir")
VALUED = (*OF_CONFIGS, "-p", "--package", "--experimental-rerun")
INFO = ("-i", "--info")  # which may have one of these values
INFORMATION = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
QUESTIONS = (*INFO, "-c", "--cfg", "--hydra-help", "-sc", "--shell-completion")
OURS = ("-h", "--help", "--version", "--completion")
KEY = re.compile(r"[A-Za-z_][\w.@/:$-]*")
SHOWN = 12  # keys in a line


@dataclass(frozen=True)
class Command:
    """A command line.

    Attributes:
        flags: Hydra's, with their values.
        overrides: settings as Hydra takes them, key=value.
        steps: the stages that it runs; of a sweep over stages, all of them.
        stage: whether one was named.
        renamed: old spellings that were used.
    """

    flags: tuple[str, ...]
    overrides: tuple[str, ...]
    steps: tuple[str, ...]
    stage: bool
    renamed: tuple[str, ...] = ()

    @property
    def is_sweep(self) -> bool:
        """Whether it is to run several jobs."""
        return any(flag in SWEEP for flag in self.flags)

    @property
    def is_question(self) -> bool:
        """Whether Hydra is to answer, and to run nothing."""
        return any(flag.partition("=")[0] in QUESTIONS for flag in self.flags)

    @property
    def parsed(self) -> list[Override]:
        """The overrides that Hydra understands; mistakes are found where they are used."""
        parser, found = OverridesParser.create(), []
        for text in self.overrides:
            with contextlib.suppress(HydraException):
                found.append(parser.parse_override(text))
        return found

    def for_hydra(self) -> list[str]:
        """Its arguments: the overrides, with `given` set to the keys of the command line and, of a sweep, `swept` to
        those that have several values; then the flags, which may not stand between them."""
        if "--hydra-help" in self.flags:  # which takes no settings but Hydra's
            return ["--hydra-help"]
        parsed = self.parsed
        swept = [each.key_or_group for each in parsed if self.is_sweep and each.is_sweep_override()]
        # Groups are no settings; hydra/launcher=ray, which is one, could not stand in a list either.
        settings = [each for each in parsed if "." in each.key_or_group or each.key_or_group in declared_keys()]
        given = [key for each in settings for key in _named_by(each)]
        named = [f"{key}=[{','.join(found)}]" for key, found in (("swept", swept), ("given", given)) if found]
        return [*self.overrides, *named, *self.flags]

    def notices(self) -> list[str]:
        """What is to be said about it: old spellings, and settings that none of its stages reads."""
        found = [f"{key}= is now called {RENAMED[key]}=; the old name still works" for key in self.renamed]
        named = [key for each in self.parsed for key in _named_by(each)]
        tops = _tops() - {"stage", "hydra", "given", "swept"}
        values = {each.key_or_group: each.value() for each in self.parsed if not each.is_sweep_override()}
        asked = [key for key in dict.fromkeys(named) if key.split(".")[0] in tops]
        if self.steps and (unread := [key for key in asked if not is_read(key, self.steps, values)]):
            more = f" and {len(unread) - SHOWN} more" if len(unread) > SHOWN else ""
            found.append(f"not read by {', '.join(self.steps)}: {', '.join(map(with_readers, unread[:SHOWN]))}{more}")
        return found


def read_arguments(arguments: Sequence[str]) -> Command:
    """Take a command line apart: `student x=1` is `stage=student x=1`, `score FILE` is `stage=score
    score.predictions=FILE`, `predictions=FILE` is `score.predictions=FILE`; what follows `--` is an input.

    Raises:
        UserError: words that are no settings, no stage, no input and no flags; all of them are listed.
    """
    problems: list[str] = []
    flags, words, behind = _without_flags(arguments, problems)
    steps = _steps_of(words)
    is_sweep = any(flag in SWEEP for flag in flags)
    overrides: list[str] = []
    inputs: list[str] = []
    stage, renamed = steps is not None, []
    for word in words:
        key, _, value = word.partition("=")
        if key in RENAMED and word != key:
            renamed.append(key)
            overrides.append(_with_quotes(f"{RENAMED[key]}={value}", is_sweep))
        elif _is_setting(word):
            overrides.append(_with_quotes(word, is_sweep))
        elif steps is None:
            stage, steps = True, _stage(word, problems)
            overrides.append(f"stage={word}")
        else:
            inputs.append(word)
    steps = ALL if steps is None else steps
    if (inputs or behind) and not problems:
        overrides += _input(steps, [*inputs, *behind], problems)
    command = Command(tuple(flags), tuple(overrides), steps, stage, tuple(dict.fromkeys(renamed)))
    problems += _groups_without_name(command)
    if problems:
        raise UserError(together(problems))
    return command


def _groups_without_name(command: Command) -> Iterable[str]:
    """What is wrong with choices of files that are no single name, at which Hydra would fail."""
    for each in command.parsed:
        group = each.key_or_group
        if group in group_choices() and not each.is_sweep_override() and not isinstance(value := each.value(), str):
            more = f"; several stages are stage.steps={in_words(value)}" if group == "stage" else ""
            yield f"{group}={in_words(value)} must be one of: {', '.join(group_choices()[group])}{more}"


def _without_flags(arguments: Sequence[str], problems: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Hydra's flags with their values; the other words; and those behind `--`."""
    flags: list[str] = []
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, _ = word.partition("=")
        if word == "--":
            return flags, words, rest
        has_value = (name in VALUED and not equals) or (word in INFO and rest[:1] and rest[0] in INFORMATION)
        if has_value and rest:
            flags += [word, rest.pop(0)]
        elif name in (*FLAGS, *VALUED, *INFO):
            flags.append(word)
        elif not word.startswith("-") or os.path.lexists(word):
            words.append(word)
        else:
            known = (*FLAGS, *VALUED, *INFO, *OURS)
            problems.append(f"{word} is no flag{meant(closest(name, known))}")
    return flags, words, []


def _steps_of(words: Iterable[str]) -> tuple[str, ...] | None:
    """The stages that `stage=` or `stage.steps=` names, as far as they are known; None: neither is there."""
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key in ("stage", "stage.steps"):
            names = re.findall(r"\w+", value)
            steps = [step for name in names for step in (ALL if name == "all" else [name]) if step in STAGES]
            return tuple(dict.fromkeys(steps))
    return None


def _tops() -> set[str]:
    """What a key may begin with."""
    return {key.split(".")[0] for key in declared_keys()} | {"stage", "hydra", "given", "swept", *group_choices()}


def _is_setting(word: str) -> bool:
    """Whether a word is a setting rather than a stage or an input: key=value, or ~key, which deletes.

    A name that is no key, as ./a=b.csv, is none; neither is one that no key begins with, if there is such a file.
    """
    key, equals, _ = word.partition("=")
    if not equals and not word.startswith("~"):
        return False
    key = key.lstrip("+~")
    if re.split(r"[./@:]", key, maxsplit=1)[0] in {*_tops(), *RENAMED}:
        return bool(KEY.fullmatch(key))
    return bool(equals) and bool(KEY.fullmatch(key)) and not os.path.lexists(word)


def _stage(word: str, problems: list[str]) -> tuple[str, ...]:
    """The steps of a stage that a bare word names."""
    if word == "all":
        return ALL
    if word in STAGES:
        return (word,)
    names, keys = [*STAGES, "all"], list(declared_keys())
    if word in keys or ("." in word and closest(word, keys)):
        problems.append(_no_setting(word, ()))
    else:
        choices = f"; choose one of: {', '.join(names)}"
        problems.append(f"unknown stage {word!r}{meant(closest(word, names)) or choices}")
    return ()


def _input(steps: Sequence[str], words: Sequence[str], problems: list[str]) -> list[str]:
    """The override by which the input of a stage is named."""
    settings = [name for step in steps if (name := STAGES[step].input)]
    if len(settings) == 1 and len(words) == 1:
        return [f"{settings[0]}={quoted(words[0])}"]
    if len(settings) == 1:
        problems.append(f"{len(words)} inputs, and {settings[0]} is one file or folder: {', '.join(map(repr, words))}")
    elif settings:
        problems.append(f"{words[0]!r} is the input of which stage? Write {' or '.join(f'{s}=...' for s in settings)}")
    elif steps:
        problems += [_no_setting(word, steps) for word in words]
    return []


def _no_setting(word: str, steps: Sequence[str]) -> str:
    keys = [*declared_keys(), *group_choices()]
    if word in (*STAGES, "all"):
        return f"{word!r} is a second stage: several are stage.steps=[{','.join([*steps, word])}]"
    if word in keys:
        return f"{word} has no value: write {word}=VALUE"
    return f"{word!r} is no setting, which are key=value{meant(closest(word, keys))}"


def _with_quotes(word: str, is_sweep: bool) -> str:
    """A setting whose value Hydra takes as it stands."""
    key, _, value = word.partition("=")
    if (declared := declared_keys().get(key.lstrip("+"))) is None:
        return word
    return f"{key}={in_quotes(value, declared.kind, is_path=declared.is_path, is_sweep=is_sweep)}"


def _named_by(override: Override) -> Iterable[str]:
    """The settings that an override gives: student.fit={epochs: 3} gives student.fit.epochs."""
    key = override.package if override.package else override.key_or_group
    value = override.value()
    return flat_keys(key, value) if isinstance(value, dict) else [key]


def flat_keys(prefix: str, tree: Mapping) -> Iterable[str]:
    """Dotted keys of dicts in dicts."""
    for key, value in tree.items():
        yield from flat_keys(f"{prefix}.{key}", value) if isinstance(value, Mapping) else [f"{prefix}.{key}"]
