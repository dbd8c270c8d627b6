"""External resources of a submission: what the task's page lists, and what its rules forbid."""

from pathlib import Path

import pytest

from experiments.submission.meta_values import datasets_wanted
from experiments.submission.resources import resource_of, resources, unlisted_among


def dataset(name: str, url: str = "https://example.org") -> dict[str, object]:
    return {"name": name, "url": url, "total_audio_length": None}


def test_the_table_is_the_page_s(shared_data: Path) -> None:
    """Oracle: the table of the task's page: 17 rows of name, type, day and link, in its order."""
    page = shared_data.parent / "task2023.txt"
    if not page.is_file():
        pytest.skip("needs the text of the task's page beside SCENELET_DATA")
    lines = page.read_text().partition("Resource name Type Added Link\n")[2].partition("\n\n")[0].splitlines()
    listed = [each for each in resources() if not each.is_forbidden]
    days = [".".join(reversed(each.added.split("-"))) for each in listed]
    assert [f"{r.name} {r.type} {day} {r.link}" for r, day in zip(listed, days, strict=True)] == lines
    assert len(lines) == 17
    rules = " ".join(page.read_text().split())
    assert all(each.rule in rules for each in resources() if each.is_forbidden)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("TUT Urban Acoustic Scenes 2018", ""),
        ("TUT Urban Acoustic Scenes 2018 Mobile, Development dataset", ""),
        ("TAU-urban-acoustic-scenes-2019-mobile", ""),
        ("TAU Urban Acoustic Scenes 2020 Mobile", ""),
        ("tau uas 2020 3class", ""),
        ("TAU2020 Urban", ""),
        ("More scenes", "https://example.org/TAU-urban-acoustic-scenes-2019-development"),
        ("TUT Acoustic Scenes 2016, Evaluation dataset", ""),
        ("DCASE2021 Task 1 eval set", ""),
        ("DCASE2020 Task 1A, development", ""),
        ("TAU Urban Acoustic Scenes 2022 Mobile, evaluation dataset", ""),
        ("TAU Urban Audio-Visual Scenes 2021, evaluation dataset", ""),  # of task 1B
    ],
)
def test_what_the_rules_forbid_is_refused_by_its_sentence(name: str, url: str) -> None:
    """Oracle: the two sentences of the task's page that name data sets, which are partly in the task's own."""
    wanted = datasets_wanted([dataset("AudioSet"), dataset(name, url or "https://example.org")])
    assert wanted is not None
    assert wanted.startswith(f"without {name!r}, which is taken for ")
    assert ": by the rules of 2023, 'It is not allowed to use " in wanted


def test_data_that_nobody_can_have_are_refused() -> None:
    """Oracle: the task's page: "The data must be public and freely available before 1st of April 2023"; noisy students
    of timm learnt from Google's own images."""
    wanted = datasets_wanted([dataset("ImageNet"), dataset("JFT-300M")])
    assert wanted is not None
    assert "JFT-300M: by the rules of 2023, 'The data must be public and freely available" in wanted


@pytest.mark.parametrize(
    "name",
    [
        "TAU-NIGENS Spatial Sound Events 2020",
        "TUT Sound Events 2018",
        "DCASE2020 Task 4, evaluation",
        "DCASE2013 Challenge - Private Dataset for Scene Classification Task",
        "CochlScene",
        "Urban-SED",
    ],
)
def test_other_data_sets_of_these_years_and_authors_are_not_forbidden(name: str) -> None:
    """Oracle: the rules name none of them."""
    assert datasets_wanted([dataset(name)]) is None


def test_names_as_people_write_them_are_listed_or_not() -> None:
    """Oracle: the page's list: by hand."""
    listed = ("Audioset (Gemmeke et al.)", "MicIRP", "ImageNet-1k", "FSD50k", "PANNs CNN14", "PASE+", "AST", "OpenL3")
    unlisted = ("UrbanSound8K", "CochlScene", "Coarse scenes")
    assert unlisted_among([dataset(name) for name in (*listed, *unlisted)]) == list(unlisted)
    assert resource_of("", "https://zenodo.org/record/3987831") is not None
    assert resource_of("fastai", "https://example.org/ast") is None
    assert datasets_wanted(None) is None
