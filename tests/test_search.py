"""The search for students: halving, fronts, ranks and tables by hand; and a search of seconds on the miniature."""

import math
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run, run_until
from scipy.stats import norm

from data.errors import UserError
from data.front_ends.integer_steps import integer_front_end
from data.scenes import ClipSet
from data.tables import read_table
from data.waves import WaveStore
from experiments.command.composition import CONF
from experiments.datasets.datamodule import DataModule
from experiments.evaluation.metrics import log_loss, macro_accuracy
from experiments.evaluation.ranking import System, expected_points, non_dominated, rank
from experiments.models.on_device import device_estimate
from experiments.run import resolve
from experiments.search.answers import read_answers
from experiments.search.costs import affordable, budget_of, cost_of
from experiments.search.front import FOUND, Clips, Metrics, Searched, difference_of, metrics_of, on_front
from experiments.search.halving import Plan, Trial, ranges_of, read_trial, search
from experiments.search.published import Published
from experiments.search.space import Network, networks_of
from experiments.search.table import Row, add_rows, read_rows, require_settings, unfinished
from experiments.settings.search import Ceilings, Search
from experiments.stages.training import spectrogram_shape, student_arguments
from students import build_student
from students.complexity import tflite_complexity
from students.device.estimate import estimated
from students.limits import LIMITS

# Two networks of the cheapest kind, each trained for an epoch.
TINY = [
    *("search", "name=tiny", "distill=none", "epochs=1", "data.clip_seconds=0.5", "quantize.clips=8"),
    *("search.arguments={base_channels:[8,16],blocks:[[1,1,1]],strides:[{b2:[2,2],b3:[2,2]}]}", "search.mel.mels=[64]"),
    *("search.ranges=2", "search.candidates=1", "search.seeds=1", "search.control=false", "search.metered=0"),
]


class Teller:
    """Trains nothing: gives each trial the score of its network, and notes what it was asked for."""

    def __init__(self, scores: Mapping[str, float]) -> None:
        self.scores, self.asked = scores, list[list[Trial]]()

    def __call__(self, trials: Sequence[Trial]) -> dict[Trial, float]:
        self.asked.append(list(trials))
        return {trial: self.scores[trial.network] for trial in trials}


def plan(ranges: Sequence[Sequence[str]], **changes: object) -> Plan:
    given = {"candidates": 9, "epochs": 18, "seeds": 2, "control": True, "seed": 5} | changes
    return Plan(ranges=ranges, **given)


def searched(accuracy: float, size: int, macs: int, cycles: int = 1, interval: tuple[float, float] | None = None):
    """A system of which that is known."""
    from experiments.search.costs import Cost

    network = Network({"size": size}, {})
    return Searched(
        network=network,
        bits=8,
        cost=Cost(size, macs, 1, 1, cycles, 1.0),
        place=0,
        kind=FOUND,
        trials=["a-e1-s0"],
        metrics=Metrics(accuracy, 1.0, interval, [accuracy]),
    )


def test_a_space_has_every_combination_once() -> None:
    """Oracle: by hand: 2 x 2 x 1 values, null leaves a choice out; keys differ, and do not depend on order."""
    found = networks_of({"a": [1, 2], "b": None}, {"c": [[1], [2]], "d": [4]})
    assert [network.words for network in found] == ["a=1 c=[1] d=4", "a=1 c=[2] d=4", "a=2 c=[1] d=4", "a=2 c=[2] d=4"]
    assert len({network.key for network in found}) == 4
    assert Network({"x": 1, "y": 2}, {}).key == Network({"y": 2, "x": 1}, {}).key
    assert found[0].settings == ["++student.arguments.a=1", "student.mel.c=[1]", "student.mel.d=4"]


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "space").glob("*.yaml")))
def test_a_network_of_a_space_is_trained_by_its_command(name: str) -> None:
    """Oracle: logits of ten classes from a log-mel of the last choice's bands and frames, by the settings of the
    command that trains it in full."""
    asked = resolve(["search", f"student={name}", "distill=none"]).of(Search)
    space = networks_of(asked.arguments, asked.mel)
    assert len(space) > 8
    assert asked.bits == [8, 4]
    scenelet, *words = shlex.split(space[-1].command(name, 8))
    settings = resolve(words)
    assert (scenelet, settings.steps) == ("scenelet", ("student", "quantize"))
    shape = spectrogram_shape(settings, "student")
    student = build_student(settings.student.builder, **student_arguments(settings.student, 10, shape)).eval()
    with torch.no_grad():
        assert student(torch.zeros(shape)).shape == (1, 10)


def test_ranges_of_cost_are_equally_many_from_cheap_to_dear() -> None:
    """Oracle: by hand, seven networks in three ranges."""
    costs = {name: cost for cost, name in enumerate("gfedcba")}
    assert ranges_of(costs, 3) == [["g", "f", "e"], ["d", "c"], ["b", "a"]]
    assert ranges_of(costs, 99) == [[name] for name in "gfedcba"]


def test_halving_keeps_thirds_of_each_range() -> None:
    """Oracle: by hand: 9, 3 and 1 networks of each range for 2, 6 and 18 epochs; the best of each range is left, though
    all of the other range's are better."""
    ranges = [[f"a{n}" for n in range(9)], [f"b{n}" for n in range(12)]]
    teller = Teller({f"a{n}": n for n in range(9)} | {f"b{n}": 100 + n for n in range(12)})
    outcome = search(plan(ranges), teller)
    assert plan(ranges).rungs == [(9, 2), (3, 6), (1, 18)]
    first, second, last = outcome.rungs
    assert [len(first), len(second), len(last)] == [18, 6, 2]
    assert {trial.epochs for trial in second} == {6}
    assert {trial.network for trial in second if trial.network[0] == "a"} == {"a6", "a7", "a8"}
    drawn = [int(trial.network[1:]) for trial in first if trial.network[0] == "b"]
    assert len({*drawn}) == 9
    assert outcome.found == [
        [Trial("a8", 18, 5), Trial("a8", 18, 6)],
        [Trial(f"b{max(drawn)}", 18, 5), Trial(f"b{max(drawn)}", 18, 6)],
    ]


def test_the_control_spends_as_many_epochs() -> None:
    """Oracle: the sum over trials by the first seed: 9 x 2 + 3 x 6 + 18 = 54 epochs of a range on either side; what is
    drawn is of the same range, and its best goes on."""
    ranges = [[f"a{n}" for n in range(9)]]
    teller = Teller({f"a{n}": n for n in range(9)})
    outcome = search(plan(ranges), teller)
    assert sum(trial.epochs for trials in outcome.rungs for trial in trials) == 54
    (random,) = outcome.control
    last = {trial.network for trial in teller.asked[2] if trial.seed == 5} - {"a8"}
    assert plan(ranges).drawn == 3
    assert len(last) in (2, 3)  # the best one may be drawn too
    assert [trial.seed for trial in random] == [5, 6]
    assert random[0].network == max({*last, *([] if len(last) == 3 else ["a8"])})
    assert search(plan(ranges, control=False), teller).control == []
    assert search(plan(ranges), teller) == outcome


def test_a_range_of_few_networks_is_searched_too() -> None:
    """Oracle: by hand: two networks, of which one goes on; and one."""
    outcome = search(plan([["a", "b"], ["c"]], control=False), Teller({"a": 1, "b": 2, "c": 0}))
    assert [len(trials) for trials in outcome.rungs] == [3, 2, 2]
    assert [trials[0].network for trials in outcome.found] == ["b", "c"]


def test_keys_of_trials_are_read_back() -> None:
    """Oracle: the key itself; what is none is refused."""
    trial = Trial("0af3", 12, 7)
    assert read_trial(trial.key) == trial
    for wrong in ("", "0af3", "0af3-e0-s1", "0af3-e1", "../x-e1-s1", "0af3-e01-s1", "0af3-e1-s-1"):
        with pytest.raises(UserError, match="is no trial"):
            read_trial(wrong)


def test_the_front_is_what_nothing_dominates() -> None:
    """Oracle: by hand: of five systems one is dominated in all, one is equal to another, and one is only worse."""
    losses = np.array([[1, 2, 3, 2, 3], [3, 2, 1, 2, 3]], float)
    assert non_dominated(losses) == [True, True, True, True, False]
    systems = [searched(0.5, 10, 100), searched(0.4, 20, 90, cycles=9), searched(0.5, 10, 90)]
    assert on_front(systems, ["bytes"]) == [True, False, True]
    assert on_front(systems, ["bytes", "macs"]) == [False, False, True]
    assert on_front(systems, ["cycles"]) == [True, False, True]


def test_expected_points_are_those_of_the_rule_where_nothing_is_uncertain() -> None:
    """Oracle: the challenge's ranking of the same systems (ranking.rank), with ties; then the mean of its points over
    1,000 accuracies drawn from the normal distribution, to three standard errors."""
    others = [System("a", 0.6, 100, 10), System("b", 0.5, 50, 20), System("c", 0.5, 10, 30)]

    def points(accuracy: float) -> float:
        standings = rank([*others, System("own", accuracy, 50, 20)])
        return next(each.points for each in standings if each.system.name == "own")

    for accuracy in (0.3, 0.5, 0.55, 0.6, 0.7):
        assert expected_points(System("own", accuracy, 50, 20), 0.0, others) == pytest.approx(points(accuracy))
    drawn = [points(accuracy) for accuracy in norm(0.54, 0.05).rvs(1_000, random_state=0)]
    error = np.std(drawn) / math.sqrt(len(drawn))
    assert expected_points(System("own", 0.54, 50, 20), 0.05, others) == pytest.approx(np.mean(drawn), abs=3 * error)


def test_the_systems_that_are_picked_expect_the_best_rank() -> None:
    """Oracle: by hand: among one system of 50 %, 100 bytes and 100 multiply-accumulates, the points are 0.5 times 1 or
    2, and 0.25 times 1 or 2 for each cost."""
    others = [System("other", 0.5, 100, 100)]
    published = Published(others, {"accuracy": 0.5, "parameter_bytes": 0.25, "macs": 0.25}, 2023)
    systems = [
        searched(0.6, 200, 200),  # 0.5 + 0.5 + 0.5
        searched(0.4, 50, 50),  # 1 + 0.25 + 0.25
        searched(0.6, 50, 50),  # 1
        searched(0.4, 200, 50),  # 1 + 0.5 + 0.25
        searched(0.5, 50, 200, interval=(0.4, 0.6)),  # 0.5 * 1.5 + 0.25 + 0.5
    ]
    points = [published.points(system) for system in systems]
    assert points == pytest.approx([1.5, 1.5, 1.0, 1.75, 1.5])
    assert published.picks(systems) == [systems[2], systems[0], systems[1], systems[4]]


def test_metrics_and_differences_are_means_over_trainings() -> None:
    """Oracle: macro accuracy and log loss of each training by the metrics' own functions; equal answers differ by
    nothing, and have no interval."""
    generator = np.random.default_rng(0)
    labels = np.arange(40) % 4
    first, second = generator.dirichlet(np.ones(4), (2, 40))
    clips = Clips(labels, 4, [str(number // 4) for number in range(40)])
    found = metrics_of(clips, [first, second])
    assert found.accuracies == [macro_accuracy(first, labels), macro_accuracy(second, labels)]
    assert found.accuracy == pytest.approx(np.mean(found.accuracies))
    assert found.log_loss == pytest.approx((log_loss(first, labels) + log_loss(second, labels)) / 2)
    low, high = found.interval
    assert low < found.accuracy < high
    difference = difference_of(clips, [(first, second)])
    assert difference.accuracy == pytest.approx(found.accuracies[0] - found.accuracies[1])
    assert difference_of(clips, [(first, first)]) == (0, 0, None, None)


def test_rows_of_several_processes_do_not_lose_each_other(tmp_path: Path) -> None:
    """Oracle: the rows that were added; one that diverged has no numbers and the lowest score, and counts as done."""
    path, nan = tmp_path / "trials.csv", float("nan")
    rows = [Row("a-e1-s0", 8, "x=1,y", 0.5, 1.25, "d"), Row("a-e1-s0", 4, "x=1,y", 0.25, 2, "d")]
    add_rows(path, rows[:1])
    add_rows(path, [rows[1], Row("b-e1-s0", 8, "x", nan, nan, "d")])
    found = read_rows(path)
    assert [found[Trial("a", 1, 0), bits] for bits in (8, 4)] == rows
    lost = found[Trial("b", 1, 0), 8]
    assert lost.diverged
    assert lost.score < rows[1].score < rows[0].score
    trials = [Trial("a", 1, 0), Trial("b", 1, 0), Trial("c", 1, 0)]
    assert unfinished(trials, lambda trial: [8], tmp_path) == [
        trials[0],
        trials[2],
    ]  # of the first no answers are there
    require_settings(path, found, "d")
    with pytest.raises(UserError, match="3 rows that were made by other settings"):
        require_settings(path, found, "e")
    path.write_text(path.read_text().replace("0.25", "?"))
    with pytest.raises(UserError, match="row 2 is damaged"):
        read_rows(path)


def test_what_a_network_costs_is_what_device_and_counter_say() -> None:
    """Oracle: the estimate that the student stage gives, at 8 bits; at 4 bits as many weights in half of the bytes, and
    the four bytes of each bias; energy by hand."""
    network, front_end = build_student("cp_mobile", size="6k"), integer_front_end(32_000, {"mels": 64, "hop": 500})
    eight, four = (cost_of(network, front_end, 32_000, 10, bits, 0.5) for bits in (8, 4))
    assert (eight.ram, eight.flash, eight.cycles) == tuple(estimated(network, front_end, 32_000, 10))
    assert eight.millijoules == pytest.approx(eight.cycles * 0.5e-9 * 1e3)
    assert (four.ram, four.macs) == (eight.ram, eight.macs)
    biases = 4 * sum(each.out_channels for each in network.modules() if hasattr(each, "out_channels"))
    odd = sum(each.weight.numel() % 2 for each in network.modules() if hasattr(each, "out_channels"))
    assert eight.bytes - four.bytes == (eight.bytes - biases - odd) // 2
    assert four.flash < eight.flash


def test_the_budget_is_the_least_of_what_is_asked_for() -> None:
    """Oracle: by hand, and the task's limits."""
    found = budget_of(Ceilings(macs=5, ram=9), {"ram": 7, "cycles": None}, has_limits=True)
    assert found == {"macs": 5, "ram": 7, "bytes": LIMITS["parameter_bytes"]}
    assert budget_of(Ceilings(millijoules=0.5), {}, has_limits=False) == {"millijoules": 0.5}


def test_a_budget_that_no_network_meets_names_the_cheapest() -> None:
    """Oracle: by hand, two networks of which one has fewer bytes, the other fewer multiply-accumulates."""
    systems = [searched(0, 10, 100), searched(0, 20, 90)]
    costs = {system.network: {8: system.cost} for system in systems}
    assert list(affordable(costs, {"bytes": 15})) == [systems[0].network.key]
    with pytest.raises(UserError) as error:
        affordable(costs, {"bytes": 15, "macs": 95})
    assert "none of 2 networks" in str(error.value)
    assert "bytes: at most 15, and the cheapest has 10 (size=10, 8 bits)" in str(error.value)
    assert "macs: at most 95, and the cheapest has 90 (size=20, 8 bits)" in str(error.value)


def test_a_data_set_without_its_test_split_has_the_same_other_clips(
    miniature: ClipSet, miniature_waves: WaveStore
) -> None:
    """Oracle: the splits of the set itself, of which that for the test cannot be asked for; the search trains and
    judges by nothing else (next test)."""
    found = DataModule(miniature, miniature_waves, None).without_test.clips
    assert len(miniature.indices("test")) > 0
    with pytest.raises(UserError, match="has no test clips"):
        found.indices("test")
    for split in ("train", "validation"):
        assert found.indices(split).tolist() == miniature.indices(split).tolist()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, miniature: ClipSet) -> tuple[Path, list[str], list[int]]:
    """A folder with a finished search, its command, and the rows of clips whose waves were read."""
    folder, command = tmp_path_factory.mktemp("search"), [*TINY, f"data.root={miniature.root}"]
    found: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("read", "take"):
            patch.setattr(WaveStore, name, noting(getattr(WaveStore, name), found))
        result = run(folder, *command)
    assert result.returncode == 0, result.stderr
    assert "of 4 systems are on the Pareto front" in result.stdout
    return folder, command, found


def noting(method, found: list[int]):
    """A method of a store of waves that notes which rows it is asked for."""

    def noted(self, rows, *more, **others):
        found.extend(np.asarray(rows).ravel().tolist())
        return method(self, rows, *more, **others)

    return noted


@pytest.mark.slow  # trains two networks
def test_the_test_split_is_not_read(tiny: tuple[Path, list[str], list[int]], miniature: ClipSet) -> None:
    """Oracle: the splits of the clips whose waves were read, of which some were: none is a test clip; and no file has
    answers to one."""
    folder, _, rows = tiny
    assert {miniature.clips[row].split for row in rows} == {"train", "validation"}
    names = {clip.filename for clip in miniature.clips if clip.split == "test"}
    texts = [path.read_text() for path in (folder / "runs").rglob("*.csv")]
    assert len(texts) > 4
    assert not any(name in text for name in names for text in texts)


@pytest.mark.slow  # trains two networks
def test_costs_are_those_of_the_trained_networks(tiny: tuple[Path, list[str], list[int]]) -> None:
    """Oracle: the files of the systems that were picked, counted (students/complexity.py), and the estimate for the
    networks that they hold."""
    folder = tiny[0] / "runs/search/tiny"
    table = read_table(folder / "front.csv", ["pick", "bytes"], separator=",")
    picks = [int(number) for number in table["pick"] if number]
    assert sorted(picks) == [1, 2, 3, 4]
    for number in picks:
        row = {name: values[table["pick"].index(str(number))] for name, values in table.items()}
        path = folder / f"pick{number}.tflite"
        counted, device = tflite_complexity(path), device_estimate(path)
        assert [row[name] for name in ("bytes", "macs")] == [str(counted.parameter_bytes), str(counted.macs)]
        assert [row[name] for name in ("ram", "flash", "cycles")] == [*map(str, device)]


@pytest.mark.slow  # trains two networks
def test_rows_say_what_the_answers_say(tiny: tuple[Path, list[str], list[int]], miniature: ClipSet) -> None:
    """Oracle: accuracy and log loss of the tables of answers, by the metrics' own functions."""
    folder = tiny[0] / "runs/search/tiny"
    rows = read_rows(folder / "trials.csv")
    clips = [clip for clip in miniature.clips if clip.split == "validation"]
    labels = np.array([miniature.scenes.index(clip.scene) for clip in clips])

    class Data:  # what of a data set is needed here
        clips = miniature

    assert {bits for _, bits in rows} == {8, 4}
    for (trial, bits), row in rows.items():
        probabilities = read_answers(folder, trial.key, bits, Data)
        assert row.accuracy == pytest.approx(macro_accuracy(probabilities, labels), abs=1e-6)
        assert row.log_loss == pytest.approx(log_loss(probabilities, labels), abs=1e-6)


@pytest.mark.slow  # trains two networks
def test_a_search_that_lost_trials_ends_as_it_would_have(tiny: tuple[Path, list[str], list[int]]) -> None:
    """Oracle: the tables of the uninterrupted search, of which a row and another trial's answers are taken away; what
    is left is not trained again."""
    folder, command, _ = tiny
    mine = folder / "runs/search/tiny"
    before = {name: (mine / name).read_bytes() for name in ("trials.csv", "front.csv")}
    first, *others = sorted((mine / "trials").iterdir())
    rows = (mine / "trials.csv").read_text().splitlines(keepends=True)
    (mine / "trials.csv").write_text("".join(row for row in rows if not row.startswith(first.name)))
    shutil.rmtree(first)
    (others[0] / "8bit.csv").unlink()
    result = run(folder, *command)
    assert result.returncode == 0, result.stderr
    assert "2 trainings, of which 0 are finished" in result.stdout
    assert result.stdout.count("epoch   1/1") == 1
    assert sorted((mine / "trials.csv").read_text().splitlines()) == sorted(before["trials.csv"].decode().splitlines())
    assert (mine / "front.csv").read_bytes() == before["front.csv"]


@pytest.mark.slow  # trains two networks
def test_other_settings_under_its_name_are_refused(tiny: tuple[Path, list[str], list[int]]) -> None:
    """Oracle: the message; another budget is no other setting of a training, and one that nothing meets is refused
    before anything is trained."""
    folder, command, _ = tiny
    result = run(folder, *command, "student.fit.learning_rate=1e-4")
    assert "made by other settings" in result.stderr
    result = run(folder, *command, "search.budget.macs=1000")
    assert "none of 2 networks of the space is within the budget" in result.stderr
    assert "macs: at most 1,000, and the cheapest has" in result.stderr
    assert "search.budget" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.validation_fraction=0"], "the search, which judges by them, needs validation clips"),
        (["search.trial=x"], "is no trial"),
        (["search.bits=[8,8]"], "search.bits=[8, 8] must name each once"),
        (["search.arguments.base_channels=8"], "must be a list of the values that are tried"),
        (["student.prune.macs=1000"], "student.prune"),
        (["student=baseline"], "there is one network to search"),
        (["search.costs=[speed]"], "search.costs"),
    ],
)
def test_settings_that_are_no_search_are_refused(tmp_path: Path, words: list[str], said: str) -> None:
    """Oracle: the message, found before a data set is read: there is none."""
    result = run(tmp_path, "search", "distill=none", *words)
    assert (result.returncode, said in result.stderr) == (1, True), result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # a search is killed, and goes on
def test_a_killed_search_goes_on(tiny: tuple[Path, list[str], list[int]], tmp_path: Path) -> None:
    """Oracle: the tables of a search that was not killed, to the byte."""
    run_until(tmp_path, "epoch   1/1", *tiny[1])
    result = run(tmp_path, *tiny[1])
    assert result.returncode == 0, result.stderr
    for name in ("trials.csv", "front.csv"):
        assert (tmp_path / "runs/search/tiny" / name).read_bytes() == (tiny[0] / "runs/search/tiny" / name).read_bytes()


@pytest.mark.slow  # starts Ray
def test_ray_finds_the_same(tiny: tuple[Path, list[str], list[int]], tmp_path: Path) -> None:
    """Oracle: the tables of the same search without Ray; rows come in whatever order trainings end."""
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="needs Ray: pip install --editable '.[cluster]'")
    result = run(tmp_path, *tiny[1], "hydra/launcher=ray")
    assert result.returncode == 0, result.stderr
    there, here = (folder / "runs/search/tiny" for folder in (tiny[0], tmp_path))
    assert sorted(read_rows(there / "trials.csv").items()) == sorted(read_rows(here / "trials.csv").items())
    assert (there / "front.csv").read_bytes() == (here / "front.csv").read_bytes()
