"""One run as a section of a page: its metrics, plots and tables, from the files of its folder alone.

Conventions: accuracies are shown in percent, log losses in nats, energy in watt-hours. A section shows what the run has
files for; neither a data set nor a network is needed.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from data.errors import UserError
from experiments.evaluation.metrics import metrics_under
from experiments.evaluation.multi_label import BY_CLASS, CROSS_ENTROPY, MEAN_AVERAGE_PRECISION
from experiments.evaluation.official_test import CLIPS, is_whole
from experiments.evaluation.systems import METRICS, as_system, published_systems
from experiments.report import plots
from experiments.report.confidence import confidence_grids, coverage_plots
from experiments.report.confusions import confusions
from experiments.report.device import cost_grids, cost_plots, cost_sentence, cost_tiles
from experiments.report.forms import forms_grids
from experiments.report.head import facts_of, files_of, tiles_of, warning_of
from experiments.report.mistakes import sounds_of
from experiments.report.numbers import interval, nats, percent, word
from experiments.report.page import Grid, Link, Plot, Section, Tile, write_page
from experiments.report.ranking import trade_off_of
from experiments.report.scene_devices import SCENE_DEVICES, scene_device_rows
from experiments.report.tables import (
    BASELINE,
    BY_DEVICE,
    DEVICE_COLUMNS,
    WHOLE,
    beside,
    device_rows,
    metric_rows,
    subset_words,
)
from experiments.runs.identity import flat
from experiments.runs.layout import REPORT, model_in
from experiments.runs.phases import joules_a_clip
from experiments.runs.reader import RunFiles, read_run
from experiments.runs.relatives import ancestors, made_from, measured_energy, settings_of

METERED_JOULES = "J a clip, metered"
MULTI_LABEL = f"test/{MEAN_AVERAGE_PRECISION}"


def write_report(folder: str | Path) -> tuple[RunFiles, Section]:
    """Write the report of a finished run into its folder; returns the run and what is on the page.

    Raises:
        UserError: files of the run are damaged, or do not fit together.
    """
    run = read_run(folder)
    section = section_of(run, run.folder)
    write_page(run.folder / REPORT, section.title, [section])
    return run, section


def label_of(run: RunFiles) -> str:
    """Stage and name."""
    return f"{run.stage} {run.name}"


def section_of(run: RunFiles, here: Path, anchors: Mapping[Path, str] = MappingProxyType({})) -> Section:
    """Everything about one run.

    Args:
        run: which.
        here: the folder in which the page lies; links are relative to it.
        anchors: the ids on the page, by folder of the runs that have sections on it.

    Raises:
        UserError: the run's files do not fit together.
    """
    before = ancestors(run.folder)
    deployed = [run.folder] if run.stage == "deploy" else made_from(run.folder, "deploy")
    with fitting(run.folder):
        return Section(
            label_of(run),
            summary_of(run),
            facts=facts_of(run, [*map(settings_of, reversed(before))]),
            warning=warning_of(run),
            files=files_of(run, here, deployed),
            tiles=[*tiles_of(run), *_joules(run), *(cost_tiles(run.cost) if run.cost else [])],
            plots=plots_of(run),
            grids=grids_of(run),
            sounds=sounds_of(run),
            details=[
                ("config.yaml: what was asked", run.config),
                ("what the result depends on", _words({**run.settings, **run.inputs})),
            ],
            links=[_link(folder, here, anchors) for folder in before],
            anchor=anchors.get(run.folder.resolve(), ""),
        )


@contextmanager
def fitting(what: object) -> Iterator[None]:
    """What files that do not fit together lead to becomes a UserError."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"files of {what} do not fit together ({error!r}): they are damaged or of another version of scenelet "
            "(then run the stage again with force=true), or matplotlib cannot draw here"
        ) from error


def summary_of(run: RunFiles) -> str:
    """One sentence, of what the run has."""
    scores = run.scores
    if "energy/normalised" in scores:
        return (
            f"One pass over {scores['energy/clips']:,.0f} test clips takes "
            f"{1000 * scores['energy/inference/kWh']:.3g} Wh here ({run.settings.get('kernels')} kernels, one thread); "
            f"the challenge's baseline takes {scores['energy/normalised']:.2f} times as much."
        )
    if MULTI_LABEL in scores:
        return (
            f"The test clips may have several classes each: the mean average precision (mAP) over classes is "
            f"{nats(scores[MULTI_LABEL])}, the binary cross-entropy {nats(scores.get(f'test/{CROSS_ENTROPY}'))} nats."
        )
    if (whole := metric_rows(scores).get(WHOLE)) is None:
        return cost_sentence(run.cost) if run.cost else f"A run of the {run.stage} stage."
    guess = f"; guessing would be right on {100 / len(run.scenes):.0f} %" if run.scenes else ""
    clips = f"{sum(map(sum, run.counts)):,} " if run.counts else ""
    part = f", of {CLIPS:,} of the official split," if run.is_of_challenge and clips and not is_whole(scores) else ""
    within = f" (95 %: {interval(whole.interval)})" if whole.interval else ""
    return (
        f"Of the {clips}test clips{part} it is right on {percent(whole.accuracy)}{within}, the mean over scenes, "
        f"with a log loss of {nats(whole.log_loss)} nats{guess}."
    )


def plots_of(run: RunFiles) -> list[Plot]:
    """The plots that the run's files allow."""
    name, found = label_of(run), []
    if run.counts:
        caption = "Clips of each true scene (rows) by the answer (columns), and the share of right answers."
        found.append(Plot("Confusions", caption, confusions(run.counts, run.scenes), name))
    found += accuracy_plots({run.name: run.scores}, name)
    if run.reliability:
        caption = "On the dashed line, confidence and accuracy are equal; larger points are more clips."
        found.append(Plot("Reliability", caption, plots.reliability({run.name: run.reliability}), name))
    found += coverage_plots({run.name: run.scores}, name)
    if run.history:
        caption = "The training loss is the one that is minimised; a distillation loss is no log loss."
        found.append(Plot("Training", caption, plots.curves({run.name: run.history}), name))
    if is_rankable(run) and run.is_of_challenge:
        found.append(trade_off_of([*published_systems(), as_system(run.name, run.scores)], name))
    if run.layers:
        figure = plots.layers(run.layers, run.macs)
        found.append(Plot("Layers", "Bytes of weights and biases, and multiply-accumulates of one clip.", figure, name))
    found += cost_plots(run.cost, name) if run.cost else []
    return found


def is_rankable(run: RunFiles) -> bool:
    """Whether it is an integer network with all metrics that ranks are of; runs of other versions have other ones."""
    return bool(run.layers) and run.scores.keys() >= {*METRICS.values()}


def grids_of(run: RunFiles) -> list[Grid]:
    """The tables that the run's files allow."""
    found = forms_grids(run.scores)
    if len(subsets := metric_rows(run.scores)) > 1:
        rows = [
            [
                subset_words(subset).replace("_", " "),
                percent(row.accuracy),
                nats(row.log_loss),
                interval(row.interval),
                *beside(run.scores, subset),
            ]
            for subset, row in subsets.items()
        ]
        columns = ["", "accuracy", "log loss", "accuracy, 95 % over recordings"]
        found.append(Grid("Test split", [*columns, *(BASELINE if beside(run.scores, WHOLE) else [])], rows))
    if by_class := metrics_under(f"test/{BY_CLASS}", run.scores):
        rows = [[name.removeprefix(f"test/{BY_CLASS}"), nats(run.scores[name])] for name in by_class]
        found.append(Grid("Test split, classes", ["", "average precision"], rows))
    if rows := scene_device_rows(run.scores):
        found.append(Grid(SCENE_DEVICES, rows[0], rows[1:]))
    found += confidence_grids(run.scores)
    if rows := device_rows(run.scores):
        found.append(Grid(BY_DEVICE.capitalize(), DEVICE_COLUMNS, rows))
    if len(run.energy) > 1:
        found.append(Grid("Energy", ["", "Wh", "seconds", "J a clip", ""], [*map(_energy_row, run.energy.items())]))
    if run.layers:
        columns = list(run.layers[0])
        rows = [[word(row.get(column)) for column in columns] for row in run.layers]
        found.append(Grid("Layers", [column.replace("_", " ") for column in columns], rows))
    found += cost_grids(run.cost) if run.cost else []
    return found


def joules_of(run: RunFiles) -> float | None:
    """Of one clip by the run's model, as the energy stage metered it; None: it has not, or the run has no model."""
    model = model_in(run.folder)
    if run.stage not in ("student", "quantize") or not model.is_file():
        return None
    try:
        return joules_a_clip(measured_energy(model))
    except UserError:  # files of another run are damaged
        return None


def _joules(run: RunFiles) -> list[Tile]:
    each = joules_of(run)
    return [] if each is None else [Tile(METERED_JOULES, f"{each:.3g}", "on a computer, by scenelet energy")]


def accuracy_plots(scores: Mapping[str, Mapping[str, float]], page: str) -> list[Plot]:
    """Accuracy by device, group and scene, of runs by name."""
    found = []
    for kind, title in (("device", "Devices"), ("group", "Groups of devices"), ("scene", "Scenes")):
        if any(metrics_under(f"test/accuracy/{kind}/", run) for run in scores.values()):
            caption = "Accuracy on the test clips of each; lines: 95 % intervals over recordings, where there are any."
            found.append(Plot(title, caption, plots.shares(scores, kind), page))
    return found


def _energy_row(phase: tuple[str, Mapping[str, Any]]) -> list[str]:
    name, used = phase
    known, joules = used["kWh"] is not None, joules_a_clip({name: used}, name)
    each = "" if joules is None else f"{joules:.3g}"
    notes = [f"not known: {why}" for why in used.get("missing", [])] + ["an estimate"] * bool(used.get("estimated"))
    notes += [f"not counted: {why}" for why in used.get("lost", [])] + [f"on {words}" for words in used.get("on", [])]
    metered = [f"{1000 * used['kWh']:.3g}", f"{used['seconds']:.3g}"] if known else ["not known", ""]
    return [name.replace("/", ", "), *metered, each, "; ".join(notes)]


def _words(tree: Mapping[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in flat(tree).items())


def _link(folder: Path, here: Path, anchors: Mapping[Path, str]) -> Link:
    """To a run's section on the page, or else to its own report, if there is one."""
    words = f"{folder.resolve().parent.name} {folder.resolve().name}"
    if (place := folder.resolve()) in anchors:
        return Link(words, f"#{anchors[place]}")
    return Link(words, os.path.relpath(folder / REPORT, here) if (folder / REPORT).is_file() else "")
