"""Which files the stages of a command need, found before the first stage starts."""

import dataclasses
import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import UserError, listed
from experiments.runs.layout import CHECKPOINT, LOGITS, MODEL, Layout
from experiments.settings.shared import Settings
from experiments.settings.stages import STAGES

# Setting -> the stage and the file of the same name that it means if it is not given.
MADE_BY = {"logits": ("teacher", LOGITS), "checkpoint": ("student", CHECKPOINT), "model": ("quantize", MODEL)}
WRITTEN = "out"  # settings of this name say where a stage writes


def require_files(settings: Settings, layout: Layout) -> None:
    """Check that the files which the stages of a command read are there, or are written by an earlier one of them. With
    a single stage that is its own business.

    Raises:
        UserError: some are not; all of them are listed.
    """
    if len(settings.steps) == 1:
        return
    written = [layout.folder(step).resolve() for step in settings.steps]
    missing = []
    for key, value in _named(settings):
        for path in map(Path, value if isinstance(value, list) else [value]):
            inside = {path.resolve(), path.resolve().parent} & set(written)
            if not (glob.has_magic(str(path)) or path.exists() or inside):
                missing.append(f"{key}={path} does not exist, and no stage of this command writes it")
    for step, key in _unnamed(settings):
        stage, file = MADE_BY[key]
        if stage not in settings.steps and not layout.existing(stage, file).exists():
            missing.append(f"the {step} stage needs {key}, and the name {settings.name} has none: give {key}=FILE")
    missing = list(dict.fromkeys(missing))
    if missing:
        raise UserError(missing[0] if len(missing) == 1 else f"files are missing:\n{listed(missing)}")


def _named(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Settings of the command's stages that name files to read, with their values."""
    for step in settings.steps:
        stage = STAGES[step]
        for key in {*MADE_BY} & {*stage.reads}:
            if value := getattr(settings, key):
                yield key, value
        if "data" in stage.reads and settings.data.impulses:
            yield "data.impulses", settings.data.impulses
        if stage.own is not None:
            own = settings.of(stage.own)
            for each in dataclasses.fields(own):
                if each.metadata.get("is_path") and each.name != WRITTEN and (value := getattr(own, each.name)):
                    yield f"{step}.{each.name}", value


def _unnamed(settings: Settings) -> Iterator[tuple[str, str]]:
    """Stages and the settings that mean a file of the run's name, because they name none."""
    for step in settings.steps:
        for key in MADE_BY:
            if key not in STAGES[step].reads or getattr(settings, key):
                continue
            if step == "teacher" or (key == "logits" and (step == "quantize" or settings.distill == "none")):
                continue  # its own checkpoint; logits that only some settings need, which the stage checks
            yield step, key
