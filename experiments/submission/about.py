"""What is not in the runs of a submission: its authors, its names, and the prose of its report.

Conventions: a YAML file, `submit.about=FILE`; EXAMPLE is one. Texts of the report's sections may be left out: then the
report marks where they belong.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError, counted, listed
from data.files import read_bounded
from experiments.runs.plain_yaml import BYTES, read_yaml
from experiments.submission.layout import LABEL, label_of
from experiments.submission.meta_values import (
    authors_wanted,
    baseline_energy_wanted,
    datasets_wanted,
    name_wanted,
    system_wanted,
    text_wanted,
)

SECTIONS = ("abstract", "introduction", "system", "data", "results", "complexity", "energy")
PROSE = 100_000  # characters of a section
ADAPTATIONS = ("split_adaptations", "system_adaptations")  # of 2024, in words
TEXTS = ("source_code", "inference_code", *ADAPTATIONS)  # which may be null
KEYS = ("title", "authors", "systems", "external_datasets", "baseline_energy", *TEXTS, "references", *SECTIONS)
PARTS = {  # keys of what stands in lists, and of what stands in that
    "systems": {"name", "abbreviation"},
    "authors": {"lastname", "firstname", "email", "corresponding", "affiliation"},
    "affiliation": {"institute", "abbreviation", "department", "location"},
    "external_datasets": {"name", "url", "total_audio_length", "type", "licence", "of"},
    "baseline_energy": {"training", "inference", "hardware"},
}
EXAMPLE = """\
title: A small network that learnt from large ones
authors:
  - {lastname: Doe, firstname: Jo, email: jo@uni.org, corresponding: true,
     affiliation: {institute: University of X, abbreviation: UNIX, department: Acoustics, location: "X, Y"}}
systems:             # one a run, in their order; left out: named by what they are
  - {name: CP-Mobile in 8 bits, abbreviation: CPM8}
external_datasets: []  # beyond those that the runs tell: {name: ..., url: ..., total_audio_length: minutes or null,
                       # type: audio, licence: ..., of: fingerprint}; a fingerprint is what submit asks about
source_code: null      # a URL
baseline_energy: null  # of the baseline, measured elsewhere, where it was not metered here: {training: kWh,
                       # inference: kWh, hardware: what it was measured on, and how}
inference_code: null   # 2025: the URL where the inference package will be
abstract: Two or three sentences.
"""


@dataclass(frozen=True)
class About:
    """See EXAMPLE; `texts` are of the SECTIONS that are there."""

    title: str
    authors: list[Mapping[str, Any]]
    systems: list[Mapping[str, str]] = field(default_factory=list)
    external_datasets: list[Mapping[str, Any]] = field(default_factory=list)
    baseline_energy: Mapping[str, Any] | None = None
    source_code: str | None = None
    inference_code: str | None = None
    split_adaptations: str | None = None
    system_adaptations: str | None = None
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
    data = read_bounded(path, BYTES)
    try:
        content = read_yaml(data)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    wrong = _defects(content, runs)
    if wrong:
        raise UserError(
            f"{path} has {counted(len(wrong), 'defect')}:\n{listed(wrong)}\nIt should be like this:\n{EXAMPLE}"
        )
    given = {key: content[key] for key in KEYS if content.get(key) is not None and key not in SECTIONS}
    texts = {key: re.sub(r"[ \t]+", " ", content[key]).strip() for key in SECTIONS if content.get(key)}
    return About(**given, texts=texts)


def _defects(content: Any, runs: int) -> list[str]:
    if not isinstance(content, Mapping):
        return [f"it is no mapping with the keys {', '.join(KEYS)}"]
    wrong = [f"{key!r} means nothing; the keys are {', '.join(KEYS)}" for key in content if key not in KEYS]
    for key, wanted in {
        "title": text_wanted(content.get("title")),
        "authors": authors_wanted(content.get("authors")),
        "external_datasets": datasets_wanted(content.get("external_datasets")),
        "baseline_energy": baseline_energy_wanted(content.get("baseline_energy")),
        "references": _references_wanted(content.get("references")),
        **{key: None if content.get(key) is None else text_wanted(content[key]) for key in TEXTS},
        **{key: text_wanted(content[key], PROSE) for key in SECTIONS if content.get(key) is not None},
    }.items():
        wrong += [] if wanted is None else [f"{key} must be {wanted}"]
    wrong += _defects_of_systems(content.get("systems"), runs)
    for key in ("systems", "authors", "external_datasets", "baseline_energy"):
        wrong += _strange(key, content.get(key))
    return wrong + _defects_of_datasets(content.get("external_datasets"))


def _defects_of_datasets(datasets: Any) -> list[str]:
    """Those of what only the authors say of a data set; of files that nobody else can name they must say it all."""
    found = []
    for entry in datasets if isinstance(datasets, list) else []:
        for key in ("type", "licence", "of") if isinstance(entry, Mapping) else ():
            wanted = name_wanted(entry.get(key))
            if wanted is not None and (key in entry or entry.get("of") is not None):
                found.append(f"external_datasets: of {entry.get('name')!r}, {key} must be {wanted}")
    return found


def _references_wanted(value: Any) -> str | None:
    right = isinstance(value, list) and all(text_wanted(text) is None for text in value)
    return None if value is None or right else "a list of texts"


def _defects_of_systems(systems: Any, runs: int) -> list[str]:
    if systems is None:
        return []
    if not (isinstance(systems, list) and len(systems) == runs):
        return [f"systems must be a list of {runs}, one a run, each with name and abbreviation"]
    found = [(number, system_wanted(system)) for number, system in enumerate(systems, 1)]
    return [f"systems: of number {number}, {wanted}" for number, wanted in found if wanted is not None]


def _strange(part: str, value: Any) -> list[str]:
    """Keys that mean nothing: they would stand in the description, where they may mean something."""
    found = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Mapping):
            odd = [key for key in item if key not in PARTS[part]]
            found += [f"{part}: {key!r} means nothing; the keys are {', '.join(sorted(PARTS[part]))}" for key in odd]
            found += _strange("affiliation", item["affiliation"]) if part == "authors" and "affiliation" in item else []
    return found
