"""The predict stage: the scene in each second of sound files; the table that it writes: see inference/sounds.py."""

import logging
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console

from data.errors import UserError, listed
from data.files import require_replaceable, write_whole
from experiments.inference.classifier import Classifier, load_classifier
from experiments.inference.sounds import Classified, classified_text, classify_files, sound_files
from experiments.report.terminal import Table
from experiments.runs.claims import claim
from experiments.runs.layout import PREDICTIONS
from experiments.settings.models import Predict
from experiments.settings.shared import Settings
from experiments.stages.context import layout_of, model_of
from students.quantize.answer import UNKNOWN

SHOWN = 20  # files in the printed table

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    if settings.of(Predict).audio is None:
        raise UserError("the predict stage needs sounds: predict.audio=FILE_OR_FOLDER")
    require_replaceable(_table(settings))


def run(settings: Settings) -> None:
    """Classify the sounds of `predict.audio`; write the table, always anew; print the most probable scene of each file.

    Raises:
        UserError: files cannot be read, all of them listed; the table of the others is written before.
    """
    audio, out = settings.of(Predict).audio, _table(settings)
    assert audio is not None
    if settings.of(Predict).out is None:
        claim(out.parent)
    classifier = load_classifier(model := model_of(settings))
    if (device := settings.of(Predict).device) is not None:
        if device not in classifier.network.sets:
            log.warning("%s, the general network answers", _without(model, device, [*classifier.network.sets]))
        classifier = classifier.of_device(device)
    files, others = sound_files(audio)
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
        out.parent.mkdir(parents=True, exist_ok=True)
        shift = settings.of(Predict).shift
        write_whole(out, classified_text(found, classifier, shift).encode())
        Console().print(_shown(found, classifier, shift))
        log.info("%g s of sound: %s", classifier.clip_seconds * sum(len(each.probabilities) for each in found), out)
    if failures:
        rest = f"the table of the other {len(found)} is written: {out}" if found else "no table is written"
        raise UserError(f"{len(failures)} of {len(files)} files cannot be read; {rest}\n{listed(failures)}")


def _without(model: Path, device: str, known: Sequence[str]) -> str:
    """What is said of a model that does not know a device."""
    which = f"those that it has are of {', '.join(known)}" if known else "it has none of any device"
    return f"predict.device={device}: {model} has no tensors of this device ({which})"


def _table(settings: Settings) -> Path:
    """Where the table goes."""
    out = settings.of(Predict).out
    return Path(out) if out else layout_of(settings).folder("predict") / PREDICTIONS


def _shown(found: Sequence[Classified], classifier: Classifier, shift: int) -> Table:
    """The mean probabilities of each file, and of how many seconds the answer is not known, if there is a threshold."""
    scenes, least = classifier.scenes, classifier.confidence.least
    out = Table(box=box.SIMPLE)
    out.add_column("file", overflow="fold")
    for column in ("seconds", "most probable", "on average", *(["seconds unknown"] if least else [])):
        out.add_column(column, justify="left" if column == "most probable" else "right")
    for each in found[:SHOWN]:
        mean, (answers, _) = each.probabilities.mean(axis=0), each.answers(least, shift)
        seconds, unknown = (
            f"{count * classifier.clip_seconds:g}" for count in (len(answers), (answers == UNKNOWN).sum())
        )
        cells = [each.name, seconds, scenes[mean.argmax()], f"{100 * mean.max():.0f} %"]
        out.add_row(*cells, *([unknown] if least else []))
    if len(found) > SHOWN:
        out.add_row(f"... and {len(found) - SHOWN} more", *[""] * (len(out.columns) - 1))
    return out
