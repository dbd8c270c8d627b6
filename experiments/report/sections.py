"""What a person looks at instead of logs: one page on a run, that needs nothing but itself.

Conventions: a page is made from the files of finished runs alone (run_files.py), never from a data set or a network;
accuracies are shown in percent, log losses in nats, energy in watt-hours. Pictures are SVG inside the page, and its
words and colours follow the reader's choice of light or dark.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from data.errors import UserError
from experiments.evaluation.metrics import metrics_under
from experiments.evaluation.systems import METRICS, PUBLISHED, as_system, read_systems
from experiments.report import plots
from experiments.report.page import Grid, Link, Picture, Section, Tile, interval, percent, word, write_page
from experiments.report.ranking import trade_off_of
from experiments.runs.layout import REPORT
from experiments.runs.reader import RunFiles, ancestors, flat, read_run
from students.limits import LIMITS

FORMS = {"test": "as stored", "float": "float", "ptq": "integer, before", "host": "host's kernels"}
JOULES = 3.6e6  # in a kWh
COSTS = {"parameter_bytes": "bytes of parameters", "macs": "multiply-accumulates", "peak_bytes": "peak memory, bytes"}


def write_report(folder: Path) -> tuple[RunFiles, Section]:
    """Write the report of a finished run into its folder; returns what is on it."""
    run = read_run(folder)
    section = section_of(run, folder)
    write_page(folder / REPORT, section.title, [section])
    return run, section


def label_of(run: RunFiles) -> str:
    """Stage and name."""
    return f"{run.stage} {run.name}"


def section_of(run: RunFiles, here: Path, anchors: Mapping[Path, str] = MappingProxyType({})) -> Section:
    """Everything about one run.

    Args:
        run: which.
        here: the folder in which the page lies; links are relative to it.
        anchors: the places on the page, by folder of the runs that have sections on it.

    Raises:
        UserError: the run's files do not fit together.
    """
    with fitting(run.folder):
        return Section(
            label_of(run),
            summary_of(run),
            tiles=tiles_of(run),
            pictures=pictures_of(run),
            grids=grids_of(run),
            details=[
                ("config.yaml: what was asked", run.config),
                ("what the result depends on", _words({**run.settings, **run.inputs})),
            ],
            links=[_link(folder, here, anchors) for folder in ancestors(run.folder)],
            anchor=anchors.get(run.folder.resolve(), ""),
        )


@contextmanager
def fitting(what: object) -> Iterator[None]:
    """What files that do not fit together lead to becomes a UserError."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"files of {what} do not fit together ({error!r}): they are damaged, or of another version of scenelet; "
            "run the stage again with force=true"
        ) from error


def summary_of(run: RunFiles) -> str:
    """One sentence, of what the run has."""
    s = run.scores
    if "energy/normalised" in s:
        return (
            f"One pass over {s['energy/clips']:,.0f} test clips takes {1000 * s['energy/inference/kWh']:.3g} Wh here "
            f"({run.settings.get('kernels')} kernels, one thread); the challenge's baseline takes "
            f"{s['energy/normalised']:.2f} times as much."
        )
    if "test/accuracy" not in s:
        return f"A run of stage={run.stage}."
    chance = f"; guessing would be right on {100 / len(run.scenes):.0f} %" if run.scenes else ""
    clips = f"{sum(map(sum, run.counts)):,} " if run.counts else ""
    within = f" (95 %: {interval(s, 'test/accuracy')})" if "test/accuracy/low" in s else ""
    return (
        f"Of the {clips}test clips it is right on {percent(s['test/accuracy'])}{within}, the mean over scenes, "
        f"with a log loss of {s['test/log_loss']:.3f} nats{chance}."
    )


def tiles_of(run: RunFiles) -> list[Tile]:
    """The figures that a reader needs first."""
    s, found = run.scores, []
    if "test/accuracy" in s:
        accuracy, loss = (
            f"95 %: {words}" if (words := interval(s, *about)) else ""
            for about in (("test/accuracy",), ("test/log_loss", 1, 3))
        )
        found.append(Tile("macro accuracy", percent(s["test/accuracy"]), accuracy))
        found.append(Tile("log loss", f"{s['test/log_loss']:.3f}", loss))
        found.append(Tile("calibration error", f"{s['test/calibration_error']:.3f}"))
    if "test/agreement_with_float" in s:
        found.append(Tile("same class as float", percent(s["test/agreement_with_float"])))
    for cost, words in COSTS.items():
        if cost in s:
            note = f"of {LIMITS[cost]:,}" if cost in LIMITS else ""
            verdict = {1: "ok", 0: "over", None: ""}[s.get(f"within_limit/{cost}")]
            found.append(Tile(words, f"{s[cost]:,.0f}", note, verdict))
    if "energy/normalised" in s:
        found.append(Tile("the baseline's energy over the model's", f"{s['energy/normalised']:.2f}"))
    for phase, used in run.energy.items():
        if used["kWh"] is None:
            continue
        note = "an estimate from the processor's model" if used.get("estimated") else str(used.get("cpu", ""))
        found.append(Tile(f"energy, {phase.replace('/', ' ')}", f"{1000 * used['kWh']:.3g} Wh", note))
    return found


def pictures_of(run: RunFiles) -> list[Picture]:
    """The pictures that the run's files allow."""
    name, found = label_of(run), []
    if run.counts:
        figure = plots.confusions(run.counts, run.scenes)
        found.append(Picture("Confusions", "Rows: what it was; columns: what it was taken for.", figure, name))
    found += shares_of({run.name: run.scores}, name)
    if run.reliability:
        caption = "On the dashed line a confidence is as often right as it says; larger points are more clips."
        found.append(Picture("Reliability", caption, plots.reliability({run.name: run.reliability}), name))
    if run.history:
        caption = "The training loss is the one that is minimised; a distillation loss is no log loss."
        found.append(Picture("Training", caption, plots.curves({run.name: run.history}), name))
    if is_rankable(run) and run.is_of_challenge:
        found.append(trade_off_of([*read_systems(PUBLISHED), as_system(run.name, run.scores)], name))
    if run.layers:
        figure = plots.layers(run.layers, run.macs)
        found.append(Picture("Layers", "Bytes of weights and biases, and work for one clip.", figure, name))
    return found


def is_rankable(run: RunFiles) -> bool:
    """Whether it is an integer network with all figures that ranks are of; runs of other versions have other ones."""
    return bool(run.layers) and run.scores.keys() >= {*METRICS.values()}


def grids_of(run: RunFiles) -> list[Grid]:
    """The tables that the run's files allow."""
    s, found = run.scores, []
    forms = [form for form in FORMS if f"{form}/accuracy" in s]
    if len(forms) > 1:
        rows = [[FORMS[form], *_figures(s, form), percent(s.get(f"{form}/agreement_with_float"))] for form in forms]
        found.append(Grid("Forms of the student", ["", "accuracy", "log loss", "same class as float"], rows))
    if subsets := metrics_under("test/accuracy/", s):
        rows = [["all (macro)", *_figures(s, "test"), interval(s, "test/accuracy")]]
        for key in subsets:
            subset = key.removeprefix("test/accuracy/")
            words = subset.replace("/", " ").replace("_", " ")
            rows.append([words, percent(s[key]), f"{s[f'test/log_loss/{subset}']:.3f}", interval(s, key)])
        found.append(Grid("Test split", ["", "accuracy", "log loss", "accuracy, 95 % over recordings"], rows))
    if len(run.energy) > 1:
        found.append(Grid("Energy", ["", "Wh", "seconds", "J a clip", ""], [*map(_energy_row, run.energy.items())]))
    if run.layers:
        columns = list(run.layers[0])
        rows = [[word(row.get(column)) for column in columns] for row in run.layers]
        found.append(Grid("Layers", [column.replace("_", " ") for column in columns], rows))
    return found


def shares_of(scores: Mapping[str, Mapping[str, float]], page: str) -> list[Picture]:
    """Accuracy by device, group and scene, of runs by name."""
    found = []
    for kind, title in (("device", "Devices"), ("group", "Groups of devices"), ("scene", "Scenes")):
        if any(metrics_under(f"test/accuracy/{kind}/", run) for run in scores.values()):
            caption = "Accuracy on the test clips of each; lines are 95 % intervals over recordings, where they tell."
            found.append(Picture(title, caption, plots.shares(scores, kind), page))
    return found


def _figures(scores: Mapping[str, float], form: str) -> list[str]:
    return [percent(scores[f"{form}/accuracy"]), f"{scores[f'{form}/log_loss']:.3f}"]


def _energy_row(phase: tuple[str, Mapping[str, Any]]) -> list[str]:
    name, used = phase
    known, clips = used["kWh"] is not None, used.get("clips")
    each = f"{JOULES * used['kWh'] / clips:.3g}" if known and clips else ""
    notes = [f"not known: {why}" for why in used.get("missing", [])] + ["an estimate"] * bool(used.get("estimated"))
    figures = [f"{1000 * used['kWh']:.3g}", f"{used['seconds']:.3g}"] if known else ["not known", ""]
    return [name.replace("/", ", "), *figures, each, "; ".join(notes)]


def _words(tree: Mapping[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in flat(tree).items())


def _link(folder: Path, here: Path, anchors: Mapping[Path, str]) -> Link:
    """To a run's section on the page, or else to its own report, if there is one."""
    words = f"{folder.resolve().parent.name} {folder.resolve().name}"
    if (place := folder.resolve()) in anchors:
        return Link(words, f"#{anchors[place]}")
    return Link(words, os.path.relpath(folder / REPORT, here) if (folder / REPORT).is_file() else "")
