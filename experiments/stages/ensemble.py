"""stage=ensemble: compare several teachers' logits, make one file of them, and say how good it is."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.errors import UserError
from data.logits import LogitsWriter, read_identity, read_several
from experiments.datamodule import prepare, warn_of_leaks
from experiments.evaluation.evaluate import figures_under
from experiments.runs.layout import LOGITS, logits_files, sha256
from experiments.runs.record import Run
from teachers.ensemble import combine, fit_temperature, fit_weights

WHOLE = "ensemble"  # its row among the members'

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Combine the files of `cfg.logits`; write logits.h5 and score.json; print the tables."""
    prepared, paths = prepare(cfg), logits_files(cfg)
    clips = prepared.clips
    members = read_several(paths, clips.filenames, clips.scenes)
    names = _names(paths)
    settings = {"ensemble": OmegaConf.to_container(cfg.ensemble), "members": names}
    inputs = {**prepared.fingerprint, **{name: sha256(path) for name, path in zip(names, paths, strict=True)}}
    run = Run(cfg, "ensemble", settings=settings, inputs=inputs, sources=paths)
    if run.is_done(LOGITS):
        show(json.loads((run.folder / "score.json").read_text()), names)
        return

    warn_of_leaks(paths, prepared)
    rows = clips.indices("validation")
    labels, heard = clips.labels[rows], members[:, rows]
    temperatures = [fit_temperature(m, labels) if cfg.ensemble.temperature else 1.0 for m in heard]
    scale = np.array(temperatures)[:, None, None]
    weights = _weights(cfg.ensemble.weights, heard / scale, labels, cfg.ensemble.mean)
    together = combine(members / scale, weights, cfg.ensemble.mean).astype(np.float32)

    scores = {}
    for number, name in enumerate(names):
        scores |= {f"{name}/weight": float(weights[number]), f"{name}/temperature": temperatures[number]}
    for name, logits in zip(names, members, strict=True):
        scores |= {f"{name}/{figure}": value for figure, value in prepared.score_logits(logits).items()}
    run.start()
    scores |= prepared.score_logits(together, run.folder)
    heard_by = {str(read_identity(path).get("trained_on")) for path in paths}
    identity = {
        "teacher": "ensemble",
        "config": json.dumps(settings),
        "weights": json.dumps(list(weights)),
        "trained_on": " ".join(sorted(heard_by)),
    }
    writer = LogitsWriter(run.folder / LOGITS, clips.filenames, clips.scenes, {**identity, **prepared.fingerprint})
    writer.fill(range(len(together)), together)
    accuracies = {f"{split}_accuracy": scores[f"{split}/accuracy"] for split in ("validation", "test")}
    writer.seal(**accuracies)
    run.finish(scores)
    show(scores, names)
    log.info("ensemble of %d: %s", len(names), run.folder / LOGITS)


def show(scores: Mapping[str, float], names: Sequence[str]) -> None:
    """Print members and ensemble side by side: overall figures of both splits, then accuracy by device."""
    everyone = [*names, WHOLE]
    overall = Table(title="accuracy (macro), log loss, calibration error")
    for column in ("", "weight", "temperature", "validation", "test"):
        overall.add_column(column, justify="left" if not column else "right")
    for name in everyone:
        prefix = _prefix(name)
        cells = [f"{scores[f'{prefix}{key}']:.3f}" if prefix else "" for key in ("weight", "temperature")]
        for split in ("validation", "test"):
            accuracy, loss, error = (
                scores[f"{prefix}{split}/{figure}"] for figure in ("accuracy", "log_loss", "calibration_error")
            )
            cells.append(f"{100 * accuracy:5.1f} %  {loss:.3f}  {error:.3f}")
        overall.add_row(escape(name), *cells)
    devices = Table(title="accuracy by device: validation | test")
    kinds = [key.split("/accuracy/")[1] for key in figures_under("test/accuracy/device/", scores)]
    for column in ("", *everyone):
        devices.add_column(column, justify="left" if not column else "right")
    for kind in kinds:
        cells = []
        for name in everyone:
            values = [scores.get(f"{_prefix(name)}{split}/accuracy/{kind}") for split in ("validation", "test")]
            cells.append(" | ".join("-" if value is None else f"{100 * value:5.1f} %" for value in values))
        devices.add_row(escape(kind.removeprefix("device/")), *cells)
    for table in (overall, devices):
        if table.row_count:
            Console().print(table)


def _prefix(name: str) -> str:
    """Of the figures' names in score.json; the ensemble's own are named as those of any run."""
    return "" if name == WHOLE else f"{name}/"


def _names(paths: Sequence[Path]) -> list[str]:
    """A short name each: the run's folder, or the whole path where that is not enough."""
    short = [path.resolve().parent.name for path in paths]
    names = short if len(set(short)) == len(short) else [str(path) for path in paths]
    if WHOLE in names:
        names = [f"{name} (member)" if name == WHOLE else name for name in names]
    return names


def _weights(wanted: object, members: np.ndarray, labels: np.ndarray, mean: str) -> np.ndarray:
    if wanted == "fit":
        return fit_weights(members, labels, mean)
    if wanted == "equal":
        return np.full(len(members), 1 / len(members))
    try:
        weights = np.array([float(w) for w in wanted])
    except (TypeError, ValueError):
        raise UserError(f"ensemble.weights={wanted} must be equal, fit, or a list of numbers like [2,1]") from None
    combine(members[:, :1], weights, mean)  # says what is wrong with them
    return weights / weights.sum()
