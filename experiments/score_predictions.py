"""stage=score: official figures of any table of predictions, whoever made them.

Conventions: the table has a column `filename` and one of probabilities for each class, as the challenge wants it
(tab-separated; commas will do); `scene_label`, if it is there, must be the most probable class. Every clip of the split
is scored once, none is guessed. Figures are those of the other stages (score.py), intervals are over recordings.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from data.errors import UserError, listed
from data.scenes import ClipSet
from data.tables import read_table
from experiments.datasets import read_clips
from experiments.intervals import figure_intervals
from experiments.paths import SCORES, sha256, write_text
from experiments.prediction_table import check_predictions, last_part
from experiments.runs import Run
from experiments.score import confusion, evaluate

CONFUSION = "confusion.csv"

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Score `cfg.predictions` on the test split; write score.json and confusion.csv; print the tables."""
    if cfg.predictions is None:
        raise UserError("stage=score needs a table: predictions=FILE, with the columns filename and one for each class")
    clips = read_clips(cfg)[0]
    rows = clips.indices("test")
    names = [clips.filenames[row] for row in rows]
    probabilities = read_predictions(cfg.predictions, names, clips.scenes)
    labels, devices = clips.labels[rows], [clips.clips[row].device for row in rows]
    about = {"scenes": clips.scenes, "device_groups": clips.device_groups}
    scores = evaluate(probabilities, labels, devices, **about)
    recordings = [clips.clips[row].recording for row in rows]
    for figure, (low, high) in figure_intervals(probabilities, labels, recordings).items():
        scores |= {f"{figure}/low": low, f"{figure}/high": high}
    counts = confusion(probabilities, labels)
    asked = hashlib.sha256("\n".join(names).encode()).hexdigest()
    this = Run(cfg, "score", settings={}, inputs={"predictions": sha256(cfg.predictions), "clips": asked})
    if not this.is_done(CONFUSION):
        this.start()
        lines = [["scene", *clips.scenes], *([s, *map(str, r)] for s, r in zip(clips.scenes, counts, strict=True))]
        write_text(this.folder / CONFUSION, "".join(",".join(line) + "\n" for line in lines))
        this.finish(scores)
    for table in (table_of_figures(scores, clips), table_of_confusion(counts, clips.scenes)):
        Console().print(table)
    log.info("%d clips: %s", len(names), this.folder / SCORES)


def read_predictions(path: str | Path, filenames: Sequence[str], scenes: Sequence[str]) -> np.ndarray:
    """Probabilities of the given clips, float64 (len(filenames), classes), in the order asked for.

    Names are compared as they are, or by their last part, so that `audio/x.wav` and `x.wav` are the same clip.

    Raises:
        UserError: the table is no such table, or clips are missing, strange or there twice, or values are no
            probabilities, or contradict scene_label; all of a kind are listed.
    """
    table = read_table(path, ["filename", *scenes])
    values, wrong = check_predictions(table, scenes, filenames, of="the test split")
    if wrong:
        raise UserError(f"{path} has {len(wrong)} defects:\n{listed(wrong)}")
    found = {last_part(name): row for row, name in enumerate(table["filename"])}
    rows = values[[found[last_part(name)] for name in filenames]]
    return rows / rows.sum(axis=1, keepdims=True)


def table_of_figures(scores: Mapping[str, float], clips: ClipSet) -> Table:
    """Accuracy and log loss over all, with intervals, and by scene, device and group."""
    out = Table(title="test split")
    for column in ("", "accuracy", "log loss"):
        out.add_column(column, justify="left" if not column else "right")
    out.add_row("all (macro)", f"{100 * scores['accuracy']:.1f} %", f"{scores['log_loss']:.3f}")
    if "accuracy/low" in scores:
        low, high = (100 * scores[f"accuracy/{edge}"] for edge in ("low", "high"))
        losses = f"{scores['log_loss/low']:.3f} to {scores['log_loss/high']:.3f}"
        out.add_row("95 % interval over recordings", f"{low:.1f} to {high:.1f} %", losses)
    out.add_row("calibration error", f"{scores['calibration_error']:.3f}", "", end_section=True)
    for figure, value in scores.items():
        if figure.startswith("accuracy/") and (subset := figure.removeprefix("accuracy/")) not in ("low", "high"):
            out.add_row(subset.replace("/", " "), f"{100 * value:.1f} %", f"{scores[f'log_loss/{subset}']:.3f}")
    return out


def table_of_confusion(counts: np.ndarray, scenes: Sequence[str]) -> Table:
    """Rows: what it was; columns: what it was taken for."""
    out = Table(title="what it was (rows), and what it was taken for")
    out.add_column("")
    for number in range(len(scenes)):
        out.add_column(str(number), justify="right")
    for number, (scene, row) in enumerate(zip(scenes, counts.tolist(), strict=True)):
        out.add_row(f"{number} {scene}", *(str(count) if count else "." for count in row))
    return out
