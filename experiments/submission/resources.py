"""External resources: those that the task's page of 2023 lists, and those that its rules forbid.

Conventions: resources.csv has a row for each: the 17 of the page's "List of external data resources allowed", with
type, day and link as there; the data sets that the conditions above it exclude by name; and, as private, data that
published networks learnt from and that nobody can have. Authors write names in many ways; a name, or the link of a
forbidden one, is taken for a resource if it has all words of one of the resource's alternatives (column `words`,
separated by semicolons), and so is the link of the page. Words are letters or digits in a row, in small letters, so
that TAU2020 has two; `eval` is `evaluation`. Of several resources the one with most words counts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from data.resources import Resource as External
from data.tables import read_table
from experiments.submission.layout import YEAR

TABLE = Path(__file__).parent / "resources.csv"
COLUMNS = ("status", "name", "type", "added", "link", "words")
ALLOWED = "allowed"
# As on the task's page, "External data resources".
RULES = {
    False: "It is not allowed to use TUT Urban Acoustic Scenes 2018, TUT Urban Acoustic Scenes 2018 Mobile, TAU Urban "
    "Acoustic Scenes 2019, TAU Urban Acoustic Scenes 2019 Mobile, TAU Urban Acoustic Scenes 2020 Mobile, or TAU Urban "
    "Acoustic Scenes 2020 3Class.",
    True: "It is not allowed to use previous DCASE Challenge task 1 evaluation sets (2016-2022).",
}
PUBLIC = "The data must be public and freely available before 1st of April 2023."
EVALUATION, PRIVATE = "evaluation", "private"


class Resource(NamedTuple):
    """A row of the table; `words` are its alternatives."""

    is_forbidden: bool
    name: str
    type: str
    added: str
    link: str
    words: tuple[frozenset[str], ...]
    is_private: bool = False

    @property
    def rule(self) -> str:
        """The sentence of the task's page that forbids it."""
        return PUBLIC if self.is_private else RULES[EVALUATION in self.name]


@dataclass(frozen=True)
class Declared:
    """Something of others that a submission names.

    Attributes:
        resource: what it is.
        runs: that used it, as stage/name; none where only the authors know.
        whats: how they did, see data.resources.Use.
    """

    resource: External
    runs: tuple[str, ...] = ()
    whats: tuple[str, ...] = ()


@lru_cache
def resources() -> tuple[Resource, ...]:
    """All rows of the table."""
    columns = read_table(TABLE, COLUMNS)
    return tuple(
        Resource(status != ALLOWED, name, kind, added, link, tuple(map(_words, words.split(";"))), status == PRIVATE)
        for status, name, kind, added, link, words in zip(*(columns[name] for name in COLUMNS), strict=True)
    )


def resource_of(name: str, url: str = "") -> Resource | None:
    """The resource that a name or link is taken for, forbidden ones first; None: it is none of the table."""
    texts = {True: (name, url), False: (name,)}  # a word of an address is not enough to be listed
    found = [
        (each.is_forbidden, len(words), each)
        for each in resources()
        for words in each.words
        if (url and url == each.link) or any(words <= _words(text) for text in texts[each.is_forbidden])
    ]
    return max(found, key=lambda one: one[:2])[2] if found else None


def forbidden_among(datasets: Sequence[Mapping[str, Any]]) -> str | None:
    """What a submission's external data sets must be without, and by which rule; None: none is forbidden."""
    for dataset in datasets:
        found = resource_of(str(dataset["name"]), str(dataset["url"]))
        if found is not None and found.is_forbidden:
            taken = f"{dataset['name']!r}, which is taken for {found.name}"
            return f"without {taken}: by the rules of {YEAR}, {found.rule!r}"
    return None


def unlisted_among(datasets: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of those that the list does not have, of which the organisers want to be informed."""
    return [str(each["name"]) for each in datasets if resource_of(str(each["name"]), str(each["url"])) is None]


def _words(text: str) -> frozenset[str]:
    found = re.findall(r"[a-z]+|[0-9]+", text.lower())
    return frozenset(EVALUATION if word == "eval" else word for word in found)
