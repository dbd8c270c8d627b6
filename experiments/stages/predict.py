"""The predict stage: the scene in each second of sound files; the table that it writes: see inference/sounds.py."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.console import Console

from data.errors import UserError, listed
from data.files import file_sha256, require_replaceable, write_whole
from experiments.inference.clip_classifier import Classifier
from experiments.inference.origin import origin_of
from experiments.inference.sounds import Classified, classified_text, classify_files, fingerprint, sound_files
from experiments.models.classifiers import load_model
from experiments.report.terminal import Table
from experiments.runs.claims import claim
from experiments.runs.layout import PREDICTIONS, as_name
from experiments.runs.record import Run
from experiments.settings.models import Predict
from experiments.settings.shared import Settings
from experiments.stages.context import as_mapping
from experiments.stages.whereabouts import layout_of, model_of
from students.quantize.answer import ONE, UNKNOWN

SHOWN = 20  # files in the printed table

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    if settings.of(Predict).audio is None:
        raise UserError("the predict stage needs sounds: predict.audio=FILE_OR_FOLDER")
    require_replaceable(_table(settings))


def run(settings: Settings) -> None:
    """Classify the sounds of `predict.audio`; write the table, always anew, but never over that of other sounds or of
    another model, unless its path is given; print the most probable scene of each file.

    Raises:
        UserError: files cannot be read, all of them listed; the table of the others is written before.
    """
    own, out = settings.of(Predict), _table(settings)
    assert own.audio is not None
    classifier = load_model(model := model_of(settings))
    log.info("model %s", origin_of(model))
    if (device := own.device) is not None:
        if device not in classifier.devices:
            log.warning("%s, the general network answers", _without(model, device, [*classifier.devices]))
        classifier = classifier.of_device(device)
    files, others = sound_files(own.audio)
    this = None if own.out else _run(settings, model, files)
    if others:
        log.warning("%d files are not named like sounds and left out:\n%s", len(others), listed(others))
    if len(files) > 1:
        log.info(
            "classifying %d files; the table is written at the end, and a command that is stopped writes none",
            len(files),
        )
    try:
        found, failures = classify_files(classifier, files.items())
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted: no table is written, and the same command begins anew") from None
    if found:
        clips, text = sum(len(each.probabilities) for each in found), classified_text(found, classifier, own.shift)
        if this is not None:
            this.start()
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, text.encode())
        if this is not None:
            this.finish({"files": len(found), "clips": clips})
        Console().print(_shown(found, classifier, own.shift))
        log.info("%g s of sound: %s", classifier.clip_seconds * clips, out)
    if failures:
        rest = f"the table of the other {len(found)} is written: {out}" if found else "no table is written"
        raise UserError(f"{len(failures)} of {len(files)} files cannot be read; {rest}\n{listed(failures)}")


def _without(model: Path, device: str, known: Sequence[str]) -> str:
    """What is said of a model that does not know a device."""
    which = f"those that it has are of {', '.join(known)}" if known else "it has none of any device"
    return f"predict.device={device}: {model} has no tensors of this device ({which})"


def _run(settings: Settings, model: Path, files: Mapping[str, Path]) -> Run:
    """The run that the table is of, which no other process writes to from now on.

    Raises:
        UserError: its folder holds the table of other sounds, or of another model.
    """
    own, named = settings.of(Predict), _named(settings)
    assert own.audio is not None
    this = Run(
        layout_of(named).folder("predict"),
        settings={"audio": _path(own.audio).name, "device": own.device, "smoothing": own.smoothing},
        inputs={"model": file_sha256(model), "audio": fingerprint(files)},
        sources=[model],
        force=settings.force,
        config=as_mapping(named),
    )
    claim(this.folder)
    instead = "write another table with predict.out=FILE"  # another name may mean another model
    if not (this.is_finished or settings.force) and (table := this.folder / PREDICTIONS).exists():
        raise UserError(
            f"{table} is of an earlier version, and of sounds that are not known: {instead}, or replace it "
            "with force=true"
        )
    this.refuse_others(instead)
    return this


def _table(settings: Settings) -> Path:
    """Where the table goes."""
    out = settings.of(Predict).out
    return Path(out) if out else layout_of(_named(settings)).folder("predict") / PREDICTIONS


def _named(settings: Settings) -> Settings:
    """The same command, named after its sounds if it has no name."""
    audio = settings.of(Predict).audio
    if "name" in settings.given or audio is None:
        return settings
    path = _path(audio)
    return replace(settings, name=as_name(path.name if path.is_dir() else path.stem))


def _path(audio: str) -> Path:
    """Of the sounds, with a name also where that is . or .."""
    return Path(os.path.abspath(audio))


def _shown(found: Sequence[Classified], classifier: Classifier, shift: int) -> Table:
    """The mean calibrated probabilities of each file, as the demo page has them, and of how many seconds the answer is
    not sure."""
    scenes, least = classifier.scenes, classifier.least_sure
    out = Table(box=box.SIMPLE)
    out.add_column("file", overflow="fold")
    for column in ("seconds", "most probable", "on average", "seconds not sure"):
        out.add_column(column, justify="left" if column == "most probable" else "right")
    for each in found[:SHOWN]:
        mean, (answers, _) = each.calibrated.mean(axis=0) / ONE, each.answers(least, shift)
        seconds, unsure = (
            f"{count * classifier.clip_seconds:g}" for count in (len(answers), (answers == UNKNOWN).sum())
        )
        out.add_row(each.name, seconds, scenes[mean.argmax()], f"{100 * mean.max():.0f} %", unsure)
    if len(found) > SHOWN:
        out.add_row(f"... and {len(found) - SHOWN} more", *[""] * (len(out.columns) - 1))
    return out
