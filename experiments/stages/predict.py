"""stage=predict: which scene a model hears in sound files, second by second.

Conventions: the table is tab-separated, a row for each clip of PART_SECONDS: filename (below the folder given), start
in seconds, scene_label (the most probable), and a column of probabilities for each class, with every digit. Of files
that are one clip it is a table that stage=score reads.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from data.audio import SUFFIXES, is_sound
from data.errors import UserError, listed
from data.files import write_whole
from data.scenes import PART_SECONDS
from experiments.evaluation.predictions import predictions_text
from experiments.inference.classifier import Recogniser, load_recogniser
from experiments.runs.layout import PREDICTIONS
from experiments.settings.shared import Settings
from experiments.settings.stages import Predict
from experiments.stages.context import layout_of, model_of

SHOWN = 20  # files in the printed table

log = logging.getLogger(__name__)


class Heard(NamedTuple):
    """A file and the probabilities (clips, classes) of what is in it."""

    name: str
    probabilities: np.ndarray


def check(settings: Settings) -> None:
    """See settings/stages.py."""
    if settings.of(Predict).audio is None:
        raise UserError("the predict stage needs sounds: predict.audio=FILE_OR_FOLDER")


def run(settings: Settings) -> None:
    """Hear the sounds of `predict.audio`; write the table, always anew; print what each file is most.

    Raises:
        UserError: files cannot be read, all of them listed; the table of the others is written before.
    """
    asked = settings.of(Predict)
    assert asked.audio is not None
    out = Path(asked.out) if asked.out else layout_of(settings).folder("predict") / PREDICTIONS
    if out.is_dir():
        raise UserError(f"predict.out={out} is a folder: name a file in it")
    recogniser = load_recogniser(model_of(settings))
    files, others = sound_files(asked.audio)
    if others:
        log.warning("%d files are not named like sounds and left out:\n%s", len(others), listed(others))
    heard, failures = hear(recogniser, files)
    if heard:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, table_of(heard, recogniser.scenes).encode())
        Console().print(_shown(heard, recogniser.scenes))
        log.info("%g s of sound: %s", PART_SECONDS * sum(len(h.probabilities) for h in heard), out)
    if failures:
        rest = f"the table of the other {len(heard)} is written: {out}" if heard else "no table is written"
        raise UserError(f"{len(failures)} of {len(files)} files cannot be read; {rest}\n{listed(failures)}")


def sound_files(audio: str | Path) -> tuple[dict[str, Path], list[str]]:
    """The sounds that a path names, by the name they have in the table; and, of a folder, what else is in it.

    A file is what it is; in a folder, and below, those are sounds whose names end like one's. Hidden ones are left
    out.

    Raises:
        UserError: there is no such file or folder, or no sound in it.
    """
    root = Path(audio)
    if root.is_file():
        return {_printable(root.name): root}, []
    if not root.is_dir():
        raise UserError(f"audio={audio}: there is no such file or folder")
    found = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}
    found = {_printable(name): path for name, path in found.items() if not any(p[0] == "." for p in name.split("/"))}
    sounds = {name: path for name, path in found.items() if is_sound(path)}
    if not sounds:
        raise UserError(
            f"audio={audio} holds no sound: none of its {len(found)} files ends in one of {', '.join(SUFFIXES)}"
        )
    return sounds, [name for name in found if name not in sounds]


def hear(recogniser: Recogniser, files: dict[str, Path]) -> tuple[list[Heard], list[str]]:
    """What is in each file, and what is wrong with those that cannot be read."""
    heard, failures = [], []
    for name, path in track(files.items(), "listening", disable=len(files) == 1, transient=True):
        try:
            parts = [recogniser.probabilities(recogniser.pictures(waves)) for waves in recogniser.pieces(path)]
        except UserError as error:
            failures.append(str(error))
            continue
        heard.append(Heard(name, np.concatenate(parts)))
    return heard, failures


def table_of(heard: Sequence[Heard], scenes: Sequence[str]) -> str:
    """The table as text."""
    names = [name for name, probabilities in heard for _ in probabilities]
    starts = [number * PART_SECONDS for _, probabilities in heard for number in range(len(probabilities))]
    probabilities = np.concatenate([probabilities for _, probabilities in heard])
    return predictions_text(names, probabilities, scenes, starts=starts, digits=None)


def _shown(heard: Sequence[Heard], scenes: Sequence[str]) -> Table:
    out = Table(box=box.SIMPLE)
    out.add_column("file", overflow="fold")
    for column in ("seconds", "most probable", "on average"):
        out.add_column(column, justify="left" if column == "most probable" else "right")
    for name, probabilities in heard[:SHOWN]:
        mean = probabilities.mean(axis=0)
        seconds = f"{len(probabilities) * PART_SECONDS:g}"
        out.add_row(escape(name), seconds, escape(scenes[mean.argmax()]), f"{100 * mean.max():.0f} %")
    if len(heard) > SHOWN:
        out.add_row(f"... and {len(heard) - SHOWN} more", "", "", "")
    return out


def _printable(name: str) -> str:
    """A name as text that a table can hold: bytes that are no text, which file systems allow, and carriage returns as
    escapes."""
    return os.fsencode(name).decode(errors="backslashreplace").replace("\r", "\\r")
