"""The keys of the command line: what is declared of each, which stages read it, and what may have been meant."""

import dataclasses
import difflib
import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from data.ranges import in_words
from data.settings import hints_of
from experiments.settings.keys import IDLE
from experiments.settings.shared import SPECIAL, Settings
from experiments.settings.stages import STAGES

ALIASES = {"lr": "learning_rate", "bs": "batch_size", "wd": "weight_decay", "optimiser": "optimizer"}
BOOLEAN = ("true", "false")
MOST = 3  # suggestions for one key
CLOSE, MARGIN = 0.6, 0.1  # of difflib's similarity: what is close, and what is as close as the closest


@dataclass(frozen=True)
class Key:
    """What is declared of a setting.

    Attributes:
        about: its line in --help.
        values: that tab completion offers.
        is_path: whether it names files or folders.
        is_free: whether it holds further keys that only a yaml file knows, as teacher.arguments does.
        kind: its type, with the range of a number.
    """

    about: str
    values: tuple[str, ...] = ()
    is_path: bool = False
    is_free: bool = False
    kind: Any = Any

    @property
    def meaning(self) -> str:
        """What it is for, with its values where they are not among the words."""
        silent = self.values != BOOLEAN and not all(value in self.about for value in self.values)
        return f"{self.about} ({', '.join(self.values)})" if silent else self.about


def declared_keys() -> dict[str, Key]:
    """Every setting that is declared, by its dotted key."""
    found = dict(_keys_of(Settings, ""))
    for name, stage in STAGES.items():
        if stage.own is not None:
            found |= dict(_keys_of(stage.own, f"{name}."))
    return found


def is_read(key: str, steps: Iterable[str], values: Mapping[str, object] = MappingProxyType({})) -> bool:
    """Whether one of some stages reads a setting, or a part of a group of settings.

    Args:
        key: of the setting or the group.
        steps: the stages.
        values: of the command line, by key; with some of them a stage reads less.
    """
    for step in steps:
        names = (*STAGES[step].reads, *([step] if STAGES[step].own else []))
        idle = [
            name
            for (stage, other, value, is_default), those in IDLE.items()
            for name in those
            if stage == step and values and values.get(other, value if is_default else None) == value
        ]
        if any(f"{key}.".startswith(f"{name}.") for name in idle):
            continue
        if any(f"{key}.".startswith(f"{name}.") or f"{name}.".startswith(f"{key}.") for name in names):
            return True
    return False


def with_readers(key: str) -> str:
    """A setting, and which stages read it."""
    stages = [step for step in STAGES if is_read(key, [step])]
    return f"{key} (read by {', '.join(stages)})" if stages else key


def closest(key: str, keys: Sequence[str]) -> list[str]:
    """Known keys that may have been meant: of the same last word below the same group, as student.fit.learning_rate
    for student.lr; else those that are spelt nearly the same."""
    group, _, last = key.rpartition(".")
    last = ALIASES.get(last, last)
    tops = list(dict.fromkeys(known.split(".")[0] for known in keys))
    first = difflib.get_close_matches(group.split(".")[0], tops, n=1)
    below = [known for known in keys if not first or known.startswith(f"{first[0]}.")]
    if same := [known for known in below if known.rpartition(".")[2] == last and ("." in known or not group)]:
        return same[:MOST]
    scores = {known: _likeness(group, last, known) for known in keys}
    best = max(scores.values(), default=0)
    near = [known for known, score in scores.items() if score >= max(CLOSE, best - MARGIN)]
    return sorted(near, key=lambda known: -scores[known])[:MOST]


def _likeness(group: str, last: str, known: str) -> float:
    """From 0 to 1: how much a key is spelt like another one, in its worse part."""
    theirs, _, word = known.rpartition(".")
    return min(difflib.SequenceMatcher(None, *pair).ratio() for pair in ((group, theirs), (last, word)))


def meant(found: Sequence[str]) -> str:
    """Suggestions as the end of a sentence; empty without any."""
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _keys_of(kind: type, prefix: str) -> Iterator[tuple[str, Key]]:
    hints, documented = hints_of(kind), _documented(kind)
    for each in dataclasses.fields(kind):
        key, hint = f"{prefix}{each.name}", hints[each.name]
        if kind is Settings and each.name in SPECIAL:
            continue
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from _keys_of(hint, f"{key}.")
            continue
        about = each.metadata.get("about") or documented.get(each.name, "")
        values = (*each.metadata.get("choices", ()), *each.metadata.get("suggested", ()))
        words = BOOLEAN if hint is bool else tuple(map(in_words, values))
        is_free = typing.get_origin(hint) is dict
        yield key, Key(about, words, each.metadata.get("is_path", False), is_free, hint)


def _documented(kind: type) -> dict[str, str]:
    """What the docstring of a class says of its attributes."""
    _, _, attributes = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", attributes, re.MULTILINE)
    return {name: " ".join(text.split()).removesuffix(".") for name, text in entries}
