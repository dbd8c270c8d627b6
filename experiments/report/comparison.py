"""Several runs side by side, as the first section of a page.

Conventions: those of sections.py. Runs are called by names without what all of these have in common, where they are too
long for a legend; where nothing else tells them apart, by numbers, and a table says which number is which run.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from experiments.evaluation.multi_label import TITLES
from experiments.evaluation.systems import as_system, published_systems
from experiments.report import plots
from experiments.report.confidence import coverage_plots
from experiments.report.estimates import Estimated, estimates
from experiments.report.head import CLOCK, COSTS
from experiments.report.numbers import interval, nats, percent, word
from experiments.report.page import Grid, Link, Plot, Section
from experiments.report.ranking import trade_off_of
from experiments.report.sections import METERED_JOULES, accuracy_plots, fitting, is_rankable, joules_of, section_of
from experiments.report.tables import WHOLE, edges_of, metric_rows
from experiments.runs.reader import RunFiles
from students.device.cost import CYCLES, milliseconds

PAGE = "comparison"
LONGEST = 32  # characters of a run's name in a legend
SHORT = 12  # digits of a fingerprint


def sections_of(runs: Sequence[RunFiles], here: Path) -> list[Section]:
    """A section for each run, after that of their comparison if there are several.

    Args:
        runs: one or more.
        here: the folder in which the page lies.

    Raises:
        UserError: files of a run do not fit together.
    """
    anchors = {run.folder.resolve(): f"run-{number}" for number, run in enumerate(runs, 1)}
    each = [section_of(run, here, anchors) for run in runs]
    return [comparison_of(runs, anchors), *each] if len(runs) > 1 else each


def comparison_of(runs: Sequence[RunFiles], anchors: Mapping[Path, str]) -> Section:
    """Tables and plots of several runs.

    Args:
        runs: two or more.
        anchors: the ids of their sections, by folder.

    Raises:
        UserError: files of a run do not fit together.
    """
    labels = labels_of(runs)
    named = dict(zip(labels, runs, strict=True))
    by_name = all(run.name in label for label, run in named.items())
    keys = [] if by_name else [Grid("Runs", ["", "folder"], [[label, str(run.folder)] for label, run in named.items()])]
    with fitting(", ".join(str(run.folder) for run in runs)):
        drawn = [*_overall(named), *accuracy_plots({label: run.scores for label, run in named.items()}, PAGE)]
        if any(run.reliability for run in runs):
            bins = {label: run.reliability for label, run in named.items()}
            drawn.append(Plot("Reliability", "Accuracy over confidence.", plots.reliability(bins), PAGE))
        drawn += coverage_plots({label: run.scores for label, run in named.items()}, PAGE)
        if any(run.history for run in runs):
            caption = "Dotted: the loss that is minimised; losses of different kinds cannot be compared."
            curves = plots.curves({label: run.history for label, run in named.items()})
            drawn.append(Plot("Training", caption, curves, PAGE))
        integers = {label: run for label, run in named.items() if is_rankable(run)}
        if integers:
            own = [as_system(label, run.scores) for label, run in integers.items()]
            others = published_systems() if all(run.is_of_challenge for run in integers.values()) else []
            drawn.append(trade_off_of([*others, *own], PAGE))
        different = _differences(runs, labels) if len({run.stage for run in runs}) == 1 else []
        return Section(
            "Comparison",
            f"{len(runs)} runs, each in full below.",
            lead=[
                *keys,
                *(grid for grid in different if not grid.is_long),
                Grid("Side by side", ["", *labels], _side_by_side(runs)),
            ],
            plots=drawn,
            grids=[grid for grid in different if grid.is_long],
            links=[
                Link(label if by_name else f"{label}: {run.stage} {run.name}", f"#{anchors[run.folder.resolve()]}")
                for label, run in named.items()
            ],
            links_are="Runs",
        )


def labels_of(runs: Sequence[RunFiles]) -> list[str]:
    """A name for each, in legends and columns: the run's, with its stage if these differ; long ones without the parts
    that all have; else numbers."""
    alike = len({run.stage for run in runs}) == 1
    names = [run.name if alike else f"{run.stage} {run.name}" for run in runs]
    for labels in (names, _shortened(names)):
        if len({*labels}) == len(labels) and max(map(len, labels)) <= LONGEST:
            return labels
    return [str(number) for number in range(1, len(runs) + 1)]


def _shortened(names: Sequence[str]) -> list[str]:
    """Names without the parts at both ends that all of them have in common; a sweep joins parts by "-"."""
    parts = [name.split("-") for name in names]
    for _ in range(2):  # from the front, then, turned around, from the end, then turned back
        start = sum(1 for _ in takewhile(lambda same: len({*same}) == 1, zip(*parts, strict=False)))
        parts = [part[start:][::-1] for part in parts]
    return ["-".join(part) or name for part, name in zip(parts, names, strict=True)]


def _overall(named: Mapping[str, RunFiles]) -> list[Plot]:
    """The accuracies of all test clips with their intervals, of the runs that have any."""
    wholes = {label: metric_rows(run.scores).get(WHOLE) for label, run in named.items()}
    rows = []
    for label, whole in wholes.items():
        if whole:
            edges = (100 * whole.interval[0], 100 * whole.interval[1]) if whole.interval else None
            rows.append(Estimated(label, 100 * whole.accuracy, edges))
    caption = "Mean over scenes, of all test clips; lines: 95 % intervals over recordings, where there are any."
    return [Plot("Accuracy", caption, estimates(rows, "accuracy, %"), PAGE)] if rows else []


def _side_by_side(runs: Sequence[RunFiles]) -> list[list[str]]:
    metrics = [metric_rows(run.scores) for run in runs]
    wholes = [found.get(WHOLE) for found in metrics]
    rows = [
        ["accuracy (macro)", *(percent(whole.accuracy) if whole else "" for whole in wholes)],
        ["95 % over recordings", *(interval(whole.interval) if whole else "" for whole in wholes)],
        ["log loss", *(nats(whole.log_loss) if whole else "" for whole in wholes)],
        ["calibration error", *(nats(whole.calibration_error) if whole else "" for whole in wholes)],
    ]
    for name, title in TITLES.items():
        rows.append([title, *(nats(run.scores.get(f"test/{name}")) for run in runs)])
        edges = [edges_of(run.scores, f"test/{name}") for run in runs]
        rows.append([f"{title}, 95 % over recordings", *(interval(each, 1, 3) for each in edges)])
    for subset in dict.fromkeys(subset for found in metrics for subset in found if subset.startswith("group/")):
        cells = [percent(found[subset].accuracy) if subset in found else "" for found in metrics]
        rows.append([f"accuracy, {subset.removeprefix('group/')} devices", *cells])
    for cost, words in COSTS.items():
        rows.append([words, *(word(run.scores.get(cost)) for run in runs)])
    cycles = [run.scores.get(CYCLES) for run in runs]
    rows.append([CLOCK, *("" if each is None else f"{milliseconds(each):,.0f}" for each in cycles)])
    joules = [joules_of(run) for run in runs]
    rows.append([METERED_JOULES, *("" if each is None else f"{each:.3g}" for each in joules)])
    trained = [
        "not known" * bool(run.energy) if run.training_kwh is None else f"{1000 * run.training_kwh:.3g}" for run in runs
    ]
    rows.append(["energy of the training, Wh", *trained])
    ratios = [run.scores.get("energy/normalised") for run in runs]
    rows.append(["the baseline's energy over the model's", *(word(ratio, 2) for ratio in ratios)])
    return [row for row in rows if any(row[1:])]


def _differences(runs: Sequence[RunFiles], labels: Sequence[str]) -> list[Grid]:
    """A table of the settings and inputs in which runs differ, if there are any."""
    known = [{**run.settings, **{key: str(value)[:SHORT] for key, value in run.inputs.items()}} for run in runs]
    rows = [[key, *(word(one.get(key)) for one in known)] for key in sorted({key for one in known for key in one})]
    different = [row for row in rows if len(set(row[1:])) > 1]
    return [Grid("Settings and inputs that differ", ["", *labels], different)] if different else []
