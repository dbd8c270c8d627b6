"""The ensemble stage: compare several teachers' logits, make one file of them, and evaluate it."""

import dataclasses
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from data.errors import UserError
from data.feature_targets import kept_features
from data.files import file_sha256
from data.logits import LogitsWriter, convex, read_several
from data.logits_file import read_identity
from experiments.datasets.datamodule import prepare, require_held_out
from experiments.datasets.held_out import has_heard, held_out_logits, warn_of_leaks
from experiments.evaluation.evaluate import logits_metrics
from experiments.inference.teacher_logits import evaluate_and_seal
from experiments.report.publish import finish, is_done
from experiments.report.tables import ENSEMBLE, ensemble_tables
from experiments.runs.layout import LOGITS, SCORES, logits_files
from experiments.runs.lineage import CALIBRATION, digests_of
from experiments.runs.reader import read_scores
from experiments.settings.shared import Settings
from experiments.settings.stages import Ensemble
from experiments.stages.context import new_run
from experiments.stages.whereabouts import layout_of
from teachers.ensemble import combine, fit_temperature, fit_weights

FITTED = "ensemble.weights=fit or ensemble.temperature=true"

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    own = settings.of(Ensemble)
    layout_of(settings).folder("ensemble")
    if own.weights not in ("fit", "equal"):
        weights = _numbers(own.weights)
        convex("ensemble.weights", weights, len(weights), of="member")
    if _is_fitted(own):
        require_held_out(settings.data, FITTED)


def run(settings: Settings) -> None:
    """Combine the files of `logits`; write logits.h5 and score.json; print the tables."""
    own, data = settings.of(Ensemble), prepare(settings.data, settings.cache_folder)
    clips, paths = data.clips, logits_files(layout_of(settings), settings.logits)
    members = read_several(paths, clips.filenames, clips.scenes)
    names = _names(paths)
    depends_on = {"ensemble": dataclasses.asdict(own), "members": names}
    inputs = {**data.fingerprint, **{name: file_sha256(path) for name, path in zip(names, paths, strict=True)}}
    held_out, labels = members[:, :0], np.zeros(0, int)  # what weights and temperatures are fitted to
    if _is_fitted(own):
        held_out, files = held_out_logits(paths, data, FITTED)
        labels = clips.labels[clips.indices("validation")]
        if files != list(paths):
            inputs[CALIBRATION] = digests_of(files)
    this = new_run(settings, "ensemble", depends_on=depends_on, inputs=inputs, sources=paths)
    if is_done(this, LOGITS):
        _show(this.folder, names)
        return

    warn_of_leaks(paths, data)
    temperatures = [fit_temperature(m, labels) if own.temperature else 1.0 for m in held_out]
    scale = np.array(temperatures)[:, None, None]
    weights = _weights(own.weights, held_out / scale, labels, own.mean)
    together = combine(members / scale, weights, own.mean).astype(np.float32)

    scores: dict[str, float] = {}
    for number, name in enumerate(names):
        scores |= {f"{name}/weight": float(weights[number]), f"{name}/temperature": temperatures[number]}
    # Clips that a member was trained on say nothing of it: then the test clips alone are scored.
    scored = data.with_all_trained.clips if any(has_heard(path, data) for path in paths) else clips
    for name, logits in zip(names, members, strict=True):
        scores |= {f"{name}/{metric}": value for metric, value in logits_metrics(scored, logits).items()}
    this.start()
    trained_on = {str(read_identity(path).get("trained_on")) for path in paths}
    identity = {
        "teacher": "ensemble",
        "config": json.dumps(depends_on),
        "weights": json.dumps(list(weights)),
        "trained_on": " ".join(sorted(trained_on)),
    }
    if any(kept_features(path) is not None for path in paths):
        log.info("the members' features are not in the ensemble's file: a student that learns them names a member too")
    writer = LogitsWriter(this.folder / LOGITS, clips.filenames, clips.scenes, {**identity, **data.fingerprint})
    writer.fill(range(len(together)), together)
    scores |= evaluate_and_seal(writer, scored, this.folder)
    finish(this, scores)
    _show(this.folder, names)
    log.info("ensemble of %d: %s", len(names), this.folder / LOGITS)


def _is_fitted(own: Ensemble) -> bool:
    """Whether something is chosen by the validation clips."""
    return own.temperature or own.weights == "fit"


def _show(folder: Path, names: Sequence[str]) -> None:
    for table in ensemble_tables(read_scores(folder / SCORES), names):
        Console().print(table)


def _names(paths: Sequence[Path]) -> list[str]:
    """A short name each: the run's folder, or the whole path where that is not enough."""
    short = [path.resolve().parent.name for path in paths]
    names = short if len(set(short)) == len(short) else [str(path) for path in paths]
    if ENSEMBLE in names:
        names = [f"{name} (member)" if name == ENSEMBLE else name for name in names]
    return names


def _weights(wanted: object, members: np.ndarray, labels: np.ndarray, mean: str) -> np.ndarray:
    if wanted == "fit":
        return fit_weights(members, labels, mean)
    if wanted == "equal":
        return np.full(len(members), 1 / len(members))
    weights = _numbers(wanted)
    combine(members[:, :1], weights, mean)  # says what is wrong with them
    return weights / weights.sum()


def _numbers(wanted: object) -> np.ndarray:
    try:
        assert isinstance(wanted, Iterable)
        assert not isinstance(wanted, str)
        return np.array([float(w) for w in wanted])
    except (AssertionError, TypeError, ValueError):
        raise UserError(f"ensemble.weights={wanted} must be equal, fit, or a list of numbers like [2,1]") from None
