"""Bootstrap intervals over recordings."""

import numpy as np
import pytest
from scipy import stats

from experiments.evaluation.bootstrap import difference_intervals, metric_intervals, multi_label_intervals
from experiments.evaluation.metrics import log_loss, macro_accuracy
from experiments.evaluation.multi_label import binary_cross_entropy, mean_average_precision


def predictions(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(3), size=n)


def test_equal_predictions_differ_by_nothing() -> None:
    """Oracle: 0, in every draw."""
    p, labels = predictions(60, 0), np.arange(60) % 3
    found = difference_intervals(p, p, labels, [str(i // 5) for i in range(60)])
    assert found == {"accuracy": (0.0, 0.0), "log_loss": (0.0, 0.0)}


def test_it_is_the_plain_bootstrap_done_by_hand() -> None:
    """Oracle: 2,000 draws of whole recordings, each judged by the project's own figures; edges within 0.02."""
    first, second, labels = predictions(90, 1), predictions(90, 2), np.random.default_rng(3).integers(0, 3, 90)
    recordings = np.array([f"r{i // 6}" for i in range(90)])
    g, names, accuracies, losses = np.random.default_rng(4), np.unique(recordings), [], []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(recordings == name) for name in g.choice(names, len(names))])
        a, b, y = first[rows], second[rows], labels[rows]
        accuracies.append(macro_accuracy(a, y) - macro_accuracy(b, y))
        losses.append(log_loss(a, y) - log_loss(b, y))
    found = difference_intervals(first, second, labels, recordings)
    assert found["accuracy"] == pytest.approx(np.percentile(accuracies, [2.5, 97.5]), abs=0.02)
    assert found["log_loss"] == pytest.approx(np.percentile(losses, [2.5, 97.5]), abs=0.06)


def of_draws(values: list[float]) -> tuple[float, float]:
    """The percentiles 2.5 and 97.5 by sorting: of 2,000 values those at the positions 49.975 and 1949.025."""
    ordered = sorted(values)
    assert len(ordered) == 2000
    low = ordered[49] + 0.975 * (ordered[50] - ordered[49])
    return pytest.approx((low, ordered[1949] + 0.025 * (ordered[1950] - ordered[1949])), abs=1e-12)


@pytest.mark.parametrize("classes", [3, 1])
def test_the_intervals_are_those_of_the_same_draws_scored_one_by_one(classes: int) -> None:
    """Oracle: the same 2,000 multinomial draws, each made into a list of items that the project's own metrics score;
    also where all items are of one class. Tolerance 1e-12."""
    p, labels = predictions(60, 1), np.random.default_rng(3).integers(0, classes, 60)
    recordings = np.array([f"r{i // 7}" for i in range(60)])  # nine, the last one shorter
    g, names, accuracies, losses = np.random.default_rng(5), np.unique(recordings), [], []
    for counts in g.multinomial(9, np.full(9, 1 / 9), size=2000):
        times = [np.flatnonzero(recordings == name) for name, n in zip(names, counts, strict=True) for _ in range(n)]
        rows = np.concatenate(times)
        accuracies.append(macro_accuracy(p[rows], labels[rows]))
        losses.append(log_loss(p[rows], labels[rows]))
    with np.errstate(all="raise"):  # a draw without a class is no division by 0
        found = metric_intervals(p, labels, recordings, seed=5)
    assert found == {"accuracy": of_draws(accuracies), "log_loss": of_draws(losses)}
    assert metric_intervals(p, labels, recordings) == metric_intervals(p, labels, recordings, seed=0) != found
    both = p, predictions(60, 2), labels, recordings.tolist()
    assert difference_intervals(*both) == difference_intervals(*both, seed=0) != difference_intervals(*both, seed=5)


def test_the_intervals_of_several_classes_are_those_of_the_same_draws_scored_one_by_one() -> None:
    """Oracle: the same 2,000 draws, each made into a list of items that the project's own metrics score, over the
    classes that it has, with equal scores among them; edges within 1e-9."""
    random = np.random.default_rng(2)
    p, labels = random.uniform(size=(40, 3)).round(1), random.uniform(size=(40, 3)) < [0.4, 0.1, 0.0]
    recordings = np.array([f"r{i // 7}" for i in range(40)])
    precisions, losses = [], []
    for counts in np.random.default_rng(5).multinomial(6, np.full(6, 1 / 6), size=2000):
        rows = np.concatenate([np.flatnonzero(recordings == f"r{n}") for n, k in enumerate(counts) for _ in range(k)])
        precisions.append(mean_average_precision(p[rows], labels[rows]))
        losses.append(binary_cross_entropy(p[rows], labels[rows]))
    with np.errstate(all="raise"):
        found = multi_label_intervals(p, labels, recordings.tolist(), seed=5)
    for name, values in (("mean_average_precision", precisions), ("binary_cross_entropy", losses)):
        assert found[name] == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=1e-9)
    assert multi_label_intervals(p, labels, ["r"] * 40) == {}
    assert multi_label_intervals(labels.astype(float), labels, recordings.tolist()) == {}  # all draws agree


def test_one_recording_has_no_interval_and_two_have() -> None:
    """Oracle: the two of which one is right and one is wrong: a draw has both, or one of them twice: 0, 1/2 or 1."""
    p, labels = np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1])
    assert metric_intervals(p, labels, ["r", "r"]) == difference_intervals(p, p, labels, ["r", "r"]) == {}
    found = metric_intervals(p, labels, ["r", "s"])
    assert found == {
        "accuracy": (0, 1),
        "log_loss": (pytest.approx(-np.log(0.9)), pytest.approx(-np.log(0.2))),
    }


def test_a_probability_above_one_by_rounding_costs_nothing() -> None:
    """Oracle: the log loss of 1.00005 is that of 1, by its definition: 0, and of the other one -ln 0.5."""
    p, labels = np.array([[1.00005, 0.0], [0.5, 0.5]]), np.array([0, 0])
    assert metric_intervals(p, labels, ["r", "s"])["log_loss"] == (0, pytest.approx(np.log(2)))


def test_a_subset_has_the_interval_of_its_own_share() -> None:
    """Oracle: 2,000 draws of a subset's recordings by hand, edges within 0.03; none where all items are alike."""
    p, labels = predictions(90, 1), np.random.default_rng(3).integers(0, 3, 90)
    recordings, inside = np.array([f"r{i // 6}" for i in range(90)]), np.arange(90) >= 30
    right = (p.argmax(1) == labels).astype(float)
    g, names, draws = np.random.default_rng(4), np.unique(recordings[inside]), []
    for _ in range(2000):
        drawn = g.choice(names, len(names))
        draws.append(np.mean(np.concatenate([right[inside][recordings[inside] == name] for name in drawn])))
    subsets = {"late": inside, "right": right == 1}
    found = metric_intervals(p, labels, recordings, subsets)
    assert found["accuracy/late"] == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=0.03)
    assert set(found) == {"accuracy", "log_loss", "accuracy/late"}


def test_with_one_item_a_recording_it_is_about_the_normal_interval() -> None:
    """Oracle: scipy's normal interval of the mean of 2,000 differences of losses; half widths within a tenth."""
    first, second, labels = predictions(2000, 5), predictions(2000, 6), np.arange(2000) % 3
    each = [-np.log(p[np.arange(2000), labels]) for p in (first, second)]
    differences = each[0] - each[1]
    expected = stats.norm.interval(0.95, differences.mean(), differences.std(ddof=1) / np.sqrt(2000))
    found = difference_intervals(first, second, labels, [str(i) for i in range(2000)])["log_loss"]
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], rel=0.1)
    assert sum(found) / 2 == pytest.approx(differences.mean(), abs=0.01)


def test_ten_copies_of_a_recording_say_no_more_than_one() -> None:
    """Oracle: every clip ten times, in its recording: the interval stays; as recordings of their own it shrinks."""
    first, second, labels = predictions(80, 7), predictions(80, 8), np.arange(80) % 3
    names = np.array([str(i) for i in range(80)])
    alone = difference_intervals(first, second, labels, names)
    ten = [np.repeat(values, 10, axis=0) for values in (first, second, labels, names)]
    assert difference_intervals(*ten) == {name: pytest.approx(edges) for name, edges in alone.items()}
    many = difference_intervals(*ten[:3], [str(i) for i in range(800)])
    assert np.ptp(many["log_loss"]) < 0.5 * np.ptp(alone["log_loss"])
