"""Several seeds: statistics against scipy.stats, groups and pairs against tables made by hand."""

import numpy as np
import pytest
from scipy import stats

from data.errors import UserError
from experiments.evaluation.seeds import (
    Estimate,
    Result,
    caveats,
    doubts_about,
    estimate,
    group,
    headline,
    paired,
    reference_of,
)

DATA = {"waves": "w", "clips": "c", "logits": "l"}


def result(folder: str, seed: int, settings: dict | None = None, *, accuracy: float = 0.5, **inputs: str) -> Result:
    return Result(f"runs/student/{folder}", seed, settings or {}, {**DATA, **inputs}, {"test/accuracy": accuracy})


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_an_estimate_is_students(n: int) -> None:
    """Oracle: scipy.stats.t.interval and the interval of ttest_1samp, numpy's variance by its definition; 1e-12."""
    values = np.random.default_rng(n).normal(0.6, 0.02, n)
    found = estimate(values)
    assert found.n == n
    assert found.mean == pytest.approx(values.sum() / n, rel=1e-12)
    assert found.deviation == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / (n - 1)), rel=1e-12)
    expected = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-12)
    interval = stats.ttest_1samp(values, 0.5).confidence_interval(0.95)
    np.testing.assert_allclose([found.low, found.high], [interval.low, interval.high], rtol=1e-12)


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Oracle: 4000 samples of four seeds from a normal law of known mean: 95 %, within four standard errors."""
    samples = np.random.default_rng(0).normal(3, 2, (4000, 4))
    hits = np.mean([e.low <= 3 <= e.high for e in map(estimate, samples)])
    assert hits == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 4000))


def test_too_few_numbers_give_no_interval_and_equal_ones_a_point() -> None:
    """Oracle: n - 1 = 0 has no t; of 3 equal numbers the deviation is 0 by hand."""
    assert estimate([]) == Estimate(0)
    assert estimate([0.25]) == Estimate(1, 0.25)
    assert estimate([0.25, 0.25, 0.25]) == Estimate(3, 0.25, 0.0, 0.25, 0.25)


def test_pairs_are_joined_by_seed() -> None:
    """Oracle: scipy.stats.ttest_rel on the common seeds sorted by hand; samples come in other orders and lack seeds."""
    sample = {3: 0.64, 0: 0.60, 7: 0.99, 2: 0.61, 1: 0.66}
    reference = {1: 0.61, 2: 0.60, 5: 0.10, 0: 0.58, 3: 0.65}
    test = stats.ttest_rel([0.60, 0.66, 0.61, 0.64], [0.58, 0.61, 0.60, 0.65])
    expected = test.confidence_interval(0.95)
    found = paired(sample, reference)
    assert found.n == 4
    assert found.mean == pytest.approx((0.02 + 0.05 + 0.01 - 0.01) / 4, rel=1e-12)
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high], rtol=1e-9)
    back = paired(reference, sample)
    np.testing.assert_allclose([back.low, back.high], [-found.high, -found.low], rtol=1e-12)


def test_what_all_seeds_share_cancels_in_pairs() -> None:
    """Oracle: a constant gain over seeds that scatter widely is found without error; unpaired it would drown."""
    reference = {0: 0.3, 1: 0.5, 2: 0.7}
    found = paired({seed: value + 0.01 for seed, value in reference.items()}, reference)
    assert found.low == pytest.approx(0.01, abs=1e-12)
    assert found.high == pytest.approx(0.01, abs=1e-12)
    assert paired({8: 0.5}, reference) == Estimate(0)
    assert paired({1: 0.75}, reference) == Estimate(1, 0.25)


def test_groups_differ_in_more_than_the_seed_and_are_named_by_it() -> None:
    """Oracle: a sweep of two keys and three seeds, one job missing, written down by hand."""
    jobs = [(w, p, s) for w in (1.0, 0.2) for p in (0.0, 0.4) for s in (2, 0, 1) if (w, p, s) != (0.2, 0.4, 0)]
    settings = group(
        [
            result(
                f"x-hard_weight_{w}-mixstyle_p_{p}-seed_{s}",
                s,
                {"student.distill.hard_weight": w, "student.augment.mixstyle_p": p, "student.size": "6k"},
            )
            for w, p, s in jobs
        ]
    )
    assert [(s.label, list(s.runs)) for s in settings] == [
        ("distill.hard_weight=1.0 augment.mixstyle_p=0.0", [0, 1, 2]),
        ("distill.hard_weight=1.0 augment.mixstyle_p=0.4", [0, 1, 2]),
        ("distill.hard_weight=0.2 augment.mixstyle_p=0.0", [0, 1, 2]),
        ("distill.hard_weight=0.2 augment.mixstyle_p=0.4", [1, 2]),
    ]
    assert settings[1].runs[2].folder == "runs/student/x-hard_weight_1.0-mixstyle_p_0.4-seed_2"


def test_names_stand_in_where_settings_do_not_tell() -> None:
    """Oracle: equal settings of two teachers; many differing keys; absent keys; one setting: each by hand."""
    teachers = [result(f"{t}-seed_{s}", s, logits=t) for s in (0, 1) for t in ("passt", "ast")]
    assert [(s.label, list(s.runs)) for s in group(teachers)] == [("passt", [0, 1]), ("ast", [0, 1])]
    many = [result(f"m-student_{n}-seed_11", 11, {f"student.arguments.{k}": n for k in "abcde"}) for n in (1, 2)]
    assert [s.label for s in group(many)] == ["m-student_1", "m-student_2"]
    absent = [
        result("m", 0, {"student.kind": "none"}),
        result("n", 0, {"student.kind": "soft", "student.t": [1, None]}),
    ]
    assert [s.label for s in group(absent)] == ["kind=none t=-", "kind=soft t=[1,null]"]
    assert [s.label for s in group([result("mine-seed_1-fold_2", 1)])] == ["mine-fold_2"]
    with pytest.raises(UserError, match=r"a seed occurs twice:\n  runs/student/a\n  runs/student/a-seed_0"):
        group([result("a", 0), result("a-seed_0", 0), result("b-seed_0", 0)])


def test_a_reference_is_named_by_a_part_that_only_it_has() -> None:
    """Oracle: labels and names by hand; the whole label wins over a longer one that contains it."""
    settings = group([result(f"n-p_{p}-seed_0", 0, {"augment.p": p}) for p in (0.2, 0.25, 1.0)])
    assert reference_of(settings, None).label == "p=0.2"
    assert reference_of(settings, "p=0.2").label == "p=0.2"
    assert reference_of(settings, "25").label == "p=0.25"
    assert reference_of(settings, "n-p_1").label == "p=1.0"
    for wanted, count in (("0.2", 2), ("none", 0)):
        with pytest.raises(
            UserError, match=rf"reference={wanted} is found in {count} of these .*\n  p=0.2 \(n-p_0.2\)"
        ):
            reference_of(settings, wanted)


def test_figures_shown_first_are_those_of_the_test_split_and_the_loss_of_validation() -> None:
    """Oracle: a choice by hand among names of score.json."""
    names = [
        "validation/accuracy",
        "validation/log_loss",
        "test/accuracy",
        "test/log_loss",
        "test/accuracy/scene/bus",
        "test/accuracy/group/unseen",
        "test/log_loss/group/unseen",
        "float/accuracy",
        "macs",
    ]
    assert headline(names) == [names[n] for n in (2, 3, 5, 7, 1)]


def test_what_makes_figures_incomparable_is_said() -> None:
    """Oracle: runs made so that each caveat holds once; and none for a clean sweep with a teacher for each seed."""
    clean = [result(f"{p}-{s}", s, {"p": p}, logits=f"teacher {s}") for p in (1, 2) for s in (0, 1)]
    settings = group(clean)
    assert caveats(settings, settings[0]) == [
        f"p={p}: the seeds' logits differ, so that the spread is of these too" for p in (1, 2)
    ]
    mixed = [result("a", 0, {"p": 1}), result("b", 0, {"p": 2}, logits="m"), result("c", 4, {"p": 2}, logits="m")]
    settings = group([*mixed, result("d", 5, {"p": 3}, clips="other")])
    assert caveats(settings, settings[0]) == [
        "the runs are of different data (inputs clips): their metrics are not comparable",
        "p=2: not of the same logits as p=1",
        "p=2: 1 seeds in common with p=1 (only one of them has 4)",
        "p=3: no seeds in common with p=1 (only one of them has 0, 5)",
    ]
    settings = group([result("a-seed_0", 0), result("b-seed_0", 0)])
    assert caveats(settings, settings[0]) == ["the settings are equal, and told apart by the runs' names: a, b"]


@pytest.mark.parametrize(("keys", "label"), [(4, "k0=0 k1=0 k2=0 k3=0"), (5, "r0")])
def test_up_to_four_keys_are_the_label_and_more_are_the_name(keys: int, label: str) -> None:
    """Oracle: by hand: two runs that differ in so many settings."""
    found = group([result(f"r{n}", 0, {f"student.k{key}": n for key in range(keys)}) for n in range(2)])
    assert found[0].label == label


def test_runs_of_one_name_are_told_apart_by_their_stage() -> None:
    """Oracle: the folders, by hand: their last two names without the seed."""
    stages = {"student": {f"a{n}": n for n in range(5)}, "quantize": {"bits": 8}}
    found = group([result(f"runs/{stage}/mine-seed_1", 1, settings) for stage, settings in stages.items()])
    assert [setting.label for setting in found] == ["student/mine", "quantize/mine"]


def test_settings_are_equal_in_whatever_order() -> None:
    """Oracle: by hand: two orders of two settings are one setting of two seeds; of one seed they are told apart by
    name, which is said."""
    one, other = {"p": 1, "q": 2}, {"q": 2, "p": 1}
    (found,) = group([result("a", 0, one, accuracy=0.25), result("b", 1, other)])
    assert found.sample("test/accuracy") == {0: 0.25, 1: 0.5}
    assert found.sample("test/log_loss") == {}
    settings = group([result("a", 0, one), result("b", 0, other)])
    assert caveats(settings, settings[0]) == ["the settings are equal, and told apart by the runs' names: a, b"]


def test_what_means_are_of_is_said() -> None:
    """Oracle: by hand: a part of the test split once, whatever the seeds; which setting has one seed alone; of three
    seeds of the whole split nothing."""
    of_part = result("p", 3, {"p": 1})._replace(part="75 of 29,680 clips")
    assert doubts_about(group([of_part, of_part._replace(seed=4), result("q", 0, {"p": 2})])) == [
        "test metrics are of 75 of 29,680 clips of the official test split",
        "p=2: of one seed a deviation is not defined",
    ]
    assert doubts_about(group([result("p", seed, {"p": 1}) for seed in range(3)])) == []
