"""Who stands where, by the challenge's formula."""

import csv
import json
from pathlib import Path

import pytest
from command import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import UserError
from experiments.evaluation.entrants import ALL, caveats, entrants, weights_of
from experiments.evaluation.ranking import RULES, TRAINED_ON, WEIGHTS, System, over_limits, pareto, rank
from experiments.evaluation.systems import PUBLISHED, published_systems, read_runs, read_systems
from experiments.report.ranking import trade_off_of
from experiments.report.trade_off import Point
from students.limits import LIMITS

HEADER = "name,accuracy,parameter_bytes,macs,set,source\n"


def some_systems(most: int = 12) -> st.SearchStrategy[list[System]]:
    """Few values, so that there are ties."""
    figures = (st.sampled_from([0.0, 0.3, 0.5, 0.501, 1.0]), st.integers(1, 4), st.integers(1, 4))
    return st.lists(st.tuples(*figures), max_size=most).map(
        lambda found: [System(str(number), *figures) for number, figures in enumerate(found)]
    )


def beats(one: System, other: System) -> bool:
    """By the definition: no worse in anything, better in something."""
    no_worse = (
        one.accuracy >= other.accuracy and one.parameter_bytes <= other.parameter_bytes and one.macs <= other.macs
    )
    figures = [(s.accuracy, s.parameter_bytes, s.macs) for s in (one, other)]
    return no_worse and figures[0] != figures[1]


def test_the_worked_example_of_the_task() -> None:
    """Oracle: the task's example: ranks A (1, 1, 1), B (3, 3, 2), C (2, 2, 3), order A, C, B; points by
    hand 1.0, 2.75, 2.25."""
    systems = [System("A", 0.6, 10, 100), System("B", 0.4, 30, 200), System("C", 0.5, 20, 300)]
    found = {standing.system.name: standing for standing in rank(systems)}
    assert list(found) == ["A", "C", "B"]
    assert {name: list(s.ranks.values()) for name, s in found.items()} == {"A": [1] * 3, "B": [3, 3, 2], "C": [2, 2, 3]}
    assert {name: s.points for name, s in found.items()} == {"A": 1.0, "B": 2.75, "C": 2.25}
    assert [s.place for s in found.values()] == [1, 2, 3]


@given(some_systems())
def test_a_rank_is_one_more_than_the_number_of_those_who_are_better(systems: list[System]) -> None:
    """Oracle: that definition, counted one by one, of each figure and of the places; so equal ones share a rank."""
    standings = rank(systems)
    assert sorted(s.system.name for s in standings) == sorted(s.name for s in systems)
    for standing in standings:
        own = standing.system
        assert standing.ranks == {
            "accuracy": 1 + sum(s.accuracy > own.accuracy for s in systems),
            "parameter_bytes": 1 + sum(s.parameter_bytes < own.parameter_bytes for s in systems),
            "macs": 1 + sum(s.macs < own.macs for s in systems),
        }
        assert standing.points == sum(WEIGHTS[figure] * place for figure, place in standing.ranks.items())
        assert standing.place == 1 + sum(s.points < standing.points for s in standings)
    assert [s.place for s in standings] == sorted(s.place for s in standings)


@given(some_systems())
def test_the_front_are_those_whom_nobody_beats(systems: list[System]) -> None:
    """Oracle: the definition, by brute force; the cheapest of the most accurate is always on the front, and who beats
    another is never placed behind it."""
    front = pareto(systems)
    assert front == [not any(beats(other, one) for other in systems) for one in systems]
    if systems:
        best = max(systems, key=lambda s: (s.accuracy, -s.parameter_bytes, -s.macs))
        assert front[systems.index(best)]
    places = {standing.system.name: standing.place for standing in rank(systems)}
    assert all(places[a.name] < places[b.name] for a in systems for b in systems if beats(a, b))


def test_the_published_systems_are_those_of_the_sources() -> None:
    """Oracle: the published figures of 2023 (first place 58.7 % with 12,310 bytes and 4.35 million; best accuracy
    62.7 % with 54,182 and 16.80; baseline 44.8 % of the evaluation set, 42.9 % of the test split, with 46,512 and
    29,234,920), and the published first place is first here too. No row of any year lacks its source, its set or its
    subset, except for the one whose set its source does not name."""
    rows = read_systems(PUBLISHED)
    systems = published_systems(2023)
    first, best, baseline = systems[:3]
    assert (first.accuracy, first.parameter_bytes, round(first.macs, -4)) == (0.587, 12_310, 4_350_000)
    assert (best.accuracy, best.parameter_bytes, round(best.macs, -4)) == (0.627, 54_182, 16_800_000)
    assert (baseline.accuracy, baseline.parameter_bytes, baseline.macs) == (0.448, 46_512, 29_234_920)
    assert {s.accuracy for s in rows if s.year == 2023 and s.name == "baseline"} == {0.448, 0.429}
    assert (first.set, best.set, baseline.set) == ("evaluation", "evaluation", "evaluation")
    assert rank(systems)[0].system is first
    assert all(s.source and not over_limits(s) and s.subset in TRAINED_ON[s.year] for s in rows)
    assert [s.name for s in rows if not s.set] == ["Morocutti_JKU"]
    assert {s.name for s in rows if s.selected_on} == {*(f"DSMN model{number}" for number in range(1, 5)), "Li_NTU, S2"}


def test_teams_stand_where_the_results_page_of_2025_has_them() -> None:
    """Oracle: the official ranks of DCASE 2025 Task 1 by team, 1 to 13."""
    found = rank([s for s in published_systems(2025) if s.set == "evaluation"], weights_of(2025))
    teams = list(dict.fromkeys(standing.system.name.split(",")[0] for standing in found))
    assert teams == [
        *("Karasin_JKU", "Tan_SNTLNTU", "Luo_CQUPT", "Zhang_AITHU-SJTU", "Chang_HYU", "Li_NTU", "Ramezanee_SUT"),
        *("Jeong_SEOULTECH", "Chen_GXU", "Krishna_SRIB", "Zhou_XJTLU", "baseline", "Han_CSU"),
    ]


def test_a_system_of_2024_is_the_mean_of_its_five_trainings() -> None:
    """Oracle: the rank scores of the results page, 54.35 and 50.73; who lacks a subset is named with it, and so is
    one's own system until there is one training on each."""
    found, left_out = entrants(read_systems(PUBLISHED), 2024)
    assert {s.name: round(100 * s.accuracy, 2) for s in found} == {"Werning_UPBNT": 54.35, "baseline": 50.73}
    assert left_out["Han_SJTUTHU"] == "no accuracies on subsets of 10, 25, 50 %"
    own = [
        System(f"runs/{n}", n / 100, n, 2 * n, set="development", own=True, subset=n) for n in (5, 10, 25, 50, 100, 100)
    ]
    (mean,), none = entrants(own[:5], 2024)
    assert (mean.name, mean.accuracy, mean.parameter_bytes, mean.macs) == ("runs/5 and 4 more", 0.38, 100, 200)
    assert none == {}
    assert entrants(own[1:5], 2024) == ([], {"runs/10 and 3 more": "no trainings on subsets (data.subset) of 5 %"})
    assert entrants(own, 2024)[1] == {"runs/5 and 5 more": "6 trainings, not one on each of 5, 10, 25, 50, 100 %"}


def test_a_system_counts_with_its_evaluation_set_or_with_the_set_that_is_asked_for() -> None:
    """Oracle: the table of 2025, read apart by csv: the runner-up has 59.94 % of the one and 60.25 % of the other;
    costs that the formula needs and nobody published leave a system out of the ranking of all years."""
    with open(PUBLISHED, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["name"].startswith("Tan_SNTLNTU")]
    accuracies = {row["set"]: float(row["accuracy"]) for row in rows}
    assert accuracies == {"evaluation": 0.5994, "development": 0.6025}
    for kind, set_ in ((None, "evaluation"), ("evaluation", "evaluation"), ("development", "development")):
        (found,) = (s for s in entrants(read_systems(PUBLISHED), 2025, kind)[0] if s.name == rows[0]["name"])
        assert (found.accuracy, found.set) == (accuracies[set_], set_)
    found, left_out = entrants(read_systems(PUBLISHED), ALL)
    assert left_out["Li_NTU, S2, 2025"] == "unknown parameter bytes and macs"
    assert all(s.parameter_bytes and s.macs for s in found)
    assert {int(s.name[-4:]) for s in found} == {*RULES}


def test_limits_hold_to_the_byte() -> None:
    """Oracle: the task's limits, 128,000 bytes and 30,000,000 multiply-accumulates, both included."""
    assert LIMITS == {"macs": 30_000_000, "parameter_bytes": 128_000}
    assert over_limits(System("", 0.5, 128_000, 30_000_000)) == []
    assert over_limits(System("", 0.5, 128_001, 30_000_001)) == [
        "30,000,001 macs, at most 30,000,000",
        "128,001 parameter bytes, at most 128,000",
    ]


def test_every_defect_of_a_table_is_named(tmp_path: Path) -> None:
    """Oracle: the messages; all of a table at once."""
    path = tmp_path / "s.csv"
    path.write_text(
        HEADER + "a,58.7,1,1,,\na,0.5,1.5,1,,\n,0.5,1,-1,,\nb,much,1,1,test,\nc,nan,inf,1e400,development,\n"
    )
    with pytest.raises(UserError) as error:
        read_systems(path)
    for message in (
        "has 10 defects",
        "system 1, 'a': accuracy '58.7' is no share from 0 to 1 (58.7 % is 0.587)",
        "system 2, 'a': parameter_bytes '1.5' is no whole number",
        "system 3, '': macs '-1' is no whole number of at least 1",
        "system 3, '': it needs a name",
        "system 4, 'b': accuracy 'much'",
        "system 4, 'b': set 'test' is none of development, evaluation",
        "system 5, 'c': accuracy 'nan'",
        "system 5, 'c': parameter_bytes 'inf'",
        "system 5, 'c': macs '1e400'",
        "'a': there 2 times",
    ):
        assert message in str(error.value)
    more = "name,accuracy,parameter_bytes,macs,year,subset,selected_on\na,1,,,"
    for text, message in (
        (HEADER, "it holds no system"),
        ("name,accuracy\na,1\n", "lacks the columns"),
        (f"{more}2021,,\n", "system 1, 'a': year '2021' is no whole number from 2022 to 2025"),
        (f"{more}2025,101,\n", "subset '101' is no whole number from 1 to 100"),
        (f"{more},,train\n", "selected_on 'train' is none of test"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            read_systems(path)
    with pytest.raises(UserError, match="is missing"):
        read_systems(tmp_path / "none.csv")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_spoilt_table_passes_or_crashes(tmp_path: Path, data: st.DataObject) -> None:
    """Oracle: what is accepted is in range and gets ranks from 1 to the number of systems, all else is a message."""
    text = PUBLISHED.read_text()
    at = data.draw(st.integers(0, len(text)))
    until = data.draw(st.integers(at, min(len(text), at + 200)))
    junk = st.text(max_size=8) | st.sampled_from(["\n", ",", '"', "\0", "0.7", "1e9", "-", "nan", "\r", "\n,,,,,\n"])
    spoilt = text[:at] + data.draw(junk) + text[until:]
    (tmp_path / "s.csv").write_bytes(spoilt.encode(errors="surrogatepass"))
    try:
        systems = read_systems(tmp_path / "s.csv")
    except UserError:
        return
    assert len({(s.name, s.year, s.set, s.subset) for s in systems}) == len(systems) > 0
    for year in (2023, 2024, ALL):
        found = entrants(systems, year)[0]
        for standing in rank(found, weights_of(year)):
            s = standing.system
            assert s.name.isprintable()
            assert 0 <= s.accuracy <= 1
            assert all(cost is None or (isinstance(cost, int) and cost >= 1) for cost in (s.macs, s.parameter_bytes))
            assert all(1 <= place <= len(found) for place in (standing.place, *standing.ranks.values()))


def test_published_systems_are_told_apart_under_the_pointer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the names of the points of the plot: different, and one's own is the run's alone."""
    drawn: list[Point] = []
    monkeypatch.setattr("experiments.report.ranking.trade_off", lambda points, limits: drawn.extend(points))
    own = System("runs/quantize/Mine", 0.5, 100, 200, own=True, part="75 of 29,680 clips")
    plot = trade_off_of([*published_systems(), own], "page")
    said = "runs/quantize/Mine (75 of 29,680 clips)."
    names = [point.name for point in drawn]
    assert len(set(names)) == len(names) > 10
    assert "Mine" in names
    assert plot.caption.endswith(f" Not of the whole official test split, and so not comparable: {said}")


def own_run(folder: Path, accuracy: float, parameter_bytes: int, macs: int) -> Path:
    """What stage=quantize leaves of a run, as far as it matters here."""
    folder.mkdir(parents=True)
    scores = {"test/accuracy": accuracy, "parameter_bytes": parameter_bytes, "macs": macs, "float/accuracy": 0.9}
    (folder / "score.json").write_text(json.dumps(scores))
    (folder / "run.json").write_text('{"settings": {}, "inputs": {}}')
    return folder


def test_a_run_that_cannot_be_ranked_is_named(tmp_path: Path) -> None:
    """Oracle: the messages, of all folders at once; one that can is read, and once only."""
    good = own_run(tmp_path / "good", 0.5, 100, 200)
    assert read_runs([good / ".." / "good", good]) == [
        System(
            *(str(good), 0.5, 100, 200), set="development", source="own run", own=True, part="data that are not known"
        )
    ]
    unfinished = own_run(tmp_path / "unfinished", 0.5, 100, 200)
    (unfinished / "run.json").unlink()
    bad = [own_run(tmp_path / str(number), *figures) for number, figures in enumerate([(1.5, 1, 1), (0.5, 1, None)])]
    for number, text in enumerate(["[]", "{}", "{", "\udc00"], start=2):
        bad.append(own_run(tmp_path / str(number), 0, 1, 1))
        (bad[-1] / "score.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(UserError) as error:
        read_runs([good, tmp_path / "nothing", unfinished, *bad])
    for folder, why in (
        (tmp_path / "nothing", "it has no score.json"),
        (unfinished, "it is unfinished"),
        (bad[0], "accuracy '1.5' is no share"),
        (bad[1], "macs 'None' is no whole number"),
        *((folder, "lacks one of test/accuracy, parameter_bytes, macs, or is damaged") for folder in bad[2:]),
    ):
        assert f"{folder}: " in str(error.value)
        assert why in str(error.value)
    assert f"{good}: " not in str(error.value)


def test_what_does_not_compare_is_said() -> None:
    """Oracle: one set of accuracies needs no word, two are named with whose they are; upper bounds, the missing rule of
    2022, and students of another share of the train split have one each."""
    one, other = System("x", 0.5, 1, 1, set="evaluation"), System("y", 0.4, 1, 1, set="development")
    assert caveats(rank([one])) == []
    (warning,) = caveats(rank([one, other]))
    assert "the development set's test split (y) and the evaluation set (x)" in warning
    assert caveats(rank([one._replace(selected_on="test")])) == [
        "chosen by the test split that they are of, so upper bounds: x"
    ]
    assert "the rule of 2022 was not found" in caveats(rank([one]), 2022)[0]
    warnings = caveats(rank([other._replace(own=True, subset=100)]), 2025)
    assert warnings[0] == "in 2025 students were trained on 25 % of the train split: y on 100 %"


def test_ones_own_system_of_2024_is_read_from_its_five_runs(tmp_path: Path) -> None:
    """Oracle: by hand: five runs of 50 to 54 % have the mean 52 %, between the two published ones."""
    for number, subset in enumerate((5, 10, 25, 50, 100)):
        folder = own_run(tmp_path / f"runs/quantize/s{subset}", 0.5 + number / 100, 100, 200)
        (folder / "config.yaml").write_text(f"data:\n  kind: tau22\n  subset: {subset}\n")
    result = run(tmp_path, "stage=rank", "rank.year=2024", "rank.runs=runs/quantize/s*")
    assert result.returncode == 0, result.stderr
    assert "runs/quantize/s10 and 4 more would be number 2 of 3" in " ".join(result.stdout.split())
    (row,) = [r for r in json.loads((tmp_path / "runs/rank/default/ranking.json").read_text())["systems"] if r["own"]]
    assert row["accuracy"] == pytest.approx(0.52)


@pytest.mark.parametrize("named", [[], ["rank.runs=[runs/quantize/default,runs/quantize/large]"]])
def test_ones_own_system_is_ranked_among_the_published(tmp_path: Path, named: list[str]) -> None:
    """Oracle: by hand: 58.8 % with fewer bytes than the first place and more multiply-accumulates than all comes second
    in accuracy, first in bytes and last of eight: 0.5 x 2 + 0.25 x 1 + 0.25 x 8 = 3.25; the first place, third, first
    and first, has 1.5 + 0.5 + 0.25 = 2.25. One over the limits is named and has no place."""
    own_run(tmp_path / "runs/quantize/default", 0.588, 12_000, 29_900_000)
    own_run(tmp_path / "runs/quantize/large", 0.9, 128_001, 1)
    result = run(tmp_path, "stage=rank", *named)
    assert result.returncode == 0, result.stderr
    with open(tmp_path / "runs/rank/default/ranking.csv", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    own = rows["runs/quantize/default"]
    assert [float(own[f"rank_{figure}"]) for figure in WEIGHTS] == [2, 1, 8]
    assert float(own["points"]) == 3.25
    assert (own["pareto"], own["own"], own["set"]) == ("True", "True", "development")
    assert float(rows["CP-Mobile, base 16 (first place)"]["points"]) == 2.25
    places = [int(row["place"]) for row in rows.values()]
    assert places == sorted(places)
    assert f"runs/quantize/default would be number {own['place']} of 8" in result.stdout
    assert ("not ranked: runs/quantize/large has 128,001 parameter bytes" in result.stdout) == bool(named)
    assert "accuracies of different sets" in result.stdout
    content = json.loads((tmp_path / "runs/rank/default/ranking.json").read_text())
    assert [system["name"] for system in content["systems"]] == list(rows)
    assert list(content["not_ranked"]) == (["runs/quantize/large"] if named else [])
