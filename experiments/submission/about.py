"""What no run can know of a submission: who submits it, what they call it, and what they say of it.

Conventions: a YAML file, `submit.about=FILE`; EXAMPLE is one. Texts of the report's sections may be left out: then the
report marks where they belong.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError, listed
from experiments.submission.layout import LABEL, label_of
from experiments.submission.meta import ABBREVIATION, authors_wanted, datasets_wanted
from experiments.submission.plain_yaml import read_yaml

SECTIONS = ("abstract", "introduction", "system", "data", "results", "complexity", "energy")
KEYS = ("title", "authors", "systems", "external_datasets", "source_code", "references", *SECTIONS)
EXAMPLE = """\
title: A small network that learnt from large ones
authors:
  - {lastname: Doe, firstname: Jo, email: jo@uni.org, corresponding: true,
     affiliation: {institute: University of X, abbreviation: UNIX, department: Acoustics, location: "X, Y"}}
systems:             # one a run, in their order; left out: named by what they are
  - {name: CP-Mobile in 8 bits, abbreviation: CPM8}
external_datasets: []  # beyond those that the runs tell: {name: ..., url: ..., total_audio_length: minutes or null}
source_code: null      # a URL
abstract: Two or three sentences.
"""


@dataclass(frozen=True)
class About:
    """See EXAMPLE; `texts` are of the SECTIONS that are there."""

    title: str
    authors: list[Mapping[str, Any]]
    systems: list[Mapping[str, str]] = field(default_factory=list)
    external_datasets: list[Mapping[str, Any]] = field(default_factory=list)
    source_code: str | None = None
    references: list[str] = field(default_factory=list)
    texts: Mapping[str, str] = field(default_factory=dict)

    def team(self, surname: str | None, institute: str | None) -> str:
        """<surname>_<institute>, of the corresponding author where they are not given.

        Raises:
            UserError: no label can be made of them.
        """
        author = next(author for author in self.authors if author.get("corresponding") is True)
        surname, institute = surname or author["lastname"], institute or author["affiliation"]["abbreviation"]
        if not LABEL.fullmatch(label_of(surname, institute, 1)):
            raise UserError(
                f"{label_of(surname, institute, 1)!r} is no label of a submission: only letters A to Z, digits and "
                "'-' are allowed; give submit.surname and submit.institute"
            )
        return f"{surname}_{institute}"


def read_about(path: str | Path, runs: int) -> About:
    """Read the file of a submission of so many runs.

    Raises:
        UserError: it is missing or no YAML, or lacks what is needed; every defect is listed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"submit.about={path} is no file. It should be like this:\n{EXAMPLE}")
    try:
        content = read_yaml(path.read_bytes())
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    wrong = _defects(content, runs)
    if wrong:
        raise UserError(f"{path} has {len(wrong)} defects:\n{listed(wrong)}\nIt should be like this:\n{EXAMPLE}")
    given = {key: content[key] for key in KEYS if content.get(key) is not None and key not in SECTIONS}
    texts = {key: re.sub(r"[ \t]+", " ", content[key]).strip() for key in SECTIONS if content.get(key)}
    return About(**given, texts=texts)


def _defects(content: Any, runs: int) -> list[str]:
    if not isinstance(content, Mapping):
        return [f"it is no mapping with the keys {', '.join(KEYS)}"]
    wrong = [f"{key!r} means nothing; the keys are {', '.join(KEYS)}" for key in content if key not in KEYS]
    if not _is_text(content.get("title")):
        wrong.append("title must be a text")
    if (wanted := authors_wanted(content.get("authors"))) is not None:
        wrong.append(f"authors must be {wanted}")
    if (wanted := datasets_wanted(content.get("external_datasets"))) is not None:
        wrong.append(f"external_datasets must be {wanted}")
    systems = content.get("systems")
    if systems is not None and not (
        isinstance(systems, list) and len(systems) == runs and all(map(_is_system, systems))
    ):
        wrong.append(
            f"systems must be a list of {runs}, one a run, each with name and abbreviation (at most {ABBREVIATION})"
        )
    if (code := content.get("source_code")) is not None and not _is_text(code):
        wrong.append("source_code must be a URL or null")
    references = content.get("references")
    if references is not None and not (isinstance(references, list) and all(map(_is_text, references))):
        wrong.append("references must be a list of texts")
    wrong += [
        f"{key} must be a text" for key in SECTIONS if content.get(key) is not None and not _is_text(content[key])
    ]
    return wrong


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_system(value: Any) -> bool:
    named = isinstance(value, Mapping) and _is_text(value.get("name")) and _is_text(value.get("abbreviation"))
    return named and len(value["abbreviation"]) <= ABBREVIATION
