"""Several runs side by side, as the first section of a page.

Conventions: those of sections.py. Runs are called by the shortest names that tell them apart; where these are too long
for a legend or a column, by letters, and a table says which letter is which run.
"""

import string
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.evaluation.systems import PUBLISHED, as_system, read_systems
from experiments.report import plots
from experiments.report.confidence import coverage_plots
from experiments.report.head import COSTS
from experiments.report.numbers import interval, nats, percent, word
from experiments.report.page import Grid, Link, Plot, Section
from experiments.report.ranking import trade_off_of
from experiments.report.sections import accuracy_plots, fitting, is_rankable, section_of
from experiments.report.tables import WHOLE, metric_rows
from experiments.runs.reader import RunFiles

PAGE = "comparison"
LONGEST = 16  # characters of a run's name in a legend
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
        drawn = accuracy_plots({label: run.scores for label, run in named.items()}, PAGE)
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
            others = read_systems(PUBLISHED) if all(run.is_of_challenge for run in integers.values()) else []
            drawn.append(trade_off_of([*others, *own], PAGE))
        different = _differences(runs) if len({run.stage for run in runs}) == 1 else []
        return Section(
            "Comparison",
            f"{len(runs)} runs, each in full below.",
            lead=[*keys, Grid("Side by side", ["", *labels], _side_by_side(runs))],
            plots=drawn,
            grids=[Grid("Settings and inputs that differ", ["", *labels], different)] if different else [],
            links=[
                Link(label if by_name else f"{label}: {run.stage} {run.name}", f"#{anchors[run.folder.resolve()]}")
                for label, run in named.items()
            ],
            links_are="Runs",
        )


def labels_of(runs: Sequence[RunFiles]) -> list[str]:
    """A name for each, in legends and columns: the run's, with its stage if these differ; else letters."""
    alike = len({run.stage for run in runs}) == 1
    names = [run.name if alike else f"{run.stage} {run.name}" for run in runs]
    if len(set(names)) == len(names) and max(map(len, names)) <= LONGEST:
        return names
    letters = string.ascii_uppercase
    return [letters[i] if len(runs) <= len(letters) else str(i + 1) for i in range(len(runs))]


def _side_by_side(runs: Sequence[RunFiles]) -> list[list[str]]:
    metrics = [metric_rows(run.scores) for run in runs]
    wholes = [found.get(WHOLE) for found in metrics]
    rows = [
        ["accuracy (macro)", *(percent(whole.accuracy) if whole else "" for whole in wholes)],
        ["95 % over recordings", *(interval(whole.interval) if whole else "" for whole in wholes)],
        ["log loss", *(nats(whole.log_loss) if whole else "" for whole in wholes)],
        ["calibration error", *(nats(whole.calibration_error) if whole else "" for whole in wholes)],
    ]
    for subset in dict.fromkeys(subset for found in metrics for subset in found if subset.startswith("group/")):
        cells = [percent(found[subset].accuracy) if subset in found else "" for found in metrics]
        rows.append([f"accuracy, {subset.removeprefix('group/')} devices", *cells])
    for cost, words in COSTS.items():
        rows.append([words, *(word(run.scores.get(cost)) for run in runs)])
    trained = [
        "not known" * bool(run.energy) if run.training_kwh is None else f"{1000 * run.training_kwh:.3g}" for run in runs
    ]
    rows.append(["energy of the training, Wh", *trained])
    ratios = [run.scores.get("energy/normalised") for run in runs]
    rows.append(["the baseline's energy over the model's", *(word(ratio, 2) for ratio in ratios)])
    return [row for row in rows if any(row[1:])]


def _differences(runs: Sequence[RunFiles]) -> list[list[str]]:
    known = [{**run.settings, **{key: str(value)[:SHORT] for key, value in run.inputs.items()}} for run in runs]
    rows = [[key, *(word(one.get(key)) for one in known)] for key in sorted({key for one in known for key in one})]
    return [row for row in rows if len(set(row[1:])) > 1]
