"""What a person looks at instead of logs: one page on a run, or on several side by side, that needs nothing but itself.

Conventions: a page is made from the files of finished runs alone (run_files.py), never from a data set or a network;
accuracies are shown in percent, log losses in nats, energy in watt-hours. Pictures are SVG inside the page, and its
words and colours follow the reader's choice of light or dark.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.errors import UserError
from experiments.judge import figures_under
from experiments.paths import REPORT
from experiments.rank_systems import FIGURES, PUBLISHED, read_systems, trade_off_of
from experiments.ranking import System, rank
from experiments.report import figures
from experiments.report.page import Grid, Picture, Section, Tile, interval, percent, word, write_page
from experiments.run_files import RunFiles, is_run, read_run
from experiments.runs import flat
from students.complexity import LIMITS

FORMS = {"test": "as stored", "float": "float", "ptq": "integer, before", "host": "host's kernels"}
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


def section_of(run: RunFiles, here: Path) -> Section:
    """Everything about one run; links are relative to the folder `here`, where the page lies.

    Raises:
        UserError: the run's files do not fit together.
    """
    try:
        parts = {"tiles": tiles_of(run), "pictures": pictures_of(run), "grids": grids_of(run)}
        summary = summary_of(run)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"files of {run.folder} are damaged, they do not fit together ({error!r}): "
            "run the stage again with force=true"
        ) from error
    details = [("config.yaml: what was asked", run.config)]
    details.append(("what the result depends on", _words(run.settings | run.inputs)))
    return Section(label_of(run), summary, **parts, details=details, links=_links(run, here))


def summary_of(run: RunFiles) -> str:
    """One sentence, of what the run has."""
    s = run.scores
    if "test/accuracy" not in s:
        return f"A run of stage={run.stage}."
    chance = f"; guessing would be right on {100 / len(run.scenes):.0f} %" if run.scenes else ""
    clips = f"{sum(map(sum, run.counts)):,} " if run.counts else ""
    within = f" ({interval(s, 'test/accuracy')})" if "test/accuracy/low" in s else ""
    return (
        f"Of the {clips}test clips it is right on {percent(s['test/accuracy'])}{within}, the mean over scenes, "
        f"with a log loss of {s['test/log_loss']:.3f} nats{chance}."
    )


def tiles_of(run: RunFiles) -> list[Tile]:
    """The figures that a reader needs first."""
    s, found = run.scores, []
    if "test/accuracy" in s:
        found.append(Tile("macro accuracy", percent(s["test/accuracy"]), interval(s, "test/accuracy")))
        found.append(Tile("log loss", f"{s['test/log_loss']:.3f}", interval(s, "test/log_loss", 1, 3)))
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
        note = "an estimate from the processor's model" if used.get("estimated") else str(used.get("cpu", ""))
        found.append(Tile(f"energy, {phase.replace('/', ' ')}", f"{1000 * used['kWh']:.3g} Wh", note))
    return found


def pictures_of(run: RunFiles) -> list[Picture]:
    """The pictures that the run's files allow."""
    name, found = label_of(run), []
    if run.counts:
        figure = figures.confusions(run.counts, run.scenes)
        found.append(Picture("Confusions", "Rows: what it was; columns: what it was taken for.", figure, name))
    found += _shares({run.name: run.scores}, name)
    if run.reliability:
        caption = "On the dashed line a confidence is as often right as it says; larger points are more clips."
        found.append(Picture("Reliability", caption, figures.reliability({run.name: run.reliability}), name))
    if run.history:
        caption = "The training loss is the one that is minimised; a distillation loss is no log loss."
        found.append(Picture("Training", caption, figures.curves({run.name: run.history}), name))
    if run.layers:
        found.append(trade_off_of(rank([*read_systems(PUBLISHED), as_system(run)]), name))
    if run.layers:
        figure = figures.layers(run.layers, run.macs)
        found.append(Picture("Layers", "Bytes of weights and biases, and work for one clip.", figure, name))
    return found


def as_system(run: RunFiles) -> System:
    """A run among those that are ranked."""
    figures = {figure: run.scores[name] for figure, name in FIGURES.items()}
    return System(run.name, **figures, set="development", source="own run", own=True)


def grids_of(run: RunFiles) -> list[Grid]:
    """The tables that the run's files allow."""
    s, found = run.scores, []
    forms = [form for form in FORMS if f"{form}/accuracy" in s]
    if len(forms) > 1:
        rows = [[FORMS[form], *_figures(s, form), percent(s.get(f"{form}/agreement_with_float"))] for form in forms]
        found.append(Grid("Forms of the student", ["", "accuracy", "log loss", "same class as float"], rows))
    if subsets := figures_under("test/accuracy/", s):
        rows = [["all (macro)", *_figures(s, "test"), interval(s, "test/accuracy")]]
        for key in subsets:
            subset = key.removeprefix("test/accuracy/")
            words = subset.replace("/", " ").replace("_", " ")
            rows.append([words, percent(s[key]), f"{s[f'test/log_loss/{subset}']:.3f}", interval(s, key)])
        found.append(Grid("Test split", ["", "accuracy", "log loss", "accuracy, 95 % over recordings"], rows))
    if run.layers:
        columns = list(run.layers[0])
        rows = [[word(row.get(column)) for column in columns] for row in run.layers]
        found.append(Grid("Layers", [column.replace("_", " ") for column in columns], rows))
    return found


def comparison_of(runs: Sequence[RunFiles]) -> Section:
    """Several runs side by side."""
    names = {label_of(run): run for run in runs}
    grid = Grid("Side by side", ["", *names], _side_by_side(runs))
    scores, title = {name: run.scores for name, run in names.items()}, "comparison"
    pictures = _shares(scores, title)
    if bins := {name: run.reliability for name, run in names.items() if run.reliability}:
        pictures.append(Picture("Reliability", "Accuracy over confidence.", figures.reliability(bins), title))
    if histories := {name: run.history for name, run in names.items() if run.history}:
        pictures.append(
            Picture(
                "Training",
                "Dotted: the loss that is minimised; losses of unlike kinds are unlike.",
                figures.curves(histories),
                title,
            )
        )
    if integers := [as_system(run) for run in runs if run.layers]:
        pictures.append(trade_off_of(rank([*read_systems(PUBLISHED), *integers]), title))
    other = _differences(runs)
    grids = [Grid("Settings and inputs that differ", ["", *names], other)] if other else []
    return Section("Comparison", f"{len(runs)} runs, each in full below.", lead=[grid], pictures=pictures, grids=grids)


def _shares(scores: Mapping[str, Mapping[str, float]], name: str) -> list[Picture]:
    found = []
    for kind, title in (("device", "Devices"), ("group", "Groups of devices"), ("scene", "Scenes")):
        if any(figures_under(f"test/accuracy/{kind}/", run) for run in scores.values()):
            caption = "Accuracy on the test clips of each, with 95 % intervals over recordings."
            found.append(Picture(title, caption, figures.shares(scores, kind), name))
    return found


def _figures(scores: Mapping[str, float], form: str) -> list[str]:
    return [percent(scores[f"{form}/accuracy"]), f"{scores[f'{form}/log_loss']:.3f}"]


def _side_by_side(runs: Sequence[RunFiles]) -> list[list[str]]:
    rows = [["accuracy (macro)", *(percent(run.scores.get("test/accuracy")) for run in runs)]]
    rows.append(["95 % over recordings", *(interval(run.scores, "test/accuracy") for run in runs)])
    for figure in ("log_loss", "calibration_error"):
        rows.append([figure.replace("_", " "), *(word(run.scores.get(f"test/{figure}"), 3) for run in runs)])
    for key in dict.fromkeys(key for run in runs for key in figures_under("test/accuracy/group/", run.scores)):
        words = f"accuracy, {key.rsplit('/', 1)[-1]} devices"
        rows.append([words, *(percent(run.scores.get(key)) for run in runs)])
    for cost, words in COSTS.items():
        rows.append([words, *(word(run.scores.get(cost)) for run in runs)])
    used = [sum(phase["kWh"] for phase in run.energy.values()) for run in runs]
    rows.append(["energy of the training, Wh", *(f"{1000 * kwh:.3g}" if kwh else "" for kwh in used)])
    return [row for row in rows if any(row[1:])]


def _differences(runs: Sequence[RunFiles]) -> list[list[str]]:
    known = [{**run.settings, **{key: value[:12] for key, value in run.inputs.items()}} for run in runs]
    keys = sorted({key for one in known for key in one})
    return [[key, *(word(one.get(key)) for one in known)] for key in keys if len({word(k.get(key)) for k in known}) > 1]


def _words(tree: Mapping[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in flat(tree).items())


def _links(run: RunFiles, here: Path) -> list[tuple[str, str]]:
    """To the reports of the runs that this one came from, the eldest first."""
    found: dict[str, str] = {}
    for folder in dict.fromkeys(path.parent for path in run.sources):
        if is_run(folder):
            source = read_run(folder)
            found |= dict(_links(source, here)) | {label_of(source): os.path.relpath(folder / REPORT, here)}
    return list(found.items())
