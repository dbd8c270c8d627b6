"""The head of a run's section: what it is of, its files, and its numbers.

Conventions: links are relative to the folder in which the page lies, so that the runs can be moved together. A model is
named by the run that built it, which may be one that this run was made from.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from data.readers import readers
from experiments.evaluation.forms import FLOAT, STORED, agreement_name
from experiments.evaluation.multi_label import TITLES
from experiments.report.numbers import interval, nats, percent
from experiments.report.page import Link, Tile
from experiments.report.tables import WHOLE, edges_of, metric_rows
from experiments.runs.layout import CHECKPOINT, LOGITS, MODEL, ONNX, PREDICTIONS, PROGRAM
from experiments.runs.reader import RunFiles
from students.device.cost import CLOCKS, CYCLES, ESTIMATES, milliseconds
from students.limits import LIMITS, counted

COUNTED = {"parameter_bytes": "bytes of parameters", "macs": "multiply-accumulates", "peak_bytes": "peak memory, bytes"}
COSTS = {**COUNTED, **ESTIMATES}
CLOCK = f"ms at {CLOCKS[-1] / 1e6:.0f} MHz"
FILES = {  # what a person takes away, and what it is called
    MODEL: MODEL,
    CHECKPOINT: "checkpoint",
    ONNX: "ONNX",
    PROGRAM: "PyTorch program",
    PREDICTIONS: "predictions",
    LOGITS: "logits",
}
TOY = "Synthetic toy data, made by scenelet: its accuracies say nothing about real sounds."
MADE = re.compile(r"# by scenelet(?:'s commit (?P<old>\S+)| (?P<version>\S+), commit (?P<commit>\S+), (?P<date>.+))\n")
DIGITS = 12  # of a commit


def facts_of(run: RunFiles, before: Sequence[Mapping[str, Any]] = ()) -> list[tuple[str, str]]:
    """Data set, model, date and commit, as far as the run's files say them.

    Args:
        run: which.
        before: the settings of the runs that it was made from, the nearest first.
    """
    made = MADE.match(run.config)
    version, date = (made["version"], made["date"]) if made else (None, None)
    commit = (made["commit"] or made["old"]) if made else None
    code = " ".join(filter(None, [version, f"commit {_short(commit)}" if commit not in (None, "unknown") else ""]))
    found = [("data", _data(run)), ("model", _model(run, before)), ("date", date or ""), ("scenelet", code)]
    return [(name, value) for name, value in found if value]


def warning_of(run: RunFiles) -> str:
    """What a reader must know before all numbers; nothing of real data."""
    return TOY if run.data.get("kind") == "synthetic" and _has_read_clips(run) else ""


def files_of(run: RunFiles, here: Path, deployed: Sequence[Path] = ()) -> list[Link]:
    """Links to the run's products.

    Args:
        run: which.
        here: the folder in which the page lies.
        deployed: the folders of C of its model.
    """
    there = {run.folder / name: words for name, words in FILES.items() if (run.folder / name).is_file()}
    found = [Link(words, _address(path, here)) for path, words in there.items()]
    for folder in deployed:
        words = "C for devices" + (f" ({folder.name})" if len(deployed) > 1 else "")
        found.append(Link(words, f"{_address(folder, here)}/"))
    return found


def tiles_of(run: RunFiles) -> list[Tile]:
    """The numbers that stand at the top."""
    scores, found = run.scores, []
    if whole := metric_rows(scores).get(WHOLE):
        accuracy, loss = interval(whole.interval), interval(whole.loss_interval, 1, 3)
        found.append(Tile("macro accuracy", percent(whole.accuracy), f"95 %: {accuracy}" if accuracy else ""))
        found.append(Tile("log loss", nats(whole.log_loss), f"95 %: {loss}" if loss else ""))
        found.append(Tile("calibration error", nats(whole.calibration_error)))
    for name, title in TITLES.items():
        if f"test/{name}" in scores:
            edges = interval(edges_of(scores, f"test/{name}"), 1, 3)
            found.append(Tile(title, nats(scores[f"test/{name}"]), f"95 %: {edges}" if edges else ""))
    if (agreement := scores.get(agreement_name(STORED, FLOAT))) is not None:
        found.append(Tile("same class as float", percent(agreement)))
    found += [_cost_tile(cost, run) for cost in COSTS if cost in scores]
    if "energy/normalised" in scores:
        found.append(Tile("the baseline's energy over the model's", f"{scores['energy/normalised']:.2f}"))
    return [*found, *(_energy_tile(phase, used) for phase, used in run.energy.items())]


def _cost_tile(cost: str, run: RunFiles) -> Tile:
    """A cost beside the task's limit, which a float network has to keep once its parameters have a byte each."""
    value, note, verdict = run.scores[cost], "", ""
    if cost in ESTIMATES:
        note = "estimated for a Cortex-M4" + ("" if run.is_stored else ", with 8 bits")
        note += f", {milliseconds(value):,.0f} {CLOCK}" if cost == CYCLES else ""
    if cost in LIMITS:
        number = counted(run.scores, stored=run.is_stored)[cost]
        note = f"of {LIMITS[cost]:,}" if number == value else f"{number:,.0f} at 8 bits, of {LIMITS[cost]:,}"
        verdict = "ok" if number <= LIMITS[cost] else "over"
    return Tile(COSTS[cost], f"{value:,.0f}", note, verdict)


def _energy_tile(phase: str, used: Mapping[str, Any]) -> Tile:
    label = f"energy, {phase.replace('/', ' ')}"
    if used["kWh"] is None:
        return Tile(label, "not known", "; ".join(used.get("missing", [])))
    note = "an estimate from the processor's model" if used.get("estimated") else str(used.get("cpu", ""))
    return Tile(label, f"{1000 * used['kWh']:.3g} Wh", note)


def _has_read_clips(run: RunFiles) -> bool:
    """Whether its settings of data mean anything: every command has some."""
    return bool(run.inputs.keys() & {"clips", "waves"})


def _data(run: RunFiles) -> str:
    """The data set's title, and which part of it; nothing of a run that read none."""
    if "kind" not in run.data or not _has_read_clips(run):
        return ""
    kind = str(run.data["kind"])
    known, root = readers(), run.data.get("root")
    parts = [known[kind].title if kind in known else kind]
    if root:
        parts[0] += f" ({Path(str(root)).name})"
    if (subset := run.data.get("subset")) not in (None, 100):
        parts.append(f"{subset} % of the train clips")
    if run.data.get("folds"):
        parts.append(f"fold {run.data.get('fold')} of {run.data['folds']}")
    return ", ".join(parts)


def _model(run: RunFiles, before: Sequence[Mapping[str, Any]]) -> str:
    """Builder and size, of the run or of the nearest that it was made from, and how its weights are stored."""
    if run.stage == "ensemble":
        return f"ensemble of {len(run.sources)} teachers"
    for settings in (run.settings, *before):
        for room in ("student", "teacher"):
            if builder := settings.get(f"{room}.builder"):
                size = settings.get(f"{room}.size") if builder == "cp_mobile" else None
                bits = _bits(run.settings.get("quantize.bits"))
                return " ".join(str(word) for word in (builder, size, bits) if word)
    return ""


def _bits(bits: object) -> str:
    if bits is None:
        return ""
    return {"16f": "with floats of 16 bits"}.get(str(bits), f"with integers of {bits} bits")


def _short(commit: str) -> str:
    number, *dirty = commit.split("-")
    return "-".join([number[:DIGITS], *dirty])


def _address(path: Path, here: Path) -> str:
    return quote(os.fsencode(os.path.relpath(path, here)))
