"""The publications that are to be cited, against the task's page and wherever they are listed."""

import re
from pathlib import Path

import yaml

from data import bibliography
from data.front_ends import front_ends
from data.readers import readers
from students import list_students
from teachers import list_teachers

ROOT = Path(__file__).parent.parent
ALL = {value for name, value in vars(bibliography).items() if name.isupper() and isinstance(value, str)}


def plain(file: str) -> str:
    """A text's words, without line breaks and links."""
    return " ".join(re.sub(r"\[(arXiv:[\d.]+)\]\(\S+\)", r"\1", (ROOT / file).read_text()).split())


def test_the_three_publications_of_the_task_page_are_asked_for() -> None:
    """Oracle: the page of DCASE 2023 Task 1: the paper of the recordings ("for complete details see"), the one to cite
    "if you are using the audio dataset", and the one to cite "if you are participating"."""
    data, challenge, recordings = bibliography.ASKED_FOR
    assert "Acoustic scene classification in DCASE 2020 Challenge" in data
    assert "2005.14623" in data
    assert "Low-complexity acoustic scene classification in DCASE 2022 Challenge" in challenge
    assert "2206.03835" in challenge
    assert "A multi-device dataset for urban acoustic scene classification" in recordings


def test_readme_and_docs_list_what_the_code_cites() -> None:
    """Oracle: the bibliography: all of it in the docs, what is asked for in the README."""
    docs, readme = plain("docs/index.md"), plain("README.md")
    assert [each for each in ALL if each not in docs] == []
    assert [each for each in bibliography.ASKED_FOR if each not in readme] == []


def test_the_citation_file_has_what_is_asked_for() -> None:
    """Oracle: the bibliography: authors, titles and years, in its order."""
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    for each, text in zip(found, bibliography.ASKED_FOR, strict=True):
        names = ", ".join(f"{author['given-names']} {author['family-names']}" for author in each["authors"])
        assert text.startswith(f"{names}, {each['title']}, ")
        assert str(each["year"]) in text


def test_what_declares_a_citation_has_it_from_the_bibliography() -> None:
    """Oracle: the bibliography, for all networks, front ends and data sets of this project."""
    entries = [*list_teachers().values(), *list_students().values(), *front_ends().values()]
    cited = [entry.citation for entry in entries]
    cited += [reader.citation for name, reader in readers().items() if name != "tau22" and reader.citation]
    assert len(cited) > 12
    assert set(cited) <= ALL
    assert readers()["tau22"].citation == " ".join(bibliography.ASKED_FOR)
